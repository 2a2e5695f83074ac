"""Reads the JSON and CSV files that list a data set; every error says how to fix it."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from coala_jax import storage


class TaskError(ValueError):
    """A data set that cannot be used; the message names the file, the cause and the fix."""


def read_text(source: Path, hint: str) -> str:
    try:
        return storage.read_bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{source}: not in UTF-8 ({error}): damaged, or saved in another encoding. Fix: {hint}"
        ) from error
    except OSError as error:
        cause = "no such file" if not source.exists() else str(error)
        raise TaskError(f"{source}: {cause}. Fix: {hint}") from error


def read_json(source: Path, hint: str) -> Any:
    text = read_text(source, hint)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{source}: not valid JSON ({error}). Fix: {hint}") from error


def read_header(source: Path) -> list[str]:
    """The names of the columns. Raises TaskError where there are none, or two are equal."""
    text = read_text(source, "check the path; the table is a CSV in UTF-8")
    header = next(_read_lines(source, text), (1, []))[1]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if not header or repeated:
        cause = f"two columns are called {repeated[0]!r}" if repeated else "the file is empty"
        raise TaskError(f"{source}: {cause}. Fix: name each column once in the first line")
    return header


def read_csv(source: Path, needed: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of every row; cells of the needed columns are never empty."""
    header = read_header(source)
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise TaskError(
            f"{source}: no column {' and no column '.join(lacking)}, only {', '.join(header)}. "
            "Fix: rename the columns, or copy the table again"
        )
    lines = _read_lines(source, read_text(source, "check the path"))
    next(lines)
    for line, row in lines:
        if len(row) != len(header):
            raise TaskError(
                f"{source}: line {line} has {len(row)} cells, the header {len(header)}. Fix: "
                "correct it, and quote cells that hold the delimiter"
            )
        cells = dict(zip(header, row, strict=True))
        empty = [name for name in needed if not cells[name]]
        if empty:
            raise TaskError(
                f"{source}: line {line} has no {empty[0]}. Fix: fill it in or remove it"
            )
        yield line, cells


def _read_lines(source: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not empty.

    Cells are separated by a comma or, where the first line has none, by a semicolon or tab.
    """
    lines = io.StringIO(text, newline="")
    first = lines.readline()
    lines.seek(0)
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise TaskError(
            f"{source}: line {reader.line_num} or one before it is not valid CSV ({error}). Fix: "
            "look for a quotation mark that is not closed"
        ) from error
