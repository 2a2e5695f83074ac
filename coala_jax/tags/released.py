"""Tag text to tags as the authors' released code made them, damaged words included.

Their code turned `bass` into `bas` and `police` into `polouse`, and the vocabulary of the released
model is written so. What is here gives back their tags of all the 1,282 Freesound sounds whose tags
they published, before and after processing. What cannot be given back:

* Which inflect they had is not known: 0.2.5 to 5.0.2 all make the same of the tags they
  published. Of 330,000 words of English, French and Spanish, 2.1 and 5.0.2 differ in one
  (`chilies`), 0.2.5 in seven more (`status`, `hiatus`, `sinus`, ...); we follow 4.1.
* Later releases leave alone most words on -lice (since 5.4) and all on -ss (7.6).
  `damaged_words.txt` holds these two rules and words known to be damaged, so that they do not
  depend on the inflect installed; every other word is left to it. With 7.6 all of the 330,000
  come out as with 4.1.
* The order of a sound's tags: theirs is that of a Python set. Here, the order of appearance.
* How tags were cut from the text: theirs came from Freesound, whose tags hold no white space.
"""

from functools import lru_cache

from coala_jax.tags.words import inflect_engine, stop_words, word_pairs

_DAMAGED = "damaged_words.txt"


@lru_cache(maxsize=1 << 17)  # a collection repeats its tags
def normalize_released(text: str, languages: tuple[str, ...]) -> str:
    """One tag as the authors' code made it; empty if it is dropped."""
    word = kept(text, languages)
    if not word:
        return ""
    known = known_singular(word)
    return installed_singular(word) if known is None else known


def kept(text: str, languages: tuple[str, ...] = ("english",)) -> str:
    """The tag in lower case; empty if it is dropped.

    Tags with a character other than a letter (of any script) are dropped, as are stop words of
    these languages and single letters. The plural goes afterwards: `hiss` becomes `his`, and stays.
    """
    word = text.lower() if text.isalpha() else ""
    return "" if len(word) <= 1 or word in stop_words(languages) else word


def known_singular(word: str) -> str | None:
    """What the authors' inflect made of a word, whichever is installed here; None: not known."""
    pairs = word_pairs(_DAMAGED)
    if word in pairs:
        return pairs[word]
    for ending, other in pairs.items():
        if ending.startswith("-") and word.endswith(ending[1:]):
            return word.removesuffix(ending[1:]) + other[1:]
    return None


def installed_singular(word: str) -> str:
    """What the installed inflect makes of a word: its singular, or the word if it sees none."""
    return inflect_engine().singular_noun(word) or word


def readable(tag: str) -> str:
    """The word that became this tag (`bas` was `bass`), if it is known; else the tag."""
    return _words_of_damaged().get(tag, tag)


@lru_cache(maxsize=1)
def _words_of_damaged() -> dict[str, str]:
    pairs = word_pairs(_DAMAGED).items()
    return {tag: word for word, tag in pairs if not word.startswith("-")}
