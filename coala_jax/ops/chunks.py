"""Maps a function over the images of a batch a few at a time, for CPUs.

A batch's feature map at the paper's sizes is 150 MB. As a whole, every operation reads it from
memory and writes it back; a few images stay in a core's cache from the first operation to the last.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree, Shaped

Rows = PyTree[Shaped[Array, "batch ..."]]


def map_chunks(
    function: Callable[[Rows], tuple[Rows, PyTree]], rows: Rows, at_once: int
) -> tuple[Rows, Any]:
    """`function(rows)`, called on about `at_once` rows at a time.

    The function returns arrays with as many rows as it is given, which are concatenated, and arrays
    that are summed. Either may be None.
    """
    batch, size = _sizes(rows, at_once)
    if size == batch:
        return function(rows)
    groups = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), rows)
    shapes = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], groups))[1]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: PyTree, group: Rows) -> tuple[PyTree, Rows]:
        mapped, summed = function(group)
        return jax.tree.map(jnp.add, total, summed), mapped

    total, mapped = lax.scan(add, nothing, groups)
    return jax.tree.map(lambda leaf: leaf.reshape(batch, *leaf.shape[2:]), mapped), total


def fits(rows: Rows, at_once: int) -> bool:
    """Whether `map_chunks` would call its function once, on all rows."""
    batch, size = _sizes(rows, at_once)
    return size == batch


def _sizes(rows: Rows, at_once: int) -> tuple[int, int]:
    """Rows of the batch, and of a chunk of it."""
    batch = jax.tree.leaves(rows)[0].shape[0]
    return batch, math.gcd(batch, 2 ** int(math.log2(max(at_once, 1))))
