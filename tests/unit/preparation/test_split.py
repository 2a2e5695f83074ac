"""The validation split: what holds for all sounds (properties), some by hand, and chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coala_jax.preparation.split import METHODS, validation_mask

properties = settings(deadline=None, derandomize=True, max_examples=80)
SEEDS = range(5)


class Sounds(NamedTuple):
    tags: scipy.sparse.csr_array  # [sound, tag]
    groups: list[str]
    fraction: float


@st.composite
def sounds(draw: st.DrawFn) -> Sounds:
    """Sounds in groups of 1 to 8, with 1 to 6 tags, some of them rare; some group fits."""
    sizes = draw(st.lists(st.integers(1, 8) | st.just(1), min_size=2, max_size=20))
    groups = [f"g{(7 * n) % 101}" for n, size in enumerate(sizes) for _ in range(size)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frequency = rng.uniform(0.02, 0.7, draw(st.integers(1, 6)))
    tags = scipy.sparse.csr_array((rng.random((len(groups), frequency.size)) < frequency) * 1)
    fraction = draw(st.sampled_from([0.1, 0.2, 0.33, 0.5, 0.9]))
    assume(min(sizes) <= wanted(len(groups), fraction))
    return Sounds(tags, groups, fraction)


def wanted(sounds: int, fraction: float) -> int:
    return min(round(fraction * sounds), sounds - 1)


@properties
@given(sounds(), st.integers(0, 99), st.sampled_from(METHODS))
def test_groups_stay_whole_and_the_fraction_is_reached_as_far_as_they_fit(some, seed, method):
    mask = validation_mask(*some, seed, method)
    in_group = {name: mask[np.array(some.groups) == name] for name in some.groups}
    assert all(of_group.all() or not of_group.any() for of_group in in_group.values())
    missing = wanted(len(mask), some.fraction) - mask.sum()
    assert mask.any() and missing >= 0

    counts = {n: some.tags[np.array(some.groups) == n].sum(axis=0) > 0 for n in in_group}
    groups_of_tag = np.sum(list(counts.values()), axis=0)
    in_training = np.sum([counts[n] for n in in_group if not in_group[n].any()] or [0], axis=0)
    if method == "stratified":
        assert (in_training[groups_of_tag > 1] > 0).all()
    for name, of_group in in_group.items():  # no other group could have been taken
        if not of_group.any() and of_group.size <= missing:
            assert method == "stratified"
            assert (counts[name] & (groups_of_tag > 1) & (in_training == 1)).any()


@properties
@given(sounds(), st.sampled_from(METHODS), st.randoms(use_true_random=False))
def test_the_split_depends_on_nothing_else(some, method, random):
    """Neither on the order of the sounds, nor on how a sparse matrix stores zeros, nor on the tags
    if it is random."""
    mask = validation_mask(*some, 0, method)
    order = list(range(len(mask)))
    random.shuffle(order)
    groups = [some.groups[place] for place in order]
    shuffled = validation_mask(some.tags[order], groups, some.fraction, 0, method)
    np.testing.assert_array_equal(shuffled, mask[order])

    stored = scipy.sparse.csr_array(np.ones(some.tags.shape))
    stored.data[:] = some.tags.toarray().ravel()
    other = one_tag(len(mask)) if method == "random" else stored
    again = validation_mask(other, some.groups, some.fraction, 0, method)
    np.testing.assert_array_equal(again, mask)


def one_tag(sounds: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(np.ones((sounds, 1), np.uint8))


def single(sounds: int) -> list[str]:
    """Groups of one sound, their names not in the order of the sounds."""
    return [f"g{(7 * n) % 1009:04d}" for n in range(sounds)]


def tags_of(sounds: Sequence[str]) -> scipy.sparse.csr_array:
    """One letter is one tag; the columns are in their order."""
    letters = sorted(set("".join(sounds)))
    return scipy.sparse.csr_array(
        np.array([[letter in sound for letter in letters] for sound in sounds], np.uint8)
    )


@pytest.mark.parametrize("method", METHODS)
def test_single_sounds_reach_the_fraction(method: str) -> None:
    """To the nearest; one sound at least is trained on."""
    for sounds, kept in {6: 1, 14: 1, 16: 2, 101: 10}.items():
        assert validation_mask(one_tag(sounds), single(sounds), 0.1, 0, method).sum() == kept
    for sounds, fraction in ((2, 0.9), (20, 0.99)):
        mask = validation_mask(one_tag(sounds), single(sounds), fraction, 0, method)
        assert mask.sum() == sounds - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_tags_get_exactly_their_share(seed: int) -> None:
    """Of 10 sounds with r, 20 with s and 100 with t there are 1, 2 and 10 in 10 %: by chance r has
    none every third time. Of five tags of 20 sounds and ten of 10, every pair twice: 2 and 1."""
    tags = tags_of(["rt"] * 10 + ["st"] * 20 + ["t"] * 70)
    assert tags[validation_mask(tags, single(100), 0.1, seed)].sum(axis=0).tolist() == [1, 2, 10]
    tags = tags_of(["ABCDE"[n % 5] + "abcdefghij"[n // 5 % 10] for n in range(100)])
    kept = tags[validation_mask(tags, single(100), 0.1, seed)]
    assert kept.sum(axis=0).tolist() == [2] * 5 + [1] * 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_that_overfills_a_tag_is_trained_on(seed: int) -> None:
    """The pack alone could give validation its one sound of r, with 10 of t, where 2 are due.

    Then the best there is: 2 of t and 8 of u, so chi-square is 1**2 / 10 = 0.1. With the pack it is
    (10 - 2)**2 / 20 + 8**2 / 80 = 4.
    """
    tags = tags_of(["ru"] * 9 + ["u"] * 21 + ["rt"] + ["t"] * 19 + ["u"] * 50)
    groups = ["collection"] * 30 + ["pack"] * 10 + [f"single {number}" for number in range(60)]
    mask = validation_mask(tags, groups, 0.1, seed)
    assert not mask[:40].any()
    assert tags[mask].sum(axis=0).tolist() == [0, 2, 8]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_larger_group_of_a_tag_is_placed_first(seed: int) -> None:
    """Of a pair and a single sound each split needs 1.5: a tie, so the pair is trained on.

    The single sound is taken then; the other way round it would be the pair, with 2 for 1.5.
    """
    tags = tags_of(["a"] * 3 + ["b"] * 3 + ["c"] * 4)
    groups = ["a pair"] * 2 + ["a single"] + ["b pair"] * 2 + ["b single"] + single(4)
    mask = validation_mask(tags, groups, 0.5, seed)
    assert mask[:6].tolist() == [False, False, True] * 2
    assert mask[6:].sum() == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_ties_and_the_only_group_of_a_tag(seed: int) -> None:
    # Of two sounds with a, 0.5 are due: the first is trained on; of the second, half is due.
    mask = validation_mask(tags_of(["ab"] * 2 + ["b"] * 6), single(8), 0.25, seed)
    assert (mask[:2].sum(), mask.sum()) == (0, 2)
    # A group of 8 fits in 10 of 100, and is trained on; all others have their tag in common.
    tags = tags_of(["ab"] * 8 + ["b"] * 92)
    mask = validation_mask(tags, ["kit"] * 8 + single(92), 0.1, seed)
    assert (mask[:8].sum(), mask.sum()) == (0, 10)
    # 6 of 10: x gives its share of 4 and one more, the last of x stays, and so one tag is lost.
    # By chi-square alone two of a to d would be lost: (1 - 0.6)**2 < 0.6**2.
    mask = validation_mask(tags_of(["x"] * 6 + list("abcd")), single(10), 0.6, seed)
    assert (mask[:6].sum(), mask[6:].sum()) == (5, 1)
    # Every tag is in one group alone, so nothing is taken before the filling up, and what adds
    # least to chi-square per sound fills: a tag of n sounds adds (0.7**2 - 0.3**2) n = 0.4 n, so
    # the triple 2 * 0.4 / 3 or 3 * 0.4 / 3 per sound, and another sound 0.4 or 2 * 0.4.
    for triple, others in ((["pq", "", ""], "a b c d e f g"), (["p"] * 3, "ab cd ef gh ij kl mn")):
        tags = tags_of(triple + others.split())
        mask = validation_mask(tags, ["kit"] * 3 + single(7), 0.3, seed)
        assert mask.tolist() == [True] * 3 + [False] * 7


def test_sounds_without_tags_are_split_as_well_and_by_seed() -> None:
    tags = tags_of(["a"] * 40 + [""] * 60)
    masks = [validation_mask(tags, single(100), 0.1, seed) for seed in SEEDS]
    assert [(mask[:40].sum(), mask[40:].sum()) for mask in masks] == [(4, 6)] * 5
    assert len({mask[40:].tobytes() for mask in masks}) == 5


@pytest.mark.parametrize("seed", range(3))
def test_tags_are_spread_far_better_than_by_chance(seed: int) -> None:
    """600 sounds, alone or in groups of about 3, 40 tags on 30 % of them down to 1 %."""
    rng = np.random.default_rng(seed)
    multi_hot = rng.random((600, 40)) < 0.3 / np.arange(1, 41) ** 0.9
    tags = scipy.sparse.csr_array(multi_hot.astype(np.uint8))
    groups = [f"g{number}" for number in rng.integers(0, 200, 600)]
    totals = tags.sum(axis=0).astype(float)

    def off(groups: list[str], seed: int, method: str) -> np.ndarray:
        kept = validation_mask(tags, groups, 0.1, seed, method)
        return np.abs(tags[kept].sum(axis=0) - 0.1 * totals)

    def chi_square(*args: object) -> float:
        return float((off(groups, *args) ** 2 / np.maximum(totals, 1)).sum())

    assert off(single(600), seed, "stratified").max() < 1 < off(single(600), seed, "random").max()
    by_chance = min(chi_square(draw, "random") for draw in range(50))
    assert chi_square(seed, "stratified") < 0.6 * by_chance


@pytest.mark.parametrize("method", [*METHODS, "even"])
@pytest.mark.parametrize(
    ("sizes", "fraction"),
    [([1] * 4, 0.1), ([1], 0.9), ([3, 4, 3], 0.2), ([], 0.1), ([1] * 20, 0.0), ([1] * 20, 1.0)],
    ids=["4 sounds", "nothing to train on", "large groups", "no sounds", "0", "1"],
)
def test_what_cannot_be_split_is_refused(sizes: list[int], fraction: float, method: str) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    with pytest.raises(ValueError):
        validation_mask(one_tag(len(groups)), groups, fraction, 0, method)
    if method == "even":
        with pytest.raises(ValueError, match="'even'"):
            validation_mask(one_tag(20), single(20), 0.1, 0, method)
