"""Where the time of a training step goes: each part alone, as a program of its own.

The parts have the step's own shapes, all layers of a kind in one program. Their sum is not the
step's time: XLA fuses across them and, on an accelerator, overlaps them.
"""

import functools
import statistics
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from benchmarks.step_shapes import LATENT_MAPS, Convolution, convolutions
from benchmarks.workload import Workload
from coala_jax.models.autoencoders import TagDecoder, TagEncoder
from coala_jax.models.coala import build_model
from coala_jax.models.layers import BatchInfo, BatchNorm, Dense
from coala_jax.ops.convolution import convolve, convolve_transposed
from coala_jax.training import losses, steps

Part = tuple[Callable[..., PyTree], tuple[PyTree, ...]]  # a function and its arguments

_ROUNDS = 3


def time_parts(workload: Workload, precision: str, repeats: int) -> dict[str, float]:
    """Seconds of each part of a step, each a mean of `repeats` calls, the median of some rounds."""
    dtype = jnp.dtype(precision)
    makers = (_convolution_parts, _norm_part, _tag_part, _loss_part, _optimizer_part, _input_part)
    seconds = {}
    for maker in makers:  # one after the other, for each holds activations of the whole batch
        for name, (function, arguments) in maker(workload, dtype).items():
            seconds[name] = _seconds(function, arguments, repeats)
    return seconds


def _seconds(function: Callable[..., PyTree], arguments: tuple[PyTree, ...], repeats: int) -> float:
    """Results take the memory of those before: new memory costs a CPU more than many a part."""
    program = jax.jit(lambda old, *given: function(*given), donate_argnums=0, keep_unused=True)
    shapes = jax.eval_shape(function, *arguments)
    results = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    results = jax.block_until_ready(program(results, *arguments))
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(repeats):
            results = program(results, *arguments)
        jax.block_until_ready(results)
        seconds.append((time.perf_counter() - began) / repeats)
    return statistics.median(seconds)


