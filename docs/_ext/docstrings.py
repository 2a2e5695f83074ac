"""Docstrings and signatures as this project writes them, for Sphinx.

Napoleon knows the sections `Args:`, `Returns:` and `Raises:`. A short docstring here has none, and
explains its parameters or fields in a paragraph of lines such as

    audio: aligned vectors of sounds.
    own: for each sound, the candidate that is its own tag set.

That is a list for readers of the source, and would be one run of text on the page. Such a paragraph
becomes a section; so do the comments on the fields of a dataclass.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from typing import Any

from sphinx.application import Sphinx

_NAME = r"\*{0,2}[A-Za-z_]\w*"
_ENTRY = re.compile(rf"(\s*)({_NAME}(?:, {_NAME})*): (\S.*)")
_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields):$")
_FIELD_OF_TUPLE = "Alias for field number"

# What Sphinx shows of types whose own names say less, and of the fields that Flax adds to modules.
_SHORTER = (
    (re.compile(r"jaxlib\._jax\.Array"), "Array"),
    (re.compile(r"str \| type\[Any\] \| dtype \| SupportsDType"), "DTypeLike"),
    (re.compile(r"<class 'jax\.numpy\.(\w+)'>"), r"\1"),
    (re.compile(r"<factory>"), "..."),
    (re.compile(r", parent: [^,]*<flax.*?>, name: str \| None = None"), ""),
)


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Rewrites a docstring before Napoleon reads it."""
    if what == "property":
        lines.insert(0, "")  # or Napoleon takes what stands before a colon for the type
        return
    is_class = inspect.isclass(obj)
    if not is_class and what not in ("function", "method"):
        return
    title = "Attributes:" if is_class else "Args:"
    known = _fields(obj) if is_class else set(inspect.signature(inspect.unwrap(obj)).parameters)
    paragraphs = _paragraphs(lines)
    for place, paragraph in enumerate(paragraphs):
        if (names := _names(paragraph)) and names <= known:
            paragraph = [title, *(f"    {line}" for line in paragraph)]
        if paragraph[0] in ("Args:", "Attributes:"):
            paragraphs[place] = _one_name_each(paragraph)
    if is_class and not any(paragraph[0] == "Attributes:" for paragraph in paragraphs):
        paragraphs = _with_comments(paragraphs, obj)
    lines[:] = [line for paragraph in paragraphs for line in [*paragraph, ""]]


def process_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Shortens types; their shapes are in the source and stay."""
    return _shortened(signature), _shortened(returns)


def skip_member(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leaves out the fields of named tuples, whose docstring Python makes."""
    return True if (getattr(obj, "__doc__", "") or "").startswith(_FIELD_OF_TUPLE) else None


def _shortened(text: str | None) -> str | None:
    for pattern, shorter in _SHORTER:
        text = pattern.sub(shorter, text) if text else text
    return text


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines between empty ones; a section keeps the paragraphs that are indented in it."""
    found: list[list[str]] = []
    gap = True
    for line in lines:
        if not line.strip():
            gap = True
            continue
        if gap and not (found and _SECTION.match(found[-1][0]) and line.startswith(" ")):
            found.append([])
        elif gap:
            found[-1].append("")
        found[-1].append(line)
        gap = False
    return found


def _names(paragraph: list[str]) -> set[str]:
    """What a paragraph explains, if each of its lines begins an entry or goes on with one."""
    names: set[str] = set()
    for line in paragraph:
        entry = _ENTRY.match(line)
        if entry and not entry[1]:
            names.update(entry[2].replace("*", "").split(", "))
        elif not line.startswith(" "):
            return set()
    return names


def _one_name_each(section: list[str]) -> list[str]:
    """A section in which `low, high: text` is two entries; a field of Sphinx has one name."""
    found, group, names = [section[0]], [], []

    def flush() -> None:
        for name in names or [""]:
            found.extend(line.replace("\0", name) for line in group)

    for line in section[1:]:
        entry = _ENTRY.match(line)
        if entry and len(entry[1]) == 4:
            flush()
            names, group = entry[2].split(", "), [f"    \0: {entry[3]}"]
        else:
            group.append(line)
    flush()
    return found


def _fields(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}


def _with_comments(paragraphs: list[list[str]], cls: type) -> list[list[str]]:
    """The docstring with the fields whose line in the source has a comment."""
    if not (entries := field_comments(cls)):
        return paragraphs
    section = ["Attributes:", *(f"    {name}: {text}" for name, text in entries.items())]
    sections = [n for n, paragraph in enumerate(paragraphs) if _SECTION.match(paragraph[0])]
    place = sections[0] if sections else len(paragraphs)
    return [*paragraphs[:place], section, *paragraphs[place:]]


def field_comments(cls: type) -> dict[str, str]:
    """The comment on the line of each annotated field of a class."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    (definition,) = ast.parse(source).body
    found = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign):
            said = [comments[n] for n in range(node.lineno, node.end_lineno + 1) if n in comments]
            if said:
                found[ast.unparse(node.target)] = " ".join(said)
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process_docstring, priority=100)  # before Napoleon
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True}
