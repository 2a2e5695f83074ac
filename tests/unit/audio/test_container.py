"""Files that were cut short, by where and in which format; and files that are no sound."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio import errors
from coala_jax.audio.container import Promise, not_sound, promise
from coala_jax.audio.decode import load

RATE_HZ = 8_000
CHUNKED = [("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), ("RF64", "PCM_16"), ("W64", "PCM_16")]
CHUNKED += [("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16")]
OTHERS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def noise(seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE_HZ))


def encoded(kind: str, subtype: str | None = None, samples: np.ndarray | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise() if samples is None else samples, RATE_HZ, subtype, format=kind)
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("kind", "subtype"), CHUNKED + OTHERS)
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_a_sound_without_its_end(tmp_path: Path, kind: str, subtype: str, share: float) -> None:
    whole = encoded(kind, subtype)
    path = written(tmp_path / "a", whole[: round(share * len(whole))])
    with pytest.raises(errors.TruncatedError, match=r"a: it is cut short.*download it again"):
        load(path, RATE_HZ)
    assert load(written(path, whole), RATE_HZ).size >= 2 * RATE_HZ


@pytest.mark.parametrize(
    ("kind", "header_bytes"),
    [
        ("WAV", 44),
        ("WAV", 43),
        ("WAV", 20),
        ("RF64", 104),
        ("W64", 104),
        ("AIFF", 54),
        ("AU", 24),
        ("CAF", 4_096),
        ("FLAC", 42),
        ("FLAC", 30),
        ("OGG", 58),
    ],
)
def test_a_header_alone(tmp_path: Path, kind: str, header_bytes: int) -> None:
    path = written(tmp_path / "a", encoded(kind)[:header_bytes])
    with pytest.raises(errors.HeaderOnlyError, match="a: it ends with its header"):
        load(path, RATE_HZ)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "OGG"])
def test_a_sound_of_zero_length(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a", encoded(kind, samples=noise(0.0)))
    with pytest.raises(errors.NoSamplesError, match="a: it holds no sound"):
        load(path, RATE_HZ)


@pytest.mark.parametrize(
    ("seconds", "missing_samples", "is_cut"),
    [(2.0, 79, False), (2.0, 80, False), (2.0, 81, True), (0.1, 38, False), (0.1, 39, True)],
)
def test_what_may_be_missing(
    tmp_path: Path, seconds: float, missing_samples: int, is_cut: bool
) -> None:
    """10 ms, which is 80 samples, and 5 % of a sound under 0.2 s: 38 of 762, but not 39 of 761."""
    path = written(tmp_path / "a", encoded("WAV", samples=noise(seconds))[: -2 * missing_samples])
    if is_cut:
        with pytest.raises(errors.TruncatedError):
            load(path, RATE_HZ)
    else:
        assert load(path, RATE_HZ).size == seconds * RATE_HZ - missing_samples


@pytest.mark.parametrize(
    ("riff_bytes", "data_bytes"),
    [
        pytest.param(2**32 - 1, 2**32 - 1, id="ffmpeg"),
        pytest.param(0x7FFF_F024, 0x7FFF_F000, id="sox"),
        pytest.param(2**31 - 1 + 36, 2**31 - 1, id="a-pipe"),
        pytest.param(8, 0, id="a-recorder-that-was-not-stopped"),
    ],
)
def test_a_length_that_is_no_promise(tmp_path: Path, riff_bytes: int, data_bytes: int) -> None:
    wav = encoded("WAV", samples=noise(0.25))
    lengths = [struct.pack("<I", number) for number in (riff_bytes, data_bytes)]
    streamed = wav[:4] + lengths[0] + wav[8:40] + lengths[1] + wav[44:]
    assert load(written(tmp_path / "a", streamed), RATE_HZ).size == 2_000


def test_bytes_after_the_sound(tmp_path: Path) -> None:
    for kind in ("WAV", "AIFF", "FLAC", "OGG", "MP3"):
        sound = encoded(kind) + b"TAG" + bytes(125)
        assert load(written(tmp_path / "a", sound), RATE_HZ).size == 2 * RATE_HZ


def test_an_ogg_that_ends_between_two_pages(tmp_path: Path) -> None:
    ogg = encoded("OGG", "VORBIS")
    for end in (ogg.rfind(b"OggS"), ogg.rfind(b"OggS") + 12, len(ogg) - 1):
        with pytest.raises(errors.TruncatedError):
            load(written(tmp_path / "a", ogg[:end]), RATE_HZ)


def test_a_flac_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    flac = bytearray(encoded("FLAC"))
    flac[len(flac) // 2] ^= 255
    with pytest.raises(errors.UnreadableError, match=r"libsndfile cannot read it \(.*flac decoder"):
        load(written(tmp_path / "a", bytes(flac)), RATE_HZ)


def test_an_mp3_says_its_length_in_its_first_frame_or_nowhere(tmp_path: Path) -> None:
    """libsndfile guesses it from the bitrate of the next, the highest of all in this one."""
    loud_and_then_soft = noise(4.0) * np.repeat([1.0, 1e-3], 2 * RATE_HZ)
    mp3 = encoded("MP3", samples=loud_and_then_soft)
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x01" + bytes(129)  # 1 * 128 + 1 bytes
    assert load(written(tmp_path / "a", tag + mp3), RATE_HZ).size == 4 * RATE_HZ
    with pytest.raises(errors.TruncatedError):
        load(written(tmp_path / "a", tag + mp3[: len(mp3) // 2]), RATE_HZ)
    without_first = mp3[mp3.find(mp3[:2], 2) :]
    with pytest.raises(errors.UnreadableError, match="mp3 that does not tell its length"):
        load(written(tmp_path / "a", without_first), RATE_HZ)


@pytest.mark.parametrize(
    ("content", "promised"),
    [
        pytest.param(
            b"RIFF\0\0\0\0WAVE" + b"odd \3\0\0\0abc\0" + b"data\x10\0\0\0" + bytes(12),
            Promise(16, 12),
            id="a-chunk-of-odd-length-is-padded",
        ),
        pytest.param(
            b"RIFX\0\0\0\0WAVE" + b"data\0\0\0\x10" + bytes(12), Promise(16, 12), id="big-endian"
        ),
        pytest.param(
            b"RF64\xff\xff\xff\xffWAVE"
            + b"ds64\x1c\0\0\0"
            + struct.pack("<QQQI", 100, 16, 8, 0)
            + b"data\xff\xff\xff\xff"
            + bytes(12),
            Promise(16, 12),
            id="rf64",
        ),
        pytest.param(
            b"FORM\0\0\0\0AIFC" + b"SSND\0\0\0\x18" + bytes(8 + 12), Promise(16, 12), id="aiff"
        ),
        pytest.param(b".snd\0\0\0\x18\0\0\0\x10" + bytes(12 + 12), Promise(16, 12), id="au"),
        pytest.param(b".snd\0\0\0\x18\xff\xff\xff\xff" + bytes(24), None, id="au-streamed"),
        pytest.param(
            b"caff\0\1\0\0" + b"data" + bytes(7) + b"\x14" + bytes(4 + 12),
            Promise(16, 12),
            id="caf",
        ),
        pytest.param(
            b"caff\0\1\0\0" + b"data" + b"\xff" * 8 + bytes(4 + 12), None, id="caf-streamed"
        ),
        pytest.param(
            b"riff\x2e\x91\xcf\x11" + bytes(32) + bytes(40), Promise(np.inf, 0), id="w64-no-chunks"
        ),
        pytest.param(
            b"wvpk" + bytes(8) + struct.pack("<I", 700) + bytes(40), Promise(700), id="wavpack"
        ),
        pytest.param(b"wvpk" + bytes(8) + b"\xff" * 4 + bytes(40), None, id="wavpack-streamed"),
        pytest.param(
            b"\xff\xfb\x90\xc4" + bytes(17) + b"Info" + struct.pack(">II", 1, 103) + bytes(20),
            Promise(100 * 1152),
            id="mp3-mono",
        ),
        pytest.param(
            b"\xff\xf3\x90\x04" + bytes(17) + b"Xing" + struct.pack(">II", 15, 103) + bytes(20),
            Promise(100 * 576),
            id="mp3-of-a-low-rate",
        ),
        pytest.param(
            b"\xff\xfb\x90\xc4" + bytes(17) + b"Xing" + struct.pack(">II", 2, 103) + bytes(20),
            None,
            id="mp3-with-bytes-alone",
        ),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_promises_worked_out_by_hand(content: bytes, promised: Promise | None) -> None:
    assert promise(io.BytesIO(content)) == promised


def test_missing_frames() -> None:
    assert Promise(1_000).missing(900) == 100
    assert Promise(1_000, 900).missing(450) == pytest.approx(50)  # 2 bytes a frame
    assert Promise(np.inf).missing(900) == np.inf
    assert Promise(np.inf, 0).missing(900) == 0  # found by libsndfile, not by us


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a JPEG picture"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP picture"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "a PDF document"),
        (b"PK\x03\x04\x14\0\0\0", "a zip archive"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"<!DOCTYPE html>\n<title>404</title>", "an HTML page"),
        (b"\xef\xbb\xbf\r\n  <HTML><body>Sign in", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b'{"detail": "Not found."}', "JSON"),
        ("Käuzchen, 22 Uhr".encode(), "plain text"),
        ("Käuzchen".encode("utf-16"), "plain text (UTF-16)"),
    ],
)
def test_what_is_no_sound(tmp_path: Path, content: bytes, holds: str) -> None:
    path = written(tmp_path / "a.mp3", content)
    with pytest.raises(errors.WrongNameError, match=r"a\.mp3: it holds ") as raised:
        load(path, RATE_HZ)
    assert f"it holds {holds}, no sound" in str(raised.value)


def test_sounds_and_unknown_bytes_are_not_called_something_else() -> None:
    for kind, subtype in CHUNKED + OTHERS:
        assert not_sound(io.BytesIO(encoded(kind, subtype))) is None
    assert not_sound(io.BytesIO(bytes(100))) is None
    assert not_sound(io.BytesIO(b"\0\0\0\x20ftypM4A ")) is None
