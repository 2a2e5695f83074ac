"""Layers that start as PyTorch starts them, and batch norm and dropout over the global batch.

`param_dtype` is the precision of parameters, statistics and everything between the products;
`product_dtype` that of the matrix products and convolutions: bfloat16, or None for the same.

What a layer does depends on the whole batch, not on how it was cut over devices: batch statistics
are summed over the device axis and over valid examples only, and dropout is drawn per example.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from coala_jax.models.convolution import KERNEL, convolve, convolve_transposed


@struct.dataclass
class TrainingRows:
    """What training knows of the rows of a batch; modules given None in its place run inference.

    valid: False for padding, which then has no part in any statistic.
    index: place of the row in the global batch, from which its dropout is drawn.
    """

    valid: Bool[Array, " batch"]
    index: Int[Array, " batch"]


def uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for kernels and biases."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init


class Dense(nn.Module):
    """Affine layer, or linear without `use_bias`."""

    features: int
    use_bias: bool = True
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch channel"]) -> Float[Array, "batch feature"]:
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features), self.param_dtype)
        dtype = self.product_dtype or self.param_dtype
        y = (x.astype(dtype) @ kernel.astype(dtype)).astype(self.param_dtype)
        if self.use_bias:
            y += self.param("bias", init, (self.features,), self.param_dtype)[None]
        return y


class Convolution(nn.Module):
    """4x4 convolution of stride 2, padding 1: halves height and width."""

    filters: int
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 filter"]:
        channels = x.shape[-1]
        init = uniform_fan_in(KERNEL * KERNEL * channels)
        shape = (KERNEL, KERNEL, channels, self.filters)
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", init, (self.filters,), self.param_dtype)
        y = convolve(x.astype(self.product_dtype or self.param_dtype), kernel)
        return y.astype(self.param_dtype) + bias[None, None, None]


class TransposedConvolution(nn.Module):
    """Transposed 4x4 convolution of stride 2, padding 1: doubles height and width."""

    filters: int
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 filter"]:
        # PyTorch counts the fan-in of a transposed convolution over its output channels.
        init = uniform_fan_in(KERNEL * KERNEL * self.filters)
        shape = (KERNEL, KERNEL, self.filters, x.shape[-1])
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", init, (self.filters,), self.param_dtype)
        y = convolve_transposed(x.astype(self.product_dtype or self.param_dtype), kernel)
        return y.astype(self.param_dtype) + bias[None, None, None]


class BatchNorm(nn.Module):
    """Batch normalisation over the valid rows of the global batch.

    Two passes, mean first: E[x^2] - E[x]^2 loses half of float32's digits when the mean is large.
    The running variance is the unbiased one, and momentum and epsilon are PyTorch's.

    axis_name: the device axis that the batch is spread over; None when it is not spread.
    """

    axis_name: str | None = None
    momentum: float = 0.1  # weight of the new batch in the running statistics
    epsilon: float = 1e-5
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ... channel"], rows: TrainingRows | None
    ) -> Float[Array, "batch ... channel"]:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, self.param_dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, self.param_dtype)
        over_channels = (None,) * (x.ndim - 1)
        if rows is None:
            mean, var = running_mean.value, running_var.value
        else:
            mean, var, count = self._moments(x, rows.valid)
            if not self.is_initializing():
                unbiased = var * (count / jnp.maximum(count - 1, 1))
                running_mean.value += self.momentum * (mean - running_mean.value)
                running_var.value += self.momentum * (unbiased - running_var.value)
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return (x - mean[over_channels]) * factor[over_channels] + bias[over_channels]

    def _moments(
        self, x: Float[Array, "batch ... channel"], valid: Bool[Array, " batch"]
    ) -> tuple[Float[Array, " channel"], Float[Array, " channel"], Float[Array, ""]]:
        """Mean, biased variance and number of the values of each channel, over all devices."""
        axes = tuple(range(x.ndim - 1))
        weight = valid.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        count = self._all_sum(valid.sum(dtype=x.dtype)) * math.prod(x.shape[1:-1])
        mean = self._all_sum((x * weight).sum(axes)) / count
        centred = (x - mean[(None,) * len(axes)]) * weight
        return mean, self._all_sum((centred * centred).sum(axes)) / count, count

    def _all_sum(self, value: Array) -> Array:
        return value if self.axis_name is None else jax.lax.psum(value, self.axis_name)


class Dropout(nn.Module):
    """Inverted dropout, drawn for each example from its index in the global batch.

    So the same examples lose the same units however many devices share the batch.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], rows: TrainingRows | None
    ) -> Float[Array, "batch ..."]:
        if rows is None or self.rate == 0.0:
            return x
        keep = keep_mask(self.make_rng("dropout"), rows.index, x.shape[1:], self.rate)
        return jnp.where(keep, x / (1.0 - self.rate), jnp.zeros_like(x))


def keep_mask(
    key: PRNGKeyArray | UInt32[Array, "2"],
    index: Int[Array, " batch"],
    shape: tuple[int, ...],
    rate: float,
) -> Bool[Array, "batch ..."]:
    """True with probability 1 - rate, from the fewest random bits that can say so.

    The paper's 25 % takes two bits a unit, sixteen units a random word, which costs a sixth of one
    uniform number a unit. A rate that is no multiple of 2^-8 is rounded to one of 2^-16.
    """
    bits = next((b for b in (1, 2, 4, 8) if (rate * 2**b).is_integer()), 16)
    units_per_word = 32 // bits
    units = math.prod(shape)
    words = -(-units // units_per_word)

    def draw(row: Int[Array, ""]) -> UInt32[Array, " word"]:
        return jax.random.bits(jax.random.fold_in(key, row), (words,), jnp.uint32)

    drawn = jax.vmap(draw)(index)
    shifts = (jnp.arange(units_per_word, dtype=jnp.uint32) * bits)[None, :, None]
    values = (drawn[:, None, :] >> shifts) & jnp.uint32(2**bits - 1)
    keep = values >= jnp.uint32(round(rate * 2**bits))
    return keep.reshape(index.shape[0], -1)[:, :units].reshape(-1, *shape)
