"""Tag text to tags, as the paper's "Tag processing" says: lower case, no stop words, singular."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

_LAST_WORD = re.compile(r"(?:(.*)[-_])?([a-z]+)")
# Few words with these endings are plurals (gas, tennis, bus, glass, physics).
_SINGULAR_ENDINGS = ("as", "is", "us", "ss", "ics")
_SHORTEST_PLURAL = 4  # cats; of three letters there are gas, his, yes and abbreviations


def split_tags(text: str) -> list[str]:
    """Splits one cell of a CSV file into its tags.

    Where the cell holds a comma or a semicolon, those separate the tags and a tag may hold spaces
    (`"dog bark, field-recording"`); where it holds neither, white space does, as on Freesound.

    Args:
        text: the cell; may be empty.

    Returns:
        The tags in their order, as written, without white space around them and without empty ones.

    Raises:
        TypeError: if `text` is not a string, such as the NaN that pandas gives for an empty cell.
    """
    if not isinstance(text, str):
        raise TypeError(f"a cell of tags must be a str, got {type(text).__name__}: {text!r}")
    parts = re.split("[,;]", text) if "," in text or ";" in text else text.split()
    return [part.strip() for part in parts if part.strip()]


def normalize_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Gives the tags of one sound their common form (paper, section 3.1 and "Tag processing").

    For each tag, in this order:

    1. Unicode NFKC, so that full-width letters and ligatures equal the plain ones; lower case.
    2. Punctuation, white space and invisible characters are taken off both ends, except one `#` at
       the end (`#dog` is `dog`, but `c#` is a note). White space inside becomes one hyphen, since
       Freesound writes `field-recording`. What else is inside stays: a tag with hyphens or
       underscores is one tag, and digits are letters like others.
    3. The stop words of NLTK (`stop_words.txt`) go, and so do tags that are empty by now.
    4. A plural noun becomes singular; in `dog-barks` or `dog_barks` the last word does.

    A plural left alone costs one rare tag; a damaged word (`gas` to `ga`) is a wrong one. So the
    singular that inflect proposes is taken only if all of this holds, else the tag stays whole:

    * the last word is of the letters a to z, ends in s and has four letters or more;
    * it does not end in -as, -is, -us, -ss or -ics, and is not in `singular_words.txt`
      (lens, news, always, james); or else it is one of the true plurals of `plural_words.txt`
      (cameras, taxis, children), which need no s at the end either;
    * inflect's plural of that singular is the word again (which saves atmos, ethos, phys);
    * the singular is no stop word (downs), nor any word before (keys-in-the-pockets).

    English is meant: of another language's plurals those are changed that look English.

    Args:
        tags: the tags of one sound, any number.

    Returns:
        The tags in the order in which they first appear, each once. Applied to its own result,
        the function changes nothing.

    Raises:
        TypeError: if `tags` is a single string, or holds something that is not a string.
    """
    if isinstance(tags, str):
        raise TypeError(f"expected a collection of tags, got the str {tags!r}: use split_tags")
    normalized: dict[str, None] = {}  # a set that keeps the order
    for position, tag in enumerate(tags):
        if not isinstance(tag, str):
            raise TypeError(
                f"tag {position} must be a str, got {type(tag).__name__}: {tag!r} "
                "(read the column of tags as text)"
            )
        normalized[_normalize(tag)] = None
    normalized.pop("", None)
    return tuple(normalized)


@lru_cache(maxsize=1 << 17)  # a collection repeats its tags
def _normalize(text: str) -> str:
    """One tag by the rules of `normalize_tags`; empty if it is dropped."""
    # Lower-casing can undo NFKC (the Turkish capital I with a dot), so NFKC comes last too.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    tag = "-".join(_trim(text.replace("\u2019", "'")).split())
    stop_words = _word_list("stop_words.txt")
    if tag in stop_words:
        return ""
    match = _LAST_WORD.fullmatch(tag)
    if match is None or not stop_words.isdisjoint(re.split("[-_]", match[1] or "")):
        return tag
    singular = _singular(match[2])
    return tag if singular in stop_words else tag[: match.start(2)] + singular


def _trim(text: str) -> str:
    """Takes punctuation (P), separators (Z) and control and format characters (C) off the ends."""
    kept = [i for i, char in enumerate(text) if unicodedata.category(char)[0] not in "PZC"]
    if not kept:
        return ""
    end = kept[-1] + 1
    return text[kept[0] : end + text.startswith("#", end)]


def _singular(word: str) -> str:
    """The singular of a plural noun by the rules of `normalize_tags`; else the word itself."""
    if word not in _word_list("plural_words.txt") and (
        not word.endswith("s")
        or len(word) < _SHORTEST_PLURAL
        or word.endswith(_SINGULAR_ENDINGS)
        or word in _word_list("singular_words.txt")
    ):
        return word
    singular = _inflect_engine().singular_noun(word)
    return singular if singular and _inflect_engine().plural_noun(singular) == word else word


@cache
def _word_list(file_name: str) -> frozenset[str]:
    """The words of one of the lists beside this file: one a line, `#` starts a comment."""
    # Not by NLTK's reader: it takes a second to import, and NLTK 3.10 refuses folders outside its
    # data path and files that a group may write or another user owns, as in a shared install.
    lines = (files(__package__) / file_name).read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


@cache
def _inflect_engine() -> "inflect.engine":
    import inflect  # takes more than a second to import

    return inflect.engine()
