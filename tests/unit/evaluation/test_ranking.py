"""Ranking measures against scikit-learn, the mean over all orders of ties, and hand calculation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from coala_jax.evaluation import ranking


def orders(scores):
    """Every order of the items that sorts the scores from best to worst."""
    return [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


def average_precision(order, relevant):
    ranks = [rank for rank, item in enumerate(order, start=1) if relevant[item]]
    return np.mean([found / rank for found, rank in enumerate(ranks, start=1)])


def recall(order, relevant, cutoff):
    return sum(relevant[item] for item in order[:cutoff]) / sum(relevant)


def auc(order, relevant):
    """The share of pairs of a relevant and another item in which the relevant one is first."""
    pairs = itertools.combinations([relevant[item] for item in order], 2)
    mixed = [first for first, second in pairs if first != second]
    return np.mean(mixed)


ROWS = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda r: any(r) and not all(r)),
        st.integers(0, n - 1),
    )
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(ROWS, st.sampled_from([np.float32, np.float64]))
def test_every_measure_is_the_mean_over_all_orders_of_ties(row, dtype):
    scores, relevant, own = row
    every = orders(scores)
    one, positive = np.array([scores], dtype), np.array([relevant])
    precision, at_2 = ranking.precision_and_recall(one, positive, cutoff=2)
    found = {
        "precision": precision,
        "recall": at_2,
        "auc": ranking.auc(one, positive),
        "reciprocal rank": ranking.reciprocal_ranks(one, np.array([own])),
    }
    expected = {
        "precision": [np.mean([average_precision(order, relevant) for order in every])],
        "recall": [np.mean([recall(order, relevant, 2) for order in every])],
        "auc": [np.mean([auc(order, relevant) for order in every])],
        "reciprocal rank": [np.mean([1 / (order.index(own) + 1) for order in every])],
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-12), name


@pytest.mark.parametrize("levels", [1, 5, 1000])
def test_many_rows_are_scikit_learns(levels):
    rng = np.random.default_rng(levels)
    relevant = rng.random((9, 24)) < 0.4
    relevant[:, 0], relevant[:, 1] = True, False
    scores = rng.integers(0, levels, (9, 24)).astype(np.float32)
    expected = [roc_auc_score(*row) for row in zip(relevant, scores, strict=True)]
    assert ranking.auc(scores, relevant) == pytest.approx(expected, abs=1e-12)
    scores = rng.permuted(np.tile(np.arange(24, dtype=np.float32), (9, 1)), axis=1)  # no ties
    precision, at_10 = ranking.precision_and_recall(scores, relevant, cutoff=10)
    expected = [average_precision_score(*row) for row in zip(relevant, scores, strict=True)]
    assert precision == pytest.approx(expected, abs=1e-12)
    expected = [recall(np.argsort(-s), r, 10) for s, r in zip(scores, relevant, strict=True)]
    assert at_10 == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [
        pytest.param([0, 8, 9], (1 + 1) / 3, id="in the tie"),
        pytest.param([12], 0.0, id="below the tie"),
    ],
)
def test_recall_shares_a_tie_across_the_tenth_rank(relevant, expected):
    # Eight tags score above a tie of four, of which two are the sound's: the tie has two of its
    # four ranks among the ten best, so one of the two is expected there. Its third tag is first.
    scores = np.array([[9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 0.0]])
    _, recall_at_10 = ranking.precision_and_recall(scores, np.isin([np.arange(13)], relevant), 10)
    assert recall_at_10 == pytest.approx([expected], abs=1e-12)
