"""Sounds to keep out of a dataset because models are evaluated on them (paper, section 3.1)."""

import json
import re
from pathlib import Path, PurePosixPath

from coala_jax import storage

_HINT = 'write a JSON list such as [1234, "kick.wav"], or a text with one id a line'
_SEPARATORS = re.compile(r'[,;\t"]')
_FREESOUND_DOWNLOAD = re.compile(r"([0-9]+)__")  # 1234__user__title.wav


def read_exclusions(path: Path) -> frozenset[str]:
    """The ids in a JSON list of integers and strings, or in a text with one id a line.

    In a text, empty lines, lines that begin with `#`, and what follows ` # ` do not count.

    Raises:
        ValueError: there is no such file, it is no such list, or it lists nothing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; give the list of ids to keep out")
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is no text in UTF-8 ({error}); {_HINT}") from error
    is_json = path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{"))
    ids = _from_json(path, text) if is_json else _from_lines(path, text)
    if not ids:
        raise ValueError(f"{path}: it lists no ids; {_HINT}")
    return frozenset(ids)


def names_of(sound_id: str, file: str) -> set[str]:
    """What a list may call the sound: its id, file, file name, or file name without extension.

    The number in a name that Freesound gives to downloads, `1234__user__title.wav`, is an id, too.
    """
    name = PurePosixPath(file)
    names = {sound_id, file, name.name, name.stem}
    if download := _FREESOUND_DOWNLOAD.match(name.name):
        names.add(download[1])
    return names


def _from_json(path: Path, text: str) -> list[str]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it is no JSON ({error}); {_HINT}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path}: its JSON is no list of ids; {_HINT}")
    for number, entry in enumerate(entries, start=1):
        if type(entry) not in (int, str) or not str(entry).strip():
            raise ValueError(
                f"{path}: entry {number} of its list is {json.dumps(entry)[:40]}, no id; {_HINT}"
            )
    return [str(entry).strip() for entry in entries]


def _from_lines(path: Path, text: str) -> list[str]:
    ids = []
    for number, line in enumerate(text.split("\n"), start=1):
        entry = "" if line.startswith("#") else line.split(" # ")[0].strip()
        if _SEPARATORS.search(entry):  # read as one id, a row of columns would keep nothing out
            raise ValueError(
                f"{path}: line {number} is {entry[:40]!r}, not one id; {_HINT} and no columns"
            )
        if entry:
            ids.append(entry)
    return ids
