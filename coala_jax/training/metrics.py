"""Metrics as (sum, weight) pairs: they merge exactly over batches and devices, divided once."""

import math
from collections.abc import Mapping
from typing import SupportsFloat

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Pair = tuple[Float[Array, ""], Float[Array, ""]]


def summed(values: Float[Array, " row"], mask: Bool[Array, " row"]) -> Pair:
    """Sum over the valid rows, and their number."""
    total = jnp.where(mask, values, jnp.zeros_like(values)).sum()
    return total, mask.sum(dtype=values.dtype)


Sums = dict[str, list[tuple[float, float]]]  # by name, of each batch


class Mean:
    """Merges pairs on the host, in double precision.

    sums: what it has added so far, from which another goes on. One by one, because a total of them
        would be rounded.
    """

    def __init__(self, sums: Sums | None = None) -> None:
        self.sums = {name: list(pairs) for name, pairs in (sums or {}).items()}

    def add(self, pairs: Mapping[str, tuple[SupportsFloat, SupportsFloat]]) -> None:
        for name, (total, weight) in pairs.items():
            self.sums.setdefault(name, []).append((float(total), float(weight)))

    def result(self) -> dict[str, float]:
        """The weighted mean of everything that was added, by name."""
        return {
            name: math.fsum(t for t, _ in pairs) / math.fsum(w for _, w in pairs)
            for name, pairs in self.sums.items()
        }
