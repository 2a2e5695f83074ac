"""The table of sounds and tags that a dataset is made from: a CSV, one row per sound."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from coala_jax import storage
from coala_jax.tags.normalize import normalize_tags, split_tags


class TableError(ValueError):
    """An invalid table; the message names the file, the line or column, and the fix."""


@dataclass(frozen=True)
class Columns:
    """Column names. An optional one that is empty means the column of its own name, if any."""

    file: str = "file"
    tags: str = "tags"
    group: str = ""  # optional, like those below
    id: str = ""
    source: str = ""


@dataclass(frozen=True)
class Sound:
    """One row of a table of sounds.

    file: relative to the audio folder.
    tags: normalised.
    group: sounds of one group are in one split; the file where the table has no group.
    id: as in lists of sounds to exclude; empty if the table has none.
    source: the collection that the sound is from; empty if the table has none.
    """

    file: str
    tags: tuple[str, ...]
    group: str
    id: str = ""
    source: str = ""


def read_table(path: Path, columns: Columns, tag_processing: str = "paper") -> list[Sound]:
    """All sounds of the table, sorted by file name: the order of the rows does not matter.

    Tags are normalised according to `tag_processing` (`paper` or `released`).

    Raises:
        TableError: a missing file or column, a row without a file or with more or fewer cells than
            the header, or a file in two rows.
    """
    if not path.is_file():
        raise TableError(f"{path}: no such file. Fix: give --tags the CSV of sounds and tags")
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not in UTF-8 ({error}). Fix: save it as CSV UTF-8, as Excel calls it"
        ) from error
    delimiter = _delimiter(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    sounds: list[Sound] = []
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        found = _find_columns(path, reader.fieldnames, columns)
        lines: dict[str, int] = {}
        for row in reader:
            sound = _sound(path, reader.line_num, row, found, tag_processing)
            if sound.file in lines:
                raise TableError(
                    f"{path}: lines {lines[sound.file]} and {reader.line_num}: {sound.file} is in "
                    "both. Fix: keep one, with all its tags"
                )
            lines[sound.file] = reader.line_num
            sounds.append(sound)
    except csv.Error as error:
        raise TableError(
            f"{path}: invalid CSV up to line {reader.line_num} ({error}). Fix: close all quotation "
            "marks"
        ) from error
    if not sounds:
        raise TableError(f"{path}: no sounds in it. Fix: add a row per sound")
    return sorted(sounds, key=lambda sound: sound.file)


def _delimiter(header: str) -> str:
    """A comma, or if the header has none the semicolon or tab of other spreadsheets."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _find_columns(path: Path, header: Sequence[str], columns: Columns) -> Columns:
    """The columns of the table; an optional one that is missing stays empty."""
    if not header:
        raise TableError(f"{path}: empty. Fix: name the columns in the first line")
    if repeated := sorted({name for name in header if name and header.count(name) > 1}):
        raise TableError(
            f"{path}: two columns are called {repeated[0]!r}. Fix: name each column once"
        )
    optional = {
        name: getattr(columns, name) or (name if name in header else "")
        for name in ("group", "id", "source")
    }
    found = replace(columns, **optional)
    for column in filter(None, astuple(found)):
        if column not in header:
            raise TableError(
                f"{path}: no column {column!r}, only {', '.join(header)}. Fix: name the columns "
                "with --file_column, --tags_column, --group_column, --id_column and --source_column"
            )
    return found


def _sound(
    path: Path, line: int, row: dict[str | None, Any], columns: Columns, tag_processing: str
) -> Sound:
    if None in row:  # where DictReader puts the cells beyond the header
        raise TableError(
            f"{path}: line {line}: more cells than the header. Fix: quote tags with commas in them"
        )
    file, tags = row[columns.file], row[columns.tags]
    if not file or None in row.values():
        raise TableError(
            f"{path}: line {line}: no file, or too few cells. Fix: correct or remove it"
        )
    place = PurePosixPath(file)
    if place.is_absolute() or ".." in place.parts:
        raise TableError(
            f"{path}: line {line}: {file} is not in the audio folder. Fix: give --audio the folder "
            "of all sounds, and files relative to it"
        )
    return Sound(
        file,
        normalize_tags(split_tags(tags), tag_processing),
        group=(row[columns.group] if columns.group else "") or file,
        id=row[columns.id] if columns.id else "",
        source=row[columns.source] if columns.source else "",
    )
