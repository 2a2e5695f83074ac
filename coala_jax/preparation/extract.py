"""Maps one sound to its log-mel patches: a pure function for a loop, a pool or Beam."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from coala_jax.audio.decode import DecodeError, stream
from coala_jax.audio.frontend import FrontEnd, LogMel, Waveform
from coala_jax.audio.level import at_level
from coala_jax.preparation.settings import Settings


@dataclass(frozen=True)
class ExtractionResult:
    """The patches of one sound, or the error.

    frames: the first frame of each patch, in order of time; empty after an error.
    seconds: duration of the sound; 0 after an error.
    digest: of the decoded waveform; equal for sounds with equal samples.
    error, cause: the name of the error without "Error", and its message without the path of the
        file; both empty on success.
    peak: the largest absolute sample of the channels' mean, before any scaling; 0 after an error.
    patches: log-mel, not scaled.
    """

    frames: tuple[int, ...] = ()
    seconds: float = 0.0
    digest: str = ""
    error: str = ""
    cause: str = ""
    peak: float = 0.0
    patches: tuple[Float32[np.ndarray, "mel time"], ...] = ()


def extract(path: Path, settings: Settings) -> ExtractionResult:
    """Extracts the `patches_per_sound` loudest patches; 0 means all that are not only padding.

    A sound longer than a clip is analysed as it is decoded, and never in memory as a whole (but for
    a front end with noise).

    Raises nothing for a sound that cannot be decoded: the result holds the error.
    """
    front_end, sound = settings.front_end, _Sound(path, settings)
    try:
        log_mel = _log_mel(front_end, at_level(sound.blocks, settings.level))
    except DecodeError as error:
        name = type(error).__name__.removesuffix("Error")
        return ExtractionResult(error=name, cause=str(error).removeprefix(f"{path}: "))
    sounding = front_end.without_padding(log_mel, sound.samples)
    frames = front_end.patch_starts(sounding, settings.patches_per_sound).tolist()
    patches = [log_mel[:, frame : frame + front_end.patch_frames] for frame in frames]
    if sum(patch.size for patch in patches) < log_mel.size:
        patches = [patch.copy() for patch in patches]  # a view would hold all of a long sound
    return ExtractionResult(
        frames=tuple(frames),
        seconds=sound.samples / front_end.sample_rate_hz,
        peak=sound.peak,
        digest=sound.digest.hexdigest(),
        patches=tuple(patches),
    )


class _Sound:
    """A sound as it is decoded: samples, largest absolute value and digest of what came so far."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path, self._settings = path, settings

    def blocks(self) -> Iterator[Waveform]:
        """The blocks from the start, as recorded."""
        self.samples, self.peak, self.digest = 0, 0.0, hashlib.blake2b(digest_size=16)
        for block in stream(
            self._path,
            self._settings.front_end.sample_rate_hz,
            allow_silence=False,
            max_seconds=self._settings.longest_seconds,
            max_peak=self._settings.loudest,
        ):
            self.samples += block.size
            self.peak = max(self.peak, float(np.abs(block).max()))
            self.digest.update(block.tobytes())
            yield block


def _log_mel(front_end: FrontEnd, blocks: Iterator[Waveform]) -> LogMel:
    """`front_end.log_mel` of all blocks together, bit for bit."""
    clip_samples = round(front_end.clip_seconds * front_end.sample_rate_hz)
    first, samples = [], 0
    for block in blocks:
        first.append(block)
        samples += block.size
        if samples > clip_samples and not front_end.noise:  # no padding: frames can come at once
            parts = list(front_end.stream_log_mel(itertools.chain(first, blocks)))
            return np.concatenate(parts, axis=1)
    return front_end.log_mel(np.concatenate(first))
