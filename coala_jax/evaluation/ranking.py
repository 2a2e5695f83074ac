"""Ranking measures with ties: every measure is its mean over all orders of equal scores.

Each function takes many rankings, one per row, and computes them without a loop; the caller
chooses how many rows fit in memory. Scores must be finite.

Expected average precision with ties is McSherry and Najork, "Computing information retrieval
performance measures efficiently in the presence of tied scores", ECIR 2008.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int


def harmonic(n: int) -> Float64[np.ndarray, " n_plus_1"]:
    """H_0 = 0, H_1 = 1, H_2 = 1 + 1/2, ..., H_n."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])


def ties(
    scores: Float[np.ndarray, "row n"],
) -> tuple[Int[np.ndarray, "row n"], Int[np.ndarray, "row n"], Int[np.ndarray, "row n"]]:
    """Order of each row from best to worst; for each rank the number above its tie, and its size.

    Within a tie the order is any: NumPy's stable sort takes four times as long.
    """
    order = np.argsort(-scores, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    rows, n = scores.shape
    begins = np.ones((rows, n + 1), bool)  # whether a tie begins at a rank, or ends before it
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=begins[:, 1:-1])
    rank = np.arange(n)
    above = np.maximum.accumulate(np.where(begins[:, :-1], rank, 0), axis=1)
    ends = np.where(begins[:, 1:], rank + 1, n)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return order, above, ends - above


def auc(
    scores: Float[np.ndarray, "row n"], positive: Bool[np.ndarray, "row n"]
) -> Float64[np.ndarray, " row"]:
    """Area under the ROC curve from the mean rank of the positives (Mann and Whitney).

    Each row must have a positive and a negative. `sklearn.metrics.roc_auc_score` is equal, but
    takes 7 times as long: 14 s of CPU time for 1,000 tags of 18,990 sounds, ours 2.
    """
    order, above, size = ties(scores)
    n = scores.shape[1]
    below = n - above - size + (size - 1) / 2  # how many a rank beats, ties half
    below *= np.take_along_axis(positive, order, axis=1)
    positives = positive.sum(axis=1)
    wins = below.sum(axis=1) - positives * (positives - 1) / 2
    return wins / (positives * (n - positives))


def reciprocal_ranks(
    scores: Float[np.ndarray, "sound set"], own_set: Int[np.ndarray, " sound"]
) -> Float64[np.ndarray, " sound"]:
    """Mean of 1/rank over the ranks that the own set's tie covers."""
    own = np.take_along_axis(scores, own_set[:, None], axis=1)
    above = np.count_nonzero(scores > own, axis=1)
    size = np.count_nonzero(scores == own, axis=1)
    sums = harmonic(scores.shape[1])
    return (sums[above + size] - sums[above]) / size


def precision_and_recall(
    scores: Float[np.ndarray, "row tag"], relevant: Bool[np.ndarray, "row tag"], cutoff: int
) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, " row"]]:
    """Expected average precision, and expected share of the relevant among the `cutoff` best.

    A rank in a tie of t, r of them relevant, has a relevant tag with probability r / t; given
    that, the i-th rank of the tie has (i - 1)(r - 1) / (t - 1) relevant ones before it there.
    Each row must have a relevant tag.
    """
    order, above, size = ties(scores)
    rows, n = scores.shape
    found = np.zeros((rows, n + 1), np.int64)
    np.cumsum(np.take_along_axis(relevant, order, axis=1), axis=1, out=found[:, 1:])
    before = np.take_along_axis(found, above, axis=1)
    within = np.take_along_axis(found, above + size, axis=1) - before
    rank = np.arange(n)
    inside = (rank - above) * (within - 1) / np.maximum(size - 1, 1)
    hit = within / size
    total = found[:, -1]
    precision = (hit * (before + 1 + inside) / (rank + 1)).sum(axis=1) / total
    return precision, hit[:, :cutoff].sum(axis=1) / total
