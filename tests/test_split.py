"""The validation split: its size by hand, its groups, and tags spread as chi-square says."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse

from coala_jax.preparation.split import validation_mask


def no_tags(sounds: int) -> np.ndarray:
    return np.ones((sounds, 1), np.uint8)


def groups_of(*sizes: int) -> list[str]:
    """Sounds of one group side by side, and the groups' names not in their order."""
    return [f"g{(7 * number) % 101:03d}" for number, size in enumerate(sizes) for _ in range(size)]


def chi_square(tags: np.ndarray, kept: np.ndarray, fraction: float) -> float:
    total = 0.0
    for tag in range(tags.shape[1]):
        expected = fraction * tags[:, tag].sum()
        total += (tags[kept, tag].sum() - expected) ** 2 / max(tags[:, tag].sum(), 1)
    return total


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
def test_single_sounds_reach_the_fraction(sounds: int, fraction: float, kept: int) -> None:
    mask = validation_mask(no_tags(sounds), groups_of(*[1] * sounds), fraction, seed=0)
    assert mask.dtype == bool
    assert mask.sum() == kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([2] * 20, id="pairs"),
        pytest.param([3] * 15, id="threes-that-do-not-divide"),
        pytest.param([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], id="each-its-size"),
        pytest.param([30, *[1] * 10], id="one-big-that-never-fits"),
    ],
)
def test_groups_stay_whole_and_nearly_reach_the_fraction(sizes: Sequence[int], seed: int) -> None:
    groups = np.array(groups_of(*sizes))
    mask = validation_mask(no_tags(len(groups)), list(groups), 0.1, seed)
    kept = [mask[groups == group] for group in np.unique(groups)]
    assert all(of_group.all() or not of_group.any() for of_group in kept)
    left = [of_group.size for of_group in kept if not of_group.any()]
    wanted = round(0.1 * len(groups))
    assert 0 < mask.sum() <= wanted
    assert wanted - mask.sum() < min(left)  # no other group would have fitted


def random_sounds(sounds: int = 120, tags: int = 12) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    multi_hot = (rng.random((sounds, tags)) < rng.uniform(0.02, 0.4, tags)).astype(np.uint8)
    return multi_hot, [f"g{number}" for number in rng.integers(0, sounds // 2, sounds)]


def test_seed_determines_the_split() -> None:
    tags, groups = random_sounds()
    splits = [validation_mask(tags, groups, 0.1, seed).tobytes() for seed in (0, 0, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 4


def test_order_of_the_sounds_and_sparse_tags_are_no_matter() -> None:
    tags, groups = random_sounds()
    mask = validation_mask(tags, groups, 0.1, seed=0)
    order = np.random.default_rng(2).permutation(len(groups))
    shuffled = validation_mask(
        scipy.sparse.csr_array(tags[order]), [groups[place] for place in order], 0.1, seed=0
    )
    np.testing.assert_array_equal(shuffled, mask[order])


def test_tags_are_spread_better_than_by_chance() -> None:
    tags, groups = random_sounds()
    mask = validation_mask(tags, groups, 0.1, seed=0)
    rng = np.random.default_rng(3)
    by_chance = [chi_square(tags, rng.permutation(mask), 0.1) for _ in range(200)]
    assert chi_square(tags, mask, 0.1) < np.quantile(by_chance, 0.05)


@pytest.mark.parametrize("seed", range(10))
def test_the_only_group_of_a_tag_is_trained_on(seed: int) -> None:
    """A group of 8 fits into 10 of 100, in a random split every tenth time or so.

    Then chi-square is (8 - 0.8)**2 / 8 = 6.5 for its tag alone, against 0.08 without it.
    """
    groups = ["kit"] * 8 + [f"other{number}" for number in range(92)]
    tags = np.zeros((100, 2), np.uint8)
    tags[:8, 0] = tags[8:, 1] = 1
    mask = validation_mask(tags, groups, 0.1, seed)
    assert not mask[:8].any()
    assert mask.sum() == 10


@pytest.mark.parametrize(
    ("sizes", "fraction", "message"),
    [
        pytest.param([1] * 4, 0.1, r"10% of 4 sounds \(the smallest has 1\); raise", id="4-sounds"),
        pytest.param([1], 0.9, r"90% of 1 sounds \(the smallest has 1\)", id="nothing-to-train-on"),
        pytest.param([3, 4, 3], 0.2, r"20% of 10 sounds \(the smallest has 3\)", id="big-groups"),
        pytest.param([1] * 20, 0.0, "fraction is 0.0; it must be between 0 and 1", id="0"),
        pytest.param([1] * 20, 1.0, "fraction is 1.0; it must be between 0 and 1", id="1"),
        pytest.param([1] * 20, -0.1, "fraction is -0.1; it must be between", id="negative"),
    ],
)
def test_what_cannot_be_split(sizes: Sequence[int], fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validation_mask(no_tags(sum(sizes)), groups_of(*sizes), fraction, seed=0)
