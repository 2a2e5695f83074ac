"""A clip of any length as patches, and what is made of them as one vector (paper, section 3.2).

Patches follow each other without overlap. A clip shorter than a patch becomes one; of a longer one,
a remainder of at least half a patch is padded to a patch, and a shorter remainder is dropped.

A policy says how a clip that does not fill its patches is padded, and what the padding weighs:

* ``paper``: a clip shorter than a patch, or its last patch, is padded with digital silence, which
  weighs as much as sound.
* ``released``: every clip is first padded to 10 s with noise, as in the authors' code.
* ``masked``: the patches of ``paper``, but padded frames weigh nothing.

A model's pooling says what a clip's vector is:

* ``mean``: the mean of its patches' latents, 9 values a filter, as in the paper; see `MeanPool`.
* ``layers``: mean and standard deviation over time of what every block of the audio encoder makes,
  30 values a filter; see `LayersPool`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from coala_jax.audio.frontend import FrontEnd, Patches, Waveform

POLICIES = ("paper", "released", "masked")
POOLINGS = ("mean", "layers")


class Clip(NamedTuple):
    """A clip's patches, or some of them: log-mel, not scaled, in order of time, without gaps.

    The first `counted_frames` of their frames count; the rest is padding.
    """

    patches: Patches
    counted_frames: int


def check_policy(policy: str) -> None:
    """Raises ValueError when there is no such policy."""
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy}")


def check_pooling(pooling: str) -> None:
    """Raises ValueError when there is no such pooling."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be {' or '.join(POOLINGS)}, got {pooling}")


def stream(front_end: FrontEnd, blocks: Iterable[Waveform], policy: str) -> Iterator[Clip]:
    """The patches of a clip, as its samples come: one after the other they are those of `cut`.

    Raises:
        ValueError: there is no such policy.
    """
    check_policy(policy)
    if policy == "released":
        released = FrontEnd.released()
        padding = {"clip_seconds": released.clip_seconds, "noise": released.noise}
        waveform = np.concatenate(list(blocks))
        log_mels = iter([dataclasses.replace(front_end, **padding).log_mel(waveform)])
    else:
        log_mels = front_end.stream_log_mel(blocks)
    size, cut_patches = front_end.patch_frames, 0
    rest = np.empty((front_end.mel_bands, 0), np.float32)
    for log_mel in log_mels:
        rest = np.concatenate([rest, log_mel], axis=1)
        whole = rest.shape[1] // size * size
        if whole:
            yield Clip(front_end.consecutive_patches(rest[:, :whole]), whole)
            rest, cut_patches = rest[:, whole:], cut_patches + whole // size
    frames = rest.shape[1]
    if not cut_patches or frames >= size / 2:
        last = front_end.consecutive_patches(rest)
        yield Clip(last, frames if policy == "masked" else size)


def cut(front_end: FrontEnd, waveform: Waveform, policy: str) -> Clip:
    """The patches of a clip; at least one, and at least one of its frames counts.

    Raises:
        ValueError: there is no such policy.
    """
    parts = list(stream(front_end, [waveform], policy))
    patches = np.concatenate([part.patches for part in parts])
    return Clip(patches, sum(part.counted_frames for part in parts))


