"""What an encoder makes of the patches of sounds, pooled to the vectors of each sound."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from coala_jax.embedding.encoder import Event
from coala_jax.embedding.pooling import LayersPool, MeanPool
from coala_jax.models.autoencoders import BLOCK_POSITIONS, LATENT_SIZE, PATCH_SIZE

# Positions in time that are pooled each by itself; all other methods are of the patch as a whole.
POSITIONS = {"encode_audio": LATENT_SIZE, "encode_layers": sum(BLOCK_POSITIONS)}


class Pooled(NamedTuple):
    """The result for one sound: a vector of each part, or None and the error that says why."""

    vectors: tuple[Float32[np.ndarray, " _"], ...] | None
    seconds: float  # of sound that were read
    patches: int
    error: ValueError | None


def new_pool(method: str) -> MeanPool | LayersPool:
    """An empty pool for what a method makes of the patches of one sound."""
    if method == "encode_layers":
        return LayersPool(PATCH_SIZE, BLOCK_POSITIONS)
    return MeanPool(PATCH_SIZE)


def pool_sounds(
    encoded: Iterable[Event], parts: Sequence[str], sizes: Sequence[int], sample_rate_hz: int
) -> Iterator[Pooled]:
    """The vectors of each sound, of what `Encoder.encode_sounds` gives.

    Args:
        parts: the methods whose values lie side by side in each row.
        sizes: values of each part but the last.
    """
    ends = np.cumsum([0, *sizes])[1:]
    pools, patches = None, 0
    for heard, part, rows in encoded:
        if part is not None:
            pools, patches = pools or [new_pool(method) for method in parts], patches + len(rows)
            for pool, method, values in zip(
                pools, parts, np.split(rows, ends, axis=1), strict=True
            ):
                positions = POSITIONS.get(method, 1)
                pool.add(values.reshape(len(rows), -1, positions), part.counted_frames)
            continue
        vectors = None if heard.error else tuple(pool.result().reshape(-1) for pool in pools)
        yield Pooled(vectors, heard.samples / sample_rate_hz, patches, heard.error)
        pools, patches = None, 0
