"""The MLP probe: one hidden layer on frozen embeddings, trained as scikit-learn trains it.

The protocol is the authors': `MLPClassifier(256, random_state=seed)` on standardised features. The
initial weights, the batches, Adam and the stopping rule are scikit-learn's, so that a seed gives
the training that it gives there, up to the rounding of float32. All seeds are one program.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Float32, Int32, Int64
from sklearn.preprocessing import StandardScaler

HIDDEN = 256  # units
BATCH = 200  # clips; all of them where there are fewer
LEARNING_RATE = 1e-3
ALPHA = 1e-4  # weight of half the squared weights, divided by the clips of the batch
MAX_EPOCHS = 200
PATIENCE = 10  # epochs in a row without a better loss; one more ends the training
TOLERANCE = 1e-4  # by which a loss must be better

_EPS = float(np.finfo(np.float32).eps)
_LOG_BOUNDS = (float(np.log(_EPS)), float(np.log1p(-_EPS)))  # scikit-learn clips probabilities
# scikit-learn adds Adam's epsilon before the bias is corrected, optax after it: hence the schedule.
_OPTIMIZER = optax.inject_hyperparams(optax.adam)(
    LEARNING_RATE, b1=0.9, b2=0.999, eps=lambda step: 1e-8 / jnp.sqrt(1 - 0.999 ** (step + 1))
)


class Weights(NamedTuple):
    """Of one network, or of one for each seed."""

    hidden: Float[Array, "*seed hidden dim"]  # output by input, which is faster on a CPU
    hidden_bias: Float[Array, "*seed hidden"]
    output: Float[Array, "*seed hidden output"]
    output_bias: Float[Array, "*seed output"]


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
    """Predicted class of every test clip, one row per seed.

    A class without training clips is never predicted.

    Args:
        train, test: embeddings, not standardised.
        classes: of the training clips, in [0, class_count).
        seeds: each is a training of its own.
        max_epochs, patience: as in `fit`.

    Raises:
        ValueError: features or the loss are not finite, a class is not in [0, class_count), or all
            training clips are of one class.
    """
    train, test = standardize(train, classes, test, class_count)
    present, indices = np.unique(classes, return_inverse=True)
    trained = fit(train, indices, seeds, max_epochs, patience)
    tested = jnp.asarray(test)
    predicted = [np.asarray(logits(one.weights, tested)).argmax(axis=1) for one in trained]
    return present[np.stack(predicted)].astype(np.int32)


def standardize(
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
) -> tuple[Float32[np.ndarray, "clip dim"], Float32[np.ndarray, "test_clip dim"]]:
    """Both by the training clips' mean and deviation; constant features are only centred.

    Raises ValueError as `mlp` does.
    """
    for name, features in (("training", train), ("test", test)):
        broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{len(broken)} {name} clips have features that are not finite, the first is "
                f"number {broken[0]}. Fix: leave them out, or repair the model that made them"
            )
    found = np.unique(classes)
    if len(found) < 2 or found[0] < 0 or found[-1] >= class_count:
        raise ValueError(
            f"the training clips' classes are {found.tolist()}: a classifier needs at least two, "
            f"all of them in 0 to {class_count - 1}"
        )
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def fit(
    features: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    seeds: Sequence[int],
    max_epochs: int = MAX_EPOCHS,
    patience: int = PATIENCE,
) -> list[Trained]:
    """One network per seed.

    Args:
        features: standardised.
        classes: 0 to the largest, each of them on at least one clip.
        seeds: one network each.
        max_epochs: training ends here at the latest.
        patience: epochs in a row without a better loss; one more ends the training.

    Raises:
        ValueError: the loss is not finite.
    """
    targets = np.eye(classes.max() + 1, dtype=np.float32)[classes]
    data = jnp.asarray(features), jnp.asarray(targets)
    draws = [np.random.RandomState(seed) for seed in seeds]
    first = [_initial_weights(draw, features.shape[1], targets.shape[1]) for draw in draws]
    weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *first)
    state = weights, jax.vmap(_OPTIMIZER.init)(weights)
    batches = [_batches(draw, len(features)) for draw in draws]
    rules = [_StoppingRule(patience) for _ in seeds]
    running = list(range(len(seeds)))  # the seed of each row of the state
    ended: dict[int, Trained] = {}
    order = np.stack([next(batches[seed]) for seed in running])
    for epoch in range(1, max_epochs + 1):
        state, losses = _train_epoch(state, *data, order)
        order = np.stack([next(batches[seed]) for seed in running])  # while the device computes
        for row, (seed, loss) in enumerate(zip(running, np.asarray(losses).tolist(), strict=True)):
            if seed not in ended and (rules[seed].ends(loss) or epoch == max_epochs):
                network = jax.tree.map(lambda leaf, row=row: leaf[row], state[0])
                ended[seed] = Trained(network, tuple(rules[seed].losses))
        rows = np.array([row for row, seed in enumerate(running) if seed not in ended], np.int32)
        if not len(rows):
            break
        if 2 * len(rows) <= len(running):  # not at each end: another number of seeds is compiled
            state, order = jax.tree.map(lambda leaf, rows=rows: leaf[rows], (state, order))
            running = [running[row] for row in rows]
    return [ended[seed] for seed in range(len(seeds))]


@jax.jit(donate_argnums=0)
def _train_epoch(
    state: tuple[Weights, Any],
    features: Float[Array, "clip dim"],
    targets: Float[Array, "clip class"],
    order: Int32[Array, "seed step row"],
) -> tuple[tuple[Weights, Any], Float[Array, " seed"]]:
    """A step for each batch; and the mean over clips of the loss that their batch had."""

    def step(state: tuple[Weights, Any], rows: Int32[Array, " row"]) -> tuple[Any, Array]:
        weights, moments = state
        batch = features[rows], jnp.where((rows >= 0)[:, None], targets[rows], 0.0)
        loss, gradient = jax.value_and_grad(batch_loss)(weights, *batch)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer's power
            updates, moments = _OPTIMIZER.update(gradient, moments)
        return (optax.apply_updates(weights, updates), moments), loss * batch[1].sum()

    def epoch(state: tuple[Weights, Any], order: Int32[Array, "step row"]) -> tuple[Any, Array]:
        state, losses = lax.scan(step, state, order)
        return state, losses.sum() / len(features)

    return jax.vmap(epoch)(state, order)


def batch_loss(
    weights: Weights, inputs: Float[Array, "row dim"], targets: Float[Array, "row class"]
) -> Float[Array, ""]:
    """The mean cross-entropy with the penalty; rows without a target do not count."""
    log_shares = jax.nn.log_softmax(logits(weights, inputs))
    clipped = jnp.clip(log_shares, *_LOG_BOUNDS)  # in the loss, but not in its gradient
    log_shares += lax.stop_gradient(clipped - log_shares)
    penalty = jnp.vdot(weights.hidden, weights.hidden) + jnp.vdot(weights.output, weights.output)
    return (0.5 * ALPHA * penalty - (targets * log_shares).sum()) / targets.sum()


def logits(weights: Weights, features: Float[Array, "row dim"]) -> Float[Array, "row class"]:
    """Two classes have one output, the second's logit, as in scikit-learn; the first's is 0."""
    hidden = jax.nn.relu(features @ weights.hidden.T + weights.hidden_bias[None])
    found = hidden @ weights.output + weights.output_bias[None]
    return jnp.pad(found, ((0, 0), (1, 0))) if found.shape[1] == 1 else found


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


def _initial_weights(draw: np.random.RandomState, dimensions: int, classes: int) -> Weights:
    """Glorot's uniform weights, of the biases too."""

    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        bound = np.sqrt(6.0 / (inputs + outputs))
        matrix = draw.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        return matrix, draw.uniform(-bound, bound, outputs).astype(np.float32)

    hidden, hidden_bias = layer(dimensions, HIDDEN)
    return Weights(hidden.T, hidden_bias, *layer(HIDDEN, 1 if classes == 2 else classes))


def _batches(draw: np.random.RandomState, clips: int) -> Iterator[Int32[np.ndarray, "step row"]]:
    """The clips of each batch of each epoch, -1 where the last one is short.

    Each epoch shuffles the order of the epoch before.
    """
    size, order = min(BATCH, clips), np.arange(clips, dtype=np.int32)
    while True:
        order = order[draw.permutation(clips)]
        padded = np.pad(order, (0, -clips % size), constant_values=-1)
        yield padded.reshape(-1, size)
