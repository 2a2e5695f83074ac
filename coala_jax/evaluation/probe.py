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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Int32, Int64
from sklearn.preprocessing import StandardScaler

HIDDEN = 256  # units
BATCH = 200  # clips; all of them where there are fewer
LEARNING_RATE = 1e-3
BETA_1, BETA_2 = 0.9, 0.999  # Adam's
EPSILON = 1e-8
ALPHA = 1e-4  # of half the squared weights; divided by the clips of the batch, as scikit-learn does
MAX_EPOCHS = 200
PATIENCE = 10  # epochs in a row without a better loss; one more ends the training
TOLERANCE = 1e-4  # by which a loss must be better

_EPS = float(np.finfo(np.float32).eps)
_LOG_BOUNDS = (float(np.log(_EPS)), float(np.log1p(-_EPS)))  # scikit-learn clips probabilities

# One seed a core, so a product needs no threads. 512: XLA's own loops, such as Adam's, use half of
# an AVX-512 register otherwise.
_CPU_OPTIONS = {"xla_cpu_multi_thread_eigen": False, "xla_cpu_prefer_vector_width": 512}


class Weights(NamedTuple):
    """Of a network, or a number for each of them. The first matrix is output by input."""

    hidden: Float[Array, "*seed hidden dim"]
    hidden_bias: Float[Array, "*seed hidden"]
    output: Float[Array, "*seed hidden output"]
    output_bias: Float[Array, "*seed output"]


class State(NamedTuple):
    weights: Weights
    mean: Weights  # of the gradient, Adam's first moment
    square: Weights  # of the gradient, Adam's second moment
    steps: Int32[Array, "*seed"]


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
    places = np.stack([_predict(one.weights, test) for one in trained])
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
    program = _compiled_epoch(len(groups[0]), *features.shape, targets.shape[1])
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
    state = _first_state(jax.tree.map(lambda *leaves: np.stack(leaves), *first))
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


# --- What is drawn, in the order in which scikit-learn draws it -----------------------------------


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


# --- What is compiled -----------------------------------------------------------------------------


