"""A sound file as one channel of float32 at the front end's sample rate (paper, section 3.1)."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

# No sample format is louder, unnormalised 32 bit integers included; only damaged floats are, and
# their power would pass float32.
_LOUDEST = 2.0**31


class DecodeError(ValueError):
    """A file that cannot become a waveform; the message names file, cause and way out."""


def load(path: Path, sample_rate_hz: int) -> Float32[np.ndarray, " sample"]:
    """Decodes, averages the channels, resamples; values nominally in [-1, 1].

    Raises:
        DecodeError: no such file, a format libsndfile does not know, no samples, or samples that
            are no sound (NaN, infinite, or beyond 2**31).
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
    except (TypeError, MemoryError) as error:  # a .raw file; a header that lies about the length
        raise DecodeError(
            f"{path}: it has no header that says what it holds, or a wrong one ({error}); "
            "convert it to wav or flac, or leave it out"
        ) from error
    if not np.abs(channels).max(initial=0.0) <= _LOUDEST:  # NaN compares false
        raise DecodeError(
            f"{path}: it holds NaN, infinite or absurdly large samples; export it again"
        )
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
        raise DecodeError(f"{name}: it holds no sound (zero samples at {to_hz} Hz); leave it out")
    return waveform
