"""The folder of a sample corpus.

    DIR/audio/...      the sounds
    DIR/corpus.json    what the corpus is, its sources with licences, what is missing and why
    DIR/sounds.csv     file (relative to DIR/audio), tags (space separated), group, licence, source

`sounds.csv` is written last: a folder that has it is complete.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coala_jax import storage


class CorpusError(RuntimeError):
    """The corpus cannot be made; the message says why and how to fix it."""


@dataclass(frozen=True)
class CorpusSound:
    """One sound of a corpus.

    Attributes:
        file: path relative to `DIR/audio`, with forward slashes.
        tags: the words people gave the sound, as they gave them.
        group: sounds of one group stay on one side of a split (takes, one drum kit).
        licence: SPDX identifier.
        source: what it comes from: a Debian package, or "synthetic".
    """

    file: str
    tags: tuple[str, ...]
    group: str
    licence: str
    source: str


def check_same_origin(description: Path, origin: Mapping[str, Any], key: str = "made_from") -> None:
    """Raises CorpusError if the JSON file says, under `key`, that its sounds have another origin.

    Sounds of two origins in one folder would leave some behind that no CSV file names.
    """
    if not description.exists():
        return
    hint = f"Fix: delete {description.parent}, or choose another folder with --out"
    try:
        found = storage.read_json(description)[key]
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{description}: invalid description ({error!r}). {hint}") from error
    if found != dict(origin):
        raise CorpusError(
            f"{description.parent}: made from {found}, but {dict(origin)} was asked for. {hint}"
        )


def write_index(
    out: Path,
    name: str,
    sounds: Sequence[CorpusSound],
    origin: Mapping[str, Any],
    missing: Mapping[str, Sequence[str]],
    versions: Mapping[str, str] | None = None,
) -> None:
    """Writes `corpus.json`, then `sounds.csv`, unless both are already there with this content.

    Args:
        out: the corpus folder; the sounds are already in `out/audio`.
        name: the corpus's name in reports, e.g. "debian-small".
        sounds: what `sounds.csv` lists, in this order.
        origin: what determines the corpus; `check_same_origin` compares it.
        missing: cause -> files that were wanted and are not there.
        versions: source -> version, of those that were fetched; of others, what `corpus.json` says
            stands.
    """
    description = {
        "name": name,
        "sounds": len(sounds),
        "groups": len({sound.group for sound in sounds}),
        "made_from": dict(origin),
        "sources": _sources(sounds, {**_recorded_versions(out), **(versions or {})}),
        "missing": {cause: len(files) for cause, files in missing.items()},
        "missing_files": {cause: list(files) for cause, files in missing.items()},
    }
    rows = [(s.file, " ".join(s.tags), s.group, s.licence, s.source) for s in sounds]
    texts = {
        "corpus.json": storage.json_text(description),
        "sounds.csv": csv_text([("file", "tags", "group", "licence", "source"), *rows]),
    }
    if all(_holds(out / file, text) for file, text in texts.items()):
        return
    (out / "sounds.csv").unlink(missing_ok=True)
    for file, text in texts.items():
        storage.write_text(out / file, text)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV, the first of them the header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _sources(sounds: Iterable[CorpusSound], versions: Mapping[str, str]) -> dict[str, Any]:
    """Of each source, by name: sounds, sounds by licence, and the version where it is known."""
    licences: dict[str, Counter[str]] = {}
    for sound in sounds:
        licences.setdefault(sound.source, Counter())[sound.licence] += 1
    return {
        source: {
            "sounds": counts.total(),
            "licences": dict(sorted(counts.items())),
            **({"version": versions[source]} if source in versions else {}),
        }
        for source, counts in sorted(licences.items())
    }


def _recorded_versions(out: Path) -> dict[str, str]:
    """The versions that `corpus.json` names: of a source that is complete nothing is fetched."""
    try:
        sources = storage.read_json(out / "corpus.json")["sources"]
        return {name: about["version"] for name, about in sources.items() if "version" in about}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # none yet, or of an earlier release


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
