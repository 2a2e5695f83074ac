"""Layers that start as PyTorch starts them, and batch norm and dropout over the global batch.

`param_dtype` is the precision of parameters, statistics and everything between the products;
`product_dtype` that of the matrix products and convolutions: bfloat16, or None for the same.

A layer's result depends on the whole batch, not on how devices share it: batch statistics are
summed over the device axis and over valid examples only, and dropout is drawn per example.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from coala_jax.ops.convolution import KERNEL, convolve, convolve_transposed
from coala_jax.ops.dropout import keep_mask, random_words
from coala_jax.ops.normalization import Settings, normalize

PerFeature = Float[Array | np.ndarray, " _"]


@struct.dataclass
class BatchInfo:
    """Which rows of a batch count, and which they are; modules given None run inference.

    mask: False for padding, which then has no part in any statistic.
    global_index: the row's place in the global batch, from which its dropout is drawn.
    """

    mask: Bool[Array, " batch"]
    global_index: Int[Array, " batch"]


def uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for kernels and biases."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init


class Product(nn.Module):
    """A linear layer. Called, it adds its bias to its product.

    `product_and_bias` returns them separately, for a batch norm that takes the bias as its shift.
    """

    def __call__(self, x: Float[Array, "batch ... channel"]) -> Float[Array, "batch ... feature"]:
        y, bias = self.product_and_bias(x)
        y = y.astype(self.param_dtype)
        return y if bias is None else y + bias[(None,) * (y.ndim - 1)]


class Dense(Product):
    """Affine layer, or linear without `use_bias`."""

    features: int
    use_bias: bool = True
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def product_and_bias(
        self, x: Float[Array, "batch channel"]
    ) -> tuple[Float[Array, "batch feature"], PerFeature | None]:
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features), self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", init, (self.features,), self.param_dtype)
        dtype = self.product_dtype or self.param_dtype
        return x.astype(dtype) @ kernel.astype(dtype), bias


class Convolution(Product):
    """4x4 convolution of stride 2, padding 1: halves height and width."""

    filters: int
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def product_and_bias(
        self, x: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h2 w2 filter"], PerFeature]:
        channels = x.shape[-1]
        init = uniform_fan_in(KERNEL * KERNEL * channels)
        shape = (KERNEL, KERNEL, channels, self.filters)
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", init, (self.filters,), self.param_dtype)
        if self.is_initializing():  # which needs the shape alone, and tracing products takes long
            batch, height, width, _ = x.shape
            return jnp.zeros((batch, height // 2, width // 2, self.filters), x.dtype), bias
        return convolve(x.astype(self.product_dtype or self.param_dtype), kernel), bias


class TransposedConvolution(Product):
    """Transposed 4x4 convolution of stride 2, padding 1: doubles height and width."""

    filters: int
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def product_and_bias(
        self, x: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h2 w2 filter"], PerFeature]:
        # PyTorch counts the fan-in of a transposed convolution over its output channels.
        init = uniform_fan_in(KERNEL * KERNEL * self.filters)
        shape = (KERNEL, KERNEL, self.filters, x.shape[-1])
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", init, (self.filters,), self.param_dtype)
        if self.is_initializing():
            batch, height, width, _ = x.shape
            return jnp.zeros((batch, 2 * height, 2 * width, self.filters), x.dtype), bias
        return convolve_transposed(x.astype(self.product_dtype or self.param_dtype), kernel), bias


class BatchNorm(nn.Module):
    """Batch normalisation over the valid rows of the global batch, with its ReLU and dropout.

    The running variance is the unbiased one, and momentum and epsilon are PyTorch's.

    axis_name: the device axis that the batch is spread over; None when it is not spread.
    rectify: whether a ReLU follows, and after it, in training, dropout of `dropout_rate`.
    product_dtype: of the result in training, which the next product reads.
    """

    axis_name: str | None = None
    rectify: bool = False
    dropout_rate: float = 0.0
    momentum: float = 0.1  # weight of the new batch in the running statistics
    epsilon: float = 1e-5
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch ... channel"],
        info: BatchInfo | None,
        shift: PerFeature | None = None,
    ) -> Float[Array, "batch ... channel"]:
        """Normalises x + shift. A shift moves the mean, so that training need not add it to x."""
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, self.param_dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, self.param_dtype)
        shift = jnp.zeros(shape, self.param_dtype) if shift is None else shift
        if info is None:
            wide = (None,) * (x.ndim - 1)
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            centred = x.astype(self.param_dtype) - (running_mean.value - shift)[wide]
            y = centred * factor[wide] + bias[wide]
            return nn.relu(y) if self.rectify else y
        words = None
        if self.dropout_rate:
            units = math.prod(x.shape[1:])
            words = random_words(
                self.make_rng("dropout"), info.global_index, units, self.dropout_rate
            )
        settings = Settings(
            self.axis_name,
            self.epsilon,
            self.rectify,
            self.dropout_rate,
            self.product_dtype or self.param_dtype,
        )
        y, moments = normalize(settings, x, scale, bias, info.mask, words)
        if not self.is_initializing():
            unbiased = moments.variance * (moments.count / jnp.maximum(moments.count - 1, 1))
            running_mean.value += self.momentum * (moments.mean + shift - running_mean.value)
            running_var.value += self.momentum * (unbiased - running_var.value)
        return y


class Dropout(nn.Module):
    """Inverted dropout, drawn for each example from its index in the global batch.

    So the same examples lose the same units however many devices share the batch.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], info: BatchInfo | None
    ) -> Float[Array, "batch ..."]:
        if info is None or self.rate == 0.0:
            return x
        keep = keep_mask(self.make_rng("dropout"), info.global_index, x.shape[1:], self.rate)
        return jnp.where(keep, x / (1.0 - self.rate), jnp.zeros_like(x))
