"""Tag text to tags, as the paper's "Tag processing" says: lower case, no stop words, singular."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from coala_jax.tags.released import normalize_released
from coala_jax.tags.words import inflect_engine, stop_words, word_list

PROCESSINGS = ("paper", "released")

_ENGLISH = ("english",)  # whose stop words go, unless others are named
_LANGUAGE = re.compile("[a-z][a-z-]*")
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


def normalize_tags(tags: Iterable[str], processing: str = "paper") -> tuple[str, ...]:
    """Gives the tags of one sound their common form (paper, section 3.1 and "Tag processing").

    By the processing "paper", for each tag, in this order:

    1. Unicode NFKC, so that full-width letters and ligatures equal the plain ones; lower case.
    2. Punctuation, white space and invisible characters are taken off both ends, except one `#` at
       the end (`#dog` is `dog`, but `c#` is a note). White space inside becomes one hyphen, since
       Freesound writes `field-recording`. What else is inside stays: a tag with hyphens or
       underscores is one tag, and digits are letters like others.
    3. NLTK's stop words go, and so do tags that are empty by now.
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

    By the processing "released", as the authors' code did it (`released.py` says how far): a tag
    with any character that is no letter is dropped whole, hyphens, digits and white space among
    them; lower case; stop words and single letters go; then inflect's singular, right or wrong
    (`bass` to `bas`). Unicode is left as it is written.

    Args:
        tags: the tags of one sound, any number.
        processing: one of `PROCESSINGS`, and after a colon the languages of the stop words where
            they are not English alone (`paper:english,spanish`), as `join_processing` gives it.

    Returns:
        The tags in the order in which they first appear, each once. Applied to its own result,
        "paper" changes nothing; "released" may (`buses` to `bus`, and `bus` to `bu`), so it is
        applied once, to tags as people wrote them.

    Raises:
        TypeError: if `tags` is a single string, or holds something that is not a string.
        ValueError: if there is no such processing, or no list of stop words of a language.
    """
    name, languages = split_processing(processing)
    normalize = normalize_released if name == "released" else _normalize
    if isinstance(tags, str):
        raise TypeError(f"expected a collection of tags, got the str {tags!r}: use split_tags")
    normalized: dict[str, None] = {}  # a set that keeps the order
    for position, tag in enumerate(tags):
        if not isinstance(tag, str):
            raise TypeError(
                f"tag {position} must be a str, got {type(tag).__name__}: {tag!r} "
                "(read the column of tags as text)"
            )
        normalized[normalize(tag, languages)] = None
    normalized.pop("", None)
    return tuple(normalized)


def join_processing(name: str, languages: Sequence[str]) -> str:
    """A processing and the languages of its stop words as one text, which datasets and models keep.

    Raises:
        ValueError: if the processing is unknown (see `normalize_tags`).
    """
    processing = name if tuple(languages) == _ENGLISH else f"{name}:{','.join(languages)}"
    split_processing(processing)
    return processing


def split_processing(processing: str) -> tuple[str, tuple[str, ...]]:
    """The opposite of `join_processing`.

    Raises:
        ValueError: as `join_processing`. Whether there is such a list of stop words is not asked.
    """
    name, colon, languages = processing.partition(":")
    if name not in PROCESSINGS:
        raise ValueError(f"processing must be one of {', '.join(PROCESSINGS)}, got {processing!r}")
    split = tuple(languages.split(",")) if colon else _ENGLISH
    for language in split:
        if not _LANGUAGE.fullmatch(language):
            raise ValueError(f"stop words: languages are english, spanish, ..., got {language!r}")
    return name, split


@lru_cache(maxsize=1 << 17)  # a collection repeats its tags
def _normalize(text: str, languages: tuple[str, ...]) -> str:
    """One tag by the paper's rules in `normalize_tags`; empty if it is dropped."""
    # Lower-casing can undo NFKC (the Turkish capital I with a dot), so NFKC comes last too.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    tag = "-".join(_trim(text.replace("\u2019", "'")).split())
    dropped = stop_words(languages)
    if tag in dropped:
        return ""
    match = _LAST_WORD.fullmatch(tag)
    if match is None or not dropped.isdisjoint(re.split("[-_]", match[1] or "")):
        return tag
    singular = _singular(match[2])
    return tag if singular in dropped else tag[: match.start(2)] + singular


def _trim(text: str) -> str:
    """Takes punctuation (P), separators (Z) and control and format characters (C) off the ends."""
    kept = [i for i, char in enumerate(text) if unicodedata.category(char)[0] not in "PZC"]
    if not kept:
        return ""
    end = kept[-1] + 1
    return text[kept[0] : end + text.startswith("#", end)]


def _singular(word: str) -> str:
    """The singular of a plural noun by the rules of `normalize_tags`; else the word itself."""
    if word not in word_list("plural_words.txt") and (
        not word.endswith("s")
        or len(word) < _SHORTEST_PLURAL
        or word.endswith(_SINGULAR_ENDINGS)
        or word in word_list("singular_words.txt")
    ):
        return word
    singular = inflect_engine().singular_noun(word)
    return singular if singular and inflect_engine().plural_noun(singular) == word else word
