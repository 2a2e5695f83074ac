"""Which units dropout keeps, from as few random bits as possible."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

Key = PRNGKeyArray | UInt32[Array, "2"]
Words = UInt32[Array, "batch word"]


def keep_mask(
    key: Key, index: Int[Array, " batch"], shape: tuple[int, ...], rate: float
) -> Bool[Array, "batch ..."]:
    """True with probability 1 - rate, from each row's index in the global batch alone."""
    return kept(random_words(key, index, math.prod(shape), rate), shape, rate)


def random_words(key: Key, index: Int[Array, " batch"], units: int, rate: float) -> Words:
    """Random words that decide which units of each row are dropped.

    The paper's 25 % takes two bits per unit, sixteen units per word: a sixth of the cost of a
    uniform number per unit. A rate that is not a multiple of 2^-8 is rounded to one of 2^-16.
    """
    words = -(-units // (32 // _bits(rate)))

    def draw(row: Int[Array, ""]) -> UInt32[Array, " word"]:
        return jax.random.bits(jax.random.fold_in(key, row), (words,), jnp.uint32)

    return jax.vmap(draw)(index)


def kept(words: Words, shape: tuple[int, ...], rate: float) -> Bool[Array, "batch ..."]:
    """Decodes the words: True where a unit of these rows is kept."""
    bits = _bits(rate)
    shifts = (jnp.arange(32 // bits, dtype=jnp.uint32) * bits)[None, :, None]
    values = (words[:, None, :] >> shifts) & jnp.uint32(2**bits - 1)
    keep = values >= jnp.uint32(round(rate * 2**bits))
    return keep.reshape(len(words), -1)[:, : math.prod(shape)].reshape(-1, *shape)


def _bits(rate: float) -> int:
    return next((b for b in (1, 2, 4, 8) if (rate * 2**b).is_integer()), 16)
