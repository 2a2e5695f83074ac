"""Batch norm as the layer uses it, against PyTorch; on several devices and in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from coala_jax.models.layers import BatchInfo, BatchNorm
from coala_jax.ops import normalization
from coala_jax.ops.dropout import random_words
from coala_jax.ops.normalization import Settings, normalize


def info_of(batch: int, valid: int) -> BatchInfo:
    index = jnp.arange(batch, dtype=jnp.int32)
    return BatchInfo(mask=index < valid, global_index=index)


def channels_last(values) -> np.ndarray:
    return np.moveaxis(values.detach().numpy(), 1, -1)


@pytest.mark.parametrize("padding", [0, 3], ids=["full", "padded"])
@pytest.mark.parametrize(
    ("shape", "torch_norm"),
    [
        pytest.param((2, 3), torch.nn.BatchNorm1d, id="fewest-vectors"),
        pytest.param((7, 3), torch.nn.BatchNorm1d, id="vectors"),
        pytest.param((5, 4, 6, 3), torch.nn.BatchNorm2d, id="images"),
    ],
)
def test_batch_norm_equals_pytorch(shape, torch_norm, padding):
    """Padding rows hold a million each; PyTorch never sees them."""
    rng = np.random.default_rng(0)
    count, channels = shape[0], shape[-1]
    scale, bias = rng.standard_normal((2, channels))
    theirs = torch_norm(channels).double()
    theirs.load_state_dict(
        {"weight": torch.tensor(scale), "bias": torch.tensor(bias)}, strict=False
    )

    with jax.enable_x64(True):
        ours = BatchNorm(param_dtype=jnp.float64)
        params = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
        stats = {"mean": jnp.zeros(channels), "var": jnp.ones(channels)}
        info = info_of(count + padding, count)
        for _ in range(2):
            values, weight = rng.standard_normal((2, *shape)) * 3 + 1
            garbage = np.full((padding, *shape[1:]), 1e6)

            def weighted(params, x, stats=stats, weight=weight):
                variables = {"params": params, "batch_stats": stats}
                y, updates = ours.apply(variables, x, info, mutable=["batch_stats"])
                return (y[:count] * weight).sum(), (y[:count], updates["batch_stats"])

            x = jnp.asarray(np.concatenate([values, garbage]))
            gradient = jax.jit(jax.grad(weighted, argnums=(0, 1), has_aux=True))
            gradients, (got, stats) = gradient(params, x)

            torch_x = torch.tensor(np.moveaxis(values, -1, 1).copy(), requires_grad=True)
            theirs.zero_grad()
            wanted = theirs(torch_x)
            (wanted * torch.tensor(np.moveaxis(weight, -1, 1).copy())).sum().backward()
            for a, b in [
                (got, channels_last(wanted)),
                (gradients[1][:count], channels_last(torch_x.grad)),
                (gradients[1][count:], 0.0 * garbage),
                (gradients[0]["scale"], theirs.weight.grad.numpy()),
                (gradients[0]["bias"], theirs.bias.grad.numpy()),
                (stats["mean"], theirs.running_mean.numpy()),
                (stats["var"], theirs.running_var.numpy()),
            ]:
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)

        got = jax.jit(lambda x: ours.apply({"params": params, "batch_stats": stats}, x, None))(
            x[:count]
        )
    wanted = channels_last(theirs.eval()(torch_x))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


def test_batch_norm_keeps_its_digits_when_the_mean_is_large():
    # float32 has a spacing of 0.001 at 1e4; mean(x^2) - mean(x)^2 would be off by 8 or more.
    x = (1e4 + np.random.default_rng(0).standard_normal((64, 12, 12, 2))).astype(np.float32)
    norm = BatchNorm()
    variables = {
        "params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
        "batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)},
    }
    y, updates = jax.jit(
        lambda x: norm.apply(variables, x, info_of(64, 64), mutable=["batch_stats"])
    )(jnp.asarray(x))
    exact = x.astype(np.float64)
    wanted = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
    np.testing.assert_allclose(y, wanted, rtol=0, atol=3e-3)
    wanted = 0.9 + 0.1 * exact.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updates["batch_stats"]["var"], wanted, rtol=1e-4)


def everything(maps, mask, words, axis_name=None):
    """Result, moments, and the gradients of maps, scale and bias."""
    settings = Settings(axis_name, 1e-5, True, 0.25, jnp.float64)
    scale, bias = jnp.asarray([1.0, -2.0, 0.5]), jnp.asarray([0.3, 0.1, -0.2])

    def weighted(maps, scale, bias):
        result, moments = normalize(settings, maps, scale, bias, mask, words)
        weight = jnp.cos(jnp.arange(maps[0].size, dtype=jnp.float64)).reshape(maps.shape[1:])
        weight = jnp.where(mask[:, None, None, None], weight[None], 0)
        return (result * weight).sum(), (result, moments)

    gradient = jax.jit(jax.grad(weighted, argnums=(0, 1, 2), has_aux=True))
    gradients, (result, moments) = gradient(maps, scale, bias)
    if axis_name:
        gradients = gradients[0], *jax.lax.psum(gradients[1:], axis_name)
    return (result, gradients[0]), (moments, gradients[1:])


@pytest.fixture(scope="module")
def whole():
    """Eight rows, the last two padding; and what one device makes of all of them at once."""
    with jax.enable_x64(True):
        maps = jnp.asarray(np.random.default_rng(0).standard_normal((8, 2, 2, 3)) + 5)
        index = jnp.arange(8, dtype=jnp.int32)
        arguments = maps, index < 6, random_words(jax.random.key(0), index, 12, 0.25)
        return arguments, everything(*arguments)


def assert_near(got, wanted) -> None:
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.reshape(a, b.shape), b, rtol=0, atol=1e-12)


def test_devices_share_their_moments_and_sums(whole):
    arguments, wanted = whole
    with jax.enable_x64(True):
        parts = [values.reshape(4, 2, *values.shape[1:]) for values in arguments]
        mapped = jax.pmap(
            lambda *own: everything(*own, "device"),
            axis_name="device",
            devices=jax.devices()[:4],
            out_axes=(0, None),
        )
        assert_near(mapped(*parts), wanted)


def test_a_few_images_at_a_time_give_the_same(whole, monkeypatch):
    arguments, wanted = whole
    monkeypatch.setattr(normalization, "_VALUES_AT_ONCE", 2 * 12)
    with jax.enable_x64(True):
        assert_near(everything(*arguments), wanted)
