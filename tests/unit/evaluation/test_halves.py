import numpy as np
import pytest

from coala_jax.data.schema import Example
from coala_jax.evaluation.halves import digests, halve

PATCH = np.zeros((96, 96), np.float32)


def halves_of(sounds: list[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Of sounds given as group and id."""
    examples = [
        Example(PATCH, np.array([0]), sound, frame, group=group)
        for frame, (group, sound) in enumerate(sounds)
    ]
    first, second = halve(np.stack([digests(example) for example in examples]))
    assert sorted([*first, *second]) == list(range(len(sounds)))
    assert first.tolist() == sorted(first) and second.tolist() == sorted(second)
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("count", [2, 3, 10, 113])
def test_sounds_without_groups_are_shared_evenly_and_alike_in_any_order(count):
    sounds = [("", f"kick_{number:03}.wav") for number in range(count)]
    first, second = halves_of(sounds)
    assert 0 <= len(first) - len(second) <= 1
    order = np.random.default_rng(0).permutation(count)
    shuffled, _ = halves_of([sounds[place] for place in order])
    assert sorted(order[shuffled].tolist()) == first
    if count > 10:  # neighbours are not told apart by turns, nor kept together
        assert 0.3 < np.mean(np.diff(np.isin(np.arange(count), first))) < 0.7


def test_groups_and_patches_of_one_sound_stay_together():
    """The largest group is as large as all others, whatever the order of the digests."""
    groups = ["drum"] * 6 + ["", "", "bird", "bird", ""]
    for salt in range(9):
        names = [f"{name}{salt}" for name in "aabbccddefg"]
        salted = [group and f"{group}{salt}" for group in groups]
        halves = halves_of(list(zip(salted, names, strict=True)))
        assert sorted(halves)[0] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("sounds", "sizes"),
    [
        ([("one", "a"), ("one", "b"), ("one", "b")], (2, 1)),  # by sound
        ([("", "a"), ("", "a"), ("", "a")], (2, 1)),  # by patch
        ([("one", "a")] * 2, (1, 1)),
    ],
)
def test_a_single_group_is_split_so_that_neither_half_is_empty(sounds, sizes):
    assert tuple(map(len, halves_of(sounds))) == sizes
