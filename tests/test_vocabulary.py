"""Which tags a vocabulary takes, and multi-hot vectors worked out by hand."""

import random

import numpy as np
import pytest

from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary

ANIMALS = Vocabulary(("dog", "cat", "bird", "cow"))


def sounds_with(count: int, sounds: int, tag: str = "noise") -> list[set[str]]:
    """`count` of `sounds` sounds have `tag`; all have a rare tag of their own."""
    return [{f"rare{i}"} | ({tag} if i < count else set()) for i in range(sounds)]


@pytest.mark.parametrize(
    ("count", "sounds", "kept"),
    [
        pytest.param(6, 10, True, id="60-percent"),
        pytest.param(7, 10, True, id="exactly-70-percent-of-10"),
        pytest.param(8, 10, False, id="80-percent"),
        pytest.param(62, 90, True, id="one-below-70-percent-of-90"),
        pytest.param(63, 90, True, id="exactly-70-percent-of-90"),  # 0.7 * 90 < 63 in floats
        pytest.param(64, 90, False, id="one-above-70-percent-of-90"),
        pytest.param(90, 90, False, id="all"),
    ],
)
def test_tags_of_more_than_70_percent_of_the_sounds_go(count: int, sounds: int, kept: bool) -> None:
    vocabulary = build_vocabulary(sounds_with(count, sounds))
    assert ("noise" in vocabulary) == kept
    assert len(vocabulary) == sounds + kept


def test_another_fraction_and_all() -> None:
    tag_sets = sounds_with(2, 4)
    assert "noise" not in build_vocabulary(tag_sets, max_document_fraction=0.49)
    assert "noise" in build_vocabulary(tag_sets, max_document_fraction=0.5)
    assert "noise" in build_vocabulary(sounds_with(4, 4), max_document_fraction=1.0)


def test_a_sound_without_tags_counts_as_a_sound() -> None:
    assert "noise" not in build_vocabulary(sounds_with(8, 11)[:10])
    assert build_vocabulary([{"noise"}] * 7 + [set()] * 3).tags == ("noise",)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(1, ("rain",), id="1"),
        pytest.param(2, ("rain", "ant"), id="2-tie-cut-alphabetically"),
        pytest.param(3, ("rain", "ant", "zoo"), id="3"),
        pytest.param(4, ("rain", "ant", "zoo", "bee"), id="all-4"),
        pytest.param(5, ("rain", "ant", "zoo", "bee"), id="more-than-there-are"),
    ],
)
def test_most_frequent_first_ties_alphabetical(size: int, expected: tuple[str, ...]) -> None:
    tag_sets = [["zoo", "rain"], ["rain", "ant"], ["rain", "zoo"], ["ant"], ["bee"], []]
    assert build_vocabulary(tag_sets, size).tags == expected


def test_a_tag_counts_once_per_sound() -> None:
    assert build_vocabulary([["bee", "bee", "bee"], ["ant"], ["ant"], []]).tags == ("ant", "bee")


@pytest.mark.parametrize("tags", [999, 1000, 1001])
def test_a_thousand_tags_by_default(tags: int) -> None:
    vocabulary = build_vocabulary([{f"tag{i:04}" for i in range(tags)}, set()])
    assert vocabulary.tags == tuple(f"tag{i:04}" for i in range(min(tags, 1000)))


def test_the_order_of_sounds_and_tags_does_not_matter() -> None:
    generator = random.Random(0)
    words = [f"w{i}" for i in range(50)]
    tag_sets = [generator.sample(words, generator.randint(0, 8)) for _ in range(300)]
    expected = build_vocabulary(tag_sets, 20)
    for _ in range(5):
        generator.shuffle(tag_sets)
        for tags in tag_sets:
            generator.shuffle(tags)
        assert build_vocabulary(tag_sets, 20) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param(([{"a"}], 0), ValueError, "size must be at least 1, got 0", id="size-0"),
        pytest.param(
            ([{"a"}], 1, 0.0), ValueError, r"must be in \(0, 1\], got 0.0", id="fraction-0"
        ),
        pytest.param(([{"a"}], 1, 1.01), ValueError, "got 1.01", id="fraction-over-1"),
        pytest.param(([{"a"}], 1, float("nan")), ValueError, "got nan", id="fraction-nan"),
        pytest.param(([],), ValueError, "0 sounds have 0 distinct tags", id="no-sounds"),
        pytest.param(([set(), set()],), ValueError, "2 sounds have 0 distinct", id="no-tags"),
        pytest.param(
            ([{"a"}, {"a"}],), ValueError, "more than 70% of the sounds", id="all-too-common"
        ),
        pytest.param(
            (["dog bark"],), TypeError, "got the str 'dog bark'", id="a-string-for-a-sound"
        ),
    ],
)
def test_no_vocabulary_to_build(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_vocabulary(*arguments)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        pytest.param((), "at least one tag", id="none"),
        pytest.param(("dog", ""), "tag 1 of the vocabulary is empty", id="empty-tag"),
        pytest.param(("b", "a", "b", "c", "a"), "come twice in the vocabulary: a, b", id="twice"),
    ],
)
def test_what_is_no_vocabulary(tags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(tags)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param([], [0, 0, 0, 0], id="no-tags"),
        pytest.param(["dog"], [1, 0, 0, 0], id="first"),
        pytest.param(["cow"], [0, 0, 0, 1], id="last"),
        pytest.param(["cow", "cat"], [0, 1, 0, 1], id="any-order"),
        pytest.param(["cat", "cat"], [0, 1, 0, 0], id="twice"),
        pytest.param(["whale", "bird"], [0, 0, 1, 0], id="unknown-left-out"),
        pytest.param(["whale"], [0, 0, 0, 0], id="only-unknown"),
        pytest.param(["dog", "cat", "bird", "cow"], [1, 1, 1, 1], id="all"),
    ],
)
def test_encode_and_decode(tags: list[str], expected: list[int]) -> None:
    multi_hot = ANIMALS.encode(tags)
    assert multi_hot.dtype == np.uint8
    assert multi_hot.tolist() == expected
    assert ANIMALS.decode(multi_hot) == [tag for tag in ANIMALS.tags if tag in tags]


def test_encode_takes_an_iterator_and_strictly_refuses_the_unknown() -> None:
    assert ANIMALS.encode(iter(["cow", "dog"]), strict=True).tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match="not among the 4 tags of the vocabulary: whale, ant"):
        ANIMALS.encode(["dog", "whale", "ant"], strict=True)
    with pytest.raises(TypeError, match="got the str 'dog'"):
        ANIMALS.encode("dog")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param([0, 1, 0], r"shape \(4,\), got \(3,\)", id="too-short"),
        pytest.param([0, 1, 0, 1, 0], r"shape \(4,\), got \(5,\)", id="too-long"),
        pytest.param([0, 1, 2, 1], "holds 0 and 1, this one also 2", id="a-count"),
    ],
)
def test_decode_refuses_what_is_no_multi_hot(values: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ANIMALS.decode(np.array(values, np.uint8))


def test_places_and_membership() -> None:
    assert len(ANIMALS) == 4
    assert ANIMALS.index == {"dog": 0, "cat": 1, "bird": 2, "cow": 3}
    assert "cow" in ANIMALS
    assert "whale" not in ANIMALS
    assert Vocabulary(ANIMALS.tags) == ANIMALS
