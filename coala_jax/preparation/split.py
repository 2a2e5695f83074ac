"""Which sounds are kept for validation (paper, section 3.1: 10 %)."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Bool, UInt8

_DRAWS = 200


def validation_mask(
    tags: UInt8[np.ndarray, "sound tag"] | scipy.sparse.csr_array,
    groups: Sequence[str],
    fraction: float,
    seed: int,
) -> Bool[np.ndarray, " sound"]:
    """True for the sounds kept for validation: a random `fraction`, no group on both sides.

    Of 200 random splits it is the one in which validation comes nearest to its fraction of every
    tag's sounds, by chi-square over the tags. That matters where sounds are few and groups large: a
    split that keeps out all sounds of a tag can neither teach nor test it. Depends on the seed,
    the tags and the groups, not on the order of the sounds.

    Raises:
        ValueError: the fraction is not in (0, 1), or no group fits into it.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the validation fraction is {fraction}; it must be between 0 and 1")
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group_of)
    wanted = min(round(fraction * len(groups)), len(groups) - 1)  # one is left to train on
    if sizes.min() > wanted:
        raise ValueError(
            f"no group fits into {fraction:.0%} of {len(groups)} sounds (the smallest has "
            f"{sizes.min()}); raise --validation_fraction or add sounds"
        )
    membership = scipy.sparse.csr_array(
        (np.ones(len(groups)), (group_of, np.arange(len(groups)))), (len(names), len(groups))
    )
    counts = (membership @ scipy.sparse.csr_array(tags)).T.tocsr()  # sounds by tag and group
    totals = np.maximum(counts.sum(axis=1), 1.0)
    rng = np.random.default_rng(seed)

    def deviation(kept: Bool[np.ndarray, " group"]) -> float:
        return float((((counts @ kept) - fraction * totals) ** 2 / totals).sum())

    draws = (_draw(sizes, wanted, rng) for _ in range(_DRAWS))
    return min(draws, key=deviation)[group_of]


def _draw(sizes: np.ndarray, wanted: int, rng: np.random.Generator) -> Bool[np.ndarray, " group"]:
    """Groups in random order, each taken if it still fits into the wanted number of sounds."""
    kept, taken = np.zeros(len(sizes), bool), 0
    for group in rng.permutation(len(sizes)):
        if taken + sizes[group] <= wanted:
            kept[group] = True
            taken += sizes[group]
        if taken == wanted:
            break
    return kept
