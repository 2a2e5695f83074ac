"""The front end against librosa, scikit-learn, brute force, and numbers worked out by hand."""

import itertools
import json
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import scipy.fft
from threadpoolctl import threadpool_limits

from coala_jax.audio.frontend import FrontEnd

FRONT_END = FrontEnd()
RELEASED = FrontEnd.released()
SECOND, CLIP = 22_000, 220_000  # samples
EPS = np.finfo(np.float32).eps
ANALYSES = [
    pytest.param({"window": window, "power": power, "edges": edges}, id=f"{window}-{power}-{edges}")
    for window, power, edges in itertools.product(
        ("hamming", "hann"), (2.0, 1.0), ("zeros", "reflect")
    )
]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def tone(frequency_hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(SECOND) / SECOND).astype(np.float32)


def librosa_energies(
    waveform: np.ndarray, window: str = "hamming", power: float = 2.0, edges: str = "zeros"
) -> np.ndarray:
    # librosa 0.11 cuts out the end of the sound to reflect it: one sample too few where the hop
    # divides the length. 0.7.2 padded the whole sound, as is done for it here.
    center = edges == "zeros" or waveform.size % 512 > 0
    return librosa.feature.melspectrogram(
        y=waveform if center else np.pad(waveform, 512, mode="reflect"),
        sr=22_000,
        n_fft=1024,
        hop_length=512,
        window=window,
        center=center,
        pad_mode={"zeros": "constant", "reflect": "reflect"}[edges],
        power=power,
        n_mels=96,
    )


def librosa_log_mel(waveform: np.ndarray, **analysis) -> np.ndarray:
    return np.log(librosa_energies(waveform, **analysis) + EPS)


def random_log_mel(frames: int, seed: int = 0) -> np.ndarray:
    """Multiples of 1/64, so that every sum of them is exact and equal patches are equals."""
    values = np.random.default_rng(seed).integers(-1000, 300, (96, frames))
    return (values / 64).astype(np.float32)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")  # librosa, of the shortest sounds
