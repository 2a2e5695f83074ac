"""Measures of rankings against scikit-learn, all orders of ties, and values worked out by hand."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from coala_jax.evaluation import ranking


def orders(scores):
    """Every order of the items that sorts the scores from best to worst."""
    items = range(len(scores))
    return [
        order
        for order in itertools.permutations(items)
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


def average_precision(order, relevant):
    found, total = 0, 0.0
    for place, item in enumerate(order, start=1):
        if relevant[item]:
            found += 1
            total += found / place
    return total / found


def recall(order, relevant, cutoff):
    return sum(relevant[item] for item in order[:cutoff]) / relevant.sum()


def random_relevance(generator, rows, items):
    """In each row one relevant item at least, and one that is not."""
    relevant = generator.random((rows, items)) < 0.4
    for row in relevant:
        row[generator.permutation(items)[:2]] = True, False
    return relevant


def each(function, *arrays):
    """What a function of one row gives for each of them."""
    return np.array([function(*rows) for rows in zip(*arrays, strict=True)])


def test_harmonic_numbers():
    assert ranking.harmonic(4) == pytest.approx([0, 1, 3 / 2, 11 / 6, 25 / 12], abs=1e-12)
    assert ranking.harmonic(0).tolist() == [0]


def test_ties_of_two_rankings_worked_out_by_hand():
    scores = np.array([[1.0, 5.0, 1.0, 0.0, 5.0, 2.0], [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]])
    order, above, size = ranking.ties(scores)
    assert set(order[0, :2].tolist()) == {1, 4}
    assert order[0, 2] == 5
    assert set(order[0, 3:5].tolist()) == {0, 2}
    assert order[0, 5] == 3
    assert sorted(order[1].tolist()) == list(range(6))
    assert above.tolist() == [[0, 0, 2, 3, 3, 5], [0] * 6]
    assert size.tolist() == [[2, 2, 1, 2, 2, 1], [6] * 6]


def test_the_only_item_of_a_ranking_is_first():
    one, owned = np.array([[0.5], [-2.0]]), np.ones((2, 1), bool)
    order, above, size = ranking.ties(one)
    assert (order.tolist(), above.tolist(), size.tolist()) == ([[0], [0]], [[0], [0]], [[1], [1]])
    precision, recall = ranking.precision_and_recall(one, owned, 10)
    assert precision.tolist() == recall.tolist() == [1.0, 1.0]
    assert ranking.reciprocal_ranks(one, np.array([0, 0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("levels", [1, 2, 5, 1000], ids=lambda levels: f"{levels} levels")
def test_auc_is_scikit_learns(levels):
    generator = np.random.default_rng(levels)
    positive = random_relevance(generator, 9, 24)
    scores = generator.integers(0, levels, (9, 24)).astype(np.float32)
    expected = each(roc_auc_score, positive, scores)
    assert ranking.auc(scores, positive) == pytest.approx(expected, abs=1e-12)


def test_precision_and_recall_without_ties_are_scikit_learns_and_a_loop():
    generator = np.random.default_rng(0)
    relevant = random_relevance(generator, 9, 25)
    scores = generator.permuted(np.tile(np.arange(25, dtype=np.float32), (9, 1)), axis=1)
    precision, at_10 = ranking.precision_and_recall(scores, relevant, cutoff=10)
    expected = each(average_precision_score, relevant, scores)
    assert precision == pytest.approx(expected, abs=1e-12)
    expected = each(lambda s, r: recall(np.argsort(-s), r, cutoff=10), scores, relevant)
    assert at_10 == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_ties_give_the_mean_over_all_their_orders(seed):
    generator = np.random.default_rng(seed)
    relevant = random_relevance(generator, 12, 6)
    scores = generator.integers(0, 3, (12, 6)).astype(np.float64)
    precision, at_2 = ranking.precision_and_recall(scores, relevant, cutoff=2)
    expected = each(
        lambda s, r: np.mean([average_precision(o, r) for o in orders(s)]), scores, relevant
    )
    assert precision == pytest.approx(expected, abs=1e-12)
    expected = each(lambda s, r: np.mean([recall(o, r, 2) for o in orders(s)]), scores, relevant)
    assert at_2 == pytest.approx(expected, abs=1e-12)


def test_ties_between_sets_give_the_mean_over_all_their_orders():
    own_set = np.array([2, 2, 2, 1, 4, 0, 3])
    scores = np.random.default_rng(5).integers(0, 3, (7, 5)).astype(np.float64)
    expected = [
        np.mean([1 / (order.index(own) + 1) for order in orders(row)])
        for row, own in zip(scores, own_set, strict=True)
    ]
    assert ranking.reciprocal_ranks(scores, own_set) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [
        ([0, 8, 9], (1 + 1) / 3),
        ([12], 0.0),  # below everything
    ],
)
def test_recall_shares_a_tie_across_the_tenth_place(relevant, expected):
    # Eight tags score above a tie of four, of which two are the sound's: the tie has two of its
    # four places among the ten best, so one of the two is expected there. Its third tag is first.
    scores = np.array([[9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 0.0]])
    _, recall_at_10 = ranking.precision_and_recall(scores, np.isin([np.arange(13)], relevant), 10)
    assert recall_at_10 == pytest.approx([expected], abs=1e-12)
