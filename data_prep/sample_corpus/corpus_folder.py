"""The folder that a corpus of sounds is handed on in.

    DIR/audio/...      the sounds
    DIR/corpus.json    what the corpus is, how many sounds it has, what was left out and why
    DIR/sounds.csv     file (relative to DIR/audio), tags (space separated), group, licence

`sounds.csv` is written last: where it stands, the folder is whole.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class CorpusError(RuntimeError):
    """The corpus cannot be made; the message is a sentence with the cause and the way out."""


@dataclass(frozen=True)
class CorpusSound:
    """One sound of a corpus.

    Attributes:
        file: path relative to `DIR/audio`, with forward slashes.
        tags: the words people gave the sound, as they gave them.
        group: sounds of one group stay on one side of a split (takes, one drum kit).
        licence: SPDX identifier.
    """

    file: str
    tags: tuple[str, ...]
    group: str
    licence: str


def check_same_corpus(out: Path, made_from: Mapping[str, Any]) -> None:
    """Raises CorpusError if `out` already holds a corpus made from something else.

    Two corpora in one folder would leave sounds behind that no `sounds.csv` names.
    """
    description = out / "corpus.json"
    if not description.exists():
        return
    try:
        found = json.loads(description.read_text(encoding="utf-8"))["made_from"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{description} is no description of a corpus ({error!r}); "
            "delete it, or choose another folder with --out"
        ) from error
    if found != dict(made_from):
        raise CorpusError(
            f"{out} holds another corpus ({found}, asked for {dict(made_from)}); "
            "delete it, or choose another folder with --out"
        )


def write_index(
    out: Path,
    name: str,
    sounds: Sequence[CorpusSound],
    made_from: Mapping[str, Any],
    left_out: Mapping[str, Sequence[str]],
) -> None:
    """Writes `corpus.json`, then `sounds.csv`, each whole or not at all; nothing if both are there.

    Args:
        out: the corpus folder; the sounds are already in `out/audio`.
        name: the corpus's name in reports, e.g. "debian-small".
        sounds: what `sounds.csv` lists, in this order.
        made_from: what determines the corpus; `check_same_corpus` compares it.
        left_out: cause -> files that were wanted and are not there.
    """
    description = {
        "name": name,
        "sounds": len(sounds),
        "groups": len({sound.group for sound in sounds}),
        "made_from": dict(made_from),
        "left_out": {cause: len(files) for cause, files in left_out.items()},
        "left_out_files": {cause: list(files) for cause, files in left_out.items()},
    }
    described = json.dumps(description, indent=2) + "\n"
    rows = [(s.file, " ".join(s.tags), s.group, s.licence) for s in sounds]
    listed = _csv_text([("file", "tags", "group", "licence"), *rows])
    if _holds(out / "corpus.json", described) and _holds(out / "sounds.csv", listed):
        return
    (out / "sounds.csv").unlink(missing_ok=True)
    _write_whole(out / "corpus.json", described)
    _write_whole(out / "sounds.csv", listed)


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(text.encode())
    part.replace(path)
