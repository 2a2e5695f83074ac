"""Stop words, read by NLTK: English from a list of this package, others from the user's own.

The bundled list (`nltk_data/corpora/stopwords/english`) is the 179 words that NLTK's corpus held in
2020, when the paper used it; later releases hold 19 more contractions (he'd, i'm, we're, ...).

Importing NLTK takes a second: import this module only where tags are processed.
"""

import io
from functools import cache
from importlib.resources import files

import nltk.data
from nltk.corpus.reader import WordListCorpusReader
from nltk.corpus.util import LazyCorpusLoader

_BUNDLED = ("english",)
_FOLDER = "corpora/stopwords"


class _PackageFile(nltk.data.PathPointer):
    """A file or folder of this package, by its path below this folder.

    NLTK 3.10 opens no file that its group may write or that another user owns, as in a package
    installed for many users or under umask 002. A pointer that opens its file itself is not asked.
    """

    def __init__(self, below: str) -> None:
        self._below = below
        self.path = str(files(__package__) / below)

    def open(
        self, encoding: str | None = None
    ) -> io.BytesIO | nltk.data.SeekableUnicodeStreamReader:
        stream = io.BytesIO(self._content())
        return nltk.data.SeekableUnicodeStreamReader(stream, encoding) if encoding else stream

    def file_size(self) -> int:
        return len(self._content())

    def join(self, fileid: str) -> "_PackageFile":
        return _PackageFile(f"{self._below}/{fileid}")

    def _content(self) -> bytes:
        return (files(__package__) / self._below).read_bytes()


@cache
def stop_words(languages: tuple[str, ...]) -> frozenset[str]:
    """The stop words of all these languages, in lower case.

    Raises:
        ValueError: NLTK finds no list of a language.
    """
    words: set[str] = set()
    for language in languages:
        words.update(_words(language))
    return frozenset(words)


def _words(language: str) -> list[str]:
    if language in _BUNDLED:
        return _bundled(language)
    try:
        reader = LazyCorpusLoader("stopwords", WordListCorpusReader, [language], encoding="utf8")
        return [word.strip().lower() for word in reader.words()]
    except (LookupError, OSError) as error:
        looked = ", ".join(f"{folder}/{_FOLDER}" for folder in nltk.data.path)
        raise ValueError(
            f"stop words: no list of {language!r} in {looked}. Fix: python -m nltk.downloader "
            "stopwords (NLTK skips folders that other users may write to), or set NLTK_DATA"
        ) from error


def _bundled(language: str) -> list[str]:
    root = _PackageFile("nltk_data")
    nltk.data.path.append(root.path)  # NLTK 3.10 takes no path from elsewhere
    try:
        return WordListCorpusReader(root.join(_FOLDER), [language]).words()
    finally:
        nltk.data.path.remove(root.path)
