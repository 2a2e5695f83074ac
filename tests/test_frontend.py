"""The front end against librosa, brute force, and numbers worked out by hand."""

import librosa
import numpy as np
import pytest

from coala_jax.audio.frontend import FrontEnd, Scaler

FRONT_END = FrontEnd()
SECOND, CLIP = 22_000, 220_000  # samples
EPS = np.finfo(np.float32).eps


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def librosa_log_mel(waveform: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=22_000,
        n_fft=1024,
        hop_length=512,
        window="hamming",
        center=True,
        pad_mode="constant",
        power=2,
        n_mels=96,
    )
    return np.log(mel + EPS)


def random_log_mel(frames: int, seed: int = 0) -> np.ndarray:
    """Multiples of 1/64, so that every sum of them is exact and equal patches are equals."""
    values = np.random.default_rng(seed).integers(-1000, 300, (96, frames))
    return (values / 64).astype(np.float32)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")  # librosa, of the shortest sounds
@pytest.mark.parametrize(
    "clip_seconds", [pytest.param(None, id="padded"), pytest.param(0.0, id="not")]
)
@pytest.mark.parametrize(
    "samples",
    [1, 77, 511, 512, 513, 1024, SECOND, CLIP - 1, CLIP, CLIP + 1, 13 * SECOND],
)
def test_log_mel_equals_librosa(samples: int, clip_seconds: float | None) -> None:
    waveform = noise(samples)
    padded = waveform if clip_seconds == 0.0 else np.pad(waveform, (0, max(0, CLIP - samples)))
    log_mel = FRONT_END.log_mel(waveform, clip_seconds)
    assert log_mel.dtype == np.float32
    assert log_mel.shape == (96, 1 + padded.size // 512)
    np.testing.assert_allclose(log_mel, librosa_log_mel(padded), atol=1e-5, rtol=0)


def test_log_mel_of_a_tone_equals_librosa() -> None:
    """Most bands are at the floor, where rounding shows most: librosa's FFT runs in float64."""
    tone = np.sin(2 * np.pi * 440 * np.arange(SECOND) / SECOND).astype(np.float32)
    np.testing.assert_allclose(
        FRONT_END.log_mel(tone, 0.0), librosa_log_mel(tone), atol=2e-3, rtol=0
    )


def test_silence_is_the_logarithm_of_float32_eps() -> None:
    assert FRONT_END.silence == pytest.approx(-15.942385)  # ln(2**-23)
    log_mel = FRONT_END.log_mel(np.zeros(SECOND, np.float32))
    np.testing.assert_array_equal(log_mel, FRONT_END.silence)


@pytest.mark.parametrize(
    ("samples", "sounding"),
    [
        # Frame f sees samples 512 f - 512 to 512 f + 511.
        pytest.param(1, 2, id="1"),
        pytest.param(512, 2, id="512"),
        pytest.param(513, 3, id="513"),
        pytest.param(SECOND, 44, id="1-s"),  # 43 * 512 - 512 < 22 000 <= 44 * 512 - 512
    ],
)
def test_frames_of_padding_alone_are_silence_and_others_are_not(
    samples: int, sounding: int
) -> None:
    waveform = np.where(np.arange(samples) % 2, 0.5, -0.4).astype(np.float32)
    log_mel = FRONT_END.log_mel(waveform)
    assert log_mel.shape == (96, 430)  # 1 + 220 000 // 512
    assert (log_mel[:, :sounding] > FRONT_END.silence).any(axis=0).all()
    np.testing.assert_array_equal(log_mel[:, sounding:], FRONT_END.silence)


@pytest.mark.parametrize("frames", [96, 97, 107, 108, 109, 119, 120, 430, 559])
def test_loudest_patch_equals_brute_force(frames: int) -> None:
    log_mel = random_log_mel(frames, seed=frames)
    best, loudest = -np.inf, None
    for start in range(0, frames - 95, 12):
        patch = log_mel[:, start : start + 96]
        if patch.sum(dtype=np.float64) > best:
            best, loudest = patch.sum(dtype=np.float64), patch
    np.testing.assert_array_equal(FRONT_END.loudest_patch(log_mel), loudest)


@pytest.mark.parametrize(
    ("loud_frame", "start"),
    [
        # The first of the patches that hold the frame: those that start at 0, 12, 24, ...
        pytest.param(0, 0, id="first-frame"),
        pytest.param(95, 0, id="last-frame-of-the-first-patch"),
        pytest.param(96, 12, id="first-frame-after-it"),
        pytest.param(107, 12, id="last-frame-of-the-second"),
        pytest.param(108, 24, id="first-frame-after-that"),
        pytest.param(119, 24, id="last-frame-of-all"),
    ],
)
def test_first_of_equally_loud_patches(loud_frame: int, start: int) -> None:
    log_mel = np.zeros((96, 120), np.float32)
    log_mel[:, loud_frame] = 1.0
    expected = np.zeros((96, 96), np.float32)
    expected[:, loud_frame - start] = 1.0
    np.testing.assert_array_equal(FRONT_END.loudest_patch(log_mel), expected)


def test_loudest_patch_of_a_long_sound_may_be_at_its_end() -> None:
    waveform = noise(13 * SECOND)
    waveform[: 11 * SECOND] *= 0.01
    log_mel = FRONT_END.log_mel(waveform)
    assert log_mel.shape == (96, 559)  # nothing is cut to 10 s
    # The sound grows loud at frame 472; the last patch starts at frame 456, at most 559 - 96.
    np.testing.assert_array_equal(FRONT_END.loudest_patch(log_mel), log_mel[:, 456:552])


def test_too_few_frames_for_a_patch() -> None:
    with pytest.raises(ValueError, match=r"95 frames are fewer than the 96 .* pad the sound"):
        FRONT_END.loudest_patch(random_log_mel(95))


@pytest.mark.parametrize(
    ("frames", "count", "kept"),
    [
        pytest.param(1, 1, 1, id="1-padded"),
        pytest.param(95, 1, 95, id="95-padded"),
        pytest.param(96, 1, 96, id="96-whole"),
        pytest.param(97, 1, 96, id="97-rest-dropped"),
        pytest.param(143, 1, 96, id="143-rest-one-below-half-dropped"),
        pytest.param(144, 2, 144, id="144-rest-of-half-padded"),
        pytest.param(172, 2, 172, id="172-rest-padded"),
        pytest.param(192, 2, 192, id="192-whole"),
        pytest.param(239, 2, 192, id="239-rest-dropped"),
        pytest.param(240, 3, 240, id="240-rest-padded"),
    ],
)
def test_consecutive_patches(frames: int, count: int, kept: int) -> None:
    log_mel = random_log_mel(frames)
    patches = FRONT_END.consecutive_patches(log_mel)
    assert patches.shape == (count, 96, 96)
    joined = np.concatenate(list(patches), axis=1)
    np.testing.assert_array_equal(joined[:, :kept], log_mel[:, :kept])
    np.testing.assert_array_equal(joined[:, kept:], FRONT_END.silence)


def test_scaler_maps_the_training_range_to_0_and_1_and_clips_the_rest() -> None:
    values = np.array([-20.0, -15.0, -10.0, 0.0, 5.0, 9.0], np.float32)
    scaled = Scaler(-15.0, 5.0).scale(values)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.float32([0, 0, 0.25, 0.75, 1, 1]))


