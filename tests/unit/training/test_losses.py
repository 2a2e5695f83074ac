"""The losses against the formulas as they are printed, in NumPy, and against PyTorch.

test_steps.py compares them and their gradients with `pytorch_coala`, whose values are worked out by
hand in test_pytorch_coala.py.
"""

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
cross_modal = jax.jit(losses.cross_modal, static_argnames="temperature")
nt_xent = jax.jit(losses.nt_xent, static_argnames=("temperature", "reduction"))
generalized_kl = jax.jit(losses.generalized_kl, static_argnames=("offset", "reduction"))
tag_cross_entropy = jax.jit(losses.tag_cross_entropy, static_argnames="reduction")

EXTREMES = np.array([-100.0, 100.0, -100.0, 100.0])
CHOICES = np.array([0.0, 0.0, 1.0, 1.0])


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# --- Reconstructions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 4), ("sum", 1)])
@pytest.mark.parametrize("offset", [0.0, 1e-5, 0.5])
def test_generalized_kl_equals_numpy_and_pytorch(offset, reduction, divisor):
    """Summed over time, averaged over the four mel bands or summed; 0 and 1.3 are among X."""
    patches, logits = np.random.default_rng(0).random((3, 4, 6)), 3 * random(3, 4, 6)
    patches[0, 0, :3] = 0, 1, 1.3
    keys = {"offset": offset, "reduction": reduction}
    with jax.enable_x64(True):
        got = generalized_kl(jnp.asarray(patches), jnp.asarray(logits), **keys)
    outputs = 1 / (1 + np.exp(-logits))
    wanted = [
        sum(
            (a * (np.log(a + offset) - np.log(b + offset)) if a > 0 else 0.0) - a + b
            for a, b in zip(x.ravel(), y.ravel(), strict=True)
        )
        / divisor
        for x, y in zip(patches, outputs, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    if not offset:
        x, y = torch.tensor(patches), torch.sigmoid(torch.tensor(logits))
        divergence = F.kl_div(y.log(), x, reduction="none") - x + y
        np.testing.assert_allclose(got, divergence.sum((1, 2)) / divisor, rtol=0, atol=1e-12)
    single = [jnp.asarray(values, jnp.float32) for values in (patches, logits)]
    np.testing.assert_allclose(generalized_kl(*single, **keys), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("offset", "values", "gradients"),
    [
        # x = 0: y; x = 1: -log y - 1 + y; the gradient (1 - y) (y - x).
        (0.0, [0, 1, 99, 0], [0, 0, -1, 0]),
        # x = 1: log(1 + 1e-5) - log(y + 1e-5) - 1 + y, which no longer feels a y of 4e-44.
        (1e-5, [0, 1, np.log(1 + 1e5) - 1, 0], [0, 0, 0, 0]),
    ],
)
def test_generalized_kl_at_the_extremes(offset, values, gradients):
    patches = jnp.asarray(CHOICES, jnp.float32)[:, None, None]
    logits = jnp.asarray(EXTREMES, jnp.float32)[:, None, None]
    got = generalized_kl(patches, logits, offset=offset)
    np.testing.assert_allclose(got, values, rtol=1e-6, atol=1e-6)
    gradient = jax.grad(lambda logits: generalized_kl(patches, logits, offset=offset).sum())(logits)
    np.testing.assert_allclose(gradient.ravel(), gradients, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_tag_cross_entropy_equals_pytorch(kind, reduction):
    tags = (random(5, 7) > 0).astype(kind)
    logits = 3 * random(5, 7, seed=1)
    with jax.enable_x64(True):
        got = tag_cross_entropy(jnp.asarray(tags), jnp.asarray(logits), reduction=reduction)
    each = F.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(tags.astype(np.float64)), reduction="none"
    )
    wanted = each.mean(1) if reduction == "mean" else each.sum(1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_tag_cross_entropy_at_the_extremes():
    tags, logits = (jnp.asarray(values, jnp.float32)[:, None] for values in (CHOICES, EXTREMES))
    np.testing.assert_allclose(tag_cross_entropy(tags, logits), [0, 100, 100, 0], atol=1e-6)
    gradient = jax.grad(lambda logits: tag_cross_entropy(tags, logits).sum())(logits)
    np.testing.assert_allclose(gradient.ravel(), [0, 1, -1, 0], atol=1e-6)


# --- Contrastive losses ---------------------------------------------------------------------------


def xi(a, b, temperature: float) -> float:
    """Eq. 11 and 12."""
    return np.exp(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) / temperature)


def literal_cross_modal(audio, tags, negative, temperature: float) -> list[float]:
    """Eq. 10 as it is printed; `negative` says which terms its sum has."""
    count = len(audio)
    return [
        -np.log(
            xi(audio[b], tags[b], temperature)
            / sum(xi(audio[b], tags[i], temperature) for i in range(count) if negative[b, i])
        )
        for b in range(count)
    ]


def literal_nt_xent(audio, tags, negative, temperature: float) -> np.ndarray:
    """Both directions of each pair, [pair, 2]: the partner over it and the other 2 N - 2."""
    count, vectors = len(audio), [*audio, *tags]
    values = []
    for row, own in enumerate(vectors):
        partner = (row + count) % (2 * count)
        similar = [xi(own, other, temperature) for other in vectors]
        others = sum(
            similar[i] for i in range(2 * count) if i == partner or negative[row % count, i % count]
        )
        values.append(-np.log(similar[partner] / others + 1e-5))
    return np.array(values).reshape(2, count).T


def padded(audio, tags, negative, seed=2):
    """Audio, its candidates, tag candidates, `own` and `negative`, with candidates for padding.

    They lie among the others, wherever; huge numbers show a part that they should not have.
    """
    count = len(audio)
    own = np.random.default_rng(seed).permutation(count + 3)[:count].astype(np.int32)
    candidates = 1e3 * np.ones((2, count + 3, audio.shape[1]))
    candidates[0, own], candidates[1, own] = audio, tags
    wide = np.zeros((count, count + 3), bool)
    wide[:, own] = negative
    return [jnp.asarray(array) for array in (audio, tags, *candidates, own, wide)]


def both_forms(arguments, temperature: float, reduction: str = "mean"):
    audio, _, _, tag_candidates, own, negative = arguments
    return (
        cross_modal(audio, tag_candidates, own, negative, temperature=temperature),
        nt_xent(*arguments, temperature=temperature, reduction=reduction),
    )


@pytest.mark.parametrize(("count", "temperature"), [(2, 0.1), (3, 1.0), (7, 0.1)])
def test_both_forms_equal_their_printed_formulas(count, temperature):
    """All others are negatives, or some of them; a row of the two or three has none."""
    audio, tags = random(count, 5), 10 * random(count, 5, seed=1)
    others = ~np.eye(count, dtype=bool)
    for negative in (others, others & (random(count, count, seed=3) > -0.5)):
        with jax.enable_x64(True):
            arguments = padded(audio, tags, negative)
            signed, mean = both_forms(arguments, temperature)
            _, total = both_forms(arguments, temperature, "sum")
        # Without a negative Eq. 10 is minus infinity; here it is 0.
        alone = ~negative.any(axis=1)
        wanted = literal_cross_modal(audio, tags, negative | np.diag(alone), temperature)
        np.testing.assert_allclose(signed, wanted, rtol=0, atol=1e-12)
        wanted = literal_nt_xent(audio, tags, negative, temperature)
        np.testing.assert_allclose(mean, wanted.mean(axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(total, wanted.sum(axis=1), rtol=0, atol=1e-12)


def test_equal_sets_are_exact():
    """Not a subset, not a set of the same size; nothing equals nothing.

    999 and 1,000 tags are the same number in bfloat16, and 300 are none in uint8.
    """
    tags = jnp.array([[1, 0, 1], [0, 0, 0]], jnp.uint8)
    candidates = jnp.array([[1, 0, 1], [1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 0, 0]], jnp.uint8)
    wanted = [[True, False, False, False, False], [False, False, False, False, True]]
    assert losses.equal_sets(tags, candidates).tolist() == wanted
    sets = np.ones((3, 1000), np.uint8)
    sets[1, 0] = 0
    sets[2, 300:] = 0
    found = losses.equal_sets(jnp.asarray(sets), jnp.asarray(sets))
    np.testing.assert_array_equal(found, np.eye(3, dtype=bool))


@functools.partial(jax.jit, static_argnames="form")
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def mean_and_gradients(audio, tags, negative, form):
    """At a temperature of 0.005, where float32's powers have long ended."""
    own = jnp.arange(audio.shape[0], dtype=jnp.int32)
    return both_forms((audio, tags, audio, tags, own, negative), 0.005)[form].mean()


ONE, FLIPPED = np.ones((4, 3)), np.ones((4, 3)) * np.array([[-1], [1], [1], [1]])
FLOOR = -np.log(1e-5)  # of nt_xent: the ratio's 1e-5 alone is left


@pytest.mark.parametrize("precision", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("audio", "tags", "signed", "mean"),
    [
        pytest.param(ONE, ONE, np.log(3), -np.log(1 / 7 + 1e-5), id="identical"),
        # The three others of its own kind have a cosine of 1, its partner one of -1.
        pytest.param(ONE, -ONE, np.log(3), FLOOR, id="all-opposite"),
        # A zero vector has a cosine of 0 with all; the others of the other kind have 1.
        pytest.param(0 * ONE, ONE, np.log(3), (-np.log(1 / 7 + 1e-5) + FLOOR) / 2, id="zero-audio"),
        pytest.param(ONE, 0 * ONE, np.log(3), (-np.log(1 / 7 + 1e-5) + FLOOR) / 2, id="zero-tags"),
        pytest.param(0 * ONE, 0 * ONE, np.log(3), -np.log(1 / 7 + 1e-5), id="all-zero"),
        pytest.param(1e-5 * ONE, 1e15 * ONE, np.log(3), -np.log(1 / 7 + 1e-5), id="short-and-long"),
        # One tag set points the other way: its sound loses 2 / tau, the others win it.
        pytest.param(
            ONE,
            FLIPPED,
            (400 + np.log(3) + 3 * np.log(2)) / 4,
            # Its sound has no ratio left; it is as far from all seven; of the six others' seven
            # all but it are alike.
            (FLOOR - np.log(1 / 7 + 1e-5) - 6 * np.log(1 / 6 + 1e-5)) / 8,
            id="own-opposite",
        ),
    ],
)
def test_contrastive_is_finite_at_the_edges(audio, tags, signed, mean, precision):
    audio, tags = jnp.asarray(audio, precision), jnp.asarray(tags, precision)
    negative = ~jnp.eye(4, dtype=bool)
    for form, wanted in enumerate((signed, mean)):
        value, gradients = mean_and_gradients(audio, tags, negative, form=form)
        assert value.dtype == jnp.float32
        # A cosine's rounding of 6e-8 counts 200-fold.
        np.testing.assert_allclose(value, wanted, rtol=2e-5)
        # Nor does the norm overflow, which training reports.
        assert all(jnp.isfinite(jnp.linalg.norm(gradient)) for gradient in gradients)


@pytest.mark.parametrize("precision", [jnp.float32, jnp.bfloat16])
def test_a_row_without_negatives_costs_nothing_and_moves_nothing(precision):
    """Rows 0 and 1 have none; 2 and 3 have each other, all cosines being near 1."""
    near = np.array([1, 2, 3])
    audio, tags = (jnp.asarray(near + 0.1 * random(4, 3, seed=s), precision) for s in (0, 1))
    negative = np.zeros((4, 4), bool)
    negative[2, 3] = negative[3, 2] = True
    own = jnp.arange(4, dtype=jnp.int32)
    signed, mean = both_forms((audio, tags, audio, tags, own, jnp.asarray(negative)), 0.005)
    np.testing.assert_allclose(signed[:2], 0, atol=2e-5)
    np.testing.assert_allclose(mean[:2], -np.log1p(1e-5), atol=2e-5)
    assert (jnp.abs(signed[2:]) > 0.05).all()
    for form in (0, 1):
        _, gradients = mean_and_gradients(audio, tags, jnp.asarray(negative), form=form)
        for gradient in gradients:
            assert jnp.isfinite(gradient).all()
            np.testing.assert_allclose(gradient[:2].astype(jnp.float32), 0, atol=1e-4)
            assert (jnp.abs(gradient[2:]).max(axis=1) > 0.1).all()


def test_bfloat16_is_computed_with_in_float32():
    """The same numbers in float32 give the same losses, not merely similar ones."""
    half = [jnp.asarray(random(4, 6, seed=seed), jnp.bfloat16) for seed in (0, 1)]
    full = [values.astype(jnp.float32) for values in half]
    own, negative = jnp.arange(4, dtype=jnp.int32), ~jnp.eye(4, dtype=bool)
    patches = [jax.nn.sigmoid(values).reshape(2, 3, 4) for values in full]
    multi_hot = (full[0] > 0).astype(jnp.uint8)

    def values(audio, tags):
        yield from both_forms((audio, tags, audio, tags, own, negative), 0.1)
        yield tag_cross_entropy(multi_hot, tags)
        for offset in (0.0, 1e-5):
            yield generalized_kl(patches[0], audio.reshape(2, 3, 4), offset=offset)

    for a, b in zip(values(*half), values(*full), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_array_equal(a, b)


def test_cosines_are_products_of_whole_float32_numbers():
    """An accelerator's own choice has 10 or 8 bits, and the temperature makes errors 200-fold."""
    rows, own = jnp.ones((2, 3)), jnp.arange(2, dtype=jnp.int32)
    arguments = (rows, rows, rows, rows, own, ~jnp.eye(2, dtype=bool))
    program = jax.jit(lambda *a: both_forms(a, 0.1)).lower(*arguments).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 3
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


# --- How far the stable forms are from the plain ones ---------------------------------------------


@pytest.mark.parametrize("logit", [-30.0, -700.0, -800.0])
def test_the_divergence_goes_on_where_the_sigmoid_is_zero(logit):
    """In float64 the plain form is the same down to -709, and infinite below."""
    with jax.enable_x64(True):
        got = float(generalized_kl(jnp.ones((1, 1, 1)), jnp.full((1, 1, 1), logit))[0])
    assert got == pytest.approx(-logit - 1, rel=1e-12)
    with np.errstate(over="ignore", divide="ignore"):
        plain = -np.log(1 / (1 + np.exp(-np.float64(logit)))) - 1
    assert plain == pytest.approx(got if logit > -709 else np.inf, rel=1e-12)


@pytest.mark.parametrize(
    ("logit", "off", "rounding"), [(10, 0, 3e-12), (30, 0, 2e-3), (40, 60, 1e-9), (150, -50, 1e-9)]
)
def test_the_cross_entropy_is_not_bounded_by_100(logit, off, rounding):
    """PyTorch's of an absent tag with logit z is off by up to 1e-16 e^z, and 100 from z = 37 on."""
    with jax.enable_x64(True):
        got = float(tag_cross_entropy(jnp.zeros((1, 1)), jnp.full((1, 1), float(logit)))[0])
    assert got == pytest.approx(np.logaddexp(0, logit), rel=1e-15)
    probability = torch.sigmoid(torch.tensor([[logit]], dtype=torch.float64))
    plain = F.binary_cross_entropy(probability, torch.zeros(1, 1, dtype=torch.float64)).item()
    assert plain - got == pytest.approx(off, abs=rounding)


@pytest.mark.parametrize("temperature", [0.005, 1 / 340, 1 / 400, 1 / 800])
def test_the_contrastive_losses_go_on_where_powers_end(temperature):
    """One pair points the same way, the other the opposite way: 2 / temperature between them.

    In float64 both plain forms are the same down to 1/354. Below, Eq. 10's logarithm is infinite;
    from 1/709 on the powers are, and the plain NT-Xent is NaN.
    """
    audio, tags = np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0], [-1, 0]])
    negative = ~np.eye(2, dtype=bool)
    with jax.enable_x64(True):
        signed, mean = both_forms(padded(audio, tags, negative), temperature)
    np.testing.assert_allclose(signed, [-2 / temperature, 2 / temperature], rtol=1e-12)
    # The first pair and the other sound are alike; the second's tags are as far from all three.
    wanted = [-np.log(1 / 2 + 1e-5), (FLOOR - np.log(1 / 3 + 1e-5)) / 2]
    np.testing.assert_allclose(mean, wanted, rtol=1e-12)
    with np.errstate(all="ignore"):
        plain = literal_cross_modal(audio, tags, negative, temperature)
        plain_mean = literal_nt_xent(audio, tags, negative, temperature).mean(axis=1)
    wanted = 2 / temperature if temperature > 1 / 354 else np.inf
    np.testing.assert_allclose(plain, [-wanted, wanted], rtol=1e-12)
    np.testing.assert_allclose(plain_mean, mean if temperature > 1 / 709 else np.nan, rtol=1e-12)


def test_normalized():
    vectors = np.array([[3, 4], [0, 0], [-6e-6, 8e-6], [0, 1e15]], np.float32)
    wanted = [[0.6, 0.8], [0, 0], [-0.6, 0.8], [0, 1]]
    np.testing.assert_allclose(normalized(jnp.asarray(vectors)), wanted, rtol=1e-6)
