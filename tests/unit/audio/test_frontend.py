"""The front end against librosa, scikit-learn, brute force, and numbers worked out by hand."""

import itertools
import json
import tracemalloc
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from coala_jax.audio import frontend
from coala_jax.audio.frontend import FrontEnd

FRONT_END = FrontEnd()
RELEASED = FrontEnd.released()
SECOND, CLIP = 22_000, 220_000  # samples
EPS = np.finfo(np.float32).eps


ANALYSES = [
    {"window": window, "power": power, "edges": edges}
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


def random_log_mel(frames: int, seed: int = 0) -> np.ndarray:
    """Multiples of 1/64, so that every sum of them is exact and equal patches are equals."""
    values = np.random.default_rng(seed).integers(-1000, 300, (96, frames))
    return (values / 64).astype(np.float32)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")  # librosa, of the shortest sounds
@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
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


def test_noise_is_added_to_the_whole_padded_sound_before_it_is_reflected() -> None:
    for samples in (1, 100, SECOND, CLIP + 1):
        waveform = noise(samples)
        padded = np.pad(waveform, (0, max(0, CLIP - samples)))
        generator = np.random.default_rng(zlib.crc32(waveform.tobytes()))
        noisy = padded + np.float32(5e-4) * generator.random(padded.size, np.float32)
        expected = np.log(librosa_energies(noisy, window="hann", power=1.0, edges="reflect") + EPS)
        np.testing.assert_allclose(RELEASED.log_mel(waveform), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "deviation"),
    [({}, 0.006), (RELEASED.to_dict(), 0.006), ({"window": "hann", "power": 1.0}, 1.6)],
    ids=["paper", "released", "magnitude-without-noise"],
)
@pytest.mark.parametrize("frequency_hz", [440, 1050, 2550, 5050, 9800])
def test_a_tone_costs_float32_what_the_docstring_says(
    frequency_hz: float, settings: dict, deviation: float
) -> None:
    """Most bands are at the floor, where rounding shows most."""
    fast, slow = (FrontEnd(**settings | {"precision": p}) for p in ("float32", "float64"))
    expected = slow.mel_energies(tone(frequency_hz), 0.0)
    errors = np.abs(fast.mel_energies(tone(frequency_hz), 0.0) - expected)
    assert (errors <= 1e-6 * expected.max(axis=0)).all()
    expected = slow.log_mel(tone(frequency_hz), 0.0)
    actual = fast.log_mel(tone(frequency_hz), 0.0)
    np.testing.assert_allclose(actual, expected, atol=deviation, rtol=0)
    exact = FrontEnd(**settings | {"precision": "float64", "noise": 0.0})
    analysis = {key: exact.to_dict()[key] for key in ("window", "power", "edges")}
    expected = np.log(librosa_energies(tone(frequency_hz), **analysis) + EPS)
    actual = exact.log_mel(tone(frequency_hz), 0.0)
    np.testing.assert_allclose(actual, expected, atol=2e-6, rtol=0)


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


def test_consecutive_patches() -> None:
    """A rest of half a patch or more is padded, a shorter one dropped."""
    kept_of = {1: 1, 95: 95, 96: 96, 97: 96, 143: 96, 144: 144, 172: 172, 192: 192, 239: 192}
    for frames, kept in kept_of.items():
        log_mel = random_log_mel(frames)
        patches = FRONT_END.consecutive_patches(log_mel)
        assert patches.shape == (-(-kept // 96), 96, 96)
        joined = np.concatenate(list(patches), axis=1)
        np.testing.assert_array_equal(joined[:, :kept], log_mel[:, :kept])
        np.testing.assert_array_equal(joined[:, kept:], FRONT_END.silence)


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


@pytest.mark.parametrize(
    ("count", "places"), [(1, [3]), (2, [0, 3]), (3, [0, 1, 3]), (5, range(4)), (0, range(4))]
)
def test_starts_of_the_loudest_patches_in_order_of_time(count: int, places: Sequence[int]) -> None:
    log_mel = np.zeros((96, 132), np.float32)
    log_mel[5, [0, 20, 131]] = 3, 1, 5  # so the patches from 0, 12, 24, 36 sum to 4, 1, 0, 5
    found = FRONT_END.patch_starts(log_mel, count)
    assert found.dtype == np.int64
    assert found.tolist() == [12 * place for place in places]


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
    with pytest.raises(ValueError, match=f"^{name} is {value!r}; it must be "):
        FrontEnd(**{name: value})


def test_what_has_no_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        FRONT_END.patch_starts(random_log_mel(96), -1)
    with pytest.raises(ValueError, match="95"):
        FRONT_END.loudest_patch(random_log_mel(95))


def test_settings_survive_a_round_trip_and_those_of_another_version_are_refused() -> None:
    for settings in (FrontEnd(sample_rate_hz=16_000, clip_seconds=0.0), RELEASED):
        assert FrontEnd.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    other = FRONT_END.to_dict() | {"hop": 512}
    del other["hop_samples"]
    with pytest.raises(ValueError, match="hop, hop_samples"):
        FrontEnd.from_dict(other)


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
@pytest.mark.parametrize("samples", [1, 512, 513, 1024, 1025, 1537, 2048, 30_001])
def test_frames_of_a_stream_are_those_of_the_whole_bit_for_bit(edges: str, samples: int) -> None:
    waveform = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    for front_end in (FrontEnd(edges=edges), FrontEnd(edges=edges, noise=5e-4, hop_samples=300)):
        wanted = front_end.log_mel(waveform, 0.0)
        for size in (100, 512, 1024, 5_000, 10**6):
            blocks = (waveform[start : start + size] for start in range(0, samples, size))
            found = np.concatenate(list(front_end.stream_log_mel(blocks)), axis=1)
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("rate_hz", "samples", "bands"), [(22_000, 1024, 96), (44_100, 2048, 128), (8_000, 512, 40)]
)
def test_the_mel_filters_are_librosas(rate_hz: int, samples: int, bands: int) -> None:
    found = frontend._mel_filters(rate_hz, samples, bands, "float32").toarray()
    wanted = librosa.filters.mel(sr=rate_hz, n_fft=samples, n_mels=bands, dtype=np.float32)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7 * wanted.max())
