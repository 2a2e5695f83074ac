"""Sound files against the sine they were made of, and what is said of files that hold no sound."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from coala_jax import storage
from coala_jax.audio import decode, errors
from coala_jax.audio.decode import load, resample

RATE_HZ = 22_000
TONE_HZ = 1234.5
RATES_HZ = (8_000, 11_025, 16_000, 22_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
UNKNOWN = 0  # the length in the header of a FLAC that was streamed
AMPLITUDES = (0.6, 0.2, 0.5, -0.3, 0.1, 0.4)  # of the channels; their means differ with their count

ENCODABLE_HZ = {
    "OPUS": (8_000, 16_000, 48_000),
    "MPEG_LAYER_III": (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000),
}
# How far a value may be from the sine: what writing with so many bits does (the resampler does
# less), and for lossy formats half as much again as was measured.
SUBTYPES = {
    "PCM_U8": 0.011, "PCM_S8": 0.01, "PCM_16": 6e-5, "PCM_24": 1e-6, "PCM_32": 1e-6, "FLOAT": 1e-6,
    "DOUBLE": 1e-6, "ALAC_24": 1e-6, "ULAW": 0.03, "VORBIS": 0.05, "OPUS": 0.015,
    "MPEG_LAYER_III": 0.08,
}  # fmt: skip
KINDS = {
    "WAV": "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW", "WAVEX": "PCM_24", "RF64": "PCM_16",
    "W64": "PCM_16", "AIFF": "PCM_16 FLOAT", "AU": "PCM_24", "CAF": "PCM_16 ALAC_24",
    "FLAC": "PCM_S8 PCM_16 PCM_24", "OGG": "VORBIS OPUS", "MP3": "MPEG_LAYER_III",
}  # fmt: skip
FORMATS = [(k, s, SUBTYPES[s]) for k, subtypes in KINDS.items() for s in subtypes.split()]
# Every format, rate and number of channels, but not each with each.
GRID = [
    pytest.param(
        *kind, rate_hz, (1, 2, 6)[(row + column // 3) % 3], id=f"{kind[0]}-{kind[1]}-{rate_hz}"
    )
    for row, kind in enumerate(FORMATS)
    for column, rate_hz in enumerate(RATES_HZ)
    if (row + column) % 3 == 0 or kind[0] == "FLAC"
    if rate_hz in ENCODABLE_HZ.get(kind[1], RATES_HZ)
]


def sine(
    rate_hz: int, frequency_hz: float = TONE_HZ, amplitude: float = 0.5, seconds: float = 0.4
) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return amplitude * np.sin(2 * np.pi * frequency_hz * time)


def away_from_edges(waveform: np.ndarray) -> np.ndarray:
    """Without the 50 ms at both ends, where a resampler sees the silence beyond the sound."""
    return waveform[RATE_HZ // 20 : -RATE_HZ // 20]


def encoded(samples: np.ndarray, rate_hz: int, kind: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype, format=kind)
    return file.getvalue()


def with_flac_length(flac: bytes, frames: int) -> bytes:
    """The same FLAC with another number of frames in its header, which has 36 bits for it."""
    field = int.from_bytes(flac[21:26], "big") >> 36 << 36 | frames
    return flac[:21] + field.to_bytes(5, "big") + flac[26:]


@pytest.mark.parametrize(("kind", "subtype", "tolerance", "rate_hz", "channels"), GRID)
def test_a_sine_keeps_its_frequency_amplitude_phase_and_length(
    tmp_path: Path, kind: str, subtype: str, tolerance: float, rate_hz: int, channels: int
) -> None:
    # MP3 has two channels; the sixth of lossy formats holds the bass alone.
    amplitudes = AMPLITUDES[: min(channels, 2) if kind in ("MP3", "OGG") else channels]
    samples = np.outer(sine(rate_hz, amplitude=1.0), amplitudes)
    (tmp_path / "a").write_bytes(encoded(samples, rate_hz, kind, subtype))
    waveform = load(tmp_path / "a", RATE_HZ)
    assert waveform.dtype == np.float32
    assert waveform.shape == (RATE_HZ * 4 // 10,)
    expected = sine(RATE_HZ, amplitude=float(np.mean(amplitudes)))
    np.testing.assert_allclose(
        away_from_edges(waveform), away_from_edges(expected), atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("frequency_hz", [11_500, 15_000, 21_000])
def test_what_the_new_rate_cannot_hold_is_filtered_out(frequency_hz: float) -> None:
    tone = sine(44_100, frequency_hz).astype(np.float32)
    assert np.abs(away_from_edges(resample(tone, 44_100, RATE_HZ))).max() < 1e-4


def test_the_rate_it_has_already_changes_no_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, "FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "a.wav", RATE_HZ), samples)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "resampled"),
    [(1, 22_000, 1), (1, 8_000, 3), (2, 44_000, 1), (3, 44_000, 2), (77, 44_000, 39),
     (500, 1_000, 11_000), (500_000, 1_000_000, 11_000)],
)  # fmt: skip
def test_very_short_sounds_and_extreme_rates(
    tmp_path: Path, samples: int, rate_hz: int, resampled: int
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), rate_hz)
    waveform = load(tmp_path / "a.wav", RATE_HZ)
    assert waveform.shape == (resampled,)
    np.testing.assert_allclose(waveform[4_000:-4_000], 0.5, atol=4e-5, rtol=0)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "FLAC of unknown length", "OGG", "MP3"])
def test_blocks_give_the_bits_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Where soundfile seeks between the blocks of an MP3, the next is wrong by up to 0.5."""
    tones = np.stack([sine(44_100), sine(44_100, 700.0)], axis=1)
    sound = encoded(tones, 44_100, kind.split()[0])
    channels, rate_hz = soundfile.read(io.BytesIO(sound), dtype="float32")
    if "unknown" in kind:
        sound = with_flac_length(sound, UNKNOWN)
    (tmp_path / "a").write_bytes(sound)
    monkeypatch.setattr(decode, "_BLOCK_SAMPLES", 4_999)
    whole = soxr.resample(channels.mean(axis=1), rate_hz, RATE_HZ, quality="HQ")
    np.testing.assert_array_equal(load(tmp_path / "a", RATE_HZ), whole)


