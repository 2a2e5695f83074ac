"""The table of sounds and tags that a dataset is made from: a CSV, one row a sound."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from coala_jax import storage
from coala_jax.tags.normalize import normalize_tags, split_tags


class TableError(ValueError):
    """A table that cannot be used; the message names the file, the line or column, and the fix."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns. An empty optional one takes the column so called if there is one."""

    file: str = "file"
    tags: str = "tags"
    group: str = ""  # optional, as those that follow
    id: str = ""
    source: str = ""


@dataclass(frozen=True)
class Sound:
    """One row of a table of sounds.

    file: relative to the audio folder.
    tags: normalised.
    group: sounds of one group stay on one side of the split; a table without groups has one for
        each sound.
    id: what a list of sounds to keep out may call it; empty where the table has none.
    source: the collection that it is from; empty where the table names none.
    """

    file: str
    tags: tuple[str, ...]
    group: str
    id: str = ""
    source: str = ""


def read_table(path: Path, columns: Columns, tag_processing: str = "paper") -> list[Sound]:
    """All sounds of the table, ordered by file name, so that the order of the rows is no matter.

    Tags are normalised as `tag_processing` says (`paper` or `released`).

    Raises:
        TableError: no such file, no such column, a row without a file or with more or fewer cells
            than the header, or a file in two rows.
    """
    if not path.is_file():
        raise TableError(f"{path}: there is no such file; give the CSV of sounds and tags")
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: it is not in UTF-8 ({error}); save it as CSV UTF-8, as Excel calls it"
        ) from error
    delimiter = _delimiter(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        found = _find_columns(path, reader.fieldnames, columns)
        sounds = [_sound(path, reader.line_num, row, found, tag_processing) for row in reader]
    except csv.Error as error:
        raise TableError(
            f"{path}: line {reader.line_num} or one before it is no CSV ({error}); "
            "look for a quotation mark that is not closed"
        ) from error
    if not sounds:
        raise TableError(f"{path}: it lists no sounds")
    return sorted(_without_repeats(path, sounds), key=lambda sound: sound.file)


def _delimiter(header: str) -> str:
    """A comma, or where the header has none the semicolon or tab of other spreadsheets."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _find_columns(path: Path, header: Sequence[str], columns: Columns) -> Columns:
    """The columns that the table has; an optional one that it lacks stays empty."""
    if not header:
        raise TableError(f"{path}: the file is empty; its first line must name the columns")
    optional = {
        name: getattr(columns, name) or (name if name in header else "")
        for name in ("group", "id", "source")
    }
    found = replace(columns, **optional)
    for column in filter(None, astuple(found)):
        if column not in header:
            raise TableError(
                f"{path}: it has no column {column!r}, only {', '.join(header)}; name its columns "
                "with --file_column, --tags_column, --group_column, --id_column and --source_column"
            )
    return found


def _sound(
    path: Path, line: int, row: dict[str | None, Any], columns: Columns, tag_processing: str
) -> Sound:
    if None in row:  # where DictReader puts the cells beyond the header
        raise TableError(
            f"{path}: line {line} has more cells than the header; put tags with commas in quotes"
        )
    file, tags = row[columns.file], row[columns.tags]
    if not file or None in row.values():
        raise TableError(f"{path}: line {line} has no file or is cut short; correct or remove it")
    place = PurePosixPath(file)
    if place.is_absolute() or ".." in place.parts:
        raise TableError(
            f"{path}: line {line} names {file}, which is not below the audio folder; give --audio "
            "the folder of all sounds, and files relative to it (the dataset keeps their names)"
        )
    return Sound(
        file,
        normalize_tags(split_tags(tags), tag_processing),
        group=(row[columns.group] if columns.group else "") or file,
        id=row[columns.id] if columns.id else "",
        source=row[columns.source] if columns.source else "",
    )


def _without_repeats(path: Path, sounds: list[Sound]) -> list[Sound]:
    seen: set[str] = set()
    for sound in sounds:
        if sound.file in seen:
            raise TableError(f"{path}: {sound.file} is in two rows; keep one, with all its tags")
        seen.add(sound.file)
    return sounds
