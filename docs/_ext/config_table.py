"""The directive `config-table`: every key of a training config, read from its source.

    ```{config-table}
    ```

With the name of a section (`data`, `model`, ...) only the keys of that section.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from coala_jax.config_keys import SOURCE, read_keys

TOP = "top level"  # the section of keys that are in none


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
