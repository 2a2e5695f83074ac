"""The waveform of a sound as a picture: how loud and how bright it is from moment to moment."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from coala_jax.audio import preview
from coala_jax.audio.preview import SECONDS, beginning

COLUMNS = 160
_RATE_HZ = 22_050
_FRAME = 1024  # samples of a column's spectrum
_BRIGHT_HZ = (100.0, 8000.0)  # spectral centroids that are the ends of the scale

State = tuple[int, int]  # size and time of change, by which a change is noticed

Waveform = Float32[np.ndarray, " sample"]
Column = UInt8[np.ndarray, " column"]


def state_of(file: Path) -> State:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)  # a quarter of a megabyte each at most
def played(file: Path, state: State) -> bytes:
    """The first 15 s of a file as an MP3. Raises DecodeError."""
    return preview.preview(file)


@functools.lru_cache(maxsize=4096)
def picture(file: Path, state: State) -> dict[str, Any]:
    """The same seconds as columns: `peaks` and `brightness`, in 0..255. Raises DecodeError."""
    waveform = beginning(file, _RATE_HZ, int(SECONDS * _RATE_HZ))
    return {
        "seconds": round(waveform.size / _RATE_HZ, 3),
        "peaks": peaks(waveform).tolist(),
        "brightness": brightness(waveform).tolist(),
    }


def peaks(waveform: Waveform) -> Column:
    """The largest absolute value of each column; 255 is that of the whole sound."""
    starts = np.arange(COLUMNS) * waveform.size // COLUMNS
    loud = np.maximum.reduceat(np.abs(waveform), starts)
    return np.round(255 * loud / max(loud.max(), np.finfo(np.float32).tiny)).astype(np.uint8)


def brightness(waveform: Waveform) -> Column:
    """The spectral centroid in the middle of each column, on a logarithmic scale of frequency."""
    middles = (np.arange(COLUMNS) + 0.5) * waveform.size / COLUMNS
    padded = np.pad(waveform, _FRAME // 2)
    frames = padded[middles.astype(np.int64)[:, None] + np.arange(_FRAME)]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME))) ** 2
    hertz = np.fft.rfftfreq(_FRAME, 1 / _RATE_HZ)
    centroids = power @ hertz / np.maximum(power.sum(axis=1), np.finfo(np.float32).tiny)
    low, high = np.log(_BRIGHT_HZ)
    share = (np.log(np.maximum(centroids, 1.0)) - low) / (high - low)
    return np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
