"""Batch norm, ReLU and dropout as one function for training, with its gradient written out.

Between two products there is little arithmetic and much memory traffic: differentiated operation by
operation, the maps of a batch are read and written some forty times, here eight. The moments read
the maps, the normalisation reads and writes them; backwards, two sums read maps and gradient, and
the gradient of the maps is made from both. Only the maps and the random words, two bits per unit,
are kept for the gradient.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PyTree

from coala_jax.ops.chunks import fits, map_chunks
from coala_jax.ops.dropout import Words, kept

Maps = Float[Array, "batch ... channel"]
PerChannel = Float[Array, " channel"]
Mask = Bool[Array, " batch"]

# Values that a CPU processes at once, 4 MB: as many images as in one product.
_VALUES_AT_ONCE = 2**20


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is fixed when the program is compiled.

    axis_name: the device axis that the batch is spread over; None when it is not spread.
    rectify: whether a ReLU follows.
    rate: share of the units dropped after it.
    dtype: of the result.
    """

    axis_name: str | None
    epsilon: float
    rectify: bool
    rate: float
    dtype: DTypeLike


@dataclasses.dataclass(frozen=True)
class Moments:
    """Of each channel over the valid rows of all devices; the variance is the biased one."""

    mean: PerChannel
    variance: PerChannel
    count: Float[Array, ""]


jax.tree_util.register_dataclass(Moments)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalize(
    settings: Settings,
    maps: Maps,
    scale: PerChannel,
    bias: PerChannel,
    mask: Mask,
    words: Words | None,
) -> tuple[Maps, Moments]:
    """Normalises by the moments of the valid rows of all devices, then rectifies and drops.

    words: from `random_words`; None when nothing is dropped.

    The moments are for the running statistics and are not differentiated.
    """
    return _forward(settings, maps, scale, bias, mask, words)[0]


def _forward(
    settings: Settings,
    maps: Maps,
    scale: PerChannel,
    bias: PerChannel,
    mask: Mask,
    words: Words | None,
) -> tuple[tuple[Maps, Moments], tuple[Any, ...]]:
    moments = _moments(maps, mask, settings.axis_name, scale.dtype)
    inverse_deviation = lax.rsqrt(moments.variance + settings.epsilon)

    def some(rows: tuple[Maps, Words | None]) -> tuple[Maps, None]:
        maps, words = rows
        values = _affine(_standardized(maps, moments.mean, inverse_deviation), scale, bias)
        keep = _keep(values, words, settings)
        return jnp.where(keep, values / (1 - settings.rate), 0).astype(settings.dtype), None

    result, _ = _by_rows(some, (maps, words))
    return (result, moments), (maps, scale, bias, mask, words, moments, inverse_deviation)


def _backward(
    settings: Settings, saved: tuple[Any, ...], gradients: tuple[Maps, Moments]
) -> tuple[Maps, PerChannel, PerChannel, None, None]:
    maps, scale, bias, mask, words, moments, inverse_deviation = saved
    axes = tuple(range(maps.ndim - 1))

    def until_affine(maps: Maps, gradient: Maps, words: Words | None) -> tuple[Maps, Maps]:
        """The standardised values, and the gradient of what the affine map makes of them."""
        values = _standardized(maps, moments.mean, inverse_deviation)
        keep = _keep(_affine(values, scale, bias), words, settings)
        return values, jnp.where(keep, gradient.astype(scale.dtype) / (1 - settings.rate), 0)

    def sums(rows: PyTree) -> tuple[None, tuple[PerChannel, PerChannel]]:
        values, gradient = until_affine(*rows)
        return None, ((gradient * values).sum(axes), gradient.sum(axes))

    _, (of_scale, of_bias) = _by_rows(sums, (maps, gradients[0], words))
    through_variance, through_mean = (
        each / moments.count for each in _all_sum((of_scale, of_bias), settings.axis_name)
    )

    def until_maps(rows: PyTree) -> tuple[Maps, None]:
        *rows, mask = rows
        values, gradient = until_affine(*rows)
        through_moments = _affine(values, through_variance, through_mean)
        rest = gradient - through_moments * _as_weight(mask, values, scale.dtype)
        return (rest * _wide(inverse_deviation * scale, values)).astype(maps.dtype), None

    of_maps, _ = _by_rows(until_maps, (maps, gradients[0], words, mask))
    return of_maps, of_scale, of_bias, None, None


normalize.defvjp(_forward, _backward)


def _moments(maps: Maps, mask: Mask, axis_name: str | None, dtype: DTypeLike) -> Moments:
    """In one pass over the maps, about the mean of the first row.

    E[x^2] - E[x]^2 alone would lose half of float32's digits when the mean is large.
    """
    axes = tuple(range(maps.ndim - 1))
    centre = maps[0].astype(dtype).mean(axes[:-1])

    def sums(rows: tuple[Maps, Mask]) -> tuple[None, tuple[PerChannel, PerChannel]]:
        maps, mask = rows
        offsets = (maps.astype(dtype) - _wide(centre, maps)) * _as_weight(mask, maps, dtype)
        return None, (offsets.sum(axes), (offsets * offsets).sum(axes))

    _, (first, second) = _by_rows(sums, (maps, mask))
    own_count = mask.sum(dtype=dtype) * math.prod(maps.shape[1:-1])
    count, total = _all_sum((own_count, own_count * centre + first), axis_name)
    mean = total / count
    offset = mean - centre
    own_squares = second - 2 * offset * first + own_count * offset * offset
    return Moments(mean, _all_sum(own_squares, axis_name) / count, count)


def _keep(values: Maps, words: Words | None, settings: Settings) -> Bool[Array, "..."]:
    """Which of these values pass the ReLU and the dropout."""
    keep = values > 0 if settings.rectify else jnp.ones_like(values, bool)
    return keep if words is None else keep & kept(words, values.shape[1:], settings.rate)


def _standardized(maps: Maps, mean: PerChannel, inverse_deviation: PerChannel) -> Maps:
    """Shared by both passes, so that no value is above 0 forwards and below it backwards."""
    return (maps.astype(mean.dtype) - _wide(mean, maps)) * _wide(inverse_deviation, maps)


def _affine(maps: Maps, scale: PerChannel, bias: PerChannel) -> Maps:
    return maps * _wide(scale, maps) + _wide(bias, maps)


def _wide(per_channel: PerChannel, maps: Maps) -> Float[Array, "..."]:
    return per_channel[(None,) * (maps.ndim - 1)]


def _as_weight(mask: Mask, maps: Maps, dtype: DTypeLike) -> Float[Array, "..."]:
    return mask.astype(dtype).reshape(-1, *(1,) * (maps.ndim - 1))


def _by_rows(function: Callable[[PyTree], tuple[PyTree, PyTree]], rows: PyTree) -> Any:
    at_once = _VALUES_AT_ONCE // math.prod(rows[0].shape[1:])
    if fits(rows, at_once):  # the same on each platform: tracing it for two takes twice as long
        return function(rows)
    return lax.platform_dependent(
        rows, cpu=lambda rows: map_chunks(function, rows, at_once), default=function
    )


def _all_sum(values: PyTree, axis_name: str | None) -> PyTree:
    return values if axis_name is None else lax.psum(values, axis_name)
