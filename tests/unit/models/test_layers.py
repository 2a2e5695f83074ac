import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from coala_jax.models.layers import (
    BatchInfo,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    TransposedConvolution,
    keep_mask,
)

RATES = [0.25, 0.5, 0.1, 1 / 3]


def rows_of(batch: int, valid: int | None = None) -> BatchInfo:
    index = jnp.arange(batch, dtype=jnp.int32)
    return BatchInfo(valid=index < (batch if valid is None else valid), index=index)


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
        rows = rows_of(count + padding, count)
        for _ in range(2):
            values, weight = rng.standard_normal((2, *shape)) * 3 + 1
            garbage = np.full((padding, *shape[1:]), 1e6)

            def weighted(params, x, stats=stats, weight=weight):
                variables = {"params": params, "batch_stats": stats}
                y, updates = ours.apply(variables, x, rows, mutable=["batch_stats"])
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

        got = ours.apply({"params": params, "batch_stats": stats}, x[:count], None)
    wanted = channels_last(theirs.eval()(torch_x))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


def test_batch_norm_keeps_its_digits_when_the_mean_is_large():
    # float32 has a spacing of 0.001 at 1e4; mean(x^2) - mean(x)^2 would be off by 8 or more.
    x = (1e4 + np.random.default_rng(0).standard_normal((64, 12, 12, 2))).astype(np.float32)
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), jnp.asarray(x), None)
    y, updates = norm.apply(variables, jnp.asarray(x), rows_of(64), mutable=["batch_stats"])
    exact = x.astype(np.float64)
    wanted = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
    np.testing.assert_allclose(y, wanted, rtol=0, atol=3e-3)
    wanted = 0.9 + 0.1 * exact.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updates["batch_stats"]["var"], wanted, rtol=1e-4)


def assert_share(hits: np.ndarray, share: float) -> None:
    """The share of True, within five standard deviations of independent draws."""
    deviation = np.sqrt(share * (1 - share) / hits.size)
    assert abs(hits.mean() - share) < 5 * deviation


@pytest.mark.parametrize("rate", RATES)
def test_keep_mask_drops_its_share_of_every_unit_independently(rate):
    rows, units = 4096, 40  # 40 units: two words and a half at 25 %
    keep = np.asarray(keep_mask(jax.random.key(0), jnp.arange(rows), (units,), rate))
    assert_share(~keep, rate)
    for unit in range(units):
        assert_share(~keep[:, unit], rate)
    correlation = np.corrcoef(keep, rowvar=False) - np.eye(units)
    assert np.abs(correlation).max() < 5 / np.sqrt(rows)
    assert_share(keep[1:] == keep[:-1], rate**2 + (1 - rate) ** 2)


def test_keep_mask_depends_on_the_row_index_alone():
    key, shape = jax.random.key(0), (3, 5, 7)
    whole = keep_mask(key, jnp.arange(16), shape, 0.25)
    some = keep_mask(key, jnp.array([9, 2]), shape, 0.25)
    np.testing.assert_array_equal(some, whole[jnp.array([9, 2])])


class TwoDropouts(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x, rows):
        return Dropout(self.rate, name="a")(x, rows), Dropout(self.rate, name="b")(x, rows)


@pytest.mark.parametrize("rate", RATES)
def test_dropout_scales_what_it_keeps(rate):
    x = np.random.default_rng(0).standard_normal((64, 50)).astype(np.float32)
    y, _ = TwoDropouts(rate).apply(
        {}, jnp.asarray(x), rows_of(64), rngs={"dropout": jax.random.key(0)}
    )
    kept = np.asarray(y) != 0
    assert_share(~kept, rate)
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)


def test_dropout_differs_between_layers_and_steps():
    def dropped(step: int) -> list[np.ndarray]:
        key = jax.random.fold_in(jax.random.key(0), step)
        outputs = TwoDropouts(0.25).apply(
            {}, jnp.ones((64, 50)), rows_of(64), rngs={"dropout": key}
        )
        return [np.asarray(y) == 0 for y in outputs]

    first, second = dropped(0), dropped(1)
    for a, b in [(first[0], first[1]), (first[0], second[0]), (first[0], second[1])]:
        assert_share(a == b, 0.25**2 + 0.75**2)


@pytest.mark.parametrize(
    ("rate", "rows"),
    [
        pytest.param(0.0, rows_of(4), id="rate-0"),
        pytest.param(0.25, None, id="inference"),
    ],
)
def test_dropout_off_is_the_identity_and_draws_nothing(rate, rows):
    x = jnp.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(Dropout(rate).apply({}, x, rows), x)


@pytest.mark.parametrize(
    ("ours", "image", "theirs"),
    [
        pytest.param(Dense(300), (1, 50), torch.nn.Linear(50, 300), id="dense"),
        pytest.param(
            Convolution(100), (1, 2, 2, 3), torch.nn.Conv2d(3, 100, 4, 2, 1), id="strided"
        ),
        pytest.param(
            TransposedConvolution(100),
            (1, 1, 1, 3),
            torch.nn.ConvTranspose2d(3, 100, 4, 2, 1),
            id="transposed",
        ),
    ],
)
def test_layers_start_as_pytorch_starts_them(ours, image, theirs):
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(theirs.weight)
    bound = 1 / np.sqrt(fan_in)
    params = ours.init(jax.random.key(0), jnp.zeros(image))["params"]
    for got, wanted in [(params["kernel"], theirs.weight), (params["bias"], theirs.bias)]:
        assert got.size == wanted.numel()
        for values in (np.asarray(got), wanted.detach().numpy()):
            assert 0.95 * bound < np.abs(values).max() <= bound
            # A uniform sample's deviation is itself known to 0.45 / sqrt(size).
            assert values.std() == pytest.approx(bound / np.sqrt(3), rel=2.2 / np.sqrt(values.size))
            assert abs(values.mean()) < 5 * bound / np.sqrt(3 * values.size)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        pytest.param(lambda dtype: Dense(5, product_dtype=dtype), (6, 64), id="dense"),
        pytest.param(lambda dtype: Convolution(5, product_dtype=dtype), (6, 4, 4, 3), id="strided"),
        pytest.param(
            lambda dtype: TransposedConvolution(5, product_dtype=dtype),
            (6, 2, 2, 3),
            id="transposed",
        ),
    ],
)
def test_only_the_products_are_bfloat16(make, shape):
    """The product and its gradients are within 1 % of float32's; all else is float32's own.

    A bias of 1,000 would swallow a product that is added to it in bfloat16.
    """
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    exact, rounded = make(None), make(jnp.dtype("bfloat16"))
    params = exact.init(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, rounded.init(jax.random.key(0), x)["params"]) == jax.tree.map(
        jnp.shape, params
    )
    params["bias"] += 1000.0
    weight = jnp.asarray(rng.standard_normal(exact.apply({"params": params}, x).shape), jnp.float32)

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


def test_dense_without_bias_is_linear():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5)), jnp.float32)
    layer = Dense(3, use_bias=False)
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"].keys() == {"kernel"}
    np.testing.assert_allclose(
        layer.apply(variables, x), np.asarray(x) @ variables["params"]["kernel"], rtol=1e-5
    )
