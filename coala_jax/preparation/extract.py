"""Maps one sound to its log-mel patches: a pure function for a loop, a pool or Beam."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from coala_jax.audio.decode import DecodeError, load, peak_normalize
from coala_jax.preparation.settings import Settings


@dataclass(frozen=True)
class ExtractionResult:
    """The patches of one sound, or the error.

    frames: the first frame of each patch, in order of time; empty after an error.
    seconds: duration of the sound; 0 after an error.
    digest: of the decoded waveform; equal for sounds with equal samples.
    error, cause: the name of the error without "Error", and its message without the path of the
        file; both empty on success.
    patches: log-mel, not scaled.
    """

    frames: tuple[int, ...] = ()
    seconds: float = 0.0
    digest: str = ""
    error: str = ""
    cause: str = ""
    patches: tuple[Float32[np.ndarray, "mel time"], ...] = ()


def extract(path: Path, settings: Settings) -> ExtractionResult:
    """Extracts the `patches_per_sound` loudest patches; 0 means all that are not only padding.

    Raises nothing for a sound that cannot be decoded: the result holds the error.
    """
    front_end = settings.front_end
    max_seconds = settings.max_seconds or math.inf
    try:
        waveform = load(path, front_end.sample_rate_hz, max_seconds=max_seconds)
    except DecodeError as error:
        name = type(error).__name__.removesuffix("Error")
        return ExtractionResult(error=name, cause=str(error).removeprefix(f"{path}: "))
    digest = hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest()
    if settings.level == "peak":
        waveform = peak_normalize(waveform)
    log_mel = front_end.log_mel(waveform)
    sounding = front_end.without_padding(log_mel, waveform.size)
    frames = front_end.patch_starts(sounding, settings.patches_per_sound).tolist()
    return ExtractionResult(
        frames=tuple(frames),
        seconds=waveform.size / front_end.sample_rate_hz,
        digest=digest,
        patches=tuple(log_mel[:, frame : frame + front_end.patch_frames] for frame in frames),
    )
