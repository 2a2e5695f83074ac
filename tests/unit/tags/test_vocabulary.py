"""Which tags a vocabulary takes, and multi-hot vectors worked out by hand."""

import json
import random
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
    ("sounds", "kept", "left_out", "arguments"),
    [
        pytest.param(10, (6, 7), (8,), {}, id="70 % of 10"),
        pytest.param(90, (62, 63), (64, 90), {}, id="70 % of 90"),  # 0.7 * 90 < 63 in floats
        pytest.param(4, (2,), (3,), {"max_document_fraction": 0.5}, id="half"),
        pytest.param(4, (4,), (), {"max_document_fraction": 1.0}, id="all"),
        pytest.param(100, (10, 11, 70), (9, 71), {"min_sounds": 10}, id="of 10 sounds"),
        pytest.param(100, (2,), (1,), {"min_sounds": 2}, id="of 2 sounds"),
    ],
)
def test_too_frequent_and_too_rare_tags_go(
    sounds: int, kept: tuple[int, ...], left_out: tuple[int, ...], arguments: dict
) -> None:
    steady = 2 * sounds // 4
    for count in (*kept, *left_out):
        tag_sets = sounds_with(count, sounds)
        for tags in tag_sets[:steady]:
            tags.add("steady")
        vocabulary = build_vocabulary(tag_sets, **arguments)
        assert ("noise" in vocabulary) == (count in kept), count
        rare = 0 if "min_sounds" in arguments else sounds
        assert len(vocabulary) == rare + 1 + (count in kept)


def test_a_sound_without_tags_counts_as_a_sound_and_a_tag_once_per_sound() -> None:
    assert build_vocabulary([{"noise"}] * 7 + [set()] * 3).tags == ("noise",)
    assert build_vocabulary([["bee", "bee", "bee"], ["ant"], ["ant"], []]).tags == ("ant", "bee")


def test_most_frequent_first_ties_alphabetical() -> None:
    tag_sets = [["zoo", "rain"], ["rain", "ant"], ["rain", "zoo"], ["ant"], ["bee"], []]
    for size in range(1, 6):
        assert build_vocabulary(tag_sets, size).tags == ("rain", "ant", "zoo", "bee")[:size]


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


def test_the_processing_goes_with_the_tags() -> None:
    tag_sets = [normalize_tags(tags, "released") for tags in (["Bass", "dogs"], ["bass"], [])]
    vocabulary = build_vocabulary(tag_sets, processing="released")
    assert vocabulary == Vocabulary(("bas", "dog"), "released")
    assert build_vocabulary(tag_sets).processing == Vocabulary(("bas",)).processing == "paper"


INVALID = {
    "size 0": lambda: build_vocabulary([{"a"}], 0),
    "rare 0": lambda: build_vocabulary([{"a"}], 1, 0.7, 0),
    "too rare or too common": lambda: build_vocabulary([{"a"}, {"b"}, {"b"}], 1, 0.5, 2),
    "fraction 0": lambda: build_vocabulary([{"a"}], 1, 0.0),
    "fraction over 1": lambda: build_vocabulary([{"a"}], 1, 1.01),
    "fraction NaN": lambda: build_vocabulary([{"a"}], 1, float("nan")),
    "no sounds": lambda: build_vocabulary([]),
    "no tags": lambda: build_vocabulary([set(), set()]),
    "all too common": lambda: build_vocabulary([{"a"}, {"a"}]),
    "no tag": lambda: Vocabulary(()),
    "empty tag": lambda: Vocabulary(("dog", "")),
    "a tag twice": lambda: Vocabulary(("b", "a", "b", "a")),
    "three of four": lambda: ANIMALS.decode(np.array([0, 1, 0], np.uint8)),
    "five of four": lambda: ANIMALS.decode(np.array([0, 1, 0, 1, 0], np.uint8)),
    "two": lambda: ANIMALS.decode(np.array([0, 1, 2, 1], np.uint8)),
    # A string is no collection of tags.
    "sounds of a string": lambda: build_vocabulary(["dog bark"]),
    "string": lambda: ANIMALS.encode("dog"),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_is_invalid_is_refused(name: str) -> None:
    with pytest.raises(TypeError if "string" in name else ValueError):
        INVALID[name]()


def test_sounds_without_any_tag_are_not_told_that_their_tags_are_too_common() -> None:
    with pytest.raises(ValueError, match="none of the 2 sounds has one"):
        build_vocabulary([set(), set()])


def test_encode_and_decode() -> None:
    expected = {
        "": [0, 0, 0, 0], "dog": [1, 0, 0, 0], "cow cat": [0, 1, 0, 1], "cat cat": [0, 1, 0, 0],
        "whale bird": [0, 0, 1, 0], "whale": [0, 0, 0, 0], "dog cat bird cow": [1, 1, 1, 1],
    }  # fmt: skip
    for text, values in expected.items():
        multi_hot = ANIMALS.encode(text.split())
        assert multi_hot.dtype == np.uint8
        assert multi_hot.tolist() == values
        assert ANIMALS.decode(multi_hot) == [tag for tag in ANIMALS.tags if tag in text.split()]


def test_encode_takes_an_iterator_and_strictly_refuses_the_unknown() -> None:
    assert ANIMALS.encode(iter(["cow", "dog"]), strict=True).tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match="whale, ant"):
        ANIMALS.encode(["dog", "whale", "ant"], strict=True)