class MeanPool:
    """The mean over a clip's patches, with each position in time weighted by its share of sound.

    The positions of a latent divide the frames of its patch evenly; a position's weight is the
    share of its frames that count. A position without a counted frame in any patch (the end of a
    very short clip) is the weighted mean of all others. Where every frame counts, this is the plain
    mean. Summed in float64: the mean of a day is as exact as that of a minute.
    """

    def __init__(self, patch_frames: int) -> None:
        self._patch_frames = patch_frames
        self._sums = self._weights = 0.0

    def add(
        self, latents: Float32[np.ndarray, "patch feature position"], counted_frames: int
    ) -> None:
        """Some more patches of the clip; the first `counted_frames` of their frames count."""
        patches, _, positions = latents.shape
        weights = _weights(patches, positions, counted_frames, self._patch_frames)
        self._sums += np.einsum("pfx,px->fx", latents, weights, dtype=np.float64)
        self._weights += weights.sum(axis=0)

    def result(self) -> Float32[np.ndarray, "feature position"]:
        """The mean over the patches so far, of which there must be one."""
        sums, totals = self._sums, self._weights
        heard = totals > 0
        pooled = np.empty_like(sums)
        pooled[:, heard] = sums[:, heard] / totals[heard]
        pooled[:, ~heard] = sums.sum(axis=1, keepdims=True) / totals.sum()
        return pooled.astype(np.float32)


class LayersPool:
    """Mean and standard deviation over a clip's whole time of the maps of several blocks.

    Each position in time of each block weighs the share of its frames that count, over all patches
    together; where every frame counts, these are the plain mean and the population's standard
    deviation. Of each part of the clip the squares are of differences from its own mean, in
    float64, and parts are merged by their moments (Chan et al., 1979): exact however large the
    values are beside their spread, and a day takes no more memory than a minute.

    Args:
        patch_frames: of each patch.
        positions: in time, of each block; each number divides the frames evenly.
    """

    def __init__(self, patch_frames: int, positions: Sequence[int]) -> None:
        self._patch_frames, self._positions = patch_frames, tuple(positions)
        self._starts = np.cumsum([0, *self._positions[:-1]])
        self._totals = self._means = self._squares = 0.0  # [block], and twice [feature, block]

    def add(
        self, latents: Float32[np.ndarray, "patch feature position"], counted_frames: int
    ) -> None:
        """Some more patches of the clip; the first `counted_frames` of their frames count.

        latents: of each feature the positions of one block after the other, as
            `autoencoders.flatten_layers` has them; at least one frame counts.
        """
        weights = np.concatenate(
            [
                _weights(len(latents), positions, counted_frames, self._patch_frames)
                for positions in self._positions
            ],
            axis=1,
        )
        totals = self._over_blocks(weights.sum(axis=0))
        means = self._over_time(latents, weights) / totals
        centred = latents - np.repeat(means, self._positions, axis=1)
        self._merge(totals, means, self._over_time(np.square(centred), weights))

    def result(self) -> Float32[np.ndarray, " value"]:
        """All means in the order block, feature, then all standard deviations in the same order."""
        spreads = np.sqrt(self._squares / self._totals)
        values = np.stack([self._means, spreads]).transpose(0, 2, 1)
        return values.astype(np.float32).reshape(-1)

    def _merge(
        self,
        totals: Float64[np.ndarray, " block"],
        means: Float64[np.ndarray, "feature block"],
        squares: Float64[np.ndarray, "feature block"],
    ) -> None:
        """With the moments of a part: its weights, means and sums of squared differences."""
        together, apart = self._totals + totals, means - self._means
        self._means = self._means + apart * (totals / together)
        self._squares = self._squares + squares + apart**2 * (self._totals * totals / together)
        self._totals = together

    def _over_time(
        self,
        values: Float[np.ndarray, "patch feature position"],
        weights: Float64[np.ndarray, "patch position"],
    ) -> Float64[np.ndarray, "feature block"]:
        return self._over_blocks(np.einsum("pfx,px->fx", values, weights, dtype=np.float64))

    def _over_blocks(
        self, values: Float64[np.ndarray, "*feature position"]
    ) -> Float64[np.ndarray, "*feature block"]:
        return np.add.reduceat(values, self._starts, axis=-1)


def _weights(
    patches: int, positions: int, counted_frames: int, patch_frames: int
) -> Float64[np.ndarray, "patch position"]:
    frames = patch_frames / positions
    first = frames * np.arange(patches * positions)
    return np.clip((counted_frames - first) / frames, 0, 1).reshape(patches, positions)
