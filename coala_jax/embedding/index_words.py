"""What an index is asked in words: "kick, -snare" are sounds like a kick and unlike a snare."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from coala_jax.tags.vocabulary import Vocabulary

_MINUS = "-\u2212"  # the second is the minus sign that some programs write


class Words(NamedTuple):
    """Places of the tags that are wanted and unwanted; and what is said of words that are none."""

    wanted: tuple[int, ...]
    unwanted: tuple[int, ...]
    notes: tuple[str, ...]

    def chances(self, shares: Float64[np.ndarray, "sound tag"]) -> Float64[np.ndarray, " sound"]:
        """That a sound has all tags that are wanted and none that is not, in [0, 1].

        The product, as if tags were independent. On validation sounds of the free corpus it ranks
        those with one tag and without another best: mean average precision .46, differences of
        shares .41, of logits .29; and those with two tags about as well as any.
        """
        wanted, unwanted = shares[:, list(self.wanted)], 1 - shares[:, list(self.unwanted)]
        return wanted.prod(axis=1) * unwanted.prod(axis=1)

    def weights(self, tags: int) -> Float32[np.ndarray, " tag"]:
        """Of each tag, in [-1, 1]; their absolute values sum to 1."""
        weights = np.zeros(tags, np.float32)
        share = 1 / (len(self.wanted) + len(self.unwanted))
        weights[list(self.wanted)], weights[list(self.unwanted)] = share, -share
        return weights

    def renumbered(self) -> tuple[list[int], "Words"]:
        """The places of its tags, and the same words with these numbered from 0 on."""
        places, wanted = [*self.wanted, *self.unwanted], len(self.wanted)
        numbers = tuple(range(len(places)))
        return places, Words(numbers[:wanted], numbers[wanted:], self.notes)

    def text(self, vocabulary: Vocabulary) -> str:
        """The tags that are searched for, as one may write them."""
        signed = [("", place) for place in self.wanted] + [("-", place) for place in self.unwanted]
        return ", ".join(sign + vocabulary.readable(place) for sign, place in signed)


def parse(text: str, vocabulary: Vocabulary) -> Words:
    """The words of a question, separated by commas; those after a `-` are unwanted.

    An unknown word is replaced by the tag that is spelt most like it, and a note says so. Several
    words that are not one tag together are taken one by one.

    Raises:
        ValueError: there are no words, no tag is near one, or one is both wanted and unwanted.
    """
    found: dict[bool, dict[int, None]] = {True: {}, False: {}}
    notes = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        word = part.lstrip(_MINUS).strip()
        if not word:
            raise ValueError(f"{part!r} is no word. Fix: write the word after its -")
        places, note = _places(word, vocabulary)
        found[part[0] not in _MINUS].update(dict.fromkeys(places))
        notes += [note] if note else []
    wanted, unwanted = found[True], found[False]
    if not wanted and not unwanted:
        raise ValueError('no words to search for. Fix: write tags, such as "kick, -snare"')
    if both := wanted.keys() & unwanted.keys():
        raise ValueError(
            f"{vocabulary.readable(min(both))} is both wanted and unwanted. Fix: leave one out"
        )
    return Words(tuple(wanted), tuple(unwanted), tuple(notes))


def _places(word: str, vocabulary: Vocabulary) -> tuple[list[int], str]:
    """The tags of a word, and what is to be said of it."""
    if (place := vocabulary.find(word)) is not None:
        return [place], ""
    places = []
    for one in word.split():
        place = vocabulary.find(one)
        if place is None:
            near = vocabulary.nearest(one, 1)
            place = vocabulary.find(near[0]) if near else None
        if place is not None:
            places.append(place)
    if not places:
        raise ValueError(
            f"{word!r} is not among the model's {len(vocabulary)} tags, and none is spelt like it. "
            f"Fix: use others, such as {', '.join(map(vocabulary.readable, vocabulary.tags[:8]))}"
        )
    names = ", ".join(map(vocabulary.readable, places))
    return places, (
        f"{word!r} is not among the model's {len(vocabulary)} tags; searched for {names} instead"
    )
