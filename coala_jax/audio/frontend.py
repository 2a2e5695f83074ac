"""Waveforms to log-mel patches in [0, 1] (paper, section 3.1), in NumPy.

A patch is `float32[mel=96, time=96]`. This file is its one definition.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Float32

Waveform = Float32[np.ndarray, " sample"]
LogMel = Float32[np.ndarray, "mel time"]
Patch = Float32[np.ndarray, "mel patch_time"]
Patches = Float32[np.ndarray, "patch mel patch_time"]


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """The settings of the analysis, the paper's by default; a dataset and a model carry theirs."""

    sample_rate_hz: int = 22_000
    window_samples: int = 1024  # Hamming, 46.5 ms
    hop_samples: int = 512
    mel_bands: int = 96  # Slaney's scale and normalisation, as librosa's
    clip_seconds: float = 10.0  # shorter sounds are padded with zeros to this length
    patch_frames: int = 96  # 2.2 s
    patch_step_frames: int = 12
    log_offset: float = float(np.finfo(np.float32).eps)  # added to the mel energies

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "FrontEnd":
        """Raises ValueError when the settings are not exactly those of this version."""
        known = {field.name for field in dataclasses.fields(cls)}
        if settings.keys() != known:
            odd = ", ".join(sorted(settings.keys() ^ known))
            raise ValueError(f"front-end settings differ from this version's in: {odd}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def silence(self) -> np.float32:
        """Log-mel of digital silence, the smallest value there is."""
        return np.log(np.float32(self.log_offset))

    def log_mel(self, waveform: Waveform, clip_seconds: float | None = None) -> LogMel:
        """Natural logarithm of the mel power, frames centred, zeros beyond the edges.

        `clip_seconds` in place of the default length to pad to; 0 for no padding. A longer sound is
        kept whole. There are `1 + samples // hop` frames. Frames that hold padding alone are known
        and not computed, which is most of the work for a one-second sound.
        """
        seconds = self.clip_seconds if clip_seconds is None else clip_seconds
        samples = max(waveform.size, round(seconds * self.sample_rate_hz))
        spectrogram = np.full(
            (self.mel_bands, 1 + samples // self.hop_samples), self.silence, np.float32
        )
        half = self.window_samples // 2
        # Frame f sees the samples from f * hop - half on.
        sounding = min(spectrogram.shape[1], -(-(waveform.size + half) // self.hop_samples))
        padded = np.zeros((sounding - 1) * self.hop_samples + self.window_samples, np.float32)
        seen = waveform[: padded.size - half]
        padded[half : half + seen.size] = seen
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.window_samples)
        frames = frames[:: self.hop_samples] * _hamming(self.window_samples)
        spectrum = scipy.fft.rfft(frames, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = _mel_filters(self.sample_rate_hz, self.window_samples, self.mel_bands) @ power.T
        spectrogram[:, :sounding] = np.log(mel + np.float32(self.log_offset))
        return spectrogram

    def loudest_patch(self, log_mel: LogMel) -> Patch:
        """The patch with the largest sum, of those that start every `patch_step_frames`.

        The first of equals. The spectrogram must have at least `patch_frames` frames.
        """
        last = log_mel.shape[1] - self.patch_frames
        if last < 0:
            raise ValueError(
                f"{log_mel.shape[1]} frames are fewer than the {self.patch_frames} of a patch; "
                f"pad the sound to {self.clip_seconds} s first"
            )
        energy = np.cumsum(np.concatenate([[0.0], log_mel.sum(axis=0, dtype=np.float64)]))
        starts = np.arange(0, last + 1, self.patch_step_frames)
        start = starts[np.argmax(energy[starts + self.patch_frames] - energy[starts])]
        return log_mel[:, start : start + self.patch_frames]

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


@dataclasses.dataclass(frozen=True)
class Scaler:
    """One minimum and one maximum over the training patches, to scale all patches to [0, 1]."""

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not -math.inf < self.minimum < self.maximum < math.inf:
            raise ValueError(
                f"the training patches span {self.minimum} to {self.maximum}, which must be two "
                "finite numbers, the smaller first; do the sounds hold anything but silence?"
            )

    def scale(self, log_mel: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Log-mel values to [0, 1]; what lies outside the training range is clipped."""
        scaled = (log_mel - np.float32(self.minimum)) / np.float32(self.maximum - self.minimum)
        return np.clip(scaled, 0.0, 1.0, dtype=np.float32)


@functools.lru_cache(maxsize=4)
def _hamming(samples: int) -> Float32[np.ndarray, " sample"]:
    return scipy.signal.get_window("hamming", samples).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _mel_filters(rate_hz: int, samples: int, bands: int) -> Float32[np.ndarray, "mel frequency"]:
    from librosa.filters import mel  # takes a second to import, needed once

    return mel(sr=rate_hz, n_fft=samples, n_mels=bands, dtype=np.float32)
