"""The word lists of this folder, and inflect: both loaded when first asked for."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect


@cache
def word_list(file_name: str) -> frozenset[str]:
    """The words of one of the lists beside this file: one a line, `#` starts a comment."""
    # Not by NLTK's reader: it takes a second to import, and NLTK 3.10 refuses folders outside its
    # data path and files that a group may write or another user owns, as in a shared install.
    lines = (files(__package__) / file_name).read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


@cache
def word_pairs(file_name: str) -> dict[str, str]:
    """The lines `word other` of one of the lists, as a dictionary."""
    return dict(line.split() for line in word_list(file_name))


@cache
def inflect_engine() -> "inflect.engine":
    import inflect  # takes more than a second to import

    return inflect.engine()
