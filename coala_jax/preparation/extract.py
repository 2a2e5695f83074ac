"""One sound to its log-mel patches: a pure function, which a loop, a pool or Beam can run."""

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
    """The patches of one sound, or why there are none.

    frames: the first frame of each patch, in order of time; none where the sound failed.
    seconds: duration of the sound; 0 where it failed.
    digest: of the decoded waveform; equal for sounds that are the same sample for sample.
    error, cause: the name of the error without "Error", and what it says without the audio folder;
        both empty where the sound is fine.
    patches: log-mel, not scaled.
    """

    frames: tuple[int, ...] = ()
    seconds: float = 0.0
    digest: str = ""
    error: str = ""
    cause: str = ""
    patches: tuple[Float32[np.ndarray, "mel time"], ...] = ()


def extract(path: Path, settings: Settings) -> ExtractionResult:
    """The loudest patches of a sound file, as many as the settings ask for.

    With `patches_per_sound` 0 it is all of them, but none that holds padding alone. It raises
    nothing: a sound that cannot be decoded is skipped, and the result says why.
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
