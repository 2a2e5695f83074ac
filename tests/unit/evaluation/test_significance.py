"""Intervals and p-values against sums over every case, and against published tables."""

import itertools
from dataclasses import astuple

import numpy as np
import pytest

from coala_jax.evaluation import significance
from coala_jax.evaluation.significance import compare, holm, mean_interval


def shares(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_differences_that_round_differently_are_counted_together():
    # 0.3 - 0.2 and 0.1 - 0.0 differ in their last digit: the permutation must still find the tie.
    found = compare(shares(0.3, 0.0), shares(0.2, 0.1), seed=0)
    assert found.difference == pytest.approx(0, abs=1e-12)
    assert found.p_value == 1


def test_equal_models_do_not_differ_and_opposite_ones_do():
    same = np.linspace(0, 1, 50)
    assert compare(same, same, seed=0) == significance.Comparison(0.0, 0.0, 0.0, 1.0)
    found = compare(np.ones(50), np.zeros(50), seed=0)
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)
    assert found.p_value == 1 / 10_001


def test_the_same_seed_gives_the_same_results(monkeypatch):
    first, second = np.linspace(0, 1, 40), np.linspace(0, 1, 40) ** 2
    assert compare(first, second, seed=3) == compare(first, second, seed=3)
    assert compare(first, second, seed=3) != compare(first, second, seed=4)
    monkeypatch.setattr(significance, "_DRAWN_AT_ONCE", 40 * 3_000)  # drawn in four pieces
    few = compare(first, second, seed=3)
    assert few.low == pytest.approx(compare(first, second, seed=5).low, abs=0.01)
    assert few.p_value == 1 / 10_001  # all 10,000 draws are there


def test_false_alarms_are_as_frequent_as_they_should_be(monkeypatch):
    monkeypatch.setattr(significance, "_DRAWS", 500)
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(11, size=60) / 10, rng.integers(11, size=60) / 10) for _ in range(300)]
    found = [compare(first, second, seed=number) for number, (first, second) in enumerate(pairs)]
    assert 0.02 < np.mean([one.p_value < 0.05 for one in found]) < 0.09
    assert 0.90 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.98


def test_one_fold_gives_the_recorded_results():
    """Up to the rounding of a sum; record them anew when the draws change on purpose."""
    first, second = np.random.default_rng(7).integers(11, size=(2, 200)) / 10
    wanted = pytest.approx((-0.0085, -0.0695, 0.053, 0.8068193180681932), rel=1e-12)
    assert astuple(compare(first, second, seed=3)) == wanted
    assert astuple(compare(first, second, seed=3, fold_sizes=(200,))) == wanted
    first, second = np.linspace(0, 1, 40), np.linspace(0, 1, 40) ** 2
    wanted = 0.1623931623931, 0.13734385272842312, 0.18550295857982563, 9.999000099990002e-05
    assert astuple(compare(first, second, seed=3)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("sizes", [(9,), (7, 2)])
def test_p_value_is_the_share_of_all_permutations_that_differ_as_much(sizes):
    """A clip weighs what it weighs in the mean over folds."""
    first, second = shares(1, 1, 0.9, 0.3, 1, 0.5, 0.2, 1, 0), shares(0, 0.2, 1, 0, 0, 0, 0, 0, 1)
    weights = np.repeat(1 / np.array(sizes), sizes) / len(sizes)
    gaps = (first - second) * weights
    sums = [abs(np.dot(signs, gaps)) for signs in itertools.product((-1, 1), repeat=9)]
    exact = np.mean(np.array(sums) >= abs(gaps.sum()) - 1e-9)
    found = compare(first, second, seed=0, fold_sizes=sizes)
    assert found.difference == pytest.approx(gaps.sum(), abs=1e-12)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))
    if sizes == (7, 2):  # or the weights would make no difference
        assert compare(first, second, seed=0).p_value < exact / 2


def test_interval_is_that_of_clips_resampled_within_folds():
    rng = np.random.default_rng(1)
    sizes, first = (300, 40), rng.random(340)
    second = rng.random(340) - np.repeat([0.0, 0.4], sizes)  # folds that differ by more than chance
    folds = np.split(first - second, [300])
    rng = np.random.default_rng(2)
    drawn = [fold[rng.integers(len(fold), size=(4000, len(fold)))].mean(axis=1) for fold in folds]

    found = compare(first, second, seed=0, fold_sizes=sizes)

    wanted = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(wanted, abs=0.006)


def test_no_clips_and_folds_of_other_clips_are_errors():
    with pytest.raises(ValueError, match=r"\[2, 2\]"):
        compare(np.ones(5), np.zeros(5), seed=0, fold_sizes=(2, 2))
    with pytest.raises(ValueError):
        compare(shares(), shares(), seed=0)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.9, 0.8, 0.01], [1.0, 1.0, 0.03]),
        ([], []),
    ],
)
def test_holm_by_hand(given, wanted):
    assert holm(shares(*given)) == pytest.approx(wanted)


def test_mean_interval_by_a_printed_table_of_t():
    # Nine degrees of freedom: 2.262. The deviation of 1 to 10 is sqrt(55 / 6).
    half = 2.262 * np.sqrt(55 / 6) / np.sqrt(10)
    assert mean_interval(np.arange(1.0, 11.0)) == pytest.approx(
        (5.5, 5.5 - half, 5.5 + half), abs=1e-3
    )
    assert mean_interval(shares(1, 1, 1)) == (1, 1, 1)
    assert mean_interval(shares(0.25)) == (0.25, 0.25, 0.25)
