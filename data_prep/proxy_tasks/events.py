"""The proxy task `events`: game sounds of thirteen classes out of Debian packages.

What it is made from and what its labels are worth: the comments in `events.tsv`. It does not stand
for UrbanSound8K: a score says which of two models is better on these sounds.

    OUT/events/audio/...      the sounds, as PACKAGE/PATH
    OUT/events/about.json     what the task is made from
    OUT/events/clips.csv      file (relative to its own folder), label, fold

`clips.csv` is written last: a folder that has it is complete.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from absl import logging
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.apt import missing_programs
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_origin,
    csv_text,
)
from coala_jax.data_prep.sample_corpus.debian_list import NONE, ListedSound, locate, read_rows

from coala_jax import storage

LIST = Path(__file__).with_name("events.tsv")
COLUMNS = (
    *("package", "container", "path", "sha256", "label", "fold", "group", "licence", "freesound"),
)

# What the list was derived from. Another version serves where its sounds have the list's SHA-256.
VERSIONS = {
    "btanks-data": "0.9.8083-9",
    "gcompris-qt-data": "3.1-2",
    "lugaru-data": "1.2-6",
    "minetest-data": "5.6.1+dfsg+~1.9.0mt8+dfsg-2",
    "openarena-data": "0.8.5split-14",
    "openttd-opensfx": "1.0.3-2",
    "scorched3d-data": "44+dfsg-8",
    "searchandrescue-data": "1.3.0-1.1",
    "ufoai-sound": "2.5-2",
}
DISK_BYTES = 300_000_000  # the most that making the task takes on the disk at a time


@dataclass(frozen=True)
class EventSound:
    """A sound of the task.

    Attributes:
        listed: the file in a package, and what it must be.
        label: its class.
        fold: the fold that tests it, from 1.
        freesound: the Freesound ids that its package gives for it or for what it was made from.
    """

    listed: ListedSound
    label: str
    fold: int
    freesound: tuple[int, ...]


def read_events(path: Path = LIST) -> list[EventSound]:
    """Reads the list of the task's sounds.

    Raises:
        CorpusError: a column is missing, a row is malformed, or a file or a SHA-256 occurs twice.
    """
    events: dict[str, EventSound] = {}
    digests: set[str] = set()
    for where, row in read_rows(path, COLUMNS):
        container, name = locate(row, where)
        if name in events or row["sha256"] in digests:
            raise CorpusError(f"{where}: {name!r} or its SHA-256 is listed twice")
        if not row["fold"].isdecimal() or row["fold"] == "0":
            raise CorpusError(f"{where}: invalid fold {row['fold']!r}; folds count from 1")
        digests.add(row["sha256"])
        ids = () if row["freesound"] == NONE else tuple(map(int, row["freesound"].split()))
        sound = CorpusSound(name, (row["label"],), row["group"], row["licence"], row["package"])
        listed = ListedSound(row["package"], row["path"], row["sha256"], sound, container)
        events[name] = EventSound(listed, row["label"], int(row["fold"]), ids)
    return list(events.values())


def make_events(out: Path, list_path: Path = LIST) -> Path:
    """Makes the task in `out/events`, which it returns; re-running fetches what is not there.

    Args:
        out: the folder of all proxy tasks.
        list_path: another list, for tests.

    Raises:
        CorpusError: apt is missing, there is not enough disk space, the folder holds a task made
            from another list, or a sound is not available.
    """
    if missing := missing_programs():
        raise CorpusError(
            f"the task events needs {' and '.join(missing)}, not found on PATH. Fix: on Debian "
            "they are in the packages apt and dpkg"
        )
    folder = out / "events"
    origin = {"list": list_path.name, "sha256": storage.file_sha256(list_path)}
    check_same_origin(folder / "about.json", origin)
    events = read_events(list_path)
    listed = [event.listed for event in events]
    fetched = debian.fetch(listed, folder / "audio", folder / ".fetch", DISK_BYTES)
    if fetched.missing:
        causes = [f"{len(files)} sounds, {cause}" for cause, files in fetched.missing.items()]
        raise CorpusError(
            f"{len(events) - len(fetched.sounds)} of {len(events)} sounds of events are not "
            f"available ({fetched.lists_error or '; '.join(causes)}). Fix: check the network and "
            "apt's sources (the list is of Debian bookworm), then run again"
        )
    packages = sorted(Counter(event.listed.package for event in events).items())
    about = {
        "name": "events (proxy task)",
        "limits": "game sounds, labelled by their names, not by ear; not UrbanSound8K",
        "made_from": origin,
        "packages": {
            package: {"sounds": count, "listed_version": VERSIONS.get(package, "unknown")}
            for package, count in packages
        },
        "clips": len(events),
        "labels": dict(sorted(Counter(event.label for event in events).items())),
        "folds": {str(f): n for f, n in sorted(Counter(event.fold for event in events).items())},
    }
    rows = [(f"audio/{event.listed.sound.file}", event.label, event.fold) for event in events]
    (folder / "clips.csv").unlink(missing_ok=True)
    storage.write_json(folder / "about.json", about)
    storage.write_text(folder / "clips.csv", csv_text([("file", "label", "fold"), *rows]))
    logging.info("events: %d clips of %d classes", len(events), len(about["labels"]))
    return folder
