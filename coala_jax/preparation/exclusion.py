"""Leaves sounds out of a dataset because models are evaluated on them (paper, section 3.1)."""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from coala_jax import storage
from coala_jax.preparation.table import Sound

_HINT = 'Fix: write a JSON list such as [1234, "kick.wav"], or a text file with one id per line'
_SEPARATORS = re.compile(r'[,;\t"]')
_FREESOUND_DOWNLOAD = re.compile(r"([0-9]+)__")  # 1234__user__title.wav


def read_exclusions(path: Path) -> frozenset[str]:
    """The ids in a JSON list of integers and strings, or in a text file with one id per line.

    In a text file, empty lines, lines that begin with `#`, and what follows ` # ` are ignored.

    Raises:
        ValueError: the file is missing, is not such a list, or is empty.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file. Fix: correct --exclude")
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text in UTF-8 ({error}). {_HINT}") from error
    is_json = path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{"))
    ids = _from_json(path, text) if is_json else _from_lines(path, text)
    if not ids:
        raise ValueError(f"{path}: no ids in it. {_HINT}")
    return frozenset(ids)


def exclude(listed: Sequence[Sound], ids: Collection[str]) -> tuple[list[Sound], int]:
    """The sounds that match none of the ids, and the number of ids that match a sound.

    An id matches a sound's id, its file, its file name with or without extension, and the number in
    the file name of a download from Freesound, `1234__user__title.wav`.
    """
    matches = [_names(sound.id, sound.file).intersection(ids) for sound in listed]
    kept = [sound for sound, found in zip(listed, matches, strict=True) if not found]
    return kept, len(set().union(*matches))


def _names(sound_id: str, file: str) -> set[str]:
    name = PurePosixPath(file)
    names = {sound_id, file, name.name, name.stem}
    if download := _FREESOUND_DOWNLOAD.match(name.name):
        names.add(download[1])
    return names


def _from_json(path: Path, text: str) -> list[str]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}). {_HINT}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path}: the JSON is not a list of ids. {_HINT}")
    for number, entry in enumerate(entries, start=1):
        if type(entry) not in (int, str) or not str(entry).strip():
            raise ValueError(
                f"{path}: entry {number} is {json.dumps(entry)[:40]}, not an id. {_HINT}"
            )
    return [str(entry).strip() for entry in entries]


def _from_lines(path: Path, text: str) -> list[str]:
    ids = []
    for number, line in enumerate(text.split("\n"), start=1):
        entry = "" if line.startswith("#") else line.split(" # ")[0].strip()
        if _SEPARATORS.search(entry):  # as one id, a row of columns would match nothing
            raise ValueError(
                f"{path}: line {number} is {entry[:40]!r}, not an id. {_HINT}, no columns"
            )
        if entry:
            ids.append(entry)
    return ids
