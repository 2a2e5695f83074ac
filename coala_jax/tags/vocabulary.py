"""The tags that a model knows, and tag sets as multi-hot vectors over them (paper, section 3.1)."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Vocabulary:
    """The tags a model knows; a tag's place in `tags` is its place in every multi-hot vector.

    Attributes:
        tags: distinct and not empty, as `normalize_tags` gives them.

    Raises:
        ValueError: if there are no tags, one is the empty string, or one comes twice.
    """

    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.tags:
            raise ValueError("a vocabulary needs at least one tag")
        if "" in self.tags:
            raise ValueError(f"tag {self.tags.index('')} of the vocabulary is empty")
        repeated = sorted(tag for tag, count in Counter(self.tags).items() if count > 1)
        if repeated:
            raise ValueError(f"tags that come twice in the vocabulary: {', '.join(repeated[:10])}")

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self.index

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each tag."""
        return {tag: place for place, tag in enumerate(self.tags)}

    def encode(self, tags: Iterable[str], *, strict: bool = False) -> UInt8[np.ndarray, " tag"]:
        """One sound's tags as a multi-hot vector.

        Args:
            tags: normalized tags; one that comes twice counts once.
            strict: whether a tag outside the vocabulary is an error. Most of a collection's tags
                are outside its most frequent 1000, so by default they are left out.

        Returns:
            1 in the places of the tags, else 0; all 0 if the vocabulary knows none of them.

        Raises:
            TypeError: if `tags` is a single string.
            ValueError: if `strict` and a tag is not in the vocabulary.
        """
        _refuse_text(tags)
        tags = tuple(tags)
        unknown = [tag for tag in tags if tag not in self.index]
        if strict and unknown:
            raise ValueError(
                f"not among the {len(self)} tags of the vocabulary: {', '.join(unknown[:10])}"
            )
        multi_hot = np.zeros(len(self), np.uint8)
        multi_hot[[self.index[tag] for tag in tags if tag in self.index]] = 1
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
            raise ValueError(f"a multi-hot vector holds 0 and 1, this one also {others[0]}")
        return [self.tags[place] for place in np.flatnonzero(multi_hot)]


def build_vocabulary(
    tag_sets: Sequence[Collection[str]], size: int = 1000, max_document_fraction: float = 0.7
) -> Vocabulary:
    """Chooses the most frequent tags of a collection (paper, section 3.1).

    Tags of more than 70 % of the sounds say little and are left out; of the rest the 1000 most
    frequent are taken. The order of the sounds, and of the tags in a sound, does not matter.

    Args:
        tag_sets: the normalized tags of each sound. A tag counts once per sound; a sound without
            tags counts as a sound.
        size: the most tags to take; a small collection may have fewer.
        max_document_fraction: a tag of more than this fraction of the sounds is left out, in
            (0, 1]; at exactly this fraction it stays.

    Returns:
        The tags, the most frequent first, equally frequent ones in alphabetical order.

    Raises:
        TypeError: if a sound's tags are a single string.
        ValueError: if `size` or `max_document_fraction` is out of range, or no tag is left.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 < max_document_fraction <= 1:
        raise ValueError(f"max_document_fraction must be in (0, 1], got {max_document_fraction}")
    sound_counts: Counter[str] = Counter()
    for tags in tag_sets:
        _refuse_text(tags)
        sound_counts.update(set(tags))
    # A quotient, since 0.7 * sounds may round below the whole number that 70 % of them are.
    kept = {
        tag: count
        for tag, count in sound_counts.items()
        if count / len(tag_sets) <= max_document_fraction
    }
    if not kept:
        raise ValueError(
            f"no tag is left for a vocabulary: {len(tag_sets)} sounds have {len(sound_counts)} "
            f"distinct tags, each in more than {max_document_fraction:.0%} of the sounds"
        )
    return Vocabulary(tuple(sorted(kept, key=lambda tag: (-kept[tag], tag))[:size]))


def _refuse_text(tags: Iterable[str]) -> None:
    """A string would pass as the collection of its letters."""
    if isinstance(tags, str):
        raise TypeError(f"expected a collection of tags, got the str {tags!r}")
