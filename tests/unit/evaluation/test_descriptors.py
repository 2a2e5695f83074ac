"""Descriptors against librosa and SciPy, hand calculation, and which frames and sounds count."""

import itertools
import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.stats
import soundfile

from coala_jax.audio.decode import load
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.schema import Example
from coala_jax.evaluation import descriptors
from coala_jax.evaluation.descriptors import (
    DESCRIPTORS,
    STATISTICS,
    DescriptorError,
    describe,
    statistics,
    validation_descriptors,
)

RATE_HZ = 22_000


def melody(samples: int, seed: int = 0) -> np.ndarray:
    """A tone that glides and fades, out of tune, in a little noise."""
    seconds = np.arange(samples) / RATE_HZ
    tone = np.sin(2 * np.pi * (311 + 400 * seconds) * seconds) * np.exp(-seconds)
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.5 * tone + 0.01 * noise).astype(np.float32)


def by_librosa(waveform: np.ndarray) -> dict[str, np.ndarray]:
    known = {"y": waveform, "sr": RATE_HZ, "n_fft": 1024, "hop_length": 512}
    return {
        "mfcc": librosa.feature.mfcc(n_mfcc=20, **known),
        "chromagram": librosa.feature.chroma_stft(**known),
        "spectral_centroid": librosa.feature.spectral_centroid(**known),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(**known),
    }


def assert_equal_rows(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys() == DESCRIPTORS.keys()
    for name, count in DESCRIPTORS.items():
        assert found[name].shape == expected[name].shape and len(found[name]) == count
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("samples", [1024, 30_000])
def test_descriptors_are_librosas(samples):
    waveform = melody(samples)
    rows = describe(waveform, RATE_HZ)
    assert rows["mfcc"].shape == (20, 1 + samples // 512)
    assert_equal_rows(rows, by_librosa(waveform))


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (511, 1), (512, 2), (1535, 3)])
def test_a_sound_of_any_length_has_a_frame_and_gives_numbers(samples, frames):
    vectors = describe(melody(samples), RATE_HZ)
    assert {rows.shape[1] for rows in vectors.values()} == {frames}
    for kinds in statistics(vectors).values():
        assert all(np.isfinite(values).all() for values in kinds.values())


