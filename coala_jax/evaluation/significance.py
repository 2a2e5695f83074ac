"""Significance of the difference between two models, and confidence intervals over seeds.

Accuracy is the mean over folds, the practice with UrbanSound8K and ESC-50: with F folds, a clip
weighs 1 / (F x clips in its fold). Paired differences, their intervals and p-values use the same
weights, so that the difference of two accuracies in a table is the one that is tested.

Clips are taken as independent; clips cut from the same recording are not, and make intervals too
narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float64

_LEVEL = 0.95
_DRAWS = 10_000
_DRAWN_AT_ONCE = 2**22  # 32 MB of numbers


@dataclass(frozen=True)
class Comparison:
    """Two models on the same clips.

    Attributes:
        difference: accuracy of the first less that of the second.
        low, high: 95 % interval of the difference, by bootstrap over the clips of each fold.
        p_value: two-sided, by a permutation test that swaps the models' answers at random clips.
    """

    difference: float
    low: float
    high: float
    p_value: float


def compare(
    correct_a: Float64[np.ndarray, " clip"],
    correct_b: Float64[np.ndarray, " clip"],
    seed: int,
    fold_sizes: Sequence[int] = (),
) -> Comparison:
    """Paired comparison of two models.

    Args:
        correct_a, correct_b: share of the seeds, in [0, 1], that were right at each clip.
        seed: of the bootstrap and the permutations.
        fold_sizes: clips of each fold, in the clips' order; by default all are one fold.

    Raises:
        ValueError: there are no clips, or the folds do not add up to them.
    """
    if not len(correct_a):
        raise ValueError("there are no clips to compare the models on")
    fold_sizes = fold_sizes or (len(correct_a),)
    if sum(fold_sizes) != len(correct_a):
        raise ValueError(f"folds of {list(fold_sizes)} clips do not add up to {len(correct_a)}")
    folds = np.split(correct_a - correct_b, np.cumsum(fold_sizes)[:-1])
    # Shares of ten seeds have only 21 differences: drawing clips is drawing how many have each.
    # Rounded, since 0.3 - 0.2 and 0.1 - 0 are not the same float.
    of_value = [np.unique(fold.round(12), return_counts=True) for fold in folds]
    of_size = [np.unique(np.abs(fold).round(12), return_counts=True) for fold in folds]
    rng = np.random.default_rng(seed)
    means, flipped = [], []
    for draws in _pieces(max(len(values) for values, _ in of_value)):
        fold_means, fold_flips = [], []
        for clips, (values, counts), (sizes, size_counts) in zip(
            fold_sizes, of_value, of_size, strict=True
        ):
            fold_means.append(rng.multinomial(clips, counts / clips, draws) @ values / clips)
            positive = rng.binomial(size_counts, 0.5, (draws, len(sizes)))
            fold_flips.append((2 * positive - size_counts) @ sizes / clips)
        means.append(np.mean(fold_means, axis=0))
        flipped.append(np.mean(fold_flips, axis=0))
    difference = np.mean(
        [v @ counts / clips for clips, (v, counts) in zip(fold_sizes, of_value, strict=True)]
    )
    low, high = np.quantile(np.concatenate(means), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    as_large = np.abs(np.concatenate(flipped)) >= abs(difference) - 1e-12
    p_value = (1 + as_large.sum()) / (1 + _DRAWS)  # the observed answers count as one draw
    return Comparison(float(difference), float(low), float(high), float(p_value))


def holm(p_values: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    """Holm's (1979) correction of p-values for the number of tests."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def mean_interval(accuracies: Float64[np.ndarray, " seed"]) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval, low and high, by Student's t.

    With one seed there is no interval: low and high are the mean.
    """
    mean = float(np.mean(accuracies))
    if len(accuracies) == 1:
        return mean, mean, mean
    deviation = float(np.std(accuracies, ddof=1))
    quantile = float(scipy.stats.t.ppf((1 + _LEVEL) / 2, len(accuracies) - 1))
    half = quantile * deviation / len(accuracies) ** 0.5
    return mean, mean - half, mean + half


def _pieces(values: int) -> list[int]:
    """The draws, split so that each piece fits in memory."""
    most = max(1, _DRAWN_AT_ONCE // values)
    return [min(most, _DRAWS - first) for first in range(0, _DRAWS, most)]
