"""CCA against the generalised eigenproblem, least squares, and hand calculation."""

import itertools

import numpy as np
import pytest
import scipy.linalg

from coala_jax.evaluation.cca import (
    PERMUTATIONS,
    components,
    mean_correlation,
    reduce,
    table2,
)


def noise(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns))


def related(rows: int = 400, p: int = 7, q: int = 4, seed: int = 0) -> tuple:
    """Two sets of columns that share three hidden causes, in part."""
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((rows, 3))
    x = causes @ rng.standard_normal((3, p)) + rng.standard_normal((rows, p))
    return x, causes @ rng.standard_normal((3, q)) + 0.5 * rng.standard_normal((rows, q))


def by_eigenproblem(x: np.ndarray, y: np.ndarray) -> float:
    """Hardoon et al. 2004, Eq. 3.3: the covariance of both as a generalised eigenproblem."""
    p, q = x.shape[1], y.shape[1]
    covariance = np.cov(np.hstack([x, y]).T)
    between, within = covariance.copy(), np.zeros_like(covariance)
    between[:p, :p] = between[p:, p:] = 0
    within[:p, :p], within[p:, p:] = covariance[:p, :p], covariance[p:, p:]
    return float(scipy.linalg.eigh(between, within, eigvals_only=True)[-min(p, q) :].mean())


