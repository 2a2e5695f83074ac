"""The word lists of this folder, NLTK's stop words and inflect, each loaded when first used."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

_IMPORTING = Lock()  # two threads at once would leave typeguard changed


@cache
def word_list(file_name: str) -> frozenset[str]:
    """The words of one of the lists beside this file: one a line, `#` starts a comment."""
    lines = (files(__package__) / file_name).read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


@cache
def word_pairs(file_name: str) -> dict[str, str]:
    """The lines `word other` of one of the lists, as a dictionary."""
    return dict(line.split() for line in word_list(file_name))


def stop_words(languages: tuple[str, ...]) -> frozenset[str]:
    """See `stop_words.stop_words`; of a model's tags most are never processed."""
    from coala_jax.tags import stop_words  # imports NLTK, which takes a second

    return stop_words.stop_words(languages)


@cache
def inflect_engine() -> "inflect.engine":
    with _without_type_checks():
        import inflect
    return inflect.engine()


@contextmanager
def _without_type_checks() -> Iterator[None]:
    """Modules that are imported meanwhile get no checks of types from typeguard.

    inflect has them. To make them, typeguard parses its source once for each function, which takes
    4 s of a processor at every start.
    """
    with _IMPORTING:
        try:
            import typeguard  # not a requirement of ours
        except ImportError:
            yield
            return
        checked = typeguard.typechecked
        typeguard.typechecked = lambda function: function
        try:
            yield
        finally:
            typeguard.typechecked = checked