@functools.cache
def _compiled_epoch(seeds: int, clips: int, dimensions: int, outputs: int) -> Callable[..., Any]:
    def shaped(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    weights = Weights(
        shaped(seeds, HIDDEN, dimensions),
        shaped(seeds, HIDDEN),
        shaped(seeds, HIDDEN, outputs),
        shaped(seeds, outputs),
    )
    state = State(weights, weights, weights, shaped(seeds, dtype=jnp.int32))
    order = shaped(seeds, clips, dtype=jnp.int32)
    program = jax.jit(
        _epoch_alone if seeds == 1 else jax.vmap(_epoch, in_axes=(0, None, None, 0)),
        donate_argnums=0,
        compiler_options=_CPU_OPTIONS if jax.default_backend() == "cpu" else None,
    )
    return program.lower(state, shaped(clips, dimensions), shaped(clips, outputs), order).compile()


def _first_state(weights: Weights) -> State:
    weights = jax.tree.map(jnp.asarray, weights)
    return State(
        weights,
        jax.tree.map(jnp.zeros_like, weights),
        jax.tree.map(jnp.zeros_like, weights),
        jnp.zeros(len(weights.output), jnp.int32),
    )


def _epoch_alone(
    state: State,
    features: Float[Array, "clip dim"],
    targets: Float[Array, "clip output"],
    order: Int32[Array, "1 clip"],
) -> tuple[State, Float[Array, "1"]]:
    """As one of a single seed; `vmap` of one would turn matrices to suit products of many."""
    state, loss = _epoch(jax.tree.map(lambda leaf: leaf[0], state), features, targets, order[0])
    return jax.tree.map(lambda leaf: leaf[None], state), loss[None]


def _epoch(
    state: State,
    features: Float[Array, "clip dim"],
    targets: Float[Array, "clip output"],
    order: Int32[Array, " clip"],
) -> tuple[State, Float[Array, ""]]:
    """A step for each batch, the last one short; and the mean over clips of their batches' loss."""
    clips = len(features)
    batch = min(BATCH, clips)

    def step(state: State, first: int | Int32[Array, ""], rows: int) -> tuple[State, Array]:
        numbers = lax.dynamic_slice(order, (first,), (rows,))
        inputs, wanted = (
            values.at[numbers].get(mode="promise_in_bounds") for values in (features, targets)
        )
        loss, gradient = _loss_and_gradient(state.weights, inputs, wanted)
        state = _adam(state, gradient)
        return state, loss + _penalty(state.weights)

    def whole(number: Int32[Array, ""], carry: tuple[State, Array]) -> tuple[State, Array]:
        state, loss = step(carry[0], number * batch, batch)
        return state, carry[1] + loss

    batches, rest = divmod(clips, batch)
    # A batch's penalty is that of the weights before its step, which is that after the step before.
    # Weights that were read once more before they change would be copied.
    before = _penalty(state.weights)
    state, total = lax.fori_loop(0, batches, whole, (state, before))
    if rest:
        state, loss = step(state, batches * batch, rest)
        total += loss
    return state, (total - _penalty(state.weights)) / clips


def _loss_and_gradient(
    weights: Weights, inputs: Float[Array, "row dim"], wanted: Float[Array, "row output"]
) -> tuple[Float[Array, ""], Weights]:
    """The cross-entropy summed over the rows; the gradient of its mean with the penalty."""
    rows = len(inputs)
    hidden = jnp.maximum(inputs @ weights.hidden.T + weights.hidden_bias[None], 0.0)
    loss, slope = _cross_entropy(hidden @ weights.output + weights.output_bias[None], wanted)
    slope = slope / rows
    hidden_slope = jnp.where(hidden > 0, slope @ weights.output.T, 0.0)
    # Laid out as the product reads it, which is slower otherwise on a CPU.
    turned = lax.optimization_barrier(hidden_slope.T)
    gradient = Weights(
        turned @ inputs, hidden_slope.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)
    )
    decay = ALPHA / rows
    return loss, gradient._replace(
        hidden=gradient.hidden + decay * weights.hidden,
        output=gradient.output + decay * weights.output,
    )


def _penalty(weights: Weights) -> Float[Array, ""]:
    squares = jnp.vdot(weights.hidden, weights.hidden) + jnp.vdot(weights.output, weights.output)
    return 0.5 * ALPHA * squares


def _cross_entropy(
    logits: Float[Array, "row output"], wanted: Float[Array, "row output"]
) -> tuple[Float[Array, ""], Float[Array, "row output"]]:
    """Its sum over the rows and its slope: of softmax, or of two classes by one sigmoid."""
    low, high = _LOG_BOUNDS
    if logits.shape[1] == 1:
        yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        terms = wanted * jnp.clip(yes, low, high) + (1 - wanted) * jnp.clip(no, low, high)
    else:
        yes = jax.nn.log_softmax(logits)
        terms = wanted * jnp.clip(yes, low, high)
    return -terms.sum(), jnp.exp(yes) - wanted


def _adam(state: State, gradient: Weights) -> State:
    steps = state.steps + 1
    count = steps.astype(jnp.float32)
    # 1 - beta ** count, with its digits
    shares = [-jnp.expm1(count * float(np.log(beta))) for beta in (BETA_1, BETA_2)]
    rate = LEARNING_RATE * jnp.sqrt(shares[1]) / shares[0]
    mean = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, state.mean, gradient)
    square = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, state.square, gradient)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), state.weights, mean, square
    )
    return State(weights, mean, square, steps)


def _predict(
    weights: Weights, features: Float32[np.ndarray, "clip dim"]
) -> Int64[np.ndarray, " clip"]:
    logits = np.asarray(_logits(weights, features))
    return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)


@jax.jit
def _logits(weights: Weights, features: Float[Array, "clip dim"]) -> Float[Array, "clip output"]:
    hidden = jnp.maximum(features @ weights.hidden.T + weights.hidden_bias[None], 0.0)
    return hidden @ weights.output + weights.output_bias[None]