def multiple_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The correlation of y with its least-squares prediction from x."""
    design = np.hstack([x, np.ones((len(x), 1))])
    predicted = design @ np.linalg.lstsq(design, y)[0]
    return float(np.corrcoef(predicted[:, 0], y[:, 0])[0, 1])


@pytest.mark.parametrize(("p", "q"), [(7, 4), (4, 7), (1, 2)])
def test_it_is_the_mean_eigenvalue_of_the_generalised_problem(p, q):
    x, y = related(p=p, q=q)
    assert mean_correlation(x, y) == pytest.approx(by_eigenproblem(x, y), abs=1e-12)
    assert 0.1 < by_eigenproblem(x, y) < 0.99


def test_of_one_column_it_is_the_multiple_correlation():
    x, y = related(q=1)
    assert mean_correlation(x, y) == pytest.approx(multiple_correlation(x, y), abs=1e-12)
    x, y = np.array([[-1.0], [0.0], [1.0]]), np.array([[1.0], [0.0], [-0.5]])
    # Centred y is (5, -1, -4) / 6: -9/6 over the roots of 2 and 42/36.
    assert mean_correlation(x, y) == pytest.approx(1.5 / np.sqrt(2 * 42 / 36), abs=1e-15)


def test_units_offsets_and_mixing_change_nothing():
    x, y = related()
    mixed = (x @ noise(7, 7, seed=5)) * 10.0 ** np.arange(-6, 8, 2) + np.arange(7)
    assert mean_correlation(mixed, y) == pytest.approx(mean_correlation(x, y), abs=1e-9)
    units = 10.0 ** np.arange(-150, 200, 50)
    assert mean_correlation(x * units, x[:, :2] + 3) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e30])
def test_constant_and_collinear_columns_are_coefficients_of_zero_or_change_nothing(constant):
    """Zeros of the descriptor count in the mean; those of the wider embedding do not."""
    x, y = related(q=3)
    score = mean_correlation(x, y)
    odd = [np.full((400, 1), constant), y[:, :1] - 2 * y[:, 2:], -7e-20 * y[:, 1:2]]
    for number in range(1, 4):
        wider = np.hstack([y, *odd[:number]])
        assert mean_correlation(x, wider) == pytest.approx(3 * score / (3 + number), abs=1e-9)
    wider = np.hstack([np.full((400, 1), constant), x[:, :1] + x[:, 1:2], x])
    assert mean_correlation(wider, y) == pytest.approx(score, abs=1e-9)


def test_the_rounding_of_float32_is_not_information():
    x, y = related()
    x = x.astype(np.float32)
    sums = x @ noise(7, 300, seed=3).astype(np.float32) + np.float32(2)
    constant = np.full((400, 1), 0.1, np.float32)
    constant[::3] = np.nextafter(np.float32(0.1), np.float32(1))
    wider = np.hstack([x, sums, constant])
    # 301 columns of pure noise would lift the score of 400 sounds to above 0.9.
    assert mean_correlation(wider, y) == pytest.approx(mean_correlation(x, y), abs=1e-3)


def test_a_large_offset_hides_nothing():
    a, b = noise(20, 1), noise(20, 1, seed=1)
    x = 1 + 4e-6 * np.hstack([a, a + 0.05 * b])
    assert mean_correlation(x, b) == pytest.approx(1, abs=1e-6)


def test_the_mean_square_over_all_orders_of_one_column_is_the_formula():
    x, y = related(rows=6, p=2, q=1)
    squares = [mean_correlation(x, y[list(o)]) ** 2 for o in itertools.permutations(range(6))]
    assert np.mean(squares) == pytest.approx(2 / (6 - 1), abs=1e-12)


@pytest.mark.parametrize("columns", [1, 12])
def test_the_permutation_baseline_of_independent_noise_is_its_score(columns):
    sounds, dimensions = 1910, 115  # as 19,103 and 1,152
    x, y = noise(sounds, dimensions).astype(np.float32), noise(sounds, columns, seed=1)
    table = table2(x, None, {"noise": {"mean": y}}, seed=0)
    baseline = table.permutation_baselines["noise"]["mean"]
    # sqrt of a beta variable of mean p / (n - 1): its spread, over 20 orders.
    assert baseline == pytest.approx(np.sqrt(dimensions / (sounds - 1)), abs=0.01)
    assert table.values["noise"]["mean"] == pytest.approx(baseline, abs=0.06)


@pytest.mark.parametrize(
    ("sounds", "dimensions", "expected"),
    [
        (11_520, 1152, None),
        (11_519, 1152, 1151),
        (249, 1152, 24),
        (209, 1152, 20),
        (9, 1152, 1),
        (10, 1, None),
    ],
)
def test_components_are_a_tenth_of_too_few_sounds(sounds, dimensions, expected):
    assert components(sounds, dimensions) == expected


def test_the_components_are_those_of_the_training_sounds():
    rng = np.random.default_rng(0)
    training = rng.standard_normal((300, 8)) * [1, 5, 1, 4, 1, 1, 1, 1] + 1000
    scored = rng.standard_normal((29, 8)) * [50, 1, 1, 1, 1, 1, 1, 50] - 1000
    training, scored = training.astype(np.float32), scored.astype(np.float32)
    reduced, kept = reduce(scored, training)
    centre = training.mean(axis=0, dtype=float)
    axes = np.linalg.svd(training - centre, full_matrices=False)[2][:2]
    assert kept == 2
    np.testing.assert_allclose(np.abs(reduced), np.abs((scored - centre) @ axes.T), rtol=1e-9)


def test_too_few_training_sounds_are_an_error():
    for training in (None, noise(5, 64).astype(np.float32)):
        with pytest.raises(ValueError, match="5 training sounds"):
            reduce(noise(50, 64).astype(np.float32), training)


def descriptors(values: np.ndarray) -> dict:
    return {
        "mfcc": {"mean": values @ noise(values.shape[1], 2, seed=8), "var": noise(len(values), 2)},
        "spectral_centroid": {"mean": values[:, :1] * 300, "var": np.ones((len(values), 1))},
    }


def test_the_table_has_scores_and_permutation_baselines():
    embeddings = noise(80, 8, seed=2).astype(np.float32)
    known = descriptors(embeddings.astype(np.float64))
    table = table2(embeddings, None, known, seed=7)
    values, baselines = table.values, table.permutation_baselines
    assert (table.sounds, table.dimensions, table.components) == (80, 8, None)
    for name, kinds in known.items():
        for kind, columns in kinds.items():
            expected = mean_correlation(embeddings, columns)
            assert values[name][kind] == pytest.approx(expected, abs=1e-12)
            rng = np.random.default_rng(7)
            orders = [rng.permutation(80) for _ in range(PERMUTATIONS)]
            expected = np.mean([mean_correlation(embeddings, columns[order]) for order in orders])
            assert baselines[name][kind] == pytest.approx(expected, abs=1e-12)
    assert values["mfcc"]["mean"] == pytest.approx(1, abs=1e-6)
    assert values["spectral_centroid"]["var"] == baselines["spectral_centroid"]["var"] == 0
    assert table == table2(embeddings, None, known, seed=7)
    assert table != table2(embeddings, None, known, seed=8)


def test_the_table_of_few_sounds_is_of_the_reduced_embedding():
    """Of which all components count where a descriptor has more values, here 20."""
    training, embeddings = (noise(rows, 40, seed=rows).astype(np.float32) for rows in (100, 79))
    known = descriptors(embeddings.astype(np.float64)) | {"wide": {"mean": embeddings[:, :20]}}
    table = table2(embeddings, training, known, seed=0)
    assert (table.sounds, table.dimensions, table.components) == (79, 40, 7)
    reduced, _ = reduce(embeddings, training)
    for name in ("mfcc", "wide"):
        expected = mean_correlation(reduced, known[name]["mean"])
        assert table.values[name]["mean"] == pytest.approx(expected, abs=1e-12)
        assert table.values[name]["mean"] < 0.9


@pytest.mark.parametrize(
    ("x", "y", "token"),
    [
        (noise(5, 2), noise(6, 2), "5 sounds in x, 6 in y"),
        (noise(1, 2), noise(1, 2), "[1, 2]"),
        (noise(5, 0), noise(5, 2), "[5, 0]"),
        (np.array([[0.0, 1], [1, np.nan]]), noise(2, 1), "[1, 1]"),
        (noise(2, 1), np.array([[0.0], [np.inf]]), "[1, 0]"),
    ],
)
def test_what_cannot_be_correlated_is_an_error(x, y, token):
    with pytest.raises(ValueError) as error:
        mean_correlation(x, y)
    assert token in str(error.value)


def test_descriptors_of_other_sounds_are_an_error():
    with pytest.raises(ValueError, match="mfcc, mean: 79"):
        table2(noise(80, 8).astype(np.float32), None, descriptors(noise(79, 8)), seed=0)
