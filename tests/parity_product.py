"""The product's side of the runs that are compared, told in PyTorch's names and layouts."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from ml_collections import ConfigDict

from coala_jax.models.coala import Outputs, build_model
from coala_jax.training import parallel, steps
from tests.parity import TAGS, Losses, Tensors, Trace, make_batches, new_reference, tensors
from tests.pytorch_weights import weights_from_flax, weights_to_flax


def train_product(config: ConfigDict, dtype: str, count: int, devices: int = 1) -> Trace:
    """`count` steps of the mapped `steps.train_step`, from the weights of `new_reference`."""
    used = tuple(jax.devices()[:devices])
    parts = _parts(config, dtype)
    train = parallel.map_step(functools.partial(_train, **parts), used, outputs=2)
    evaluate = parallel.map_step(functools.partial(_evaluate, **parts), used, outputs=1)
    with jax.enable_x64(dtype == "float64"):
        state = _initial_state(config, dtype, used, parts["optimizer"])
        batches = [parallel.split_rows(batch, used) for batch in make_batches(count)]
        losses = []
        for number, batch in enumerate(batches):
            state, (outputs, pairs) = train(state, batch)
            losses.append(_losses(pairs, config))
            if number == 0:
                first_outputs = _outputs(outputs)
                gradients = _in_pytorch(params=state.opt_state[0])
                after_first = _in_pytorch(params=state.params, batch_stats=state.batch_stats)
        evaluated, pairs = evaluate(state, batches[0])
        after_last = _in_pytorch(params=state.params, batch_stats=state.batch_stats)
    return Trace(
        outputs=first_outputs,
        gradients=gradients,
        losses=losses,
        after_first=after_first,
        after_last=after_last,
        evaluated=_outputs(evaluated),
        evaluation_losses=_losses(pairs, config),
    )


def first_look(config: ConfigDict, dtype: str) -> tuple[Tensors, Losses]:
    """Outputs and losses of the first step; the rest is not asked for, and not compiled."""
    used = tuple(jax.devices()[:1])
    parts = _parts(config, dtype)
    look = parallel.map_step(lambda *given: _train(*given, **parts)[1], used, outputs=1)
    with jax.enable_x64(dtype == "float64"):
        state = _initial_state(config, dtype, used, parts["optimizer"])
        outputs, pairs = look(state, parallel.split_rows(make_batches(1)[0], used))
    return _outputs(outputs), _losses(pairs, config)


def _parts(config: ConfigDict, dtype: str) -> dict[str, Any]:
    dtypes = (jnp.dtype(dtype), jnp.dtype(dtype))
    return {
        "model": build_model(config.case, config.model, TAGS, parallel.AXIS, *dtypes),
        "optimizer": optax.chain(
            _keep_gradients(), steps.make_optimizer(config.optimizer, planned_steps=1)
        ),
        "loss": config.loss,
    }


def _keep_gradients() -> optax.GradientTransformation:
    """Passes the gradients on, and has those of the last step as its state."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda gradients, *_: (gradients, gradients),
    )


def _initial_state(
    config: ConfigDict, dtype: str, used: Sequence[jax.Device], optimizer: Any
) -> steps.TrainState:
    variables = weights_to_flax(new_reference(config, dtype).state_dict())
    state = steps.TrainState(
        step=np.int32(0),
        opt_state=optimizer.init(variables["params"]),
        key=np.zeros(2, np.uint32),
        **variables,
    )
    return parallel.place_state(state, used)


def _train(state: steps.TrainState, batch: steps.DeviceBatch, **parts: Any) -> Any:
    """`steps.train_step`, and beside its losses the outputs that they are of."""
    with nn.intercept_methods(_keep_outputs):
        state, pairs = steps.train_step(state, batch, **parts)
    del pairs["gradient_norm"]
    batch_stats = dict(state.batch_stats)
    outputs = batch_stats.pop("outputs")
    return state.replace(batch_stats=batch_stats), (outputs, pairs)


def _keep_outputs(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    """Has the model hand out what it computes among the statistics that it updates."""
    outputs = call(*args, **kwargs)
    if isinstance(outputs, Outputs):
        gathered = jax.tree.map(parallel.gather, outputs)
        context.module.put_variable("batch_stats", "outputs", gathered)
    return outputs


def _evaluate(state: steps.TrainState, batch: steps.DeviceBatch, **parts: Any) -> Any:
    """The losses of `steps.eval_step`, and the outputs with running statistics."""
    found = []

    def keep(call: Any, args: Any, kwargs: Any, _context: nn.module.InterceptorContext) -> Any:
        found.append(call(*args, **kwargs))
        return found[-1]

    with nn.intercept_methods(keep):
        pairs = steps.eval_step(state, batch, model=parts["model"], loss=parts["loss"])
    return jax.tree.map(parallel.gather, found[-1]), pairs


def _outputs(outputs: Any) -> Tensors:
    """Probabilities in place of logits."""
    values = {
        "audio_aligned": outputs.audio_aligned,
        "tag_aligned": outputs.tag_aligned,
        "reconstruction": outputs.audio_logits,
        "tag_probability": outputs.tag_logits,
    }
    found = {name: np.asarray(value) for name, value in values.items() if value is not None}
    return {n: v if "aligned" in n else scipy.special.expit(v) for n, v in found.items()}


def _losses(pairs: Any, config: ConfigDict) -> Losses:
    """By the reference's names, which calls both contrastive losses the same."""
    summed = config.loss.reduction == "sum"
    return {
        name.removeprefix("signed_"): float(total) / (1.0 if summed else float(weight))
        for name, (total, weight) in pairs.items()
    }


def _in_pytorch(**variables: Any) -> Tensors:
    """A copy, for the next step takes the memory of what it is given."""
    return tensors(weights_from_flax(jax.device_get(variables)))