@pytest.mark.parametrize("hertz", [0, 40])
def test_silence_and_tones_without_pitch_give_numbers_and_no_warning(hertz):
    waveform = np.sin(2 * np.pi * hertz * np.arange(8000) / RATE_HZ).astype(np.float32)
    window = np.hanning(8000).astype(np.float32)
    rows = describe(waveform * window, RATE_HZ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # librosa's, of the tuning
        assert_equal_rows(rows, by_librosa(waveform * window))
    for kinds in statistics(rows).values():
        assert all(np.isfinite(values).all() for values in kinds.values())
        assert hertz or not (kinds["var"].any() or kinds["skew"].any())


@pytest.mark.parametrize(
    ("samples", "first", "frames", "expected"),
    [
        (512 * 30, 5, 12, slice(5, 17)),
        (512 * 9, 0, 11, slice(0, 10)),
        (512 * 9 - 1, 0, 10, slice(0, 9)),
        (512 * 9, 4, 96, slice(4, 10)),
        (512 * 9, 12, 96, slice(9, 10)),
        (512 * 9, 8, None, slice(8, 10)),
        (300, 0, 96, slice(0, 1)),
    ],
)
def test_padding_is_left_out_but_at_least_one_frame_is_described(samples, first, frames, expected):
    waveform = melody(samples)
    found = describe(waveform, RATE_HZ, first_frame=first, frames=frames)["spectral_centroid"]
    whole = describe(waveform, RATE_HZ)["spectral_centroid"]
    np.testing.assert_array_equal(found, whole[:, expected])


def test_statistics_are_those_worked_out_by_hand_and_scipys():
    rows = {"mfcc": np.array([[0, 0, 0, 4], [1, 2, 3, 4]], np.float32)}
    found = statistics(rows)["mfcc"]
    assert tuple(found) == STATISTICS
    np.testing.assert_allclose(found["mean"], [1, 2.5])
    np.testing.assert_allclose(found["var"], [3, 1.25])
    np.testing.assert_allclose(found["skew"], [6 / 3**1.5, 0], atol=1e-15)
    values = np.random.default_rng(0).gamma(1.0, 50.0, (20, 96)).astype(np.float32)
    found = statistics({"mfcc": values})["mfcc"]
    values = values.astype(np.float64)
    np.testing.assert_allclose(found["var"], np.var(values, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found["skew"], scipy.stats.skew(values, axis=1), rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-30])
def test_constant_rows_have_no_skewness(value):
    """Also where one value was rounded otherwise."""
    rows = np.full((1, 96), value, np.float32)
    rows[0, 0] = np.nextafter(rows[0, 0], np.float32(1e38)) if value else 0
    found = statistics({"mfcc": rows})["mfcc"]
    assert found["skew"][0] == 0
    assert found["mean"][0] == pytest.approx(np.float32(value), rel=1e-6)


# The dataset: sounds of one second, of six, and of a few samples.
SAMPLES = {"a/short.wav": 22_000, "long.flac": 132_000, "tiny.wav": 30}
FRAMES = {"a/short.wav": 0, "long.flac": 36, "tiny.wav": 0}


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset whose validation split is SAMPLES, and the folder of its sounds."""
    dataset, audio = tmp_path / "dataset", tmp_path / "audio"
    (audio / "a").mkdir(parents=True)
    dataset.mkdir()
    for seed, (name, samples) in enumerate(SAMPLES.items()):
        soundfile.write(audio / name, melody(samples, seed), RATE_HZ)
    patch, tags = np.zeros((96, 96), np.float32), np.array([0])
    examples = [Example(patch, tags, name, frame) for name, frame in FRAMES.items()]
    write_dataset(
        dataset,
        name="three",
        fingerprint="none",
        front_end=FrontEnd().to_dict(),
        vocabulary=["tone"],
        splits={"train": [Example(patch, tags, f"{i}.wav") for i in "xy"], "validation": examples},
    )
    return dataset, audio


def test_the_validation_sounds_are_described_in_the_order_of_the_split(corpus, tmp_path):
    dataset, audio = corpus
    table = validation_descriptors(dataset, audio, tmp_path / "new" / "cache")
    for number, (name, frame) in enumerate(FRAMES.items()):
        waveform = load(audio / name, RATE_HZ)
        expected = statistics(describe(waveform, RATE_HZ, first_frame=frame, frames=96))
        for kind, descriptor in itertools.product(STATISTICS, DESCRIPTORS):
            values = table[descriptor][kind]
            assert values.shape == (3, DESCRIPTORS[descriptor])
            # Products on one thread or several round otherwise.
            np.testing.assert_allclose(
                values[number], expected[descriptor][kind], rtol=1e-5, atol=1e-6
            )


def test_a_known_table_is_not_computed_again_and_a_changed_sound_is(corpus, tmp_path, monkeypatch):
    cache, (dataset, audio) = tmp_path / "cache", corpus
    first = validation_descriptors(dataset, audio, cache)
    with monkeypatch.context() as patch:
        patch.setattr(descriptors, "load", None)
        again = validation_descriptors(dataset, audio, cache)
    for kind, descriptor in itertools.product(STATISTICS, DESCRIPTORS):
        np.testing.assert_array_equal(first[descriptor][kind], again[descriptor][kind])
    soundfile.write(audio / "tiny.wav", np.zeros(3000), RATE_HZ)  # silence is accepted
    second = validation_descriptors(dataset, audio, cache)
    changed = first["mfcc"]["mean"] != second["mfcc"]["mean"]
    assert changed.any(axis=1).tolist() == [False, False, True]
    assert second["spectral_centroid"]["mean"][2] == 0


def test_a_damaged_cache_is_reported_and_recomputed(corpus, tmp_path, caplog):
    first = validation_descriptors(*corpus, tmp_path)
    (cache,) = tmp_path.glob("*.npz")
    whole = cache.read_bytes()
    place = whole.index(first["mfcc"]["mean"].tobytes()) + 5
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for damaged in (whole[: len(whole) // 2], flipped):
        caplog.clear()
        cache.write_bytes(damaged)
        second = validation_descriptors(*corpus, tmp_path)
        assert str(cache) in caplog.text
        np.testing.assert_array_equal(first["mfcc"]["mean"], second["mfcc"]["mean"])
        assert cache.read_bytes() == whole


def test_sounds_missing_or_not_decoded_are_one_error_that_lists_twenty(corpus, tmp_path):
    dataset, audio = corpus
    (audio / "tiny.wav").write_bytes(b"<html>")
    for damage, listed in (
        ((audio / "long.flac").touch, [f"  {audio / 'long.flac'}: ", f"  {audio / 'tiny.wav'}: "]),
        ((audio / "long.flac").unlink, ["  long.flac"]),
    ):
        (audio / "long.flac").write_bytes(b"")
        damage()
        with pytest.raises(DescriptorError) as caught:
            validation_descriptors(dataset, audio, tmp_path / "cache")
        first, *lines = str(caught.value).splitlines()
        assert first.startswith(f"{audio}: {len(lines)} ")
        assert [line[: len(told)] for line, told in zip(lines, listed, strict=True)] == listed
        assert not (tmp_path / "cache").exists()
    with pytest.raises(DescriptorError) as caught:
        descriptors._key([(f"{number}.wav", 0) for number in range(25)], tmp_path, FrontEnd())
    listed = str(caught.value).splitlines()[1:]
    assert listed == [f"  {number}.wav" for number in range(20)] + ["  and 5 more"]
