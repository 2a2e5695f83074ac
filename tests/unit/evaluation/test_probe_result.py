"""Probe results and their differences against figures worked out by hand."""

import json

import numpy as np
import pytest

from coala_jax.evaluation.probe_result import ProbeResult, differences
from tests.evaluation_record import probe_result


def test_two_folds_of_different_size_and_two_seeds_by_hand():
    first = (np.array([0, 1, 1, 2]), np.array([[0, 1, 1, 2], [0, 1, 0, 0]]))
    second = (np.array([2, 0]), np.array([[2, 1], [1, 0]]))
    got = ProbeResult.measure("birds", "A", "mlp", 3, [first, second])
    np.testing.assert_array_equal(got.fold_accuracies, [[1, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(got.accuracies, [0.75, 0.5])  # both folds weigh the same
    np.testing.assert_array_equal(got.confusion, [[3, 1, 0], [1, 3, 0], [1, 1, 2]])
    np.testing.assert_array_equal(got.correct, [1, 1, 0.5, 0.5, 0.5, 0.5])
    assert got.mean == 0.625
    assert got.fold_sizes == (4, 2)
    assert json.loads(json.dumps(got.to_dict()))["confusion"] == got.confusion.tolist()


@pytest.mark.parametrize(
    ("right", "low", "high"),
    [
        # Student's t is 4.3027 for three seeds: of 10 / sqrt(3) to either side.
        pytest.param((60, 70, 80), 0.4516, 0.9484, id="inside"),
        pytest.param((100, 60), 0.0, 1.0, id="would pass both ends"),
        pytest.param((100, 100), 1.0, 1.0, id="perfect"),
        pytest.param((30,), 0.3, 0.3, id="one seed"),
    ],
)
def test_the_interval_over_seeds_stays_within_0_and_1(right, low, high):
    got = probe_result(right=right, clips=100)
    assert (got.low, got.high) == pytest.approx((low, high), abs=1e-4)
    assert got.mean == pytest.approx(np.mean(right) / 100)


def test_the_reference_is_tested_against_every_other_with_the_better_first():
    outcomes = [probe_result(model=m, right=(r,), clips=60) for m, r in (("A", 20), ("B", 50))]
    outcomes += [probe_result(model="C", right=(50,), clips=60), probe_result("other", "A")]
    outcomes += [probe_result(model=m, head="svm", clips=60) for m in ("A", "B")]
    same, apart, svm = differences(outcomes, "B", seed=0)
    assert (same.first, same.second, same.difference) == ("B", "C", 0)
    assert (apart.first, apart.second, apart.difference) == ("B", "A", 0.5)
    assert (svm.head, svm.first, svm.second) == ("svm", "A", "B")  # equal: in the order given
    assert same.p_value == same.p_corrected == 1
    assert 0.3 < apart.low < 0.5 < apart.high
    assert apart.p_value < 0.01
    assert apart.p_corrected == pytest.approx(2 * apart.p_value)  # Holm: the lesser of two


def test_a_difference_is_that_of_the_accuracies_in_the_table():
    """Over clips A is behind by .04, over folds it is ahead by .2: 90 clips in one, 10 in two."""
    found = []
    for model, rights in (("A", (54, 10)), ("B", (63, 5))):
        folds = [
            (true := np.arange(clips) % 3, np.where(np.arange(clips) < right, true, 3)[None])
            for clips, right in zip((90, 10), rights, strict=True)
        ]
        found.append(ProbeResult.measure("birds", model, "mlp", 4, folds))
    assert np.mean(found[0].correct - found[1].correct) == pytest.approx(-0.04)
    (difference,) = differences(found, "B", seed=0)
    assert (difference.first, difference.second) == ("A", "B")
    assert difference.difference == pytest.approx(0.2)
    assert difference.low < 0.2 < difference.high


def in_folds(model, folds):
    pairs = [(np.array(true), np.zeros((2, len(true)), np.int64)) for true in folds]
    return ProbeResult.measure("birds", model, "mlp", 3, pairs)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([[0, 1, 2]], id="fewer clips"),
        pytest.param([[0, 1, 2], [0]], id="other folds"),
        pytest.param([[0, 1], [2, 2]], id="other classes"),
    ],
)
def test_models_tested_on_different_clips_are_refused(other):
    with pytest.raises(ValueError, match="birds"):
        differences([in_folds("A", [[0, 1], [2, 0]]), in_folds("B", other)], "A", seed=0)
