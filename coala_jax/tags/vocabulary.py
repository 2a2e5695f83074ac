"""The tags that a model knows, and tag sets as multi-hot vectors over them (paper, section 3.1)."""

import difflib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from coala_jax import storage
from coala_jax.tags.normalize import normalize_tags, split_processing
from coala_jax.tags.released import readable


@dataclass(frozen=True)
class Vocabulary:
    """The tags a model knows; a tag's place in `tags` is its place in every multi-hot vector.

    Attributes:
        tags: distinct and not empty, as `normalize_tags` gives them.
        processing: what `normalize_tags` was given to make them.

    Raises:
        ValueError: if there are no tags, one is empty or repeated, or there is no such processing.
    """

    tags: tuple[str, ...]
    processing: str = "paper"

    def __post_init__(self) -> None:
        split_processing(self.processing)
        if not self.tags:
            raise ValueError("a vocabulary needs at least one tag")
        if "" in self.tags:
            raise ValueError(f"tag {self.tags.index('')} of the vocabulary is empty")
        repeated = sorted(tag for tag, count in Counter(self.tags).items() if count > 1)
        if repeated:
            raise ValueError(f"tags that are twice in the vocabulary: {', '.join(repeated[:10])}")

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self.index

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each tag."""
        return {tag: place for place, tag in enumerate(self.tags)}

    def find(self, tag: str) -> int | None:
        """The place of a tag, or of the tag that it becomes; None if the vocabulary has neither.

        With the processing "released", `bass` finds `bas`, and `Dogs` finds `dog` with either. A
        tag that is there as written is found first.
        """
        place = self.index.get(tag)
        if place is None:
            for normalized in normalize_tags((tag,), self.processing):
                place = self.index.get(normalized)
        return place

    def place(self, tag: str) -> int:
        """As `find`, of a tag that must be there.

        Raises:
            ValueError: it is not; the message names the nearest tags that are.
        """
        if (place := self.find(tag)) is None:
            near = self.nearest(tag)
            hint = f"Fix: the nearest are {', '.join(near)}" if near else "Fix: see vocabulary.tags"
            raise ValueError(f"unknown tag {tag!r}: the model knows {len(self)} others. {hint}")
        return place

    def nearest(self, tag: str, count: int = 3) -> list[str]:
        """The tags that are spelt most like a word, as people write them; there may be none."""
        return difflib.get_close_matches(tag.lower(), map(self.readable, self.tags), n=count)

    def readable(self, tag: int | np.integer | str) -> str:
        """A tag, given as itself or by its place, as people write it.

        With the processing "released", `bas` reads `bass`, as far as `damaged_words.txt` knows.

        Raises:
            IndexError: if there is no such place.
        """
        if not isinstance(tag, str):
            if not 0 <= tag < len(self):
                raise IndexError(f"there are {len(self)} tags, from place 0 on; asked for {tag}")
            tag = self.tags[tag]
        return readable(tag) if split_processing(self.processing)[0] == "released" else tag

    def indices(
        self, tags: Iterable[str], *, aliases: bool = False, strict: bool = False
    ) -> Int64[np.ndarray, " known"]:
        """The places of one sound's tags, rising, each once.

        Args:
            tags: one that comes twice counts once.
            aliases: whether a tag is looked up by `find`. For tags that `normalize_tags` gave this
                is slow, and with the processing "released" wrong: it would be applied twice, and
                `buses`, which is `bus`, would count as `bu`, which is `bus`.
            strict: whether a tag outside the vocabulary is an error. Most of a collection's tags
                are outside its most frequent 1000, so by default they are left out.

        Raises:
            TypeError: if `tags` is a single string.
            ValueError: if `strict` and a tag is not in the vocabulary.
        """
        _check_tags(tags)
        look_up = self.find if aliases else self.index.get
        places = {tag: look_up(tag) for tag in tags}
        unknown = [tag for tag, place in places.items() if place is None]
        if strict and unknown:
            raise ValueError(
                f"not among the {len(self)} tags of the vocabulary: {', '.join(unknown[:10])}"
            )
        return np.array(sorted(set(places.values()) - {None}), np.int64)

    def encode(
        self, tags: Iterable[str], *, strict: bool = False, aliases: bool = True
    ) -> UInt8[np.ndarray, " tag"]:
        """One sound's tags as a multi-hot vector.

        The arguments and errors are those of `indices`, but that a tag may be written as people
        write it: by default it is looked up by `find`.

        Returns:
            1 in the places of the tags, else 0; all 0 if the vocabulary knows none of them.
        """
        multi_hot = np.zeros(len(self), np.uint8)
        multi_hot[self.indices(tags, aliases=aliases, strict=strict)] = 1
        return multi_hot

    def decode(self, multi_hot: UInt8[np.ndarray, " tag"]) -> list[str]:
        """The tags of a multi-hot vector, in the vocabulary's order.

        Raises:
            ValueError: if the vector has another length than the vocabulary, or a value other
                than 0 and 1.
        """
        if multi_hot.shape != (len(self),):
            raise ValueError(
                f"expected a multi-hot vector of shape ({len(self)},), got {multi_hot.shape}"
            )
        others = multi_hot[(multi_hot != 0) & (multi_hot != 1)]
        if others.size:
            raise ValueError(f"a multi-hot vector holds 0 and 1 only, got {others[0]}")
        return [self.tags[place] for place in np.flatnonzero(multi_hot)]


def build_vocabulary(
    tag_sets: Sequence[Collection[str]],
    size: int = 1000,
    max_document_fraction: float = 0.7,
    min_sounds: int = 1,
    processing: str = "paper",
) -> Vocabulary:
    """Chooses the most frequent tags of a collection (paper, section 3.1).

    Tags of more than 70 % of the sounds say little and are left out; of the rest the 1000 most
    frequent are taken. The order of the sounds, and of the tags in a sound, does not matter. The
    released code also left out tags of fewer than 10 sounds; its places follow the order of its
    list of sounds, and so does its choice among equally frequent tags.

    Args:
        tag_sets: the normalized tags of each sound. A tag counts once per sound; a sound without
            tags counts as a sound.
        size: the most tags to take; a small collection may have fewer.
        max_document_fraction: a tag of more than this fraction of the sounds is left out, in
            (0, 1]; at exactly this fraction it stays.
        min_sounds: a tag of fewer sounds is left out.
        processing: the one that gave the tags, for `Vocabulary`.

    Returns:
        The tags, the most frequent first, equally frequent ones in alphabetical order.

    Raises:
        TypeError: if a sound's tags are a single string.
        ValueError: if `size`, `max_document_fraction` or `min_sounds` is out of range, there is no
            such processing, or no tag is left.
    """
    for name, value in {"size": size, "min_sounds": min_sounds}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not 0 < max_document_fraction <= 1:
        raise ValueError(f"max_document_fraction must be in (0, 1], got {max_document_fraction}")
    sound_counts: Counter[str] = Counter()
    for tags in tag_sets:
        _check_tags(tags)
        sound_counts.update(set(tags))
    # A quotient, since 0.7 * sounds may round below the whole number that 70 % of them are.
    kept = {
        tag: count
        for tag, count in sound_counts.items()
        if count >= min_sounds and count / len(tag_sets) <= max_document_fraction
    }
    if not sound_counts:
        raise ValueError(
            f"no tag is left for a vocabulary: none of the {len(tag_sets)} sounds has one. Fix: "
            "fill the column of tags, or name another with --tags_column"
        )
    if not kept:
        rare = f"in fewer than {min_sounds} sounds or " if min_sounds > 1 else ""
        raise ValueError(
            f"no tag is left for a vocabulary: {len(tag_sets)} sounds have {len(sound_counts)} "
            f"distinct tags, each {rare}in more than {max_document_fraction:.0%} of the sounds. "
            "Fix: add sounds with other tags, or change --max_document_fraction or "
            "--min_tag_sounds"
        )
    most_frequent = sorted(kept, key=lambda tag: (-kept[tag], tag))[:size]
    return Vocabulary(tuple(most_frequent), processing)


def read_id2token(path: Path) -> Vocabulary:
    """The vocabulary of a model of the authors, from their JSON file `{"0": "close", ...}`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a file.
    """

    def refuse(cause: str) -> ValueError:
        return ValueError(f"{path}: {cause}. Fix: take id2token_top_1000.json from the authors")

    try:
        pairs = json.loads(storage.read_bytes(path).decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise refuse(f"invalid JSON ({error})") from error
    # An object has become a tuple of its pairs: a dict would drop a key that comes twice.
    if not isinstance(pairs, tuple) or not all(isinstance(tag, str) for _, tag in pairs):
        raise refuse("the JSON is not an object of strings")
    places = {key: tag for key, tag in pairs}
    wrong = [str(place) for place in range(len(pairs)) if str(place) not in places]
    if wrong:
        raise refuse(f"of {len(pairs)} entries numbered from 0 on, number {wrong[0]} is missing")
    try:
        return Vocabulary(tuple(places[str(place)] for place in range(len(pairs))), "released")
    except ValueError as error:
        raise refuse(str(error)) from error


def _check_tags(tags: Iterable[str]) -> None:
    """A string would pass as the collection of its letters."""
    if isinstance(tags, str):
        raise TypeError(f"expected a collection of tags, got the str {tags!r}")
