"""Holds the audio encoder in the first steps of a run, while what is new learns to use it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

AUDIO_ENCODER = "audio_encoder"  # its name in params, statistics and optimiser state


def audio_apart(
    make: Callable[[int], optax.GradientTransformation], frozen_steps: int
) -> optax.GradientTransformation:
    """The optimiser that `make` makes, and one more of the audio encoder alone.

    make: of the number of the run's steps that pass before the first of the optimiser.

    So Adam counts the encoder's steps from the first that it takes. Counted from the start they
    would be several times too large, since Adam would no longer correct its empty moments.
    """
    return optax.multi_transform(
        {AUDIO_ENCODER: make(frozen_steps), "rest": make(0)},
        lambda params: {name: name if name == AUDIO_ENCODER else "rest" for name in params},
    )


def hold(old: PyTree, new: PyTree, where: Bool[Array, ""]) -> PyTree:
    """The new train state with the old one's audio encoder `where` that is true.

    That is its parameters, its running statistics and the state of its optimiser.
    """

    def choose(path: tuple[Any, ...], before: Array, after: Array) -> Array:
        names = (getattr(key, "key", None) for key in path)
        return jnp.where(where, before, after) if AUDIO_ENCODER in names else after

    return jax.tree_util.tree_map_with_path(choose, old, new)
