"""Which sounds are kept for validation (paper, section 3.1: 10 %)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def validation_mask(
    groups: Sequence[str], fraction: float, seed: int
) -> Bool[np.ndarray, " sound"]:
    """True for the sounds kept for validation: a random `fraction`, no group on both sides.

    Groups are taken in random order while they fit into the fraction, so it is never passed, and
    missed by less than the smallest group left over. Depends on the seed and on the names and sizes
    of the groups, not on their order.

    Raises:
        ValueError: the fraction is not in (0, 1), or no group fits into it.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the validation fraction is {fraction}; it must be between 0 and 1")
    sizes = Counter(groups)
    names = sorted(sizes)
    wanted, taken, kept = round(fraction * len(groups)), 0, set()
    for place in np.random.default_rng(seed).permutation(len(names)):
        size = sizes[names[place]]
        if taken + size <= wanted:
            kept.add(names[place])
            taken += size
    if not kept:
        raise ValueError(
            f"no group fits into {fraction:.0%} of {len(groups)} sounds (the smallest has "
            f"{min(sizes.values(), default=0)}); raise --validation_fraction or add sounds"
        )
    return np.array([group in kept for group in groups])
