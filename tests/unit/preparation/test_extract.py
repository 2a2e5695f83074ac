"""One sound to its patches."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio.decode import load
from coala_jax.audio.frontend import FrontEnd
from coala_jax.preparation import extract as module
from coala_jax.preparation.extract import ExtractionResult, extract
from coala_jax.preparation.settings import Settings

FRONT_END = FrontEnd(clip_seconds=3.0)  # 130 frames: candidates start at 0, 12 and 24
SETTINGS = Settings("any", front_end=FRONT_END)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples)


def extracted(path: Path, waveform: np.ndarray, **changes: object) -> ExtractionResult:
    soundfile.write(path, waveform, 22_000, "FLOAT")
    return extract(path, dataclasses.replace(SETTINGS, **changes))


def test_the_patch_is_the_log_mel_of_the_sound(tmp_path: Path) -> None:
    result = extracted(tmp_path / "a.wav", noise(1100))
    assert (result.frames, result.seconds, result.error) == ((0,), 0.05, "")
    expected = FRONT_END.log_mel(load(tmp_path / "a.wav", 22_000))[:, :96]
    np.testing.assert_array_equal(result.patches[0], expected, strict=True)
    assert result.patches[0].min() == FRONT_END.silence  # not scaled


def test_the_digest_is_of_the_samples_and_not_of_the_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 500).astype(np.int16)
    digests = {}
    for name, waveform in (("a.wav", samples), ("b.flac", samples), ("c.wav", samples[::-1])):
        soundfile.write(tmp_path / name, waveform, 22_000)
        digests[name] = extract(tmp_path / name, SETTINGS).digest
    assert digests["a.wav"] == digests["b.flac"] != digests["c.wav"]


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        pytest.param(1, (72,), id="loudest"),
        pytest.param(2, (60, 72), id="two"),
        pytest.param(0, tuple(range(0, 84, 12)), id="all"),  # of 172 frames
    ],
)
def test_how_many_patches(tmp_path: Path, count: int, frames: tuple[int, ...]) -> None:
    """Of 4 s, noise from frame 66 on: the later of the 7 candidates hold more and more of it."""
    waveform = np.zeros(4 * 22_000)
    waveform[66 * 512 :] = noise(88_000 - 66 * 512)
    result = extracted(tmp_path / "a.wav", waveform, patches_per_sound=count)
    assert result.frames == frames
    log_mel = FRONT_END.log_mel(load(tmp_path / "a.wav", 22_000))
    for patch, frame in zip(result.patches, frames, strict=True):
        np.testing.assert_array_equal(patch, log_mel[:, frame : frame + 96], strict=True)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(1, (0,)), (5631, (0,)), (5632, (0,)), (5633, (0, 12)), (6145, (0, 12)), (12000, (0, 12, 24))],
)
def test_no_patch_is_padding_alone(tmp_path: Path, samples: int, frames: tuple[int, ...]) -> None:
    """Frame f hears samples 512 f - 512 to 512 f + 511: frame 12 the sample 5632 first."""
    result = extracted(tmp_path / "a.wav", np.full(samples, 0.5), patches_per_sound=0)
    assert result.frames == frames
    assert all(patch.max() > FRONT_END.silence for patch in result.patches)


@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.1])
def test_longer_sounds_are_left_out(tmp_path: Path, seconds: float) -> None:
    result = extracted(tmp_path / "a.wav", np.full(int(seconds * 22_000), 0.5), max_seconds=1.0)
    assert result.error == ("TooLong" if seconds > 1 else "")


def test_at_peak_level_loudness_makes_no_difference(tmp_path: Path) -> None:
    sound = noise(9000)
    quiet, loud = (
        extracted(tmp_path / "a.wav", gain * sound, level="peak").patches[0]
        for gain in (0.01, 0.37 / np.abs(sound).max())
    )
    np.testing.assert_allclose(quiet, loud, atol=1e-4)
    at_one = FRONT_END.log_mel((sound / np.abs(sound).max()).astype(np.float32))[:, :96]
    np.testing.assert_allclose(loud, at_one, atol=1e-4)
    recorded = extracted(tmp_path / "a.wav", 0.01 * sound).patches[0]
    assert np.abs(recorded - quiet).max() > 1


@pytest.mark.parametrize(
    ("content", "error"), [(None, "MissingFile"), (b"", "EmptyFile"), (b"no sound", "WrongName")]
)
def test_what_cannot_be_decoded_is_a_result_too(
    tmp_path: Path, content: bytes | None, error: str
) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    result = extract(tmp_path / "a.wav", SETTINGS)
    assert result.error == error
    assert result.cause and str(tmp_path) not in result.cause
    assert (result.frames, result.patches, result.digest) == ((), (), "")


def test_an_error_of_our_own_is_not_a_failed_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "load", broken)
    with pytest.raises(ZeroDivisionError):
        extract(tmp_path / "a.wav", SETTINGS)
