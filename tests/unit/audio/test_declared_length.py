"""Files that were cut short, by where and in which format; and files that hold no sound."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio import errors
from coala_jax.audio.decode import load
from coala_jax.audio.file_kind import not_sound

RATE_HZ = 8_000
# Format, subtype, and where its header ends.
KINDS = [
    ("WAV", "PCM_16", 44),
    ("WAV", "IMA_ADPCM", 60),
    ("WAVEX", "PCM_24", 80),
    ("RF64", "PCM_16", 104),
    ("W64", "PCM_16", 104),
    ("AIFF", "PCM_16", 54),
    ("AU", "PCM_16", 24),
    ("AU", "G721_32", 24),
    ("CAF", "PCM_16", 4_096),
    ("FLAC", "PCM_16", 42),
    ("OGG", "VORBIS", 58),
    ("OGG", "OPUS", 58),
    ("MP3", "MPEG_LAYER_III", 48),
]


def noise(seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE_HZ))


def encoded(kind: str, subtype: str | None = None, samples: np.ndarray | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise() if samples is None else samples, RATE_HZ, subtype, format=kind)
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("kind", "subtype", "header_bytes"), KINDS)
def test_a_file_without_its_end_is_refused_and_a_whole_one_is_not(
    tmp_path: Path, kind: str, subtype: str, header_bytes: int
) -> None:
    whole = encoded(kind, subtype)
    for share in (0.5, 0.85):
        path = written(tmp_path / "cut", whole[: round(share * len(whole))])
        with pytest.raises(errors.TruncatedError) as raised:
            load(path, RATE_HZ)
        assert str(path) in str(raised.value)
    for end in (header_bytes, header_bytes - 1, 20):  # no samples; libsndfile may say it its way
        with pytest.raises(errors.DecodeError, match="cut"):
            load(written(tmp_path / "cut", whole[:end]), RATE_HZ)
    if subtype not in ("OPUS", "MPEG_LAYER_III") and kind != "FLAC":
        with pytest.raises(errors.NoSamplesError):
            load(written(tmp_path / "none", encoded(kind, subtype, noise(0.0))), RATE_HZ)
    for tail in (b"", b"TAG" + bytes(125)):
        assert load(written(tmp_path / "whole", whole + tail), RATE_HZ).size >= 2 * RATE_HZ


@pytest.mark.parametrize(
    ("seconds", "missing_samples", "is_cut"),
    [(2.0, 79, False), (2.0, 80, False), (2.0, 81, True), (0.1, 38, False), (0.1, 39, True)],
)
@pytest.mark.parametrize("kind", ["WAV", "W64", "AIFF", "AU"])
def test_what_may_be_missing(
    tmp_path: Path, kind: str, seconds: float, missing_samples: int, is_cut: bool
) -> None:
    """10 ms, which is 80 samples, and 5 % of a sound under 0.2 s: 38 of 762, but not 39 of 761."""
    path = written(tmp_path / "a", encoded(kind, samples=noise(seconds))[: -2 * missing_samples])
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
        pytest.param(2**31 - 1 + 36, 2**31 - 1, id="pipe"),
        pytest.param(8, 0, id="recorder-not-stopped"),
    ],
)
def test_a_streaming_writer_s_length_is_not_believed(
    tmp_path: Path, riff_bytes: int, data_bytes: int
) -> None:
    wav = encoded("WAV", samples=noise(0.25))
    lengths = [struct.pack("<I", number) for number in (riff_bytes, data_bytes)]
    streamed = wav[:4] + lengths[0] + wav[8:40] + lengths[1] + wav[44:]
    assert load(written(tmp_path / "a", streamed), RATE_HZ).size == 2_000
    au = encoded("AU", samples=noise(0.25))
    assert load(written(tmp_path / "b", au[:8] + b"\xff" * 4 + au[12:]), RATE_HZ).size == 2_000


def test_the_places_where_each_format_may_end(tmp_path: Path) -> None:
    """In an Ogg between two pages; in a WAV after an odd chunk before the samples."""
    ogg, wav = encoded("OGG", "VORBIS"), encoded("WAV")
    last = ogg.rfind(b"OggS")
    odd = wav[:36] + b"odd \3\0\0\0abc\0" + wav[36:]
    assert load(written(tmp_path / "a", odd), RATE_HZ).size == 2 * RATE_HZ
    for cut in (ogg[:last], ogg[: last + 12], ogg[:-1], odd[:-1_000]):
        with pytest.raises(errors.TruncatedError):
            load(written(tmp_path / "a", cut), RATE_HZ)
    flac = bytearray(encoded("FLAC"))
    flac[len(flac) // 2] ^= 255
    with pytest.raises(errors.UnreadableError):
        load(written(tmp_path / "a", bytes(flac)), RATE_HZ)


def test_an_mp3_declares_its_length_in_its_first_frame_or_nowhere(tmp_path: Path) -> None:
    """libsndfile guesses it from the bitrate of the next, the highest of all in this one."""
    loud_and_then_soft = noise(4.0) * np.repeat([1.0, 1e-3], 2 * RATE_HZ)
    mp3 = encoded("MP3", samples=loud_and_then_soft)
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x01" + bytes(129)  # 1 * 128 + 1 bytes
    assert load(written(tmp_path / "a", tag + mp3), RATE_HZ).size == 4 * RATE_HZ
    with pytest.raises(errors.TruncatedError):
        load(written(tmp_path / "a", tag + mp3[: len(mp3) // 2]), RATE_HZ)
    with pytest.raises(errors.TruncatedError):  # 3 of 30 frames may be missing, not 5
        load(written(tmp_path / "a", tag + mp3[: len(mp3) * 50 // 60]), RATE_HZ)
    without_first = mp3[mp3.find(mp3[:2], 2) :]
    with pytest.raises(errors.UnreadableError):
        load(written(tmp_path / "a", without_first), RATE_HZ)


NOT_SOUND = [
    *((b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"), (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "JPEG")),
    *((b"%PDF-1.7\n", "PDF"), (b"PK\x03\x04\x14\0\0\0", "zip"), (b"\x1f\x8b\x08\0", "gzip")),
    (b"<!DOCTYPE html>\n<title>404</title>", "HTML"),
    (b"\xef\xbb\xbf\r\n  <HTML><body>Sign in", "HTML"),
    (b'{"detail": "Not found."}', "text"),
    *(("Käuzchen".encode(encoding), "text") for encoding in ("utf-8", "utf-16")),
]


@pytest.mark.parametrize(("content", "holds"), NOT_SOUND)
def test_what_is_no_sound_is_named(tmp_path: Path, content: bytes, holds: str) -> None:
    path = written(tmp_path / "a.mp3", content)
    with pytest.raises(errors.WrongNameError, match=holds) as raised:
        load(path, RATE_HZ)
    assert str(path) in str(raised.value)


def test_sounds_and_unknown_bytes_are_not_called_something_else() -> None:
    for kind, subtype, _ in KINDS:
        assert not_sound(io.BytesIO(encoded(kind, subtype))) is None
    assert not_sound(io.BytesIO(bytes(100))) is None
    assert not_sound(io.BytesIO(b"\0\0\0\x20ftypM4A ")) is None
