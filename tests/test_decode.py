"""Sound files against the sine they were made of, and what is said of files that hold no sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio.decode import DecodeError, load, resample

RATE_HZ = 22_000
TONE_HZ = 1234.5


def sine(
    rate_hz: int, frequency_hz: float = TONE_HZ, amplitude: float = 0.5, seconds: float = 0.5
) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return amplitude * np.sin(2 * np.pi * frequency_hz * time)


def away_from_edges(waveform: np.ndarray) -> np.ndarray:
    """Without the 50 ms at both ends, where a resampler sees the silence beyond the sound."""
    return waveform[RATE_HZ // 20 : -RATE_HZ // 20]


@pytest.mark.parametrize("rate_hz", [8_000, 22_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        pytest.param("wav", "PCM_16", 6e-5, id="wav-int16"),
        pytest.param("wav", "PCM_24", 5e-6, id="wav-int24"),
        pytest.param("wav", "FLOAT", 5e-6, id="wav-float"),
        pytest.param("wav", "DOUBLE", 5e-6, id="wav-double"),
        pytest.param("flac", "PCM_16", 6e-5, id="flac-int16"),
        pytest.param("ogg", "VORBIS", 0.05, id="ogg"),  # lossy
    ],
)
def test_a_sine_keeps_its_frequency_amplitude_phase_and_length(
    tmp_path: Path, rate_hz: int, suffix: str, subtype: str, tolerance: float
) -> None:
    path = tmp_path / f"sine.{suffix}"
    soundfile.write(path, sine(rate_hz), rate_hz, subtype=subtype)
    waveform = load(path, RATE_HZ)
    assert waveform.dtype == np.float32
    assert waveform.shape == (RATE_HZ // 2,)
    np.testing.assert_allclose(
        away_from_edges(waveform), away_from_edges(sine(RATE_HZ)), atol=tolerance, rtol=0
    )


@pytest.mark.parametrize(
    "amplitudes",
    [
        pytest.param((0.6,), id="mono"),
        pytest.param((0.6, 0.2), id="stereo"),
        pytest.param((0.6, -0.6), id="stereo-out-of-phase"),
        pytest.param((0.9, 0.1, 0.0, -0.3, 0.5), id="5-channels"),
    ],
)
def test_channels_are_averaged(tmp_path: Path, amplitudes: tuple[float, ...]) -> None:
    soundfile.write(tmp_path / "a.flac", np.outer(sine(44_100), amplitudes), 44_100, "PCM_24")
    waveform = load(tmp_path / "a.flac", RATE_HZ)
    expected = sine(RATE_HZ) * np.mean(amplitudes)
    np.testing.assert_allclose(
        away_from_edges(waveform), away_from_edges(expected), atol=1e-5, rtol=0
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
    [(1, 22_000, 1), (1, 8_000, 3), (2, 44_000, 1), (3, 44_000, 2), (77, 44_000, 39)],
)
def test_very_short_sounds(tmp_path: Path, samples: int, rate_hz: int, resampled: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), rate_hz)
    waveform = load(tmp_path / "a.wav", RATE_HZ)
    assert waveform.shape == (resampled,)
    assert np.isfinite(waveform).all()


def write_text(path: Path) -> None:
    path.write_text("this is no sound, though it is named like one " * 4)


def write_header_cut_short(path: Path) -> None:
    soundfile.write(path, np.zeros(100), 22_000)
    path.write_bytes(path.read_bytes()[:30])


def write_samples(*samples: float, rate_hz: int = 22_000):
    return lambda path: soundfile.write(path, np.array(samples), rate_hz, "FLOAT")


@pytest.mark.parametrize(
    ("name", "write", "cause", "way_out"),
    [
        pytest.param("a.wav", lambda path: None, "no such file", "correct the path", id="missing"),
        pytest.param("a.wav", Path.mkdir, "no such file", "correct the path", id="folder"),
        pytest.param("a.wav", write_text, "Format not recognised", "convert it", id="text"),
        pytest.param("a.wav", Path.touch, "Format not recognised", "convert it", id="no-bytes"),
        pytest.param("a.wav", write_header_cut_short, "libsndfile", "convert it", id="cut-header"),
        pytest.param("a.raw", write_text, "no header", "convert it", id="raw"),
        pytest.param("a.wav", write_samples(), "zero samples", "leave it out", id="no-samples"),
        pytest.param(
            "a.wav",
            write_samples(0.5, rate_hz=96_000),
            "zero samples at 22000 Hz",
            "leave it out",
            id="one-sample-at-96-kHz",
        ),
        pytest.param("a.wav", write_samples(0, np.nan), "NaN", "export it again", id="NaN"),
        pytest.param("a.wav", write_samples(0, -np.inf), "infinite", "export it again", id="inf"),
        pytest.param("a.wav", write_samples(0, -3e9), "large", "export it again", id="3e9"),
    ],
)
def test_errors_name_file_cause_and_way_out(
    tmp_path: Path, name: str, write, cause: str, way_out: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(DecodeError, match=cause) as raised:
        load(path, RATE_HZ)
    assert str(path) in str(raised.value)
    assert way_out in str(raised.value)


def test_a_header_that_lies_about_the_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped byte makes a flac claim 2**36 samples; what then happens, the system decides."""

    def out_of_memory(*args: object, **kwargs: object) -> None:
        raise MemoryError("Unable to allocate 256. GiB")

    (tmp_path / "a.flac").touch()
    monkeypatch.setattr(soundfile, "read", out_of_memory)
    with pytest.raises(DecodeError, match=r"a\.flac: .* wrong one \(Unable to allocate 256"):
        load(tmp_path / "a.flac", RATE_HZ)
