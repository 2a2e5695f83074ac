"""The validation split: its size and tags by hand, whole groups, and chi-square against chance."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse

from coala_jax.preparation.split import METHODS, validation_mask


def one_tag(sounds: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(np.ones((sounds, 1), np.uint8))


def groups_of(*sizes: int) -> list[str]:
    """Sounds of one group side by side, and the groups' names not in their order."""
    return [f"g{(7 * number) % 101:03d}" for number, size in enumerate(sizes) for _ in range(size)]


def single(sounds: int) -> list[str]:
    return groups_of(*[1] * sounds) if sounds <= 101 else [f"g{n:04d}" for n in range(sounds)]


def tags_of(sounds: Sequence[str]) -> scipy.sparse.csr_array:
    """One letter is one tag; the columns are in their order."""
    letters = sorted(set("".join(sounds)))
    return scipy.sparse.csr_array(
        np.array([[letter in sound for letter in letters] for sound in sounds], np.uint8)
    )


def chi_square(tags: scipy.sparse.csr_array, kept: np.ndarray, fraction: float) -> float:
    total = 0.0
    for of_tag in tags.toarray().astype(int).T:
        expected = fraction * of_tag.sum()
        total += (of_tag[kept].sum() - expected) ** 2 / max(of_tag.sum(), 1)
    return total


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("sounds", "fraction", "kept"),
    [
        pytest.param(6, 0.1, 1, id="0.6-of-6"),
        pytest.param(14, 0.1, 1, id="1.4-of-14"),
        pytest.param(16, 0.1, 2, id="1.6-of-16"),
        pytest.param(99, 0.1, 10, id="9.9-of-99"),
        pytest.param(100, 0.1, 10, id="10-of-100"),
        pytest.param(101, 0.1, 10, id="10.1-of-101"),
        pytest.param(2, 0.9, 1, id="one-of-2-is-left-to-train-on"),
        pytest.param(20, 0.99, 19, id="one-of-20-is-left-to-train-on"),
    ],
)
def test_single_sounds_reach_the_fraction(
    sounds: int, fraction: float, kept: int, method: str
) -> None:
    mask = validation_mask(one_tag(sounds), single(sounds), fraction, 0, method)
    assert mask.dtype == bool
    assert mask.sum() == kept


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([2] * 20, id="pairs"),
        pytest.param([3] * 15, id="threes-that-do-not-divide"),
        pytest.param([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], id="each-its-size"),
        pytest.param([30, *[1] * 10], id="one-big-that-never-fits"),
        pytest.param([9, 7, 5, *[3] * 10, *[2] * 20, 1], id="a-few-big"),
    ],
)
def test_groups_stay_whole_and_nearly_reach_the_fraction(
    sizes: Sequence[int], seed: int, method: str
) -> None:
    groups = np.array(groups_of(*sizes))
    mask = validation_mask(one_tag(len(groups)), list(groups), 0.1, seed, method)
    kept = [mask[groups == group] for group in np.unique(groups)]
    assert all(of_group.all() or not of_group.any() for of_group in kept)
    left = [of_group.size for of_group in kept if not of_group.any()]
    wanted = round(0.1 * len(groups))
    assert 0 < mask.sum() <= wanted
    assert wanted - mask.sum() < min(left)  # no other group would have fitted


