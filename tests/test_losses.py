import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coala_jax.training import losses
from coala_jax.training.losses import normalized

# Compiled as one, which is quicker than operation by operation.
contrastive = jax.jit(losses.contrastive, static_argnames="temperature")
generalized_kl = jax.jit(losses.generalized_kl)
tag_cross_entropy = jax.jit(losses.tag_cross_entropy)

EXTREMES = np.array([-100.0, 100.0, -100.0, 100.0])
CHOICES = np.array([0.0, 0.0, 1.0, 1.0])


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_generalized_kl_equals_numpy_and_pytorch():
    """Summed over time, averaged over mel bands."""
    patches, logits = np.random.default_rng(0).random((3, 4, 6)), 3 * random(3, 4, 6)
    patches[0, 0, :2] = 0, 1
    with jax.enable_x64(True):
        got = generalized_kl(jnp.asarray(patches), jnp.asarray(logits))
    outputs = 1 / (1 + np.exp(-logits))
    wanted = []
    for x, y in zip(patches, outputs, strict=True):
        cells = [
            (a * np.log(a / b) if a > 0 else 0.0) - a + b
            for a, b in zip(x.ravel(), y.ravel(), strict=True)
        ]
        wanted.append(sum(cells) / 4)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    x, y = torch.tensor(patches), torch.sigmoid(torch.tensor(logits))
    divergence = F.kl_div(y.log(), x, reduction="none") - x + y
    np.testing.assert_allclose(got, divergence.sum(2).mean(1), rtol=0, atol=1e-12)
    single = generalized_kl(jnp.asarray(patches, jnp.float32), jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(single, wanted, rtol=1e-5)


def test_generalized_kl_is_zero_where_both_are_equal():
    logits = jnp.asarray(3 * random(2, 4, 6), jnp.float32)
    equal = generalized_kl(jax.nn.sigmoid(logits), logits)
    np.testing.assert_allclose(equal, 0.0, atol=1e-6)
    assert (generalized_kl(jax.nn.sigmoid(logits + 0.1), logits) > 1e-3).all()


def test_generalized_kl_at_the_extremes():
    """x = 0: y; x = 1: -log y - 1 + y; the gradient (1 - y) (y - x)."""
    patches = jnp.asarray(CHOICES, jnp.float32)[:, None, None]
    logits = jnp.asarray(EXTREMES, jnp.float32)[:, None, None]
    np.testing.assert_allclose(generalized_kl(patches, logits), [0, 1, 99, 0], atol=1e-6)
    gradient = jax.grad(lambda logits: generalized_kl(patches, logits).sum())(logits)
    np.testing.assert_allclose(gradient.ravel(), [0, 0, -1, 0], atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_tag_cross_entropy_equals_pytorch(kind):
    tags = (random(5, 7) > 0).astype(kind)
    logits = 3 * random(5, 7, seed=1)
    with jax.enable_x64(True):
        got = tag_cross_entropy(jnp.asarray(tags), jnp.asarray(logits))
    wanted = F.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(tags.astype(np.float64)), reduction="none"
    )
    np.testing.assert_allclose(got, wanted.mean(1), rtol=0, atol=1e-12)


def test_tag_cross_entropy_at_the_extremes():
    tags, logits = (jnp.asarray(values, jnp.float32)[:, None] for values in (CHOICES, EXTREMES))
    np.testing.assert_allclose(tag_cross_entropy(tags, logits), [0, 100, 100, 0], atol=1e-6)
    gradient = jax.grad(lambda logits: tag_cross_entropy(tags, logits).sum())(logits)
    np.testing.assert_allclose(gradient.ravel(), [0, 1, -1, 0], atol=1e-6)


def literal_contrastive(audio, tags, temperature: float) -> list[float]:
    """Equations 10 to 12 as they are printed."""

    def xi(a, b) -> float:
        return np.exp(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) / temperature)

    count = len(audio)
    return [
        -np.log(xi(audio[b], tags[b]) / sum(xi(audio[b], tags[i]) for i in range(count) if i != b))
        for b in range(count)
    ]


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_contrastive_equals_the_paper_s_equations(count, temperature):
    """Padding candidates take no part, whatever they hold and wherever they are."""
    audio, tags = random(count, 5), 10 * random(count, 5, seed=1)
    wanted = literal_contrastive(audio, tags, temperature)
    own = np.random.default_rng(2).permutation(count + 3)[:count].astype(np.int32)
    candidates = 1e3 * np.ones((count + 3, 5))
    candidates[own] = tags
    valid = np.isin(np.arange(count + 3), own)
    with jax.enable_x64(True):
        got = contrastive(
            *map(jnp.asarray, (audio, candidates, own, valid)), temperature=temperature
        )
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_contrastive_of_two_pairs_by_hand():
    # Cosines: 0.6 with the own tags and 0.8 with the others'; 1 with the own ones and 0.
    audio = jnp.array([[3.0, 4.0], [0.0, 2.0]])
    tags = jnp.array([[1.0, 0.0], [0.0, 5.0]])
    got = contrastive(audio, tags, jnp.array([0, 1]), jnp.array([True, True]), temperature=0.5)
    np.testing.assert_allclose(got, [(0.8 - 0.6) / 0.5, (0.0 - 1.0) / 0.5], rtol=1e-6)


@functools.partial(jax.jit, static_argnames="temperature")
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def mean_and_gradients(*arguments, temperature):
    return contrastive(*arguments, temperature=temperature).mean()


ONE = np.ones((4, 3))


@pytest.mark.parametrize(
    ("audio", "tags", "wanted"),
    [
        pytest.param(ONE, ONE, np.log(3), id="identical"),
        pytest.param(ONE, -ONE, np.log(3), id="all-opposite"),
        pytest.param(0 * ONE, ONE, np.log(3), id="zero-audio"),
        pytest.param(ONE, 0 * ONE, np.log(3), id="zero-tags"),
        pytest.param(1e-5 * ONE, 1e15 * ONE, np.log(3), id="short-and-long"),
        # One tag set points the other way: its sound loses 2 / tau, the others win it.
        pytest.param(
            ONE,
            ONE * np.array([[-1], [1], [1], [1]]),
            (400 + np.log(3) + 3 * np.log(2)) / 4,
            id="own-opposite",
        ),
    ],
)
def test_contrastive_is_finite_at_the_edges(audio, tags, wanted):
    audio, tags = jnp.asarray(audio, jnp.float32), jnp.asarray(tags, jnp.float32)
    own, valid = jnp.arange(4, dtype=jnp.int32), jnp.ones(4, bool)

    value, gradients = mean_and_gradients(audio, tags, own, valid, temperature=0.005)
    # A cosine's rounding of 6e-8 counts 200-fold.
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    # Nor does the norm overflow, which training reports.
    assert all(jnp.isfinite(jnp.linalg.norm(gradient)) for gradient in gradients)


def test_normalized():
    vectors = np.array([[3, 4], [0, 0], [-6e-6, 8e-6], [0, 1e15]], np.float32)
    wanted = [[0.6, 0.8], [0, 0], [-0.6, 0.8], [0, 1]]
    np.testing.assert_allclose(normalized(jnp.asarray(vectors)), wanted, rtol=1e-6)
