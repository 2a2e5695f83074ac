"""Waveforms to log-mel patches (paper, section 3.1), in NumPy.

A patch is `float32[mel=96, time=96]`, scaled to [0, 1] only where it is read (`data/scaler.py`).
This file is its one definition.
"""

import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
from jaxtyping import Float, Float32, Int64

Waveform = Float32[np.ndarray, " sample"]
LogMel = Float32[np.ndarray, "mel time"]
Patch = Float32[np.ndarray, "mel patch_time"]
Patches = Float32[np.ndarray, "patch mel patch_time"]

_CHOICES = {
    "window": ("hamming", "hann"),
    "power": (2.0, 1.0),
    "edges": ("zeros", "reflect"),
    "precision": ("float32", "float64"),
}
_MAY_BE_ZERO = ("clip_seconds", "noise")
# Transformed at once: their spectra stay in a core's cache.
_BLOCK_BYTES = 2**19


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """The settings of the analysis, the paper's by default; datasets and models carry theirs.

    Raises:
        ValueError: a setting is out of range.
    """

    sample_rate_hz: int = 22_000
    window: str = "hamming"  # or hann; periodic, as librosa's
    window_samples: int = 1024  # 46.5 ms
    hop_samples: int = 512
    edges: str = "zeros"  # beyond both ends of the padded sound; or reflect
    power: float = 2.0  # of the magnitudes that are summed to mel bands; or 1.0
    mel_bands: int = 96  # Slaney's scale and normalisation, as librosa's
    clip_seconds: float = 10.0  # shorter sounds are padded with zeros to this length
    noise: float = 0.0  # times U[0, 1) is added to every sample of the padded sound
    patch_frames: int = 96  # 2.2 s
    patch_step_frames: int = 12
    log_offset: float = float(np.finfo(np.float32).eps)  # added to the mel energies
    precision: str = "float32"  # of the transform and the sums; or float64

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if name in _CHOICES:
                if value not in _CHOICES[name]:
                    known = " or ".join(map(str, _CHOICES[name]))
                    raise ValueError(f"{name} is {value!r}; it must be {known}")
            elif not 0 <= value < math.inf or (value == 0 and name not in _MAY_BE_ZERO):
                least = "at least" if name in _MAY_BE_ZERO else "above"
                raise ValueError(f"{name} is {value!r}; it must be {least} 0 and finite")
        if self.window_samples % 2:
            raise ValueError(f"window_samples is {self.window_samples}; it must be even")

    @classmethod
    def released(cls) -> "FrontEnd":
        """The settings of the authors' code: Hann window, magnitudes, reflection, noise."""
        return cls(window="hann", power=1.0, edges="reflect", noise=5e-4)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "FrontEnd":
        """The inverse of `to_dict`, as datasets and models hold it.

        Raises:
            ValueError: the settings are not exactly those of this version, or one is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if settings.keys() != known:
            odd = ", ".join(sorted(settings.keys() ^ known))
            raise ValueError(f"front-end settings differ from this version's in: {odd}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as JSON can hold them."""
        return dataclasses.asdict(self)

    @property
    def silence(self) -> np.float32:
        """Log-mel of digital silence, the smallest value there is."""
        return np.log(np.float32(self.log_offset))

    def log_mel(self, waveform: Waveform, clip_seconds: float | None = None) -> LogMel:
        """Natural logarithm of `mel_energies`, after `log_offset` is added to them.

        The arguments, and the number of frames, are those of `mel_energies`.

            log_mel = FrontEnd().log_mel(waveform)  # float32[96, 430] for a sound of up to 10 s
        """
        return self._log(self.mel_energies(waveform, clip_seconds))

    def stream_log_mel(self, blocks: Iterable[Waveform]) -> Iterator[LogMel]:
        """The frames of `log_mel(waveform, clip_seconds=0)`, bit for bit, as its blocks come.

        A front end with noise, which depends on the whole waveform, waits for its end.
        """
        half, hop, size = self.window_samples // 2, self.hop_samples, self.window_samples
        # Of a reflection at the start as many samples must be known as are reflected.
        blocks, first = iter(blocks), np.zeros(0, np.float32)
        for block in blocks:
            first = np.concatenate([first, block])
            if first.size > size and not self.noise:
                break
        else:
            yield self.log_mel(first, 0.0)
            return
        mirrored = self.edges == "reflect"
        buffer = np.concatenate(
            [first[half:0:-1] if mirrored else np.zeros(half, np.float32), first]
        )
        for block in itertools.chain(blocks, [None]):
            if block is not None:
                buffer = np.concatenate([buffer, block])
            else:
                end = buffer[-2 : -half - 2 : -1] if mirrored else np.zeros(half, np.float32)
                buffer = np.concatenate([buffer, end])
            # What the end may have to reflect stays in the buffer.
            ready = (buffer.size - size) // hop + (block is None)
            if ready > 0:
                yield self._log(self._energies(buffer[: (ready - 1) * hop + size]))
                buffer = buffer[ready * hop :]

    def mel_energies(self, waveform: Waveform, clip_seconds: float | None = None) -> LogMel:
        """Sums of `|spectrum| ** power` over the mel bands; frame f is centred on sample f * hop.

        The waveform has one channel at `sample_rate_hz`, nominally in [-1, 1]. `clip_seconds`
        replaces the default length to pad to; 0 means no padding. A longer sound is kept whole.
        There are `1 + samples // hop` frames. Frames of padding alone are known and not computed,
        which saves most of the work for a one-second sound; noise leaves none.

        Equal waveforms give equal bytes. The noise is a function of the waveform alone: NumPy's
        default generator, seeded with the CRC-32 of its bytes. No BLAS is involved, since its sums
        depend on the number of threads.

        The values are librosa's to 1e-6 of the frame's largest band in either precision. What
        float32 costs shows in the logarithm, at the floor beside a pure tone of full scale: up to
        0.006 with the paper's settings or the released ones, but 1.6 with a Hann window, magnitudes
        and no noise (tones from 50 Hz to 11 kHz). In float64 it is 1e-6, in 1.6 times the time.
        """
        seconds = self.clip_seconds if clip_seconds is None else clip_seconds
        samples = max(waveform.size, round(seconds * self.sample_rate_hz))
        sounding = self._energies(self._with_edges(waveform, samples))
        energies = np.zeros((self.mel_bands, 1 + samples // self.hop_samples), np.float32)
        energies[:, : sounding.shape[1]] = sounding
        return energies

    def _energies(self, buffer: Float32[np.ndarray, " seen"]) -> LogMel:
        """Of all frames that lie in the buffer as a whole, the first at its start."""
        hop, size = self.hop_samples, self.window_samples
        window = _window(self.window, size, self.precision)
        filters = _mel_filters(self.sample_rate_hz, size, self.mel_bands, self.precision)
        count = 1 + (buffer.size - size) // hop
        energies = np.empty((self.mel_bands, count), np.float32)
        views = np.lib.stride_tricks.sliding_window_view(buffer, size)[::hop]
        at_once = min(count, max(1, _BLOCK_BYTES // window.nbytes))
        frames = np.empty((at_once, size), window.dtype)
        for first in range(0, count, at_once):
            some = views[first : first + at_once]
            np.multiply(some, window, out=frames[: len(some)])
            spectrum = scipy.fft.rfft(frames[: len(some)], axis=1)
            squares = spectrum.view(window.dtype)  # real and imaginary parts in turn
            np.square(squares, out=squares)
            energy = np.add(squares[:, ::2].T, squares[:, 1::2].T, order="C")
            if self.power == 1.0:
                np.sqrt(energy, out=energy)
            energies[:, first : first + len(some)] = filters @ energy
        return energies

    def _log(self, energies: LogMel) -> LogMel:
        energies += np.float32(self.log_offset)
        return np.log(energies, out=energies)

    def _with_edges(self, waveform: Waveform, samples: int) -> Float32[np.ndarray, " seen"]:
        """The sound padded to `samples`, with half a window more at both ends.

        Without noise the padding is cut to what frames that hold sound can see of it. The sample
        more than half a window keeps the sound out of the reflection at the end.
        """
        half = self.window_samples // 2
        if not self.noise:
            samples = min(samples, waveform.size + half + 1)
        buffer = np.zeros(samples + self.window_samples, np.float32)
        padded = buffer[half : half + samples]
        if self.noise:
            seed = zlib.crc32(np.ascontiguousarray(waveform))
            np.random.default_rng(seed).random(dtype=np.float32, out=padded)
            padded *= np.float32(self.noise)
        padded[: waveform.size] += waveform
        return np.pad(padded, half, mode="reflect") if self.edges == "reflect" else buffer

    def loudest_patch(self, log_mel: LogMel) -> Patch:
        """The patch with the largest sum, of those that start every `patch_step_frames`.

        The first of equals.

        Raises:
            ValueError: the spectrogram has fewer than `patch_frames` frames.
        """
        start = self.patch_starts(log_mel)[0]
        return log_mel[:, start : start + self.patch_frames]

    def patch_starts(self, log_mel: LogMel, count: int = 1) -> Int64[np.ndarray, " patch"]:
        """The first frames of the `count` patches with the largest sums, in order of time.

        The candidates start every `patch_step_frames`; of equals the first. `count` 0, or more than
        there are, means all of them.

        Raises:
            ValueError: the spectrogram is shorter than a patch, or `count` is negative.
        """
        if count < 0:
            raise ValueError(f"count of patches must be at least 0 (all), got {count}")
        last = log_mel.shape[1] - self.patch_frames
        if last < 0:
            raise ValueError(
                f"{log_mel.shape[1]} frames are fewer than the {self.patch_frames} of a patch. "
                f"Fix: pad the sound to {self.clip_seconds} s first"
            )
        starts = np.arange(0, last + 1, self.patch_step_frames)
        # Each sum by itself: differences of running sums would round equals differently.
        frame_sums = log_mel.sum(axis=0, dtype=np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(frame_sums, self.patch_frames)
        loudest_first = np.argsort(-windows[starts].sum(axis=1), kind="stable")
        return np.sort(starts[loudest_first[: count or None]])

    def without_padding(
        self, log_mel: LogMel, samples: int
    ) -> Float32[np.ndarray, "mel sounding_time"]:
        """The spectrogram of a sound of `samples` samples, without patches of padding alone.

        It ends with the last patch that begins no later than the last frame with sound in it.
        """
        heard = (samples + self.window_samples // 2 - 1) // self.hop_samples
        last = heard // self.patch_step_frames * self.patch_step_frames
        return log_mel[:, : last + self.patch_frames]

    def consecutive_patches(self, log_mel: LogMel) -> Patches:
        """Non-overlapping patches of a whole clip (paper, section 3.2).

        A clip shorter than a patch is padded with silence to one. A remainder of at least half a
        patch is padded to a whole one; a shorter remainder is dropped.
        """
        frames, size = log_mel.shape[1], self.patch_frames
        count = max(1, frames // size + (frames % size >= size / 2))
        whole = np.full((self.mel_bands, count * size), self.silence, np.float32)
        kept = min(frames, count * size)
        whole[:, :kept] = log_mel[:, :kept]
        return np.ascontiguousarray(whole.reshape(self.mel_bands, count, size).transpose(1, 0, 2))


@functools.lru_cache(maxsize=4)
def _window(name: str, samples: int, precision: str) -> Float[np.ndarray, " sample"]:
    # NumPy's are symmetric; without its last sample, one longer is periodic, as librosa's.
    window = {"hamming": np.hamming, "hann": np.hanning}[name]
    return window(samples + 1)[:-1].astype(precision)


@functools.lru_cache(maxsize=4)
def _mel_filters(rate_hz: int, samples: int, bands: int, precision: str) -> scipy.sparse.csr_array:
    """Triangles on Slaney's mel scale, each of area 1 over frequency, as librosa's.

    Written out, since importing librosa takes longer than embedding a sound.
    """
    nyquist_hz = rate_hz / 2
    bins_hz = np.linspace(0, nyquist_hz, 1 + samples // 2)[None]
    edges_hz = _hz(np.linspace(0, _mel(nyquist_hz), bands + 2))[:, None]
    below, centre, above = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (bins_hz - below) / (centre - below), (above - bins_hz) / (above - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    triangles *= 2 / (above - below)
    return scipy.sparse.csr_array(triangles.astype(precision))


# Slaney's scale: 15 mel to 1 kHz in even steps, then 27 mel for each factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _MELS_PER_E = 1000.0, 15.0, 27 / math.log(6.4)


def _mel(hz: float) -> float:
    if hz <= _KNEE_HZ:
        return hz * _KNEE_MEL / _KNEE_HZ
    return _KNEE_MEL + _MELS_PER_E * math.log(hz / _KNEE_HZ)


def _hz(mel: Float[np.ndarray, " edge"]) -> Float[np.ndarray, " edge"]:
    linear = mel * _KNEE_HZ / _KNEE_MEL
    return np.where(mel <= _KNEE_MEL, linear, _KNEE_HZ * np.exp((mel - _KNEE_MEL) / _MELS_PER_E))
