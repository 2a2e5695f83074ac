"""Splits sounds into training and validation (paper, section 3.1: 10 %)."""

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Int64

METHODS = ("stratified", "random")


def validation_mask(
    tags: scipy.sparse.csr_array,  # [sound, tag], 1 where the sound has the tag
    groups: Sequence[str],
    fraction: float,
    seed: int,
    method: str = "stratified",
) -> Bool[np.ndarray, " sound"]:
    """True for the sounds in validation: a `fraction` of all, with every group in one split.

    `stratified` gives validation its fraction of every tag's sounds as nearly as the groups allow,
    by iterative stratification (see `_Stratification`), and leaves some sounds of every tag of two
    or more groups to training. `random` takes groups in random order. Validation never has more
    sounds than the fraction, rounded, and fewer only if no other group fits. Depends on the seed,
    the tags and the groups, not on the order of the sounds.

    Raises:
        ValueError: an unknown method, no sounds, a fraction outside (0, 1), or no group fits in it.
    """
    if method not in METHODS:
        raise ValueError(f"split is {method!r}; it must be one of {', '.join(METHODS)}")
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"validation_fraction is {fraction}; it must be between 0 and 1")
    if not len(groups):
        raise ValueError("no sounds to split. Fix: add some")
    places = {name: place for place, name in enumerate(sorted(set(groups)))}
    group_of = np.array([places[group] for group in groups])
    sizes = np.bincount(group_of)
    wanted = min(round(fraction * len(groups)), len(groups) - 1)  # training keeps at least one
    if sizes.min() > wanted:
        raise ValueError(
            f"no group fits in {fraction:.0%} of {len(groups)} sounds: the smallest has "
            f"{sizes.min()}. Fix: raise --validation_fraction or add sounds"
        )
    rng = np.random.default_rng(seed)
    if method == "random":
        return _draw(sizes, wanted, rng)[group_of]
    membership = scipy.sparse.csr_array(
        (np.ones(len(groups), np.int64), (group_of, np.arange(len(groups)))),
        (len(sizes), len(groups)),
    )
    return _Stratification(membership @ tags, sizes, wanted, rng).split()[group_of]


def _draw(
    sizes: Int64[np.ndarray, " group"], wanted: int, rng: np.random.Generator
) -> Bool[np.ndarray, " group"]:
    """Groups in random order, each taken if it still fits in the wanted number of sounds."""
    kept, taken = np.zeros(len(sizes), bool), 0
    for group in rng.permutation(len(sizes)):
        if taken + sizes[group] <= wanted:
            kept[group] = True
            taken += sizes[group]
    return kept


class _Stratification:
    """Iterative stratification of multi-label data: two splits, sparse counts, whole groups.

    Sechidis, Tsoumakas & Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011: the
    rarest tag first, each of its examples to the split that needs that tag most. Our own, because
    the library for it (iterative-stratification) takes a dense matrix and no groups.

    Changes for groups: the largest groups of a tag come first, and validation takes a group only if
    that overfills no tag; a pack of 150 sounds must not be taken for its rarest tag alone. What is
    missing in the end is filled up by chi-square over the tags. Since that completes the total,
    ties go to training.

    A need is in sounds times the number of all sounds: an integer, so that ties are exact.
    """

    def __init__(
        self,
        counts: scipy.sparse.csr_array,  # [group, tag] of sounds
        sizes: Int64[np.ndarray, " group"],
        wanted: int,
        rng: np.random.Generator,
    ) -> None:
        self._by_tag = counts.tocsc()
        entries = list(zip(counts.indices.tolist(), counts.data.tolist(), strict=True))
        self._tags = [entries[a:b] for a, b in pairwise(counts.indptr.tolist())]  # of each group
        self._sizes, self._sounds = sizes.tolist(), int(sizes.sum())
        largest_first = np.lexsort((rng.permutation(len(sizes)), -sizes))
        self._rank = largest_first.argsort()
        self._totals = counts.sum(axis=0).tolist()
        self._groups_of_tag = np.diff(self._by_tag.indptr).tolist()
        self._to_train = self._groups_of_tag.copy()  # groups of each tag left to training
        self._need = [wanted * total for total in self._totals]
        self._missing = wanted  # sounds
        self._kept = np.zeros(len(sizes), bool)

    def split(self) -> Bool[np.ndarray, " group"]:
        """True for the groups in validation."""
        self._place_rarest_first()
        self._fill(may_lose_tags=False)
        self._fill(may_lose_tags=True)
        return self._kept

    def _place_rarest_first(self) -> None:
        left = np.array(self._totals)  # sounds of each tag in groups not placed so far
        placed = np.zeros(len(self._sizes), bool)
        while left.any():
            tag = int(np.where(left > 0, left, self._sounds + 1).argmin())
            groups = self._by_tag.indices[slice(*self._by_tag.indptr[tag : tag + 2])]
            for group in groups[self._rank[groups].argsort()].tolist():
                if placed[group]:
                    continue
                more_than_training = 2 * self._need[tag] > self._sounds * int(left[tag])
                if more_than_training and self._fits(group) and not self._overfills(group):
                    self._keep(group)
                placed[group] = True
                for other, count in self._tags[group]:
                    left[other] -= count

    def _fill(self, may_lose_tags: bool) -> None:
        """Takes the groups that lower chi-square most, until nothing is missing or fits."""
        if not self._missing:
            return
        ranks = self._rank.tolist()
        out = np.flatnonzero(~self._kept).tolist()
        heap = [(self._cost(group), ranks[group], group) for group in out]
        heapq.heapify(heap)
        while heap and self._missing:
            _, rank, group = heapq.heappop(heap)
            if not self._fits(group, may_lose_tags):
                continue
            # Costs only grow as groups are taken: those in the heap are lower bounds.
            cost = self._cost(group)
            if heap and cost > heap[0][0]:
                heapq.heappush(heap, (cost, rank, group))
            else:
                self._keep(group)

    def _fits(self, group: int, may_lose_tags: bool = False) -> bool:
        """Whether there is room, and training keeps sounds of all the group's tags.

        With `may_lose_tags`, tags that only this group has are ignored.
        """
        return self._sizes[group] <= self._missing and all(
            self._to_train[tag] > 1 or (may_lose_tags and self._groups_of_tag[tag] == 1)
            for tag, _ in self._tags[group]
        )

    def _overfills(self, group: int) -> bool:
        """Whether the group has more sounds of a tag than needed, rounded up."""
        return any(
            self._sounds * (count - 1) >= self._need[tag] for tag, count in self._tags[group]
        )

    def _cost(self, group: int) -> float:
        """What the group in validation adds to chi-square over the tags, per sound."""
        changes = (
            count * (self._sounds * count - 2 * self._need[tag]) / self._totals[tag]
            for tag, count in self._tags[group]
        )
        return math.fsum(changes) / self._sizes[group]

    def _keep(self, group: int) -> None:
        self._kept[group] = True
        self._missing -= self._sizes[group]
        for tag, count in self._tags[group]:
            self._need[tag] -= self._sounds * count
            self._to_train[tag] -= 1