def test_scaler_gives_exactly_0_and_1_at_any_ends() -> None:
    ends = np.sort(np.random.default_rng(0).uniform(-16, 8, (200, 2)).astype(np.float32), axis=1)
    for low_high in ends:
        scaled = Scaler(float(low_high[0]), float(low_high[1])).scale(low_high)
        np.testing.assert_array_equal(scaled, np.float32([0, 1]))


@pytest.mark.parametrize(
    ("minimum", "maximum"), [(-15.9, -15.9), (5.0, -15.0), (-15.9, np.inf), (np.nan, 5.0)]
)
def test_scaler_refuses_what_cannot_be_scaled(minimum: float, maximum: float) -> None:
    with pytest.raises(ValueError, match=r"training patches span .* two finite numbers"):
        Scaler(minimum, maximum)


def test_settings_survive_a_round_trip() -> None:
    changed = FrontEnd(sample_rate_hz=16_000, clip_seconds=5.0)
    assert changed.to_dict()["sample_rate_hz"] == 16_000
    assert FrontEnd.from_dict(changed.to_dict()) == changed


@pytest.mark.parametrize(
    ("missing", "added", "odd"),
    [
        pytest.param((), {"pre_emphasis": 0.97}, "pre_emphasis", id="one-too-many"),
        pytest.param(("hop_samples",), {}, "hop_samples", id="one-missing"),
        pytest.param(("hop_samples",), {"hop": 512}, "hop, hop_samples", id="another-name"),
    ],
)
def test_settings_of_another_version_are_refused(
    missing: tuple[str, ...], added: dict, odd: str
) -> None:
    settings = FRONT_END.to_dict() | added
    for key in missing:
        del settings[key]
    with pytest.raises(ValueError, match=f"differ from this version's in: {odd}$"):
        FrontEnd.from_dict(settings)