@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize(
    ("samples", "padded_samples"),
    [
        *((n, n) for n in (1, 2, 511, 512, 513, 1023, 1024, 1025, 1535, 1536, 1537)),
        *((n, n) for n in (5119, 5120, 5121, SECOND, 13 * SECOND)),
        *((n, CLIP) for n in (1, 511, 512, 513, SECOND, CLIP - 1, CLIP)),
        (CLIP + 1, CLIP + 1),
        # The last frame sees the reflection of samples from 3583 on.
        *((n, 4096) for n in (3582, 3583, 3584, 3585)),
    ],
)
def test_values_equal_librosa(samples: int, padded_samples: int, analysis: dict) -> None:
    waveform = noise(samples)
    padded = np.pad(waveform, (0, padded_samples - samples))
    expected = librosa_energies(padded, **analysis)
    for precision in ("float32", "float64"):
        front_end = FrontEnd(**analysis, precision=precision)
        energies = front_end.mel_energies(waveform, padded_samples / SECOND)
        assert energies.dtype == np.float32
        assert energies.shape == expected.shape == (96, 1 + padded_samples // 512)
        assert (np.abs(energies - expected) <= 1e-6 * expected.max(axis=0)).all()
    log_mel = front_end.log_mel(waveform, padded_samples / SECOND)
    assert log_mel.dtype == np.float32
    np.testing.assert_allclose(log_mel, np.log(expected + EPS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_float32_is_enough_for_noise(analysis: dict) -> None:
    log_mel = FrontEnd(**analysis).log_mel(noise(SECOND), 0.0)
    np.testing.assert_allclose(
        log_mel, librosa_log_mel(noise(SECOND), **analysis), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("settings", "deviation"),
    [
        pytest.param({}, 0.006, id="paper"),
        pytest.param(RELEASED.to_dict(), 0.006, id="released"),
        pytest.param({"window": "hann", "power": 1.0}, 1.6, id="magnitude-without-noise"),
    ],
)
@pytest.mark.parametrize("frequency_hz", [440, 1050, 2550, 5050, 9800])
def test_a_tone_costs_float32_what_the_docstring_says(
    frequency_hz: float, settings: dict, deviation: float
) -> None:
    """Most bands are at the floor, where rounding shows most."""
    exact = FrontEnd(**settings | {"precision": "float64", "noise": 0.0})
    analysis = {key: exact.to_dict()[key] for key in ("window", "power", "edges")}
    energies = exact.mel_energies(tone(frequency_hz), 0.0)
    expected = librosa_energies(tone(frequency_hz), **analysis)
    assert (np.abs(energies - expected) <= 1e-6 * expected.max(axis=0)).all()
    np.testing.assert_allclose(
        exact.log_mel(tone(frequency_hz), 0.0), np.log(expected + EPS), atol=2e-6, rtol=0
    )
    fast, slow = (
        FrontEnd(**settings | {"precision": precision}) for precision in ("float32", "float64")
    )
    energies = fast.mel_energies(tone(frequency_hz), 0.0)
    expected = slow.mel_energies(tone(frequency_hz), 0.0)
    assert (np.abs(energies - expected) <= 1e-6 * expected.max(axis=0)).all()
    np.testing.assert_allclose(
        fast.log_mel(tone(frequency_hz), 0.0),
        slow.log_mel(tone(frequency_hz), 0.0),
        atol=deviation,
        rtol=0,
    )


def test_the_two_edges_differ_in_the_first_frame_alone_and_by_2_6() -> None:
    """Of samples 1 and c the lowest band sees 1 + c, and with the reflection 1 + 2 c."""
    waveform = np.zeros(SECOND, np.float32)
    waveform[:2] = 1, (1 - np.exp(2.6)) / (np.exp(2.6) - 2)  # (1 + 2 c) / (1 + c) = -exp(2.6)
    zeros, reflect = (
        FrontEnd(window="hann", power=1.0, edges=edges).log_mel(waveform)
        for edges in ("zeros", "reflect")
    )
    assert reflect[0, 0] - zeros[0, 0] == pytest.approx(2.6, abs=0.05)
    np.testing.assert_array_equal(reflect[:, 1:], zeros[:, 1:])


def test_noise_is_added_to_the_whole_padded_sound_before_it_is_reflected() -> None:
    for samples in (1, 100, SECOND, CLIP + 1):
        waveform = noise(samples)
        padded = np.pad(waveform, (0, max(0, CLIP - samples)))
        generator = np.random.default_rng(zlib.crc32(waveform.tobytes()))
        noisy = padded + np.float32(5e-4) * generator.random(padded.size, np.float32)
        expected = librosa_log_mel(noisy, window="hann", power=1.0, edges="reflect")
        np.testing.assert_allclose(RELEASED.log_mel(waveform), expected, atol=1e-5, rtol=0)


def test_noise_differs_between_sounds() -> None:
    silent = [np.zeros(samples, np.float32) for samples in (1000, 1001)]
    first, second = map(RELEASED.log_mel, silent)
    assert np.abs(first - second).mean() > 0.1


@pytest.mark.parametrize("front_end", [FRONT_END, RELEASED], ids=["paper", "released"])
def test_bytes_do_not_depend_on_order_or_threads(front_end: FrontEnd) -> None:
    sounds = [noise(samples, seed=samples) for samples in (1, 513, SECOND, 5 * SECOND, CLIP)]
    with threadpool_limits(1):
        expected = [front_end.log_mel(sound).tobytes() for sound in sounds]
    with threadpool_limits(2), ThreadPoolExecutor(3) as pool:
        others = list(pool.map(front_end.log_mel, reversed(sounds)))
    assert [other.tobytes() for other in reversed(others)] == expected
    every_second = np.repeat(sounds[2], 2)[::2]
    assert front_end.log_mel(every_second).tobytes() == expected[2]


@pytest.mark.parametrize(
    ("settings", "samples", "frames"),
    [
        # Of 430 frames; frame f sees samples 512 f - 512 to 512 f + 511.
        pytest.param({}, 1, 2, id="1-sample"),
        pytest.param({}, SECOND, 44, id="1-s"),
        pytest.param({"edges": "reflect"}, SECOND, 44, id="1-s-reflected"),
        pytest.param({"noise": 1e-9}, 1, 430, id="1-sample-and-noise"),
        pytest.param({}, CLIP, 430, id="10-s"),
    ],
)
def test_padding_is_not_transformed(
    settings: dict, samples: int, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformed = []
    rfft = scipy.fft.rfft
    monkeypatch.setattr(
        scipy.fft, "rfft", lambda rows, axis: transformed.append(len(rows)) or rfft(rows, axis=axis)
    )
    FrontEnd(**settings).log_mel(noise(samples))
    assert sum(transformed) == frames


def test_a_long_sound_takes_little_memory() -> None:
    """All frames and their spectra at once would take ten times as much as the sound."""
    waveform = noise(60 * SECOND)
    FRONT_END.log_mel(waveform[:SECOND])
    tracemalloc.start()
    FRONT_END.log_mel(waveform)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * waveform.nbytes


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("power", [2.0, 1.0])
def test_silence_is_the_logarithm_of_float32_eps(power: float, precision: str) -> None:
    front_end = FrontEnd(power=power, precision=precision)
    assert front_end.silence == pytest.approx(-15.942385)  # ln(2**-23)
    log_mel = front_end.log_mel(np.zeros(SECOND, np.float32))
    np.testing.assert_array_equal(log_mel, front_end.silence)


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
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
    samples: int, sounding: int, edges: str
) -> None:
    waveform = np.where(np.arange(samples) % 2, 0.5, -0.4).astype(np.float32)
    log_mel = FrontEnd(edges=edges).log_mel(waveform)
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


def test_loudest_patch_of_a_long_sound_may_be_at_its_end() -> None:
    waveform = noise(13 * SECOND)
    waveform[: 11 * SECOND] *= 0.01
    log_mel = FRONT_END.log_mel(waveform)
    assert log_mel.shape == (96, 559)  # nothing is cut to 10 s
    # The sound grows loud at frame 472; the last patch starts at frame 456, at most 559 - 96.
    np.testing.assert_array_equal(FRONT_END.loudest_patch(log_mel), log_mel[:, 456:552])


@pytest.mark.parametrize(
    ("count", "starts"),
    [
        (1, [36]),
        (2, [0, 36]),
        (3, [0, 12, 36]),
        (4, [0, 12, 24, 36]),
        (5, [0, 12, 24, 36]),
        (0, [0, 12, 24, 36]),
    ],
)
def test_starts_of_the_loudest_patches_in_order_of_time(count: int, starts: list[int]) -> None:
    log_mel = np.zeros((96, 132), np.float32)
    log_mel[5, [0, 20, 131]] = 3, 1, 5  # so the patches from 0, 12, 24, 36 sum to 4, 1, 0, 5
    found = FRONT_END.patch_starts(log_mel, count)
    assert found.dtype == np.int64
    assert found.tolist() == starts


def test_starts_of_equally_loud_patches_are_the_first() -> None:
    log_mel = np.zeros((96, 990), np.float32)
    assert FRONT_END.patch_starts(log_mel, 2).tolist() == [0, 12]
    log_mel[0, 600] = 1  # in the eight patches from 516, 528, ... 600
    assert FRONT_END.patch_starts(log_mel, 3).tolist() == [516, 528, 540]
    assert FRONT_END.patch_starts(log_mel, 10).tolist() == [0, 12, *range(516, 601, 12)]
    # Twelve frames again and again: all patches are the same, but differences of running sums,
    # rounded, are not.
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(96, 12)) * 10.0 ** rng.integers(-12, 1, (96, 12))
    again = np.tile(frames.astype(np.float32), 80)
    assert FRONT_END.patch_starts(again).tolist() == [0]
    assert FRONT_END.patch_starts(again, 3).tolist() == [0, 12, 24]


def test_what_has_no_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        FRONT_END.patch_starts(random_log_mel(96), -1)
    with pytest.raises(ValueError, match="95 frames"):
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


def test_released_settings() -> None:
    differing = dict(RELEASED.to_dict().items() - FRONT_END.to_dict().items())
    assert differing == {"window": "hann", "power": 1.0, "edges": "reflect", "noise": 5e-4}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", "hanning"),
        ("power", 3.0),
        ("edges", "constant"),
        ("precision", "float16"),
        ("noise", -1e-9),
        ("noise", np.inf),
        ("clip_seconds", np.nan),
        ("log_offset", 0.0),
        ("hop_samples", 0),
        ("window_samples", 1023),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} .* {value}$"):
        FrontEnd(**{name: value})


def test_settings_survive_a_round_trip() -> None:
    changed = FrontEnd(sample_rate_hz=16_000, clip_seconds=0.0)
    assert changed.to_dict()["sample_rate_hz"] == 16_000
    for settings in (changed, RELEASED):
        assert FrontEnd.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_settings_of_another_version_are_refused() -> None:
    settings = FRONT_END.to_dict() | {"hop": 512}
    del settings["hop_samples"]
    with pytest.raises(ValueError, match=r"hop, hop_samples$"):
        FrontEnd.from_dict(settings)
