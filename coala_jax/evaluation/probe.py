"""The classifier that embeddings are judged by: one hidden layer, trained as scikit-learn does.

The protocol is that of `MLPClassifier(256, random_state=seed)` on standardised features, which is
what the authors used: the same draws of weights and of batches, Adam, the same stopping rule. A
seed gives scikit-learn's training to the rounding of float32, only sooner. On a CPU each seed is a
thread with single-threaded products; on an accelerator all seeds are one program.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, Int64
from sklearn.preprocessing import StandardScaler

from coala_jax.evaluation.probe_epoch import (
    HIDDEN,
    Weights,
    compiled_epoch,
    first_state,
    predict,
)

MAX_EPOCHS = 200
PATIENCE = 10  # epochs in a row without a better loss; one more ends the training
TOLERANCE = 1e-4  # by which a loss must be better


@dataclass(frozen=True)
class Trained:
    """One seed's network and its training loss after each epoch."""

    weights: Weights
    losses: tuple[float, ...]


def mlp(
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
    seeds: Sequence[int],
    *,
    max_epochs: int = MAX_EPOCHS,
    patience: int = PATIENCE,
) -> Int32[np.ndarray, "seed test_clip"]:
    """Predicted class of every test clip, one row a seed.

    Raises ValueError for features that are not finite, a class outside the count, and where
    training clips are all of one class. A class that no training clip has is never predicted.
    """
    train, test = standardize(train, classes, test, class_count)
    present, places = np.unique(classes, return_inverse=True)
    trained = fit(train, _targets(places, len(present)), seeds, max_epochs, patience)
    places = np.stack([predict(one.weights, test) for one in trained])
    return present[places].astype(np.int32)


def standardize(
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
) -> tuple[Float32[np.ndarray, "clip dim"], Float32[np.ndarray, "test_clip dim"]]:
    """Both by the training clips' mean and deviation; what is constant there is only centred."""
    for name, features in (("training", train), ("test", test)):
        broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{len(broken)} {name} clips have features that are not finite, the first is "
                f"number {broken[0]}: leave them out, or mend what made them"
            )
    found = np.unique(classes)
    if len(found) < 2 or found[0] < 0 or found[-1] >= class_count:
        raise ValueError(
            f"the training clips' classes are {found.tolist()}: a classifier needs two or more of "
            f"0 to {class_count - 1}"
        )
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def fit(
    features: Float32[np.ndarray, "clip dim"],
    targets: Float32[np.ndarray, "clip output"],
    seeds: Sequence[int],
    max_epochs: int = MAX_EPOCHS,
    patience: int = PATIENCE,
    together: bool | None = None,
) -> list[Trained]:
    """One network a seed.

    Args:
        features: standardised.
        targets: of two classes one column, of more one column each.
        seeds: of as many networks.
        max_epochs: after which training ends in any case.
        patience: epochs in a row without a better loss; one more ends the training.
        together: all seeds in one program; None: on an accelerator.
    """
    if together is None:
        together = jax.default_backend() != "cpu"
    groups = [list(seeds)] if together else [[seed] for seed in seeds]
    # Compiled before the threads start, or each would do it.
    program = compiled_epoch(len(groups[0]), *features.shape, targets.shape[1])
    data = (jnp.asarray(features), jnp.asarray(targets))
    train = functools.partial(
        _fit_group, data=data, program=program, max_epochs=max_epochs, patience=patience
    )
    if together:
        return train(groups[0])
    with ThreadPoolExecutor(min(len(groups), os.cpu_count() or 1)) as threads:
        return [one for group in threads.map(train, groups) for one in group]


def _fit_group(
    seeds: list[int],
    data: tuple[Array, Array],
    program: Callable[..., Any],
    max_epochs: int,
    patience: int,
) -> list[Trained]:
    """Seeds that take their epochs at once; those that have ended go on unheeded."""
    features, targets = data
    draws = [np.random.RandomState(seed) for seed in seeds]
    first = [_first_weights(draw, features.shape[1], targets.shape[1]) for draw in draws]
    state = first_state(jax.tree.map(lambda *leaves: np.stack(leaves), *first))
    orders = zip(*(_orders(draw, len(features)) for draw in draws), strict=True)
    rules = [_StoppingRule(patience) for _ in seeds]
    ended: dict[int, Trained] = {}
    order = np.stack(next(orders))
    for epoch in range(1, max_epochs + 1):
        state, losses = program(state, features, targets, order)
        order = np.stack(next(orders))  # while the device is at work
        for place, loss in enumerate(np.asarray(losses).tolist()):
            rule = rules[place]
            if place not in ended and (rule.ends(loss) or epoch == max_epochs):
                weights = jax.tree.map(lambda leaf, place=place: leaf[place], state.weights)
                ended[place] = Trained(weights, tuple(rule.losses))
        if len(ended) == len(seeds):
            break
    return [ended[place] for place in range(len(seeds))]


class _StoppingRule:
    """scikit-learn's: the loss of an epoch is that of its batches as they were trained on."""

    def __init__(self, patience: int) -> None:
        self.losses: list[float] = []
        self._patience = patience
        self._best = np.inf
        self._without = 0

    def ends(self, loss: float) -> bool:
        if not np.isfinite(loss):
            raise ValueError(f"the probe's loss is {loss} in epoch {len(self.losses) + 1}")
        self.losses.append(loss)
        self._without = self._without + 1 if loss > self._best - TOLERANCE else 0
        self._best = min(self._best, loss)
        return self._without > self._patience


def _first_weights(draw: np.random.RandomState, dimensions: int, outputs: int) -> Weights:
    """Glorot's uniform weights, of the biases too."""

    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        bound = np.sqrt(6.0 / (inputs + outputs))
        matrix = draw.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        return matrix, draw.uniform(-bound, bound, outputs).astype(np.float32)

    hidden, hidden_bias = layer(dimensions, HIDDEN)
    return Weights(np.ascontiguousarray(hidden.T), hidden_bias, *layer(HIDDEN, outputs))


def _orders(draw: np.random.RandomState, clips: int) -> Iterator[Int32[np.ndarray, " clip"]]:
    """The order of the clips in each epoch: a shuffling of the order before."""
    order = np.arange(clips, dtype=np.int32)
    while True:
        order = order[draw.permutation(clips)]
        yield order


def _targets(
    places: Int64[np.ndarray, " clip"], class_count: int
) -> Float32[np.ndarray, "clip output"]:
    """One column a class; of two classes, the second's alone."""
    columns = np.eye(class_count, dtype=np.float32)[places]
    return columns[:, 1:] if class_count == 2 else columns
