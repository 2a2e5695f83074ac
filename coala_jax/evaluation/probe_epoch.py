"""One epoch of the probe, compiled: batches, their gradient written out, Adam.

As scikit-learn's `MLPClassifier` computes it, in float32.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Int32, Int64

HIDDEN = 256  # units
BATCH = 200  # clips; all of them where there are fewer
LEARNING_RATE = 1e-3
BETA_1, BETA_2 = 0.9, 0.999  # Adam's
EPSILON = 1e-8
ALPHA = 1e-4  # of half the squared weights; divided by the clips of the batch, as scikit-learn does

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


@functools.cache
def compiled_epoch(seeds: int, clips: int, dimensions: int, outputs: int) -> Callable[..., Any]:
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


def first_state(weights: Weights) -> State:
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
        loss, gradient = loss_and_gradient(state.weights, inputs, wanted)
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


def loss_and_gradient(
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


def predict(
    weights: Weights, features: Float32[np.ndarray, "clip dim"]
) -> Int64[np.ndarray, " clip"]:
    logits = np.asarray(_logits(weights, features))
    return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)


@jax.jit
def _logits(weights: Weights, features: Float[Array, "clip dim"]) -> Float[Array, "clip output"]:
    hidden = jnp.maximum(features @ weights.hidden.T + weights.hidden_bias[None], 0.0)
    return hidden @ weights.output + weights.output_bias[None]
