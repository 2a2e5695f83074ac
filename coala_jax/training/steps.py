"""Training and evaluation steps, one or many per call, as one device of several takes them.

Each device holds some rows of the global batch and computes its share of the global loss. Batch
norm, the contrastive candidates, gradients and metrics are summed or gathered over all devices, so
that N devices compute what one device computes.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree, Shaped
from ml_collections import ConfigDict

from coala_jax.data.input_pipeline import SKIP_STEP, UINT8_STEPS
from coala_jax.models.coala import Coala, Outputs, TagClassifier, initial_variables
from coala_jax.models.layers import BatchInfo
from coala_jax.training import frozen, losses, metrics, parallel, schedule

Model = Coala | TagClassifier
DeviceBatch = dict[str, Shaped[Array, "row ..."]]  # an input_pipeline.Batch, this device's rows
DeviceData = dict[str, Shaped[Array, "example ..."]]  # input_pipeline.Examples
Indices = Int[Array, "step row"]
Curves = dict[str, tuple[Float[Array, " step"], Float[Array, " step"]]]  # a metric's pair each step


@struct.dataclass
class TrainState:
    """Everything that a step changes, and the key that its dropout is drawn from.

    Leaves are arrays on devices, NumPy arrays or only shapes, as checkpoints need them.
    """

    step: PyTree  # int32[], steps taken
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    key: PyTree  # uint32[2]


def make_optimizer(
    settings: ConfigDict, planned_steps: int, frozen_steps: int = 0
) -> optax.GradientTransformation:
    """Plain SGD as in the paper, or Adam, by the config's schedule.

    planned_steps: of the whole run, over which the rate decays where it does.
    frozen_steps: as `train_step` has them; if any, the audio encoder's optimiser is its own.
    """
    optimizer = {"sgd": optax.sgd, "adam": optax.adam}[settings.name]
    rate = schedule.learning_rate(settings, planned_steps)
    if not frozen_steps:
        return optimizer(rate)
    return frozen.audio_apart(lambda first: optimizer(schedule.later(rate, first)), frozen_steps)


def initial_state(model: Model, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    """The state before the first step, from the seed alone."""
    weights_key, dropout_key = jax.random.split(jax.random.key(seed))
    variables = initial_variables(model, weights_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        key=jax.random.key_data(dropout_key),
    )


def train_step(
    state: TrainState,
    batch: DeviceBatch,
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    loss: ConfigDict,
    frozen_steps: int = 0,
) -> tuple[TrainState, dict[str, metrics.Pair]]:
    """One optimiser step. The metrics are of the batch before the step, with dropout on.

    frozen_steps: the first steps of a run, in which the audio encoder stays as it is.
    """
    info = _info(batch)
    count = parallel.all_sum(info.mask.sum(dtype=model.param_dtype))
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

    def share_of_loss(params: PyTree) -> tuple[Float[Array, ""], tuple[PyTree, dict[str, Any]]]:
        outputs, updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch["patches"],
            batch["tags"],
            info,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        pairs = _loss_pairs(outputs, batch, info, loss)
        share = pairs["loss"][0] / (count if loss.reduction == "mean" else 1)
        return share, (updates["batch_stats"], pairs)

    gradients, (batch_stats, pairs) = jax.grad(share_of_loss, has_aux=True)(state.params)
    gradients = parallel.all_sum(gradients)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    new_state = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        key=state.key,
    )
    if frozen_steps:
        new_state = frozen.hold(state, new_state, state.step < frozen_steps)
    pairs = parallel.all_sum(pairs)
    norm = optax.tree.norm(gradients)
    return new_state, {**pairs, "gradient_norm": (norm, jnp.ones_like(norm))}


def eval_step(
    state: TrainState, batch: DeviceBatch, *, model: Model, loss: ConfigDict
) -> dict[str, metrics.Pair]:
    """The losses with running statistics and without dropout."""
    info = _info(batch)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    outputs = model.apply(variables, batch["patches"], batch["tags"])
    return parallel.all_sum(_loss_pairs(outputs, batch, info, loss))


def train_steps(
    state: TrainState,
    data: DeviceData,
    indices: Indices,
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    loss: ConfigDict,
    frozen_steps: int = 0,
) -> tuple[TrainState, Curves]:
    """Many steps as one program, dispatched by the host once.

    indices: which examples of `data` make this device's rows of each step; PADDING for a row of
        padding. The last steps may be SKIP_STEP: they are not taken, and their metrics are 0.
    """
    step = functools.partial(
        train_step, model=model, optimizer=optimizer, loss=loss, frozen_steps=frozen_steps
    )
    return _take_steps(lambda state, row: step(state, _batch(data, row)), state, indices)


def eval_steps(
    state: TrainState, data: DeviceData, indices: Indices, *, model: Model, loss: ConfigDict
) -> Curves:
    """As `train_steps`, for evaluation."""
    step = functools.partial(eval_step, model=model, loss=loss)
    return _take_steps(lambda _, row: (None, step(state, _batch(data, row))), None, indices)[1]


def _take_steps(
    step: Callable[[PyTree, Int[Array, " row"]], tuple[PyTree, dict[str, metrics.Pair]]],
    state: PyTree,
    indices: Indices,
) -> tuple[PyTree, Curves]:
    """Takes all steps but SKIP_STEP. Their number is data, so that one program serves any."""
    step = jax.jit(step, inline=True)  # traced once, for the shapes here and for the loop
    _, pairs = jax.eval_shape(step, state, indices[0])
    curves = jax.tree.map(lambda leaf: jnp.zeros(len(indices), leaf.dtype), pairs)

    def take(place: Int[Array, ""], carry: tuple[PyTree, Curves]) -> tuple[PyTree, Curves]:
        state, curves = carry
        # With the place, so that XLA does not move the rows of a single step out of the loop, where
        # it would round them differently.
        row, _ = jax.lax.optimization_barrier((indices[place], place))
        state, pairs = step(state, row)
        return state, jax.tree.map(lambda curve, value: curve.at[place].set(value), curves, pairs)

    return jax.lax.fori_loop(0, (indices[:, 0] != SKIP_STEP).sum(), take, (state, curves))


def _batch(data: DeviceData, indices: Int[Array, " row"]) -> DeviceBatch:
    """The batch of these examples; PADDING rows are zeros and not valid."""
    valid = indices >= 0

    def rows(name: str) -> Shaped[Array, "row ..."]:
        # A padding row reads the first example, which zeros then replace.
        values = data[name].at[jnp.maximum(indices, 0)].get(mode="promise_in_bounds")
        real = valid.reshape(-1, *[1] * (values.ndim - 1))
        return jnp.where(real, values, jnp.zeros_like(values))

    patches = rows("patches")
    whole = patches.astype(jnp.float32)
    if patches.dtype == jnp.uint8:
        # A product: of a division by a constant XLA makes one, but not always.
        whole *= jnp.float32(1 / UINT8_STEPS)
    return {"patches": whole, "tags": rows("tags"), "valid": valid}


def _info(batch: DeviceBatch) -> BatchInfo:
    return BatchInfo(batch["valid"], parallel.row_index(batch["valid"].shape[0]))


def _loss_pairs(
    outputs: Outputs, batch: DeviceBatch, info: BatchInfo, loss: ConfigDict
) -> dict[str, metrics.Pair]:
    """The losses of the case and their weighted sum (Eq. 13), over this device's rows."""
    values, weights = {}, {}
    if outputs.audio_logits is not None:
        values["audio_loss"] = losses.generalized_kl(
            batch["patches"], outputs.audio_logits, loss.kl_offset, loss.reduction
        )
        weights["audio_loss"] = loss.audio_weight
    if outputs.tag_logits is not None:
        values["tag_loss"] = losses.tag_cross_entropy(
            batch["tags"], outputs.tag_logits, loss.reduction
        )
        weights["tag_loss"] = loss.tag_weight
    if outputs.audio_aligned is not None and outputs.tag_aligned is not None:
        name, value = _contrastive(outputs, batch, info, loss)
        values[name], weights[name] = value, loss.contrastive_weight
    values["loss"] = sum(weights[name] * value for name, value in values.items())
    return {name: metrics.summed(value, info.mask) for name, value in values.items()}


def _contrastive(
    outputs: Outputs, batch: DeviceBatch, info: BatchInfo, loss: ConfigDict
) -> tuple[str, losses.Losses]:
    """The contrastive loss against the rows of all devices, and its name as a metric.

    Eq. 10 may be negative, which its name says.
    """
    tag_candidates = parallel.gather(outputs.tag_aligned)
    places = jnp.arange(tag_candidates.shape[0], dtype=info.global_index.dtype)
    negative = parallel.gather(info.mask)[None] & (places[None] != info.global_index[:, None])
    if not loss.equal_tags_are_negatives:
        negative &= ~losses.equal_sets(batch["tags"], parallel.gather(batch["tags"]))
    if loss.contrastive == "cross_modal":
        return "signed_contrastive_loss", losses.cross_modal(
            outputs.audio_aligned, tag_candidates, info.global_index, negative, loss.temperature
        )
    return "contrastive_loss", losses.nt_xent(
        outputs.audio_aligned,
        outputs.tag_aligned,
        parallel.gather(outputs.audio_aligned),
        tag_candidates,
        info.global_index,
        negative,
        loss.temperature,
        loss.reduction,
    )