@pytest.mark.parametrize("claimed_frames", [350_000, UNKNOWN, 2**36 - 1])
def test_memory_is_that_of_the_result_whatever_the_header_claims(
    tmp_path: Path, claimed_frames: int
) -> None:
    """Two million samples of 6 channels, 8 MB as floats, make 1.4 MB at the new rate."""
    sound = encoded(np.full((350_000, 6), 0.5), RATE_HZ, "FLAC")
    (tmp_path / "a.flac").write_bytes(with_flac_length(sound, claimed_frames))
    tracemalloc.start()
    try:
        if claimed_frames == 2**36 - 1:
            with pytest.raises(errors.TooLongError):
                load(tmp_path / "a.flac", RATE_HZ)
        else:
            assert load(tmp_path / "a.flac", RATE_HZ).size == 350_000
        assert tracemalloc.get_traced_memory()[1] < 4.5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sound.wav", "MP3"),
        ("sound.mp3", "WAV"),
        ("sound.raw", "FLAC"),
        ("sound.html", "OGG"),
        ("Käuzchen 🦉 (3 %).flac", "FLAC"),
        ("-q", "AIFF"),
    ],
)
def test_a_sound_is_known_by_its_content(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(encoded(sine(44_100), 44_100, kind))
    waveform = load(tmp_path / name, RATE_HZ)
    np.testing.assert_allclose(
        away_from_edges(waveform), away_from_edges(sine(RATE_HZ)), atol=0.08, rtol=0
    )


@pytest.mark.parametrize("kind", ["WAV", "MP3", "FLAC of unknown length"])
def test_a_sound_may_be_as_long_as_allowed_and_not_longer(tmp_path: Path, kind: str) -> None:
    sound = encoded(np.full(2_000, 0.5), 8_000, kind.split()[0])
    if "unknown" in kind:
        sound = with_flac_length(sound, UNKNOWN)
    (tmp_path / "a").write_bytes(sound)
    assert load(tmp_path / "a", 8_000, max_seconds=0.25).size == 2_000
    with pytest.raises(errors.TooLongError, match=r"0\.249 s"):
        load(tmp_path / "a", 8_000, max_seconds=0.249)


def test_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "zeros.flac", np.zeros((800, 2)), 8_000)
    soundfile.write(tmp_path / "opposite.flac", np.outer(sine(8_000), (1, -1)), 8_000)
    for name in ("zeros", "opposite"):
        with pytest.raises(errors.SilentError, match=name):
            load(tmp_path / f"{name}.flac", RATE_HZ)
    zeros = load(tmp_path / "zeros.flac", RATE_HZ, allow_silence=True)
    np.testing.assert_array_equal(zeros, np.zeros(2_200, np.float32))


def samples(*values: float, rate_hz: int = RATE_HZ) -> bytes:
    return encoded(np.array(values), rate_hz, "WAV", "FLOAT")


def with_rate(rate_hz: int) -> bytes:
    sound = samples(*[0.5] * 100)
    return sound[:24] + rate_hz.to_bytes(4, "little") + sound[28:]


TEXT = b"not a sound, though it is named like one " * 4
DEFECTIVE = {
    "missing": ("a.wav", None, errors.MissingFileError),
    "folder": ("", None, errors.MissingFileError),
    "empty": ("a.wav", b"", errors.EmptyFileError),
    "text": ("a.wav", TEXT, errors.WrongNameError),
    # libsndfile takes what is named .au and has no header for samples.
    "au": ("a.au", TEXT, errors.WrongNameError),
    "raw": ("a.raw", bytes(range(256)), errors.UnreadableError),
    "no samples": ("a.wav", samples(), errors.NoSamplesError),
    "one sample": ("a.wav", samples(0.5, rate_hz=96_000), errors.NoSamplesError),
    "NaN": ("a.wav", samples(0, np.nan), errors.NotFiniteError),
    "infinite": ("a.wav", samples(0, -np.inf), errors.NotFiniteError),
    "large": ("a.wav", samples(0, -3e9), errors.NotFiniteError),
    **{
        f"{rate_hz} Hz": ("a.wav", with_rate(rate_hz), errors.SampleRateError)
        for rate_hz in (0, 1, 999, 1_000_001, 4_000_000_000)
    },
}


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_errors_are_of_their_kind_and_name_the_file(tmp_path: Path, defect: str) -> None:
    name, content, kind = DEFECTIVE[defect]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind) as raised:
        load(tmp_path / name, RATE_HZ)
    assert str(tmp_path / name) in str(raised.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.wav").write_bytes(samples(0.5))
    monkeypatch.setattr(storage, "open_binary", refuse)
    with pytest.raises(errors.UnreadableError, match=r"a\.wav"):
        load(tmp_path / "a.wav", RATE_HZ)