@pytest.mark.parametrize("seed", range(10))
def test_balanced_tags_reach_exactly_the_fraction(seed: int) -> None:
    """Five tags of 20 sounds and ten of 10, every pair twice: 2 and 1 of 10 % of 100 sounds."""
    sounds = ["ABCDE"[n % 5] + "abcdefghij"[n // 5 % 10] for n in range(100)]
    kept = tags_of(sounds)[validation_mask(tags_of(sounds), single(100), 0.1, seed)]
    assert kept.sum(axis=0).tolist() == [2] * 5 + [1] * 10


@pytest.mark.parametrize("seed", range(10))
def test_the_rarest_tag_gets_its_share(seed: int) -> None:
    """Of 10 sounds with r, 20 with s and 100 with t there are 1, 2 and 10 in 10 %.

    By chance r has none every third time.
    """
    tags = tags_of(["rt"] * 10 + ["st"] * 20 + ["t"] * 70)
    assert tags[validation_mask(tags, single(100), 0.1, seed)].sum(axis=0).tolist() == [1, 2, 10]


@pytest.mark.parametrize("seed", range(10))
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


@pytest.mark.parametrize("seed", range(10))
def test_the_larger_group_of_a_tag_is_placed_first(seed: int) -> None:
    """Of a pair and a single sound each side needs 1.5: a tie, so the pair is trained on.

    The single sound is kept out then; the other way round it would be the pair, with 2 for 1.5.
    """
    tags = tags_of(["a"] * 3 + ["b"] * 3 + ["c"] * 4)
    groups = ["a pair"] * 2 + ["a single"] + ["b pair"] * 2 + ["b single"] + single(4)
    mask = validation_mask(tags, groups, 0.5, seed)
    assert mask[:6].tolist() == [False, False, True] * 2
    assert mask[6:].sum() == 3


@pytest.mark.parametrize("seed", range(10))
def test_a_tie_goes_to_training(seed: int) -> None:
    """Of two sounds with a 0.5 are due: the first to training, and of the second each side half."""
    mask = validation_mask(tags_of(["ab"] * 2 + ["b"] * 6), single(8), 0.25, seed)
    assert not mask[:2].any()
    assert mask.sum() == 2


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("triple", "others"),
    [
        pytest.param(["pq", "", ""], list("abcdefg"), id="0.27-and-0.4"),
        pytest.param(["p", "p", "p"], ["ab", "cd", "ef", "gh", "ij", "kl", "mn"], id="0.4-and-0.8"),
    ],
)
def test_what_is_missing_adds_least_to_chi_square_a_sound(
    triple: list[str], others: list[str], seed: int
) -> None:
    """Every tag is in one group alone, so nothing is kept before the filling up.

    A tag of n sounds kept whole adds (0.7 n)**2 / n - (0.3 n)**2 / n = 0.4 n. So the triple adds
    2 * 0.4 / 3 or 3 * 0.4 / 3 a sound, and another sound 0.4 or 2 * 0.4.
    """
    mask = validation_mask(tags_of(triple + others), ["kit"] * 3 + single(7), 0.3, seed)
    assert mask.tolist() == [True] * 3 + [False] * 7


@pytest.mark.parametrize("seed", range(10))
def test_every_tag_of_two_groups_is_trained_on(seed: int) -> None:
    """Ten tags of two sounds each: 18 of the 20 are asked for, and one of each tag stays."""
    tags = tags_of([letter for letter in "abcdefghij" for _ in range(2)])
    mask = validation_mask(tags, single(20), 0.9, seed)
    assert mask.reshape(10, 2).sum(axis=1).tolist() == [1] * 10


@pytest.mark.parametrize("seed", range(10))
def test_the_only_group_of_a_tag_is_trained_on(seed: int) -> None:
    """A group of 8 fits into 10 of 100; all others have their tag in common."""
    tags = tags_of(["ab"] * 8 + ["b"] * 92)
    mask = validation_mask(tags, ["kit"] * 8 + single(92), 0.1, seed)
    assert not mask[:8].any()
    assert mask.sum() == 10


def test_tags_of_one_group_are_lost_only_where_the_fraction_needs_it() -> None:
    """6 of 10: x gives its share of 4 and one more, the last of x stays, and so one tag is lost.

    By chi-square alone two of a to d would be lost: (1 - 0.6)**2 < 0.6**2.
    """
    mask = validation_mask(tags_of(["x"] * 6 + list("abcd")), single(10), 0.6, seed=0)
    assert (mask[:6].sum(), mask[6:].sum()) == (5, 1)


def test_sounds_without_tags_are_split_as_well() -> None:
    tags = tags_of(["a"] * 40 + [""] * 60)
    masks = [validation_mask(tags, single(100), 0.1, seed) for seed in range(5)]
    assert [(mask[:40].sum(), mask[40:].sum()) for mask in masks] == [(4, 6)] * 5
    assert len({mask[40:].tobytes() for mask in masks}) == 5
    assert validation_mask(tags[40:], single(60), 0.1, seed=0).sum() == 6


def random_sounds(sounds: int = 120, tags: int = 12) -> tuple[scipy.sparse.csr_array, list[str]]:
    rng = np.random.default_rng(1)
    multi_hot = (rng.random((sounds, tags)) < rng.uniform(0.02, 0.4, tags)).astype(np.uint8)
    groups = [f"g{number}" for number in rng.integers(0, sounds // 2, sounds)]
    return scipy.sparse.csr_array(multi_hot), groups


@pytest.mark.parametrize("method", METHODS)
def test_seed_determines_the_split(method: str) -> None:
    tags, groups = random_sounds()
    seeds = (0, 0, 1, 2, 3)
    splits = [validation_mask(tags, groups, 0.1, seed, method).tobytes() for seed in seeds]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 4


@pytest.mark.parametrize("method", METHODS)
def test_order_of_the_sounds_is_no_matter(method: str) -> None:
    tags, groups = random_sounds()
    mask = validation_mask(tags, groups, 0.1, 0, method)
    order = np.random.default_rng(2).permutation(len(groups))
    shuffled = validation_mask(tags[order], [groups[place] for place in order], 0.1, 0, method)
    np.testing.assert_array_equal(shuffled, mask[order])


def test_zeros_and_types_that_a_matrix_stores_are_no_matter() -> None:
    tags, groups = random_sounds()
    mask = validation_mask(tags, groups, 0.1, seed=0)
    full = scipy.sparse.csr_array(np.ones(tags.shape))
    full.data[:] = tags.toarray().ravel()
    assert full.nnz > tags.nnz
    np.testing.assert_array_equal(validation_mask(full, groups, 0.1, seed=0), mask)


def test_random_does_not_look_at_the_tags() -> None:
    tags, groups = random_sounds()
    masks = {
        method: [validation_mask(t, groups, 0.1, 0, method) for t in (tags, one_tag(len(groups)))]
        for method in METHODS
    }
    assert (masks["random"][0] == masks["random"][1]).all()
    assert (masks["stratified"][0] != masks["stratified"][1]).any()


def skewed_sounds(seed: int) -> tuple[scipy.sparse.csr_array, list[str]]:
    """600 sounds in groups of about 3, 40 tags on 30 % of them down to 1 %."""
    rng = np.random.default_rng(seed)
    multi_hot = rng.random((600, 40)) < 0.3 / np.arange(1, 41) ** 0.9
    groups = [f"g{number}" for number in rng.integers(0, 200, 600)]
    return scipy.sparse.csr_array(multi_hot.astype(np.uint8)), groups


@pytest.mark.parametrize("seed", range(3))
def test_single_sounds_give_every_tag_its_share_to_less_than_a_sound(seed: int) -> None:
    tags, _ = skewed_sounds(seed)

    def worst(method: str) -> float:
        kept = validation_mask(tags, single(600), 0.1, seed, method)
        return float(np.abs(tags[kept].sum(axis=0) - 0.1 * tags.sum(axis=0)).max())

    assert worst("stratified") < 1 < worst("random")


@pytest.mark.parametrize("seed", range(3))
def test_groups_spread_tags_far_better_than_the_best_of_fifty_random_splits(seed: int) -> None:
    tags, groups = skewed_sounds(seed)
    draws = (validation_mask(tags, groups, 0.1, draw, "random") for draw in range(50))
    by_chance = min(chi_square(tags, draw, 0.1) for draw in draws)
    assert chi_square(tags, validation_mask(tags, groups, 0.1, seed), 0.1) < 0.6 * by_chance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("sizes", "fraction", "message"),
    [
        pytest.param([1] * 4, 0.1, r"10% of 4 sounds \(the smallest has 1\); raise", id="4-sounds"),
        pytest.param([1], 0.9, r"90% of 1 sounds \(the smallest has 1\)", id="nothing-to-train-on"),
        pytest.param([3, 4, 3], 0.2, r"20% of 10 sounds \(the smallest has 3\)", id="big-groups"),
        pytest.param([], 0.1, "there are no sounds to split; add some", id="no-sounds"),
        pytest.param([1] * 20, 0.0, "fraction is 0.0; it must be between 0 and 1", id="0"),
        pytest.param([1] * 20, 1.0, "fraction is 1.0; it must be between 0 and 1", id="1"),
        pytest.param([1] * 20, -0.1, "fraction is -0.1; it must be between", id="negative"),
    ],
)
def test_what_cannot_be_split(
    sizes: Sequence[int], fraction: float, message: str, method: str
) -> None:
    with pytest.raises(ValueError, match=message):
        validation_mask(one_tag(sum(sizes)), groups_of(*sizes), fraction, 0, method)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="is 'even'; it must be one of stratified, random"):
        validation_mask(one_tag(20), single(20), 0.1, 0, "even")
