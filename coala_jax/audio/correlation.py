"""Whether two waveforms are of one recording, however it was cut, turned up or down, or encoded."""

import numpy as np
import scipy.signal
from jaxtyping import Float, Float32

RATE_HZ = 22_000  # at which waveforms are compared
WINDOW = RATE_HZ // 2  # samples
MOST = 60 * RATE_HZ  # samples of a sound that are searched

Waveform = Float32[np.ndarray, " _"]  # of one channel, at RATE_HZ


def correlation(one: Waveform, other: Waveform) -> float:
    """The highest absolute correlation of the shorter's loudest half second with a place of the
    longer, in [0, 1]; 0 where one of them is silent.

    It is of differences from sample to sample, lest two hums or offsets count as one recording.
    """
    short, long = sorted((np.diff(one[:MOST]), np.diff(other[:MOST])), key=len)
    size = min(WINDOW, len(short))
    if not size:  # one of them is a single sample
        return 0.0
    energy = _sums_of_squares(short, size)
    start = int(energy.argmax())
    window = short[start : start + size].astype(np.float64)
    dots = scipy.signal.correlate(long.astype(np.float64), window, mode="valid", method="fft")
    norms = np.sqrt(_sums_of_squares(long, size) * (window**2).sum())
    # Where the other is all but silent, rounding of the FFT would be all there is.
    heard = norms > 1e-3 * norms.max(initial=0)
    return float(np.abs(dots[heard] / norms[heard]).max(initial=0)) if norms.any() else 0.0


def _sums_of_squares(waveform: Waveform, size: int) -> Float[np.ndarray, " place"]:
    """Of every `size` samples in a row."""
    total = np.concatenate([[0], np.cumsum(waveform.astype(np.float64) ** 2)])
    return np.maximum(total[size:] - total[:-size], 0)
