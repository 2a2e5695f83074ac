"""Synthetic sounds with tags that say what can be heard in them.

For machines without real sounds, and for tests: every tag follows from the acoustics alone, so a
model that learns finds the tags of sounds it has not heard, and one that does not learn cannot.
Ranges of neighbouring tags leave a gap between them, so that no sound sits on a border.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusSound,
    check_same_origin,
    write_index,
)
from jaxtyping import Float

KINDS = ("tone", "buzz", "chirp", "noise", "click", "pulse")
# Centre frequencies, Hz. A chirp goes at most an octave past its centre, below 11 025 Hz.
REGISTERS_HZ = {"low": (120.0, 350.0), "mid": (700.0, 1400.0), "high": (2800.0, 5000.0)}
ENVELOPES = ("steady", "fading", "swelling")
# Events a second of clicks and pulses.
RATES_HZ = {"slow": (3.0, 5.0), "fast": (10.0, 16.0)}
SHORT_SECONDS = 0.6  # at most: tagged short
LONG_SECONDS = 1.5  # at least: tagged long
SECONDS = (0.3, 3.0)  # range of all; a patch of 96 frames lasts 2.2 s, some are longer
SAMPLE_RATES_HZ = (22_050, 44_100)
TAKE_EVERY = 20  # every 20th sound is a second take of the one before


@dataclass(frozen=True)
class SyntheticSound:
    """A sound in memory.

    Attributes:
        waveform: mono, in [-1, 1].
        sample_rate_hz: 22 050 or 44 100.
        tags: what can be heard in it, e.g. ("chirp", "high", "rising", "steady", "short").
        group: the sound it is a take of; takes of one sound share it.
    """

    waveform: Float[np.ndarray, " samples"]
    sample_rate_hz: int
    tags: tuple[str, ...]
    group: str


def synthesize(index: int, seed: int) -> SyntheticSound:
    """The sound number `index` (from 0) of the synthetic corpus with this seed."""
    is_take = index % TAKE_EVERY == TAKE_EVERY - 1
    original = index - 1 if is_take else index
    recipe = np.random.default_rng((seed, original))
    variation = np.random.default_rng((seed, index, 1))

    kind = str(recipe.choice(KINDS))
    register = str(recipe.choice(tuple(REGISTERS_HZ)))
    envelope = str(recipe.choice(ENVELOPES))
    seconds = _log_uniform(recipe, *SECONDS)
    sample_rate_hz = int(recipe.choice(SAMPLE_RATES_HZ))
    # A take differs by up to a semitone; the gap between registers is an octave.
    centre_hz = _log_uniform(recipe, *REGISTERS_HZ[register]) * variation.uniform(0.97, 1.03)
    time = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    waveform, character = _MAKERS[kind](time, centre_hz, recipe, variation)

    waveform = waveform * _envelope(envelope, time)
    waveform = waveform / np.abs(waveform).max()
    # The hiss of a quiet room, so that pauses are not digital silence.
    waveform = waveform + variation.standard_normal(time.size) * recipe.uniform(5e-4, 3e-3)
    waveform = waveform * (recipe.uniform(0.15, 0.9) / np.abs(waveform).max())

    length = ("short",) if seconds <= SHORT_SECONDS else ()
    length = ("long",) if seconds >= LONG_SECONDS else length
    tags = (kind, register, *character, envelope, *length)
    group = f"synthetic/{kind}{original:06d}"
    return SyntheticSound(waveform.astype(np.float32), sample_rate_hz, tags, group)


def write_synthetic_corpus(out: Path, sounds: int, seed: int) -> list[CorpusSound]:
    """Writes a corpus folder (see `corpus_folder`) of 16 bit wav files; equal seeds, equal bytes.

    Args:
        out: the corpus folder.
        sounds: how many, at least 1.
        seed: at least 0.

    Returns:
        The sounds, as `out/sounds.csv` lists them.

    Raises:
        ValueError: `sounds` or `seed` is out of range.
        CorpusError: `out` holds another corpus.
    """
    if sounds < 1 or seed < 0:
        raise ValueError(f"sounds must be at least 1 and seed at least 0, not {sounds} and {seed}")
    origin = {"formula": __name__, "sounds": sounds, "seed": seed}
    check_same_origin(out / "corpus.json", origin)
    (out / "audio" / "synthetic").mkdir(parents=True, exist_ok=True)
    written = []
    for index in range(sounds):
        sound = synthesize(index, seed)
        name = f"synthetic/{index:06d}.wav"
        _write_wav(out / "audio" / name, sound)
        written.append(CorpusSound(name, sound.tags, sound.group, "CC0-1.0", "synthetic"))
    write_index(out, "synthetic", written, origin, missing={})
    return written


def _write_wav(path: Path, sound: SyntheticSound) -> None:
    part = path.with_suffix(".part")  # renamed when whole: this corpus may be in use already
    soundfile.write(part, sound.waveform, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    part.replace(path)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _envelope(name: str, time: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Gain over time: level, 40 dB down, or 40 dB up, with 5 ms ramps against clicks."""
    progress = time / time[-1]
    decibel = {"steady": 0.0 * progress, "fading": -40 * progress, "swelling": 40 * (progress - 1)}
    ramp = np.minimum(1.0, np.minimum(time, time[-1] - time) / 0.005)
    return ramp * 10 ** (decibel[name] / 20)


