"""From a folder of sounds and a table of tags to a dataset (paper, section 3.1), stage by stage.

table -> exclusions -> patches (`extraction.py`) -> vocabulary, split, scaling, report and TFRecords
(`assembly.py`). The dataset appears under its name only when it is whole.
"""

import csv
import hashlib
import importlib.metadata
import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coala_jax import __version__
from coala_jax.data.manifest import MANIFEST, REPAIRED, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.preparation.assembly import FAILURES, assemble
from coala_jax.preparation.exclusion import names_of
from coala_jax.preparation.extraction import Outcome, extract
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Sound, TableError, read_table
from coala_jax.preparation.work_folder import discard_work, work_folder

_NAMED = 5  # failures on the terminal; the file lists them all
_MAKERS = ("numpy", "scipy", "soundfile", "soxr")  # what the bits of a patch depend on


def prepare(
    audio: Path,
    table: Path,
    out: Path,
    settings: Settings,
    *,
    exclude: frozenset[str] = frozenset(),
    workers: int = 2,
    allow_missing: bool = False,
) -> Manifest:
    """Makes the dataset `out`, or returns the one that is there if it was made from the same.

    The same means the same table, settings, and names and sizes of the sounds.

    Sounds that `exclude` names are left out (see `exclusion.names_of`). A sound that cannot be
    decoded costs that sound; it is listed in `out/failures.csv`. With `allow_missing` that holds
    for files that are not there, too. Stopped at any moment and started again, it goes on with the
    patches that lie in `OUT.work`, and ends with the same bytes.

    Raises:
        TableError: the table cannot be used, or names sounds that are not in `audio`.
        DatasetError: `out` is something else, or no sound, no tag or no validation sound is left.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    listed = read_table(table, settings.columns, settings.tag_processing)
    sounds = _without_excluded(listed, exclude, table)
    _refuse_missing(sounds, audio, table, allow_missing)
    contents = [[sound.file, _size(audio / sound.file)] for sound in sounds]
    everything = [settings.to_dict(), settings.front_end.to_dict(), contents]
    source = _digest([*everything, [(sound.tags, sound.group) for sound in sounds]])
    if out.exists() and any(out.iterdir()):
        manifest = _reuse(out, source, settings)
        discard_work(out)
        return manifest
    _refuse_full_disk(out, len(sounds), settings)
    with work_folder(out, _made_from(settings, contents)) as work:
        extracted = extract(
            [sound.file for sound in sounds],
            audio,
            settings.front_end,
            work,
            patches_per_sound=settings.patches_per_sound,
            max_seconds=settings.max_seconds or math.inf,
            workers=workers,
        )
        temporary = work / "dataset"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _report_failures(sounds, extracted.outcomes, temporary)
        if all(outcome.error for outcome in extracted.outcomes):
            causes = Counter(outcome.error for outcome in extracted.outcomes).most_common()
            counted = ", ".join(f"{count} {error}" for error, count in causes)
            raise DatasetError(
                f"{audio}: not one of {len(sounds)} sounds could be read ({counted}); "
                f"each has its cause in {temporary / FAILURES}"
            )
        try:
            manifest = assemble(
                temporary, sounds, len(listed) - len(sounds), extracted, settings, source
            )
        except ValueError as error:
            raise DatasetError(
                f"{table}: {error}. What was computed of the sounds is kept in {work} for the "
                "next run"
            ) from error
        temporary.rename(out)
        shutil.rmtree(work)
    return manifest


def _made_from(settings: Settings, contents: Sequence[Sequence[Any]]) -> str:
    """What the patches depend on: not tags and split, after an error in which they are good."""
    analysis = [settings.front_end.to_dict(), settings.patches_per_sound, settings.max_seconds]
    versions = [__version__, *(importlib.metadata.version(name) for name in _MAKERS)]
    return _digest([analysis, versions, contents])


def _without_excluded(listed: Sequence[Sound], ids: frozenset[str], table: Path) -> Sequence[Sound]:
    """The sounds that no id names; says how many ids name one, for a list that is meant for others
    protects nothing."""
    if not ids:
        return listed
    named = [ids & names_of(sound.id, sound.file) for sound in listed]
    sounds = [sound for sound, found in zip(listed, named, strict=True) if not found]
    print(
        f"{len(listed) - len(sounds)} of {len(listed)} sounds are excluded by "
        f"{len(frozenset().union(*named))} of {len(ids)} ids"
    )
    if not sounds:
        raise TableError(f"{table}: all its {len(listed)} sounds are excluded; look at --exclude")
    return sounds


def _refuse_missing(sounds: Sequence[Sound], audio: Path, table: Path, allow_missing: bool) -> None:
    if not audio.is_dir():
        raise TableError(f"{audio}: there is no such folder; correct --audio")
    missing = [sound.file for sound in sounds if not (audio / sound.file).is_file()]
    if missing and not allow_missing:
        named = ", ".join(missing[:_NAMED]) + (" ..." if len(missing) > _NAMED else "")
        raise TableError(
            f"{table}: {len(missing)} of its {len(sounds)} sounds are not in {audio}: {named}; "
            "correct --audio or the table, or leave them out with --allow_missing"
        )


def _refuse_full_disk(out: Path, sounds: int, settings: Settings) -> None:
    """Before hours of work: patches and dataset lie on the disk at the same time."""
    front_end = settings.front_end
    patch_bytes = 4 * front_end.mel_bands * front_end.patch_frames
    needed = 2 * patch_bytes * sounds * max(1, settings.patches_per_sound)
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatasetError(
            f"{out}: {sounds} sounds need {needed / 1e9:.1f} GB while the dataset is made, and "
            f"{free / 1e9:.1f} GB are free; choose another --out"
        )


def _report_failures(sounds: Sequence[Sound], outcomes: Sequence[Outcome], folder: Path) -> None:
    failures = [
        (sound.file, outcome.error, outcome.cause)
        for sound, outcome in zip(sounds, outcomes, strict=True)
        if outcome.error
    ]
    if not failures:
        return
    with (folder / FAILURES).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "error", "cause"))
        writer.writerows(failures)
    print(f"{len(failures)} of {len(sounds)} sounds are left out (all in {FAILURES}):")
    for name, _, cause in failures[:_NAMED]:
        print(f"  {name}: {cause}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _reuse(out: Path, source: str, settings: Settings) -> Manifest:
    if not (out / MANIFEST).is_file():
        raise DatasetError(f"{out}: it exists and is no dataset; choose another --out")
    manifest = Manifest.load(out)
    if manifest.source == REPAIRED + source:
        raise DatasetError(
            f"{out}: it was repaired and lacks the records that were damaged; delete it to have it "
            "made whole again, or go on training with it"
        )
    if manifest.source != source:
        wanted = settings.to_dict() | settings.front_end.to_dict()
        found = manifest.settings | manifest.front_end
        differing = [name for name, value in wanted.items() if found.get(name) != value]
        what = f"with another {', '.join(differing)}" if differing else "from other sounds or tags"
        raise DatasetError(
            f"{out}: it holds a dataset made {what}; choose another --out, or delete it"
        )
    manifest.check_files(out)
    print(f"{out}: the dataset is there already, made from the same table, settings and file sizes")
    if (out / FAILURES).exists():
        print(f"  {FAILURES} names the sounds it lacks; to try them again, delete the dataset")
    return manifest
