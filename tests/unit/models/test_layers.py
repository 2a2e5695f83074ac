import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from coala_jax.models.layers import BatchInfo, Convolution, Dense, Dropout, TransposedConvolution
from tests.statistics import RATES, assert_share


def info_of(batch: int) -> BatchInfo:
    return BatchInfo(jnp.ones(batch, bool), jnp.arange(batch, dtype=jnp.int32))


class TwoDropouts(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x, info):
        return Dropout(self.rate, name="a")(x, info), Dropout(self.rate, name="b")(x, info)


@pytest.mark.parametrize("rate", RATES)
def test_dropout_scales_what_it_keeps(rate):
    x = np.random.default_rng(0).standard_normal((64, 50)).astype(np.float32)
    y, _ = TwoDropouts(rate).apply(
        {}, jnp.asarray(x), info_of(64), rngs={"dropout": jax.random.key(0)}
    )
    kept = np.asarray(y) != 0
    assert_share(~kept, rate)
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)


def test_dropout_differs_between_layers_and_steps():
    def dropped(step: int) -> list[np.ndarray]:
        key = jax.random.fold_in(jax.random.key(0), step)
        outputs = TwoDropouts(0.25).apply(
            {}, jnp.ones((64, 50)), info_of(64), rngs={"dropout": key}
        )
        return [np.asarray(y) == 0 for y in outputs]

    first, second = dropped(0), dropped(1)
    for a, b in [(first[0], first[1]), (first[0], second[0]), (first[0], second[1])]:
        assert_share(a == b, 0.25**2 + 0.75**2)


def test_dropout_off_is_the_identity_and_draws_nothing():
    x = jnp.arange(12.0).reshape(4, 3)
    for rate, info in ((0.0, info_of(4)), (0.25, None)):
        np.testing.assert_array_equal(Dropout(rate).apply({}, x, info), x)


@pytest.mark.parametrize(
    ("ours", "image", "theirs"),
    [
        (Dense(300), (1, 50), torch.nn.Linear(50, 300)),
        (Convolution(100), (1, 2, 2, 3), torch.nn.Conv2d(3, 100, 4, 2, 1)),
        (TransposedConvolution(100), (1, 1, 1, 3), torch.nn.ConvTranspose2d(3, 100, 4, 2, 1)),
    ],
    ids=["dense", "strided", "transposed"],
)
def test_layers_start_as_pytorch_starts_them(ours, image, theirs):
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(theirs.weight)
    bound = 1 / np.sqrt(fan_in)
    params = jax.jit(ours.init)(jax.random.key(0), jnp.zeros(image))["params"]
    for got, wanted in [(params["kernel"], theirs.weight), (params["bias"], theirs.bias)]:
        assert got.size == wanted.numel()
        for values in (np.asarray(got), wanted.detach().numpy()):
            assert 0.95 * bound < np.abs(values).max() <= bound
            # A uniform sample's deviation is itself known to 0.45 / sqrt(size).
            assert values.std() == pytest.approx(bound / np.sqrt(3), rel=2.2 / np.sqrt(values.size))
            assert abs(values.mean()) < 5 * bound / np.sqrt(3 * values.size)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(Dense, (6, 64)), (Convolution, (6, 4, 4, 3)), (TransposedConvolution, (6, 2, 2, 3))],
)
def test_only_the_products_are_bfloat16(layer, shape):
    """The product and its gradients are within 1 % of float32's; all else is float32's own.

    A bias of 1,000 would swallow a product that is added to it in bfloat16.
    """
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    exact, rounded = layer(5), layer(5, product_dtype=jnp.dtype("bfloat16"))
    params = jax.jit(exact.init)(jax.random.key(0), x)["params"]
    params["bias"] += 1000.0
    y = jax.eval_shape(exact.apply, {"params": params}, x)
    weight = jnp.asarray(rng.standard_normal(y.shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def compute(layer, params, x):
        def weighted(params, x):
            y = layer.apply({"params": params}, x)
            return (y * weight).sum(), y

        gradients, y = jax.grad(weighted, argnums=(0, 1), has_aux=True)(params, x)
        product = y - params["bias"][(None,) * (y.ndim - 1)]
        return product, gradients[0]["kernel"], gradients[1], gradients[0]["bias"]

    for name, got, wanted in zip(
        ("product", "kernel", "input", "bias"),
        compute(rounded, params, x),
        compute(exact, params, x),
        strict=True,
    ):
        assert got.dtype == jnp.float32, name
        distance = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        # The bias has no part in any product.
        assert distance < 1e-6 if name == "bias" else 1e-4 < distance < 0.01, name


def test_the_gradient_of_a_bfloat16_product_is_summed_in_float32():
    """Of 1,000 rows of ones; a sum in bfloat16 would stay at 256, where 256 + 1 is 256."""
    layer = Dense(1, product_dtype=jnp.bfloat16)
    variables = layer.init(jax.random.key(0), jnp.ones((1000, 1)))
    gradients = jax.grad(lambda v: layer.apply(v, jnp.ones((1000, 1))).sum())(variables)["params"]
    assert gradients["kernel"].dtype == jnp.float32
    assert gradients["kernel"].item() == 1000
