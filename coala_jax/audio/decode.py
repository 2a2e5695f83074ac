"""A sound file as one channel of float32 at the sample rate of the front end (paper, section 3.1)."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32


class DecodeError(ValueError):
    """A file that cannot become a waveform; the message names the file, the cause and the way out."""


def load(path: Path, sample_rate_hz: int) -> Float32[np.ndarray, " sample"]:
    """Decodes, averages the channels, resamples; values nominally in [-1, 1].

    Raises:
        DecodeError: no such file, a format libsndfile does not know, no samples, or samples that
            are not finite.
    """
    if not path.is_file():
        raise DecodeError(f"{path}: there is no such file; correct the path or leave it out")
    try:
        channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DecodeError(
            f"{path}: libsndfile cannot read it ({error.error_string.strip()}); "
            "convert it to wav or flac, or leave it out"
        ) from error
    if not np.isfinite(channels).all():
        raise DecodeError(f"{path}: it holds NaN or infinite samples; export it again")
    return resample(channels.mean(axis=1), rate_hz, sample_rate_hz, str(path))


def resample(
    waveform: Float32[np.ndarray, " sample"], from_hz: int, to_hz: int, name: str = "the waveform"
) -> Float32[np.ndarray, " resampled"]:
    """The waveform at another rate, by soxr's high-quality recipe.

    Raises:
        DecodeError: there is not a single sample at the new rate.
    """
    if from_hz != to_hz and waveform.size:
        waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    if waveform.size == 0:
        raise DecodeError(f"{name}: it holds no sound (zero samples); leave it out")
    return waveform