FOUND = [
    # In the released form; a tag as it is written comes first, and stop words only so.
    (AUTHORS, {"bas": "bas", "bass": "bas", "Police": "polouse", "DOGS": "dog", "his": "his",
               "bus": "bu", "buses": None, "the": None, "guard-dog": None, "": None}),
    (Vocabulary(("bass", "bas"), "released"), {"bass": "bass"}),
    # In the form of the paper, which damages nothing.
    (ANIMALS, {"cow": "cow", " #Dogs": "dog", "whale": None}),
    (Vocabulary(("bas",)), {"bass": None}),
    (Vocabulary(("Dogs", "dog")), {"Dogs": "Dogs"}),
]  # fmt: skip


@pytest.mark.parametrize(("vocabulary", "found"), FOUND)
def test_find(vocabulary: Vocabulary, found: dict[str, str | None]) -> None:
    for tag, wanted in found.items():
        place = vocabulary.find(tag)
        assert (None if place is None else vocabulary.tags[place]) == wanted, tag


def test_encode_finds_what_people_write() -> None:
    tags = ["Bass", "bas", "Dogs", "buses", "rain"]
    assert AUTHORS.encode(tags).tolist() == [1, 1, 0, 0, 0, 0]
    assert AUTHORS.encode(tags, aliases=False).tolist() == [1, 0, 0, 0, 0, 0]
    assert AUTHORS.encode(["Bass", "bus"], strict=True).tolist() == [1, 0, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="buses, rain"):
        AUTHORS.encode(tags, strict=True)


def test_indices_rise_and_normalized_tags_are_not_normalized_again() -> None:
    assert AUTHORS.indices([]).dtype == np.int64
    assert AUTHORS.indices(iter(["glas", "bas", "glas", "rain", "bass"])).tolist() == [0, 5]
    normalized = normalize_tags(["buses"], "released")
    assert normalized == ("bus",)
    assert AUTHORS.indices(normalized).tolist() == []
    assert AUTHORS.indices(normalized, aliases=True).tolist() == [2]
    assert AUTHORS.indices(["bass", "bas", "Dogs"], aliases=True).tolist() == [0, 1]


def test_readable() -> None:
    """A place or a tag, of this vocabulary or another; tags of the paper are as they are."""
    words = {0: "bass", np.int64(3): "police", 5: "glass", "bas": "bass", "dog": "dog"}
    for tag, word in (words | {"viru": "virus"}).items():
        assert AUTHORS.readable(tag) == word
    paper = Vocabulary(("bas", "his"))
    assert [paper.readable(tag) for tag in (0, 1, "glas")] == ["bas", "his", "glas"]
    for place in (-1, 6):
        with pytest.raises(IndexError, match=str(place)):
            AUTHORS.readable(place)


def test_read_id2token(tmp_path: Path) -> None:
    path = tmp_path / "id2token.json"
    tags = tuple(f"tag{place}" for place in range(12))  # as text, "10" comes before "2"
    path.write_text(json.dumps(dict(sorted((str(i), tag) for i, tag in enumerate(tags)))))
    assert read_id2token(path) == Vocabulary(tags, "released")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"id2token\.json"):
        read_id2token(path)


INVALID_FILES = {
    "empty": b"",
    "cut": b'{"0": "close"',
    "not UTF-8": b'{"0": "\xff"}',
    "nested": b"[" * 100_000,
    "list": b'["close"]',
    "object for a tag": b'{"0": {"a": "b"}}',
    "no tags": b"{}",
    "gap": b'{"0": "a", "2": "b"}',
    "from 1": b'{"1": "a", "2": "b"}',
    "written otherwise": b'{"0": "a", "01": "b"}',
    "number twice": b'{"0": "a", "0": "b"}',
    "tag twice": b'{"0": "a", "1": "a"}',
}


@pytest.mark.parametrize("name", INVALID_FILES)
def test_read_id2token_refuses(tmp_path: Path, name: str) -> None:
    path = tmp_path / "id2token.json"
    path.write_bytes(INVALID_FILES[name])
    with pytest.raises(ValueError) as raised:
        read_id2token(path)
    assert str(path) in str(raised.value)
