"""The directive `config-table`: every key of a training config, read from its source.

    ```{config-table}
    ```

With the name of a section (`data`, `model`, ...) only the keys of that section.
"""

import ast
import io
import tokenize
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from coala_jax import default_config

SOURCE = Path(default_config.__file__)
TOP = "top level"  # the section of keys that are in none


class Key(NamedTuple):
    """A key, its values in the two modes as Python writes them, and what the source says of it."""

    name: str
    paper: str
    released: str
    comment: str


def read_keys(source: Path = SOURCE) -> list[Key]:
    """All keys in the order of the source.

    The comment is that of the key's line, and after it the lines of comment right above the key.
    """
    text = source.read_text(encoding="utf-8")
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


class ConfigTable(SphinxDirective):
    """A table of keys: key, default, the value of `:released` where it differs, meaning."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(SOURCE))
        section = self.arguments[0] if self.arguments else None
        keys = [key for key in read_keys() if section in (None, _section(key.name))]
        if not keys:
            raise self.error(f"config-table: there is no section {section!r} in {SOURCE.name}")
        table = nodes.table(classes=["config-table"])
        group = nodes.tgroup(cols=3)
        table += group
        group += [nodes.colspec(colwidth=width) for width in (30, 20, 50)]
        head, body = nodes.thead(), nodes.tbody()
        group += [head, body]
        head += self._row(*([nodes.paragraph(text=t)] for t in ("key", "default", "meaning")))
        for key in keys:
            default = nodes.paragraph("", "", nodes.literal(text=key.paper))
            cell = [default]
            if key.released != key.paper:
                label = nodes.Text("released: ")
                cell.append(nodes.paragraph("", "", label, nodes.literal(text=key.released)))
            name = nodes.literal(text=key.name)
            body += self._row([nodes.paragraph("", "", name)], cell, self._parsed(key.comment))
        return [table]

    def _row(self, *cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", *cell) for cell in cells))

    def _parsed(self, text: str) -> list[nodes.Node]:
        """Comments are plain text: what Markdown would take for markup is not."""
        return [nodes.paragraph(text=part) for part in text.split("\n\n") if part]


def _section(name: str) -> str:
    return name.rpartition(".")[0] or TOP


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("config-table", ConfigTable)
    return {"parallel_read_safe": True}
