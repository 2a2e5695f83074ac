"""A clip of any length as patches, and their latents as one vector (paper, section 3.2).

What counts of a clip that does not fill its patches is a policy:

* ``paper``: as it is; a clip shorter than a patch, or the last patch, ends with digital silence,
  which weighs as much as sound does.
* ``released``: as the authors' code has it: every clip is first padded to 10 s, with noise.
* ``masked``: the patches of ``paper``, but frames of padding weigh nothing.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from coala_jax.audio.decode import LEVELS, peak_normalize
from coala_jax.audio.frontend import FrontEnd, Patches, Waveform

POLICIES = ("paper", "released", "masked")


class Clip(NamedTuple):
    """patches: log-mel, not scaled, one after the other in time without gaps.

    counted_frames: how many of their frames count, from the first on; the rest is padding.
    """

    patches: Patches
    counted_frames: int


def check_policy(policy: str) -> None:
    """Raises ValueError when there is no such policy."""
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy}")


def at_level(waveform: Waveform, level: str) -> Waveform:
    """The clip as it was recorded, or made as loud as its largest sample allows.

    A model takes loudness for a part of the sound. Where clips come at levels that have nothing to
    do with their class, ``peak`` takes that part away. The paper has clips as they are.

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
    """The mean over the patches, where each position in time weighs as its frames do.

    A latent has a few positions, and each stands for as many frames of its patch; its weight is the
    share of them that count. A position without a frame that counts in any patch, the end of a very
    short clip, is the weighted mean of all others. Where every frame counts, the plain mean.
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
