"""The keys of a training config: what the source says of each, and values given as text."""

import ast
import difflib
import io
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from absl import flags

from coala_jax import default_config, storage

SOURCE = Path(default_config.__file__)
Value = bool | int | float | str
# By the type of a key: absl's parser, which main's flags use as well, and what it takes.
_TYPES = {
    bool: (flags.BooleanParser(), "True or False"),
    int: (flags.IntegerParser(), "a whole number"),
    float: (flags.FloatParser(), "a number"),
    str: (flags.ArgumentParser(), "a text"),
}


class Key(NamedTuple):
    """A key, its values in the two modes as Python writes them, and what the source says of it."""

    name: str
    paper: str
    released: str
    comment: str


def read_keys() -> list[Key]:
    """All keys in the order of the source.

    The comment is that of the key's line, and after it the lines of comment right above the key.
    """
    text = storage.read_bytes(SOURCE).decode()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    lines = text.splitlines()
    paper, released = (default_config.get_config(mode) for mode in default_config.MODES)
    keys = []
    for name, line in _assignments(ast.parse(text)):
        above, first = [], line - 1
        while lines[first - 1].lstrip().startswith("#"):
            above.insert(0, comments[first])
            first -= 1
        said = [comments.get(line, ""), " ".join(above)]
        values = [_value(config, name) for config in (paper, released)]
        keys.append(Key(name, *values, "\n\n".join(filter(None, said))))
    return keys


def _assignments(tree: ast.Module) -> list[tuple[str, int]]:
    """Dotted key and line of each `config.key = value` of `get_config`, not those of a mode."""
    (function,) = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "get_config"
    )
    found = []
    for node in function.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            is_section = isinstance(node.value, ast.Call)
            if not is_section:
                found.append((ast.unparse(node.targets[0]).removeprefix("config."), node.lineno))
    return found


def _value(config: object, name: str) -> str:
    for part in name.split("."):
        config = config[part]
    return repr(config)


def help_text(how: str) -> str:
    """All keys with their defaults and comments, for `--help`; `how`: the flag that sets one."""
    parts = [f"keys of the config, and their defaults ({how}):"]
    for key in read_keys():
        other = "" if key.released == key.paper else f" (released: {key.released})"
        parts.append(f"  {key.name} = {key.paper}{other}")
        for comment in key.comment.split("\n\n"):
            parts.append(textwrap.indent(textwrap.fill(comment, 92), " " * 6))
    return "\n".join(parts)


def unknown_key(key: str, known: Iterable[str], prefix: str = "config.") -> str:
    """That a key does not exist, with the nearest one that does."""
    known = list(known)
    longer = [name for name in known if name.startswith(key)]
    near = longer or difflib.get_close_matches(key, known, n=1)
    hint = f"the nearest key is {prefix}{near[0]}" if near else f"keys: {', '.join(known)}"
    return f"{prefix}{key} does not exist; {hint}"


def parse_value(key: str, text: str, known: Mapping[str, Value], prefix: str = "config.") -> Value:
    """The value that a text gives to a key, of the type of the value that it has in `known`.

    Raises:
        ValueError: there is no such key, or the text is no value of its type.
    """
    if key not in known:
        raise ValueError(unknown_key(key, known, prefix))
    parser, wanted = _TYPES[type(known[key])]
    try:
        return parser.parse(text)
    except ValueError:
        raise ValueError(f"{prefix}{key} is {text!r}; it must be {wanted}") from None