# The makers: time in seconds, centre frequency in Hz, random numbers of the recipe and of the take
# -> (waveform, tags for what else can be heard). The recipe gives a sound its character, the take
# its phases and noise.
_Time = Float[np.ndarray, " samples"]
_Made = tuple[Float[np.ndarray, " samples"], tuple[str, ...]]
_Rng = np.random.Generator


def _tone(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    del recipe
    return np.sin(2 * np.pi * (centre_hz * time + variation.uniform())), ()


def _buzz(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    """Six harmonics; those that would pass 11 025 Hz at half the rate are left out."""
    slope = recipe.uniform(0.3, 1.0)
    waveform = np.zeros_like(time)
    for harmonic in range(1, 7):
        if harmonic * centre_hz < 10_500:
            phase = harmonic * centre_hz * time + variation.uniform()
            waveform += harmonic**-slope * np.sin(2 * np.pi * phase)
    return waveform, ()


def _chirp(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    """An exponential glide over 1 to 2 octaves, centred on the register."""
    octaves = recipe.uniform(1.0, 2.0)
    direction = str(recipe.choice(("rising", "falling")))
    slope = octaves / time[-1] * (1 if direction == "rising" else -1)
    start_hz = centre_hz * 2 ** (-slope * time[-1] / 2)
    cycles = start_hz * (2 ** (slope * time) - 1) / (slope * np.log(2))
    return np.sin(2 * np.pi * (cycles + variation.uniform())), (direction,)


def _noise(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    """White noise through a band of a third to a whole octave about the centre."""
    width_octaves = recipe.uniform(0.15, 0.45)  # standard deviation of the band
    spectrum = np.fft.rfft(variation.standard_normal(time.size))
    frequency_hz = np.fft.rfftfreq(time.size, time[1] - time[0])
    distance_octaves = np.log2(np.maximum(frequency_hz, 1.0) / centre_hz)
    band = np.exp(-0.5 * (distance_octaves / width_octaves) ** 2)
    return np.fft.irfft(spectrum * band, time.size), ()


def _click(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    """Strokes of a few milliseconds that ring at the centre frequency."""
    rate, since_event = _events(time, recipe)
    ring_seconds = max(0.004, 1.5 / centre_hz)
    ringing = np.sin(2 * np.pi * (centre_hz * since_event + variation.uniform()))
    return ringing * np.exp(-since_event / ring_seconds), (rate,)


def _pulse(time: _Time, centre_hz: float, recipe: _Rng, variation: _Rng) -> _Made:
    """A tone that is on for 60 % of each period and ramps in 5 ms."""
    rate, since_event = _events(time, recipe)
    period_seconds = since_event.max()
    on = np.clip(np.minimum(since_event, 0.6 * period_seconds - since_event) / 0.005, 0.0, 1.0)
    return on * np.sin(2 * np.pi * (centre_hz * time + variation.uniform())), (rate,)


def _events(time: _Time, recipe: _Rng) -> tuple[str, _Time]:
    """(rate tag, seconds since the last event); there are at least three events in the sound."""
    slow_fits = time[-1] * RATES_HZ["slow"][0] >= 3
    rate = "slow" if recipe.random() < 2 / 3 and slow_fits else "fast"
    events_hz = _log_uniform(recipe, *RATES_HZ[rate])
    return rate, np.mod(time, 1 / events_hz)


_MAKERS: dict[str, Callable[[_Time, float, _Rng, _Rng], _Made]] = {
    "tone": _tone,
    "buzz": _buzz,
    "chirp": _chirp,
    "noise": _noise,
    "click": _click,
    "pulse": _pulse,
}
