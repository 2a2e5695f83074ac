"""A clip of any length as patches, and their latents as one vector (paper, section 3.2).

A policy says how a clip that does not fill its patches is padded, and what the padding weighs:

* ``paper``: a clip shorter than a patch, or its last patch, is padded with digital silence, which
  weighs as much as sound.
* ``released``: every clip is first padded to 10 s with noise, as in the authors' code.
* ``masked``: the patches of ``paper``, but padded frames weigh nothing.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from coala_jax.audio.decode import LEVELS, peak_normalize
from coala_jax.audio.frontend import FrontEnd, Patches, Waveform

POLICIES = ("paper", "released", "masked")


class Clip(NamedTuple):
    """A clip's patches: log-mel, not scaled, in order of time, without gaps.

    The first `counted_frames` of their frames count; the rest is padding.
    """

    patches: Patches
    counted_frames: int


def check_policy(policy: str) -> None:
    """Raises ValueError when there is no such policy."""
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy}")


def at_level(waveform: Waveform, level: str) -> Waveform:
    """The clip as recorded (paper), or scaled to a peak of 1 (``peak``).

    Loudness is part of what a model hears; ``peak`` removes it, for clips whose levels have nothing
    to do with their classes.

    Raises:
        ValueError: there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be {' or '.join(LEVELS)}, got {level}")
    return peak_normalize(waveform) if level == "peak" else waveform


def cut(front_end: FrontEnd, waveform: Waveform, policy: str) -> Clip:
    """The patches of a clip; at least one, and at least one of its frames counts.

    Raises:
        ValueError: there is no such policy.
    """
    check_policy(policy)
    if policy == "released":
        released = FrontEnd.released()
        padding = {"clip_seconds": released.clip_seconds, "noise": released.noise}
        log_mel = dataclasses.replace(front_end, **padding).log_mel(waveform)
    else:
        log_mel = front_end.log_mel(waveform, clip_seconds=0.0)
    patches = front_end.consecutive_patches(log_mel)
    frames = len(patches) * front_end.patch_frames
    return Clip(patches, min(frames, log_mel.shape[1]) if policy == "masked" else frames)


def pool(
    latents: Float32[np.ndarray, "patch feature position"], counted_frames: int, patch_frames: int
) -> Float32[np.ndarray, "feature position"]:
    """The mean over the patches, with each position in time weighted by its share of sound.

    The positions of a latent divide the frames of its patch evenly; a position's weight is the
    share of its frames that count. A position without a counted frame in any patch (the end of a
    very short clip) is the weighted mean of all others. Where every frame counts, this is the plain
    mean.
    """
    patches, _, positions = latents.shape
    weights = _weights(patches, positions, counted_frames, patch_frames)
    if (weights == 1).all():
        return latents.mean(axis=0)
    sums = np.einsum("pfx,px->fx", latents.astype(np.float64), weights)
    totals = weights.sum(axis=0)
    heard = totals > 0
    pooled = np.empty_like(sums)
    pooled[:, heard] = sums[:, heard] / totals[heard]
    pooled[:, ~heard] = sums.sum(axis=1, keepdims=True) / totals.sum()
    return pooled.astype(np.float32)


def _weights(
    patches: int, positions: int, counted_frames: int, patch_frames: int
) -> Float64[np.ndarray, "patch position"]:
    frames = patch_frames / positions
    first = frames * np.arange(patches * positions)
    return np.clip((counted_frames - first) / frames, 0, 1).reshape(patches, positions)
