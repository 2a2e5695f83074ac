"""A classification set of real sound events from Debian packages, for when none can be downloaded.

What it is made of and what its labels are worth: the remarks in `events.tsv`.
It is a stand-in: scores on it say which of two encoders is better, and nothing about UrbanSound8K.

    OUT/events/audio/...      the sounds, as PACKAGE/PATH
    OUT/events/about.json     what the set is made of, what was left out and why
    OUT/events/clips.csv      file (relative to its own folder), label, fold

`clips.csv` is written last: where it stands, the set is whole.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError, CorpusSound
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound, below_share, read_rows

LIST = Path(__file__).with_name("events.tsv")
COLUMNS = (
    *("package", "container", "path", "md5", "label", "fold", "group", "licence", "freesound"),
)
NONE = "-"  # in the columns container and freesound

# What the list was derived from. Another version serves where its sounds have the list's MD5s.
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
DISK_BYTES = 300_000_000  # the most that making the set has on the disk at a time


@dataclass(frozen=True)
class EventSound:
    """A sound of the set.

    Attributes:
        listed: where it sits, and what it must be.
        label: its class.
        fold: the fold that tests it, from 1.
        freesound: the Freesound ids that its package gives for it or for what it was made from.
    """

    listed: ListedSound
    label: str
    fold: int
    freesound: tuple[int, ...]


def read_events(path: Path = LIST) -> list[EventSound]:
    """Reads the list of the set's sounds.

    Raises:
        CorpusError: a column is missing, a row is malformed, or a file or an MD5 occurs twice.
    """
    events: dict[str, EventSound] = {}
    md5s: set[str] = set()
    for where, row in read_rows(path, COLUMNS):
        package, container, inside = row["package"], row["container"], row["path"]
        if container == NONE:
            container, name = "", f"{package}/{below_share(inside, where)}"
        else:
            below_share(container, where)
            if inside.startswith("/") or ".." in PurePosixPath(inside).parts:
                raise CorpusError(f"{where}: {inside} leads out of its container")
            name = f"{package}/{inside}"
        if name in events or row["md5"] in md5s:
            raise CorpusError(f"{where}: {name} or its MD5 is listed twice")
        if not row["fold"].isdecimal() or row["fold"] == "0":
            raise CorpusError(f"{where}: the fold {row['fold']} is no number from 1 on")
        md5s.add(row["md5"])
        ids = () if row["freesound"] == NONE else tuple(map(int, row["freesound"].split()))
        sound = CorpusSound(name, (row["label"],), row["group"], row["licence"])
        listed = ListedSound(package, inside, row["md5"], sound, container)
        events[name] = EventSound(listed, row["label"], int(row["fold"]), ids)
    return list(events.values())


def make_events(
    out: Path,
    say: Callable[[str], None] = print,
    *,
    allow_missing: bool = False,
    list_path: Path = LIST,
) -> None:
    """Makes the set in `out/events`; run again, it fetches only what is not there.

    Args:
        out: the folder of all stand-ins.
        say: receives a line of progress at a time.
        allow_missing: make the set without the sounds that cannot be had, and tell which.
        list_path: another list, for tests.

    Raises:
        CorpusError: apt is missing, the disk is too full, the folder holds a set made from
            another list, or sounds cannot be had (none at all, if some may be missing).
    """
    if missing := debian.missing_tools():
        raise CorpusError(
            f"the sound events need {' and '.join(missing)}, not found on PATH; "
            "on Debian they are in the packages apt and dpkg"
        )
    folder = out / "events"
    list_digest = hashlib.sha256(list_path.read_bytes()).hexdigest()
    _check_same_list(folder, list_digest)
    events = read_events(list_path)
    audio, work = folder / "audio", folder / ".fetch"
    fetched = debian.fetch([event.listed for event in events], audio, work, say, DISK_BYTES)
    _check_left_out(fetched, len(events), allow_missing, say)
    there = {sound.file for sound in fetched.sounds}
    kept = [event for event in events if event.listed.sound.file in there]
    about = {
        "name": "sound events (stand-in)",
        "limits": "real game sounds, labelled by their names, not by ear; not UrbanSound8K",
        "list": {"name": list_path.name, "sha256": list_digest},
        "packages": {
            package: {"sounds": count, "listed_version": VERSIONS.get(package, "unknown")}
            for package, count in sorted(Counter(e.listed.package for e in kept).items())
        },
        "clips": len(kept),
        "labels": dict(sorted(Counter(event.label for event in kept).items())),
        "folds": {str(f): n for f, n in sorted(Counter(event.fold for event in kept).items())},
        "left_out": fetched.left_out,
    }
    _write_set(folder, about, kept)
    say(f"sound events: {len(kept)} clips in {len(about['labels'])} classes, in {folder}")


def _check_same_list(folder: Path, list_digest: str) -> None:
    """Raises CorpusError if the folder holds a set made from another list, whose sounds stay."""
    about = folder / "about.json"
    if not about.exists():
        return
    try:
        found = json.loads(about.read_text(encoding="utf-8"))["list"]["sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CorpusError(f"{about} describes no such set ({error!r}); delete it") from error
    if found != list_digest:
        raise CorpusError(f"{folder} was made from another list; delete it, or choose another")


def _check_left_out(
    fetched: debian.Fetched, wanted: int, allow_missing: bool, say: Callable[[str], None]
) -> None:
    causes = [f"{len(files)} sounds, {cause}" for cause, files in fetched.left_out.items()]
    for cause in causes:
        say(f"left out: {cause}")
    if fetched.sounds and (allow_missing or not causes):
        return
    listed = fetched.lists_complaint or "; ".join(causes)
    raise CorpusError(
        f"{wanted - len(fetched.sounds)} of {wanted} sound events cannot be had ({listed}); look "
        "to the network and to apt's sources (the list is of Debian bookworm), then run again"
    )


def _write_set(folder: Path, about: dict[str, object], events: Sequence[EventSound]) -> None:
    """Writes `about.json`, then `clips.csv`, each whole or not at all."""
    rows = [(f"audio/{e.listed.sound.file}", e.label, e.fold) for e in events]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "label", "fold"), *rows])
    (folder / "clips.csv").unlink(missing_ok=True)
    for name, content in {
        "about.json": json.dumps(about, indent=2) + "\n",
        "clips.csv": text.getvalue(),
    }.items():
        part = folder / f".{name}.part"
        part.write_text(content, encoding="utf-8")
        part.replace(folder / name)
