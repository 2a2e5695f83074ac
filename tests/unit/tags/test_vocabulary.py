"""Which tags a vocabulary takes, and multi-hot vectors worked out by hand."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coala_jax.tags.normalize import normalize_tags
from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary, read_id2token

ANIMALS = Vocabulary(("dog", "cat", "bird", "cow"))
AUTHORS = Vocabulary(("bas", "dog", "bu", "polouse", "his", "glas"), "released")


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


def test_a_thousand_tags_by_default() -> None:
    vocabulary = build_vocabulary([{f"tag{i:04}" for i in range(1001)}, set()])
    assert vocabulary.tags == tuple(f"tag{i:04}" for i in range(1000))


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
    ("count", "min_sounds", "kept"),
    [
        pytest.param(9, 10, False, id="9-of-10"),
        pytest.param(10, 10, True, id="10-of-10"),
        pytest.param(11, 10, True, id="11-of-10"),
        pytest.param(2, 2, True, id="2-of-2"),
        pytest.param(1, 2, False, id="1-of-2"),
        pytest.param(70, 70, True, id="exactly-70-percent-and-just-enough"),
        pytest.param(71, 70, False, id="enough-but-above-70-percent"),
    ],
)
def test_tags_of_too_few_sounds_go(count: int, min_sounds: int, kept: bool) -> None:
    tag_sets = sounds_with(count, 100)
    for tags in tag_sets[:70]:
        tags.add("steady")
    vocabulary = build_vocabulary(tag_sets, min_sounds=min_sounds)
    assert set(vocabulary.tags) == {"steady"} | ({"noise"} if kept else set())


def test_the_processing_goes_with_the_tags() -> None:
    tag_sets = [normalize_tags(tags, "released") for tags in (["Bass", "dogs"], ["bass"], [])]
    vocabulary = build_vocabulary(tag_sets, processing="released")
    assert vocabulary == Vocabulary(("bas", "dog"), "released")
    assert build_vocabulary(tag_sets).processing == Vocabulary(("bas",)).processing == "paper"


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        pytest.param(([{"a"}], 0), "size", id="size-0"),
        pytest.param(([{"a"}], 1, 0.7, 0), "min_sounds", id="rare-0"),
        pytest.param(([{"a"}, {"b"}, {"b"}], 1, 0.5, 2), "50%", id="too-rare-or-too-common"),
        pytest.param(([{"a"}], 1, 0.0), "0.0", id="fraction-0"),
        pytest.param(([{"a"}], 1, 1.01), "1.01", id="fraction-over-1"),
        pytest.param(([{"a"}], 1, float("nan")), "nan", id="fraction-nan"),
        pytest.param(([],), "0 sounds", id="no-sounds"),
        pytest.param(([set(), set()],), "0 distinct", id="no-tags"),
        pytest.param(([{"a"}, {"a"}],), "70%", id="all-too-common"),
    ],
)
def test_no_vocabulary_to_build(arguments: tuple, token: str) -> None:
    with pytest.raises(ValueError, match=token):
        build_vocabulary(*arguments)


@pytest.mark.parametrize(
    ("tags", "token"), [((), "one tag"), (("dog", ""), "tag 1"), (("b", "a", "b", "a"), "a, b")]
)
def test_what_is_no_vocabulary(tags: tuple[str, ...], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        Vocabulary(tags)


@pytest.mark.parametrize(
    "call", [lambda: build_vocabulary(["dog bark"]), lambda: ANIMALS.encode("dog")]
)
def test_a_string_is_no_collection_of_tags(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="dog"):
        call()


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
    with pytest.raises(ValueError, match="whale, ant"):
        ANIMALS.encode(["dog", "whale", "ant"], strict=True)


@pytest.mark.parametrize(
    ("vocabulary", "tag", "found"),
    [
        pytest.param(AUTHORS, "bas", "bas", id="as-written"),
        pytest.param(AUTHORS, "bass", "bas", id="damaged"),
        pytest.param(AUTHORS, "Police", "polouse", id="damaged-and-case"),
        pytest.param(AUTHORS, "DOGS", "dog", id="plural"),
        pytest.param(AUTHORS, "his", "his", id="a-stop-word-but-there"),
        pytest.param(AUTHORS, "bus", "bu", id="once"),
        pytest.param(AUTHORS, "buses", None, id="once-only"),
        pytest.param(AUTHORS, "the", None, id="stop-word"),
        pytest.param(AUTHORS, "guard-dog", None, id="not-alphabetic"),
        pytest.param(AUTHORS, "", None, id="empty"),
        pytest.param(Vocabulary(("bass", "bas"), "released"), "bass", "bass", id="as-written-wins"),
        pytest.param(ANIMALS, "cow", "cow", id="paper-as-written"),
        pytest.param(ANIMALS, " #Dogs", "dog", id="paper-form"),
        pytest.param(ANIMALS, "whale", None, id="paper-unknown"),
        pytest.param(Vocabulary(("bas",)), "bass", None, id="paper-has-no-damage"),
        pytest.param(Vocabulary(("Dogs", "dog")), "Dogs", "Dogs", id="paper-as-written-wins"),
    ],
)
def test_find(vocabulary: Vocabulary, tag: str, found: str | None) -> None:
    place = vocabulary.find(tag)
    assert (None if place is None else vocabulary.tags[place]) == found


def test_encode_finds_what_people_write() -> None:
    tags = ["Bass", "bas", "Dogs", "buses", "rain"]
    assert AUTHORS.encode(tags).tolist() == [1, 1, 0, 0, 0, 0]
    assert AUTHORS.encode(tags, aliases=False).tolist() == [1, 0, 0, 0, 0, 0]
    assert AUTHORS.encode(["Bass", "bus"], strict=True).tolist() == [1, 0, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="buses, rain"):
        AUTHORS.encode(tags, strict=True)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param([], [], id="no-tags"),
        pytest.param(["polouse", "bas"], [0, 3], id="rising"),
        pytest.param(["glas", "bas", "glas"], [0, 5], id="each-once"),
        pytest.param(["bass", "rain"], [], id="unknown-and-no-alias"),
    ],
)
def test_indices(tags: list[str], expected: list[int]) -> None:
    for given in (tags, iter(tags)):
        places = AUTHORS.indices(given)
        assert places.dtype == np.int64
        assert places.tolist() == expected


def test_indices_of_normalized_tags_are_not_normalized_again() -> None:
    normalized = normalize_tags(["buses"], "released")
    assert normalized == ("bus",)
    assert AUTHORS.indices(normalized).tolist() == []
    assert AUTHORS.indices(normalized, aliases=True).tolist() == [2]
    assert AUTHORS.indices(["bass", "bas", "Dogs"], aliases=True).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        pytest.param(0, "bass", id="place"),
        pytest.param(np.int64(3), "police", id="numpy-place"),
        pytest.param(5, "glass", id="last-place"),
        pytest.param("bas", "bass", id="tag"),
        pytest.param("dog", "dog", id="whole"),
        pytest.param("viru", "virus", id="tag-of-another-vocabulary"),
    ],
)
def test_readable(tag: int | np.integer | str, word: str) -> None:
    assert AUTHORS.readable(tag) == word


def test_readable_changes_no_tag_of_paper() -> None:
    vocabulary = Vocabulary(("bas", "his"))
    assert [vocabulary.readable(place) for place in range(2)] == ["bas", "his"]
    assert vocabulary.readable("glas") == "glas"


@pytest.mark.parametrize("place", [-1, 6])
def test_readable_refuses_a_place_that_is_not_there(place: int) -> None:
    with pytest.raises(IndexError, match=str(place)):
        AUTHORS.readable(place)


def test_read_id2token(tmp_path: Path) -> None:
    path = tmp_path / "id2token.json"
    tags = tuple(f"tag{place}" for place in range(12))  # as text, "10" comes before "2"
    path.write_text(json.dumps(dict(sorted((str(i), tag) for i, tag in enumerate(tags)))))
    assert read_id2token(path) == Vocabulary(tags, "released")


@pytest.mark.parametrize(
    ("content", "token"),
    [
        pytest.param(b"", "JSON", id="empty"),
        pytest.param(b'{"0": "close"', "JSON", id="cut"),
        pytest.param(b'{"0": "\xff"}', "JSON", id="not-utf-8"),
        pytest.param(b"[" * 100_000, "JSON", id="nested"),
        pytest.param(b'["close"]', "JSON", id="a-list"),
        pytest.param(b'{"0": {"a": "b"}}', "JSON", id="object-for-a-tag"),
        pytest.param(b"{}", "one tag", id="no-tags"),
        pytest.param(b'{"0": "a", "2": "b"}', "number 1", id="gap"),
        pytest.param(b'{"1": "a", "2": "b"}', "number 0", id="from-1"),
        pytest.param(b'{"0": "a", "01": "b"}', "number 1", id="written-otherwise"),
        pytest.param(b'{"0": "a", "0": "b"}', "number 1", id="number-twice"),
        pytest.param(b'{"0": "a", "1": "a"}', "twice", id="tag-twice"),
    ],
)
def test_read_id2token_refuses(tmp_path: Path, content: bytes, token: str) -> None:
    path = tmp_path / "id2token.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=token) as raised:
        read_id2token(path)
    assert str(path) in str(raised.value)


def test_read_id2token_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"id2token\.json"):
        read_id2token(tmp_path / "id2token.json")


@pytest.mark.parametrize(
    ("values", "token"), [([0, 1, 0], "3,"), ([0, 1, 0, 1, 0], "5,"), ([0, 1, 2, 1], "2")]
)
def test_decode_refuses_what_is_no_multi_hot(values: list[int], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        ANIMALS.decode(np.array(values, np.uint8))
