"""How good a ranking is when scores tie: every measure's mean over all orders of equal scores.

Expected average precision with ties is McSherry and Najork, "Computing information retrieval
performance measures efficiently in the presence of tied scores", ECIR 2008.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int


def harmonic(n: int) -> Float64[np.ndarray, " n_plus_1"]:
    """H_0 = 0, H_1 = 1, H_2 = 1 + 1/2, ..., H_n."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])


def ties(
    scores: Float[np.ndarray, " n"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Order from best to worst; for each place the number of scores above its tie, and the size."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    sizes = np.diff(np.append(starts, len(ranked)))
    return order, np.repeat(starts, sizes), np.repeat(sizes, sizes)


def auc(scores: Float[np.ndarray, " sound"], positive: Bool[np.ndarray, " sound"]) -> float:
    """Area under the ROC curve from the mean rank of the positives (Mann and Whitney)."""
    order, above, size = ties(scores)
    below = len(scores) - above - size + (size - 1) / 2  # how many a place beats, ties half
    positives = int(positive.sum())
    wins = below[positive[order]].sum() - positives * (positives - 1) / 2
    return float(wins / (positives * (len(scores) - positives)))


def reciprocal_ranks(
    scores: Float[np.ndarray, "sound set"], own_set: Int[np.ndarray, " sound"]
) -> Float64[np.ndarray, " sound"]:
    """Mean of 1/rank over the places that the own set's tie covers."""
    own = np.take_along_axis(scores, own_set[:, None], axis=1)
    above, size = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    sums = harmonic(scores.shape[1])
    return (sums[above + size] - sums[above]) / size


def precision_and_recall(
    scores: Float[np.ndarray, " tag"], relevant: Bool[np.ndarray, " tag"], cutoff: int
) -> tuple[float, float]:
    """Expected average precision, and expected share of the relevant among the ``cutoff`` best.

    A place in a tie of t, r of them relevant, holds a relevant tag with probability r / t; given
    that, the i-th place of the tie has (i - 1)(r - 1) / (t - 1) relevant ones before it there.
    """
    order, above, size = ties(scores)
    found = np.concatenate([[0], np.cumsum(relevant[order])])
    before, within = found[above], found[above + size] - found[above]
    place = np.arange(len(scores))
    inside = (place - above) * (within - 1) / np.maximum(size - 1, 1)
    hit = within / size
    average_precision = np.sum(hit * (before + 1 + inside) / (place + 1)) / found[-1]
    return float(average_precision), float(hit[:cutoff].sum() / found[-1])
