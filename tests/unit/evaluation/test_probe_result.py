"""Outcomes and their differences against figures worked out by hand."""

import json

import numpy as np
import pytest

from coala_jax.evaluation.probe_result import ProbeResult, differences
from tests.made_outcomes import LABELS, outcome


def test_an_outcome_by_hand():
    first = (np.array([0, 1, 1, 2]), np.array([[0, 1, 1, 2], [0, 1, 0, 0]]))
    second = (np.array([2, 0]), np.array([[2, 0], [1, 0]]))
    got = ProbeResult.measure("birds", "A", "mlp", LABELS, [first, second])
    np.testing.assert_array_equal(got.fold_accuracies, [[1, 0.5], [1, 0.5]])
    np.testing.assert_array_equal(got.accuracies, [1, 0.5])
    assert got.mean == 0.75
    # Student's t with one degree of freedom is 12.706; both means lie 0.25 from theirs.
    assert got.high - got.mean == pytest.approx(12.7062 * 0.25, rel=1e-4)
    assert got.mean - got.low == pytest.approx(12.7062 * 0.25, rel=1e-4)
    np.testing.assert_array_equal(got.confusion, [[4, 0, 0], [1, 3, 0], [1, 1, 2]])
    np.testing.assert_array_equal(got.correct, [1, 1, 0.5, 0.5, 0.5, 1])
    assert got.fold_sizes == (4, 2)
    np.testing.assert_array_equal(got.shares(), [[1, 0, 0], [0.25, 0.75, 0], [0.25, 0.25, 0.5]])
    assert got.tested() == {"dog": 2, "rain": 2, "siren": 2}


def test_folds_of_different_size_count_the_same_and_seeds_of_one_fold_do_not_mix():
    large = (np.zeros(8, np.int64), np.array([[0] * 8, [0] * 4 + [1] * 4]))
    small = (np.array([1, 2]), np.array([[1, 0], [1, 2]]))
    got = ProbeResult.measure("birds", "A", "mlp", LABELS, [large, small])
    np.testing.assert_array_equal(got.fold_accuracies, [[1, 0.5], [0.5, 1]])
    np.testing.assert_array_equal(got.accuracies, [0.75, 0.75])
    assert got.low == got.mean == got.high == 0.75


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_perfect_head_has_every_clip_right_and_no_interval(seeds):
    got = outcome(right=10, seeds=seeds)
    assert (got.mean, got.low, got.high) == (1, 1, 1)
    assert got.correct.tolist() == [1] * 10
    np.testing.assert_array_equal(got.confusion, np.diag([4, 3, 3]) * seeds)


def test_guesses_are_right_by_chance():
    generator = np.random.default_rng(0)
    true, guesses = generator.integers(3, size=20_000), generator.integers(3, size=(10, 20_000))
    got = ProbeResult.measure("birds", "A", "mlp", LABELS, [(true, guesses)])
    assert got.low < 1 / 3 < got.high
    assert got.high - got.low < 0.01


def test_a_class_that_no_fold_tests_has_no_shares():
    got = ProbeResult.measure("birds", "A", "mlp", LABELS, [(np.array([0, 1]), np.array([[2, 1]]))])
    np.testing.assert_array_equal(got.shares(), [[0, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_json_holds_an_outcome():
    before = outcome()
    after = ProbeResult.from_dict(json.loads(json.dumps(before.to_dict(), allow_nan=False)))
    for name, value in vars(before).items():
        got = getattr(after, name)
        assert type(got) is type(value)
        np.testing.assert_array_equal(got, value)
        assert getattr(got, "dtype", None) == getattr(value, "dtype", None)


def test_each_pair_of_models_is_tested_with_the_better_one_first():
    outcomes = [outcome(model=m, right=r, clips=60) for m, r in (("A", 20), ("B", 50), ("C", 50))]
    alone = outcome("other", "A")
    found = differences([*outcomes, alone], "B", seed=0)
    assert [(one.first, one.second) for one in found] == [("B", "C"), ("B", "A")]
    assert [one.difference for one in found] == [0, 0.5]
    same, apart = found
    assert same.p_value == same.p_corrected == 1
    assert apart.low < 0.5 < apart.high and apart.low > 0.3
    assert apart.p_value < 0.01
    # Holm: the lesser of two p-values times 2.
    assert apart.p_corrected == pytest.approx(2 * apart.p_value)
    # The better comes first, whichever stands beside the others.
    assert [(one.first, one.second) for one in differences(outcomes, "A", seed=0)] == [
        ("B", "A"),
        ("C", "A"),
    ]


def test_a_difference_is_that_of_the_accuracies_in_the_table():
    """Over clips A is behind by .04, over folds it is ahead by .2: 90 clips in one, 10 in two."""
    true = [np.arange(90) % 3, np.arange(10) % 3]
    found = []
    for model, rights in (("A", (54, 10)), ("B", (63, 5))):
        folds = [
            (labels, np.where(np.arange(len(labels)) < right, labels, (labels + 1) % 3)[None])
            for labels, right in zip(true, rights, strict=True)
        ]
        found.append(ProbeResult.measure("birds", model, "mlp", LABELS, folds))
    assert np.mean(found[0].correct - found[1].correct) == pytest.approx(-0.04)
    (difference,) = differences(found, "B", seed=0)
    assert (difference.first, difference.second) == ("A", "B")
    assert difference.difference == pytest.approx(found[0].mean - found[1].mean, abs=1e-12)
    assert difference.difference == pytest.approx(0.2)
    assert difference.low < 0.2 < difference.high


def test_pairs_are_of_the_same_clips():
    with pytest.raises(ValueError, match="birds: models tested on different clips"):
        differences([outcome(clips=12), outcome(model="B", clips=9)], "A", seed=0)
    # As many clips, but others of them.
    other = ProbeResult.measure(
        "birds", "B", "mlp", LABELS, [(np.zeros(10, np.int64), np.zeros((2, 10), np.int64))]
    )
    with pytest.raises(ValueError, match="different clips"):
        differences([outcome(), other], "A", seed=0)
    # The same clips in other folds.
    folds = [(np.arange(clips) % 3, np.zeros((2, clips), np.int64)) for clips in (6, 4)]
    one = ProbeResult.measure("birds", "A", "mlp", LABELS, folds)
    other = ProbeResult.measure("birds", "B", "mlp", LABELS, folds[::-1])
    with pytest.raises(ValueError, match="different clips"):
        differences([one, other], "A", seed=0)
    # Heads may differ in seeds: those of one pair do not.
    assert len(differences([outcome(), outcome(model="B", seeds=5)], "A", seed=0)) == 1


def test_pairs_are_of_the_same_head():
    outcomes = [outcome(model=m, head=h) for h in ("mlp", "svm") for m in ("A", "B")]
    found = differences(outcomes, "A", seed=0)
    assert [(one.head, one.first, one.second) for one in found] == [
        ("mlp", "A", "B"),
        ("svm", "A", "B"),
    ]