def _convolution_parts(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    layers, batch = convolutions(workload.config), workload.sizes.batch
    images = [_random((batch, *layer.input_shape), dtype) for layer in layers]
    gradients = [_random((batch, *layer.output_shape), dtype) for layer in layers]
    kernels = [_random((4, 4, layer.large, layer.small)) for layer in layers]

    def forward(images: list[Array], kernels: list[Array]) -> list[Array]:
        layered = zip(layers, images, kernels, strict=True)
        return [_function(layer)(x, kernel) for layer, x, kernel in layered]

    def gradient(place: int, *given: list[Array]) -> list[Array]:
        """With respect to the images (place 0) or the kernels (1); XLA leaves the other out."""
        layered = [
            (layer, *of_layer)
            for layer, *of_layer in zip(layers, *given, strict=True)
            if place == 1 or not layer.first
        ]
        return [jax.vjp(_function(layer), x, k)[1](g)[place] for layer, x, k, g in layered]

    given = (images, kernels, gradients)
    return {
        "convolutions_forward": (forward, (images, kernels)),
        "convolutions_input_gradient": (functools.partial(gradient, 0), given),
        "convolutions_weight_gradient": (functools.partial(gradient, 1), given),
    }


def _function(layer: Convolution) -> Callable[[Array, Array], Array]:
    return convolve_transposed if layer.transposed else convolve


def _norm_part(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    layers, batch = convolutions(workload.config), workload.sizes.batch
    rate, key = workload.config.model.dropout_rate, jax.random.key(0)
    maps = [_random((batch, *layer.output_shape), dtype) for layer in layers]
    shifts = [jnp.zeros(layer.output_shape[-1]) for layer in layers]
    lasts = [layer.transposed and layer.large == 1 for layer in layers]  # batch norm alone
    norms = [
        BatchNorm(rectify=not last, dropout_rate=0.0 if last else rate, product_dtype=dtype)
        for last in lasts
    ]
    variables = [
        _random_like(jax.eval_shape(norm.init, key, x, None, shift))
        for norm, x, shift in zip(norms, maps, shifts, strict=True)
    ]

    def both_ways(variables: list[PyTree], maps: list[Array], key: PRNGKeyArray) -> PyTree:
        layered = enumerate(zip(norms, variables, maps, shifts, strict=True))
        # Each with a key of its own, or XLA draws the dropout of equal shapes once.
        return [
            _both_ways(norm, own, x, (_rows(batch), shift), x, jax.random.fold_in(key, place))
            for place, (norm, own, x, shift) in layered
        ]

    return {"batch_norm_relu_dropout": (both_ways, (variables, maps, key))}


class _TagSide(nn.Module):
    """The dense layers: tag networks and transforms, or what the CNN case predicts tags with."""

    config: ConfigDict
    tags: int
    product_dtype: DTypeLike

    @nn.compact
    def __call__(
        self, audio: Float[Array, "b latent"], tags: Float[Array, "b tag"], rows: BatchInfo
    ) -> tuple[Float[Array, "b _"], ...]:
        settings, dtypes = self.config.model, (jnp.float32, self.product_dtype)
        latent = audio.shape[-1]
        if self.config.case == "cnn":
            return (Dense(self.tags, True, *dtypes)(nn.relu(Dense(latent, True, *dtypes)(audio))),)
        shared = {"dropout_rate": settings.dropout_rate, "product_dtype": self.product_dtype}
        tag_latent = TagEncoder(settings.tag_hidden, latent, **shared)(tags, rows)
        aligned = Dense(latent, True, *dtypes)(audio), Dense(latent, True, *dtypes)(tag_latent)
        if self.config.case == "e_c":
            return aligned
        return *aligned, TagDecoder(self.tags, settings.tag_hidden, **shared)(tag_latent, rows)


def _tag_part(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    config, sizes = workload.config, workload.sizes
    rows, key = _rows(sizes.batch), jax.random.key(0)
    audio = _random((sizes.batch, LATENT_MAPS * sizes.filters))
    tags = jnp.asarray(workload.tags[: sizes.batch], jnp.float32)
    module = _TagSide(config, sizes.tags, dtype)
    drawn_from = {"params": key, "dropout": key}
    outputs, variables = _random_like(
        jax.eval_shape(module.init_with_output, drawn_from, audio, tags, rows)
    )
    both_ways = functools.partial(_both_ways, module)
    return {"tag_side": (both_ways, (variables, audio, (tags, rows), outputs, key))}


def _both_ways(
    module: nn.Module,
    variables: PyTree,
    x: Array,
    others: tuple[PyTree, ...],
    gradient: PyTree,
    key: PRNGKeyArray,
) -> PyTree:
    """Outputs, new statistics, and the gradients of the parameters and of `x`."""
    running = {name: value for name, value in variables.items() if name != "params"}

    def run(params: PyTree, x: Array) -> tuple[PyTree, PyTree]:
        given = {"params": params, **running}
        return module.apply(given, x, *others, rngs={"dropout": key}, mutable=list(running))

    outputs, pull, updates = jax.vjp(run, variables["params"], x, has_aux=True)
    return outputs, updates, pull(gradient)


def _loss_part(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    del dtype  # losses are computed in float32
    config, sizes, loss = workload.config, workload.sizes, workload.config.loss
    patches = jnp.asarray(workload.patches[: sizes.batch])
    tags = jnp.asarray(workload.tags[: sizes.batch])
    rows = _rows(sizes.batch)
    aligned = (sizes.batch, LATENT_MAPS * sizes.filters)
    shapes = {
        "ae_c": {"audio": patches.shape, "tag": tags.shape, "aligned": (2, *aligned)},
        "e_c": {"aligned": (2, *aligned)},
        "cnn": {"tag": tags.shape},
    }[config.case]
    outputs = {name: _random(shape) for name, shape in shapes.items()}

    def total(outputs: dict[str, Array], patches: Array, tags: Array) -> Float[Array, ""]:
        sums = jnp.zeros(())
        if "audio" in outputs:
            values = losses.generalized_kl(
                patches, outputs["audio"], loss.kl_offset, loss.reduction
            )
            sums += loss.audio_weight * values.mean()
        if "tag" in outputs:
            values = losses.tag_cross_entropy(tags, outputs["tag"], loss.reduction)
            sums += loss.tag_weight * values.mean()
        if "aligned" in outputs:
            negative = ~jnp.eye(sizes.batch, dtype=bool)
            values = losses.cross_modal(*outputs["aligned"], rows.index, negative, loss.temperature)
            sums += loss.contrastive_weight * values.mean()
        return sums

    return {"losses": (jax.value_and_grad(total), (outputs, patches, tags))}


def _optimizer_part(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    del dtype  # it is float32's
    config = workload.config
    model = build_model(config.case, config.model, workload.sizes.tags)
    optimizer = steps.make_optimizer(config.optimizer)
    state = steps.initial_state(model, optimizer, config.seed)

    def update(params: PyTree, opt_state: PyTree, gradients: PyTree) -> PyTree:
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, optax.tree.norm(gradients)

    return {"optimiser": (update, (state.params, state.opt_state, state.params))}


def _input_part(workload: Workload, dtype: DTypeLike) -> dict[str, Part]:
    del dtype  # it is the patches'

    def take(patches: Array, tags: Array, numbers: Array) -> tuple[Array, Array]:
        return patches[numbers], tags[numbers]

    examples = jax.random.permutation(jax.random.key(0), len(workload.patches))
    data = jnp.asarray(workload.patches), jnp.asarray(workload.tags)
    return {"input": (take, (*data, examples[: workload.sizes.batch]))}


def _rows(batch: int) -> BatchInfo:
    return BatchInfo(jnp.ones(batch, bool), jnp.arange(batch, dtype=jnp.int32))


def _random(shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    values = np.random.default_rng(0).random(shape, np.float32) - np.float32(0.5)
    return jnp.asarray(values, dtype)


def _random_like(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: _random(leaf.shape, leaf.dtype), shapes)
