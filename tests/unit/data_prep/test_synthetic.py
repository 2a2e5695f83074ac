"""Synthetic sounds: what the tags say is measured in the waveforms."""

import csv
import functools
import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from coala_jax.data_prep.sample_corpus.synthetic import (
    SyntheticSound,
    synthesize,
    write_synthetic_corpus,
)

from coala_jax.tags.normalize import normalize_tags
from tests.fake_apt import contents


@functools.cache
def sounds() -> list[SyntheticSound]:
    return [synthesize(index, seed=7) for index in range(240)]


def with_tag(*tags: str) -> list[SyntheticSound]:
    found = [sound for sound in sounds() if set(tags) <= set(sound.tags)]
    assert found, f"none of {len(sounds())} sounds has the tags {tags}"
    return found


def seconds(sound: SyntheticSound) -> float:
    return sound.waveform.size / sound.sample_rate_hz


def peak_hz(waveform: np.ndarray, sample_rate_hz: int) -> float:
    """Frequency with the most energy, of at most 1 s: with zeros up to 1 s, a bin is 1 Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(waveform.size), sample_rate_hz))
    return float(np.argmax(spectrum))


def part(sound: SyntheticSound, start: float, stop: float) -> np.ndarray:
    """The stretch between two fractions of the sound."""
    size = sound.waveform.size
    return sound.waveform[int(start * size) : int(stop * size)]


@pytest.mark.parametrize(
    ("register", "low_hz", "high_hz"), [("low", 110, 370), ("mid", 670, 1460), ("high", 2700, 5200)]
)
def test_register_is_where_the_energy_is(register, low_hz, high_hz):
    for sound in with_tag(register):
        if "noise" in sound.tags or "click" in sound.tags:
            continue  # their energy spreads over an octave; see the test below
        middle = part(sound, 0.45, 0.55) if "chirp" in sound.tags else sound.waveform
        peak = peak_hz(middle[: sound.sample_rate_hz], sound.sample_rate_hz)
        assert low_hz <= peak <= high_hz, sound.group


@pytest.mark.parametrize("kind", ["noise", "click"])
def test_registers_of_broad_sounds_do_not_touch(kind):
    centroids = {}
    for register in ("low", "mid", "high"):
        peaks = []
        for sound in with_tag(kind, register):
            power = np.abs(np.fft.rfft(sound.waveform)) ** 2
            frequency = np.fft.rfftfreq(sound.waveform.size, 1 / sound.sample_rate_hz)
            heard = frequency > 20
            octaves = np.average(np.log2(frequency[heard]), weights=power[heard])
            peaks.append(2**octaves)
        centroids[register] = (min(peaks), max(peaks))
    assert centroids["low"][1] < centroids["mid"][0]
    assert centroids["mid"][1] < centroids["high"][0]


@pytest.mark.parametrize(("direction", "sign"), [("rising", 1), ("falling", -1)])
def test_chirp_glides_one_to_two_octaves(direction, sign):
    for sound in with_tag("chirp", direction):
        start = peak_hz(part(sound, 0.05, 0.15), sound.sample_rate_hz)
        stop = peak_hz(part(sound, 0.85, 0.95), sound.sample_rate_hz)
        octaves = sign * np.log2(stop / start)
        # From 0.1 to 0.9 of the sound; one window of a low chirp blurs a third of an octave.
        assert 0.8 * 1.0 - 0.35 <= octaves <= 0.8 * 2.0 + 0.35, sound.group


@pytest.mark.parametrize(
    ("envelope", "low_db", "high_db"),
    [("fading", 18, 36), ("swelling", -36, -18), ("steady", -7, 7)],
)
def test_envelope_is_in_the_level(envelope, low_db, high_db):
    for sound in with_tag(envelope):
        first, last = (np.sqrt(np.mean(part(sound, *p) ** 2)) for p in [(0, 1 / 3), (2 / 3, 1)])
        assert low_db <= 20 * np.log10(first / last) <= high_db, sound.group


@pytest.mark.parametrize(("rate", "low_hz", "high_hz"), [("slow", 3, 5), ("fast", 10, 16)])
def test_rate_is_in_the_energy(rate, low_hz, high_hz):
    for sound in with_tag(rate, "steady"):
        hop = sound.sample_rate_hz // 100
        frames = sound.waveform[: sound.waveform.size // hop * hop].reshape(-1, hop)
        energy = np.convolve((frames**2).sum(axis=1), np.hanning(7), mode="same")
        spectrum = np.abs(np.fft.rfft(energy - energy.mean(), 4096))
        frequency = np.fft.rfftfreq(4096, hop / sound.sample_rate_hz)
        heard = frequency > 2
        found = frequency[heard][np.argmax(spectrum[heard])]
        assert low_hz * 0.9 <= found <= high_hz * 1.1, sound.group


def test_length_tags_follow_the_duration():
    for sound in sounds():
        assert 0.29 < seconds(sound) <= 3.0
        assert ("short" in sound.tags) == (seconds(sound) <= 0.6)
        assert ("long" in sound.tags) == (seconds(sound) >= 1.5 - 1e-3)
    assert 0.05 < np.mean([seconds(sound) > 2.2 for sound in sounds()]) < 0.25


def test_every_tag_is_frequent_and_survives_normalising():
    counts = Counter(tag for sound in sounds() for tag in sound.tags)
    assert min(counts.values()) >= 10
    assert normalize_tags(counts) == tuple(counts)


def test_takes_share_group_and_tags_and_nothing_else_does():
    by_group: dict[str, list[int]] = {}
    for index, sound in enumerate(sounds()):
        by_group.setdefault(sound.group, []).append(index)
    pairs = [indices for indices in by_group.values() if len(indices) > 1]
    assert pairs == [[index - 1, index] for index in range(19, 240, 20)]
    detunings = []
    for index in range(19, 240, 20):
        one, other = sounds()[index - 1], sounds()[index]
        assert one.tags == other.tags
        assert one.waveform.size == other.waveform.size
        assert np.abs(one.waveform - other.waveform).max() > 0.01
        if one.tags[0] in ("tone", "buzz"):
            peaks = [
                peak_hz(s.waveform[: s.sample_rate_hz], s.sample_rate_hz) for s in (one, other)
            ]
            detunings.append(abs(np.log2(peaks[0] / peaks[1])))
    assert 0.002 < max(detunings) < 1 / 11  # octaves


def test_seed_and_index_determine_the_sound_on_every_machine_and_in_every_version():
    sound = synthesize(3, seed=7)
    assert sound.tags == ("click", "high", "fast", "fading", "short")
    assert (sound.sample_rate_hz, sound.waveform.size) == (44_100, 22_569)
    four = [0.003891491, 0.002133851, 0.001250762, -0.001360458]
    np.testing.assert_allclose(sound.waveform[1000:1004], four, atol=1e-7)
    others = [synthesize(3, seed=8), synthesize(4, seed=7)]
    assert all(other.waveform.size != sound.waveform.size for other in others)


def test_the_corpus_holds_these_sounds(tmp_path):
    write_synthetic_corpus(tmp_path, sounds=20, seed=7)
    with (tmp_path / "sounds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row, sound in zip(rows, sounds(), strict=False):
        assert row["tags"].split() == list(sound.tags)
        about = (sound.group, "CC0-1.0", "synthetic")
        assert (row["group"], row["licence"], row["source"]) == about
        path = tmp_path / "audio" / row["file"]
        assert soundfile.info(path).subtype == "PCM_16"
        waveform, sample_rate_hz = soundfile.read(path, dtype="float32")
        assert sample_rate_hz == sound.sample_rate_hz
        np.testing.assert_allclose(waveform, sound.waveform, atol=1 / 32768)
    description = json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8"))
    assert (description["name"], description["sounds"]) == ("synthetic", 20)
    assert (description["groups"], description["missing"]) == (19, {})
    assert {row["file"] for row in rows} == contents(tmp_path / "audio").keys()
    before = contents(tmp_path)
    write_synthetic_corpus(tmp_path, sounds=20, seed=7)
    assert contents(tmp_path) == before
    with pytest.raises(CorpusError, match="'seed': 8"):
        write_synthetic_corpus(tmp_path, sounds=20, seed=8)
    assert contents(tmp_path) == before
    for numbers in ((0, 0), (-1, 0), (1, -1)):
        with pytest.raises(ValueError):
            write_synthetic_corpus(tmp_path / "impossible", *numbers)
