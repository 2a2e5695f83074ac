"""The table of sounds and tags that a dataset is made from: a CSV, one row a sound."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coala_jax.tags.normalize import normalize_tags, split_tags


class TableError(ValueError):
    """A table that cannot be used; the message names the file, the line or column, and the fix."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns. An empty `group` takes the column `group` where there is one."""

    file: str = "file"
    tags: str = "tags"
    group: str = ""


@dataclass(frozen=True)
class Sound:
    """One row: the file relative to the audio folder, its normalised tags, its group.

    Sounds of one group stay on one side of the split; a table without groups has one per sound.
    """

    file: str
    tags: tuple[str, ...]
    group: str


def read_table(path: Path, columns: Columns) -> list[Sound]:
    """All sounds of the table, ordered by file name, so that the order of the rows is no matter.

    Raises:
        TableError: no such file, no such column, a row without a file or with more or fewer cells
            than the header, or a file in two rows.
    """
    if not path.is_file():
        raise TableError(f"{path}: there is no such file; give the CSV of sounds and tags")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            header = reader.fieldnames or []
            group = columns.group or ("group" if "group" in header else "")
            for column in filter(None, (columns.file, columns.tags, group)):
                if column not in header:
                    raise TableError(
                        f"{path}: it has no column {column!r}, only {', '.join(header) or 'none'}; "
                        "name its columns with --file_column, --tags_column and --group_column"
                    )
            sounds = [_sound(path, reader.line_num, row, columns, group) for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(
                f"{path}: after line {reader.line_num} it is no CSV in UTF-8 ({error})"
            ) from error
    if not sounds:
        raise TableError(f"{path}: it lists no sounds")
    return sorted(_without_repeats(path, sounds), key=lambda sound: sound.file)


def _sound(
    path: Path, line: int, row: dict[str | None, Any], columns: Columns, group: str
) -> Sound:
    if None in row:  # where DictReader puts the cells beyond the header
        raise TableError(
            f"{path}: line {line} has more cells than the header; put tags with commas in quotes"
        )
    file, tags = row[columns.file], row[columns.tags]
    if not file or None in row.values():
        raise TableError(f"{path}: line {line} has no file or is cut short; correct or remove it")
    return Sound(file, normalize_tags(split_tags(tags)), (row[group] if group else "") or file)


def _without_repeats(path: Path, sounds: list[Sound]) -> list[Sound]:
    seen: set[str] = set()
    for sound in sounds:
        if sound.file in seen:
            raise TableError(f"{path}: {sound.file} is in two rows; keep one, with all its tags")
        seen.add(sound.file)
    return sounds
