"""Text of others in Markdown: names of sounds, tags, models and corpora."""

import re

_MARKS = re.compile(r"([\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_]))")


def escape(text: str) -> str:
    """One line in which Markdown, and HTML in it, finds no marks; a_b needs no escape, _a_ does."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return _MARKS.sub(r"\\\1", " ".join(printable.split()))
