"""Makes a dataset from a folder of sounds and a table of tags (paper, section 3.1).

The plan is made before any sound is decoded (`plan.py`). A pool of workers extracts the patches of
each sound (`extract.py`) and the shards are written in the plan's order (`shards.py`): their bytes
depend neither on the number of workers nor on the order of the table. A run that was killed resumes
after the last sound that is complete on disk (`staging.py`). The dataset appears under its name
when it is complete.
"""

import csv
import importlib.metadata
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from itertools import chain
from pathlib import Path

from absl import logging

from coala_jax import storage
from coala_jax.data.dataset import DatasetWriter
from coala_jax.data.schema import MANIFEST, SHARD_MARK, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.preparation import exclusion
from coala_jax.preparation.equal_files import file_keys, file_size
from coala_jax.preparation.plan import Plan, check_enough, make_plan
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.shards import write_shards
from coala_jax.preparation.staging import discard_staging, staging_directory, staging_of
from coala_jax.preparation.summary import Results, summarize
from coala_jax.preparation.table import Sound, TableError, read_table

FAILURES = "failures.csv"  # lists every sound that was skipped, and why
UNTAGGED = "untagged.csv"  # lists the sounds without a tag of the vocabulary
_FORMS = ("NFC", "NFD")  # how file names may write an accent
_NAMED = 5  # failures in the log; the file lists them all
# What the bytes of a shard depend on besides sounds and settings.
_LIBRARIES = ("numpy", "scipy", "soundfile", "soxr")
_MODULES = ("coala_jax.preparation.shards",)


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
    """Makes the dataset `out`, or reuses it if it was made from the same inputs.

    These are the table, the settings, and the names and sizes of the sounds. A run that was killed
    is resumed from `OUT.work` and ends with the same bytes.

    Args:
        audio: the folder that the files of the table are relative to.
        exclude: ids of sounds to leave out (see `exclusion.exclude`).
        workers: threads that decode sounds.
        allow_missing: whether missing files are skipped like sounds that cannot be decoded. These
            are listed in `out/failures.csv`; they change neither the vocabulary nor the split.

    Raises:
        TableError: the table is invalid, or lists sounds that are not in `audio`.
        DatasetError: `out` is something else, or no sound, no tag or no validation sound is left.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    listed = read_table(table, settings.columns, settings.processing)
    sounds = _without_excluded(listed, exclude, table)
    sizes = {sound.file: file_size(audio / sound.file) for sound in sounds}
    _check_missing(sizes, audio, table, allow_missing)
    rows = [[s.file, sizes[s.file], s.tags, s.group, s.source] for s in sounds]
    fingerprint = storage.fingerprint([settings.to_dict(), settings.front_end.to_dict(), rows])
    if out.exists() and any(out.iterdir()):
        manifest = _reuse(out, fingerprint, settings)
        discard_staging(out)
        return manifest
    try:
        plan = make_plan(len(listed), sounds, settings, file_keys(audio, sizes, workers))
        _check_disk(out, plan, settings)
        versions = [importlib.metadata.version(name) for name in _LIBRARIES]
        staged = storage.fingerprint([fingerprint, versions, storage.source_digests(_MODULES)])
        with staging_directory(out, staged) as staging:
            manifest = _write(plan, audio, settings, staging, workers, fingerprint)
            (staging / "dataset").rename(out)
            shutil.rmtree(staging)
    except DatasetError:
        raise
    except OSError as error:
        if not storage.is_disk_full(error):
            raise
        raise DatasetError(
            f"{staging_of(out)}: the disk is full ({os.strerror(error.errno)}); all sounds "
            f"together need about {storage.size_text(_needed_bytes(plan, settings))} there, of "
            f"which {storage.size_text(_written_bytes(out))} are written. Fix: make room and run "
            "it again, which goes on, or choose another --out"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{table}: {error}") from error
    return manifest


def _write(
    plan: Plan, audio: Path, settings: Settings, staging: Path, workers: int, fingerprint: str
) -> Manifest:
    """Writes the dataset, or the rest of it, into a folder of the staging directory."""
    folder = staging / "dataset"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if SHARD_MARK not in path.name:
            path.unlink()  # left by a run that was killed
    writer = DatasetWriter(folder, plan.vocabulary.tags, settings.scaling)
    results = write_shards(plan, audio, settings, folder, writer, workers)
    _write_failures(folder, audio, results)
    _write_csv(
        folder / UNTAGGED, ("file", "tags"), [(s.file, " ".join(s.tags)) for s in plan.untagged]
    )
    check_enough({s: sum(not r.error for _, r in some) for s, some in results.items()})
    return writer.finish(
        name=settings.name,
        fingerprint=fingerprint,
        settings=settings.to_dict(),
        front_end=settings.front_end.to_dict(),
        tag_processing=settings.processing,
        preparation=summarize(plan, settings, results, writer.scaler()),
    )


def _without_excluded(listed: Sequence[Sound], ids: frozenset[str], table: Path) -> Sequence[Sound]:
    """The sounds that are not excluded; logs how many ids match: a wrong list matches none."""
    if not ids:
        return listed
    sounds, matched = exclusion.exclude(listed, ids)
    excluded = len(listed) - len(sounds)
    logging.info(
        "%d of %d sounds excluded by %d of %d ids", excluded, len(listed), matched, len(ids)
    )
    if not matched:
        logging.warning(
            "%s: no sound matches any of the %d ids of --exclude. Fix: check that they are ids, "
            "files or file names of this table",
            table,
            len(ids),
        )
    if not sounds:
        raise TableError(f"{table}: all {len(listed)} sounds are excluded. Fix: correct --exclude")
    return sounds


def _check_missing(sizes: dict[str, int], audio: Path, table: Path, allow_missing: bool) -> None:
    if not audio.is_dir():
        raise TableError(f"{audio}: no such folder. Fix: correct --audio")
    missing = [file for file, size in sizes.items() if size < 0]
    if missing and not allow_missing:
        named = ", ".join(f"{file:.200}{_why(audio / file)}" for file in missing[:_NAMED])
        named += " ..." if len(missing) > _NAMED else ""
        other_forms = (audio / unicodedata.normalize(form, missing[0]) for form in _FORMS)
        if any(map(storage.is_file, other_forms)):
            named += " (a file of that name is there, with its accents in another Unicode form)"
        raise TableError(
            f"{table}: {len(missing)} of {len(sizes)} sounds are not in {audio}: {named}. "
            "Fix: correct --audio or the table, or skip them with --allow_missing"
        )


def _why(path: Path) -> str:
    """What the system says of a file that it refuses to look up; "" where there is just none."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        return f" ({getattr(error, 'strerror', None) or error})"
    return " (no file)"


def _check_disk(out: Path, plan: Plan, settings: Settings) -> None:
    needed, written = _needed_bytes(plan, settings), _written_bytes(out)
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    free = storage.free_bytes(out)
    if free is not None and free < needed - written:
        sounds = sum(map(len, plan.sounds.values()))
        raise DatasetError(
            f"{out}: {sounds} sounds need {storage.size_text(needed - written)} more, but "
            f"{storage.size_text(free)} are free in {folder}. Fix: make room, or choose another "
            "--out"
        )


def _needed_bytes(plan: Plan, settings: Settings) -> int:
    """Of the patches; where all of a sound are kept, at least."""
    front_end = settings.front_end
    patch_bytes = 4 * front_end.mel_bands * front_end.patch_frames
    return patch_bytes * sum(map(len, plan.sounds.values())) * max(1, settings.patches_per_sound)


def _written_bytes(out: Path) -> int:
    """By a run that was killed; it is not written again."""
    shards = staging_of(out).glob(f"dataset/*{SHARD_MARK}*")
    return sum(shard.stat().st_size for shard in shards)


def _write_failures(folder: Path, audio: Path, results: dict[str, Results]) -> None:
    """Lists the sounds that were skipped. Raises DatasetError if these are all sounds."""
    pairs = sorted(chain(*results.values()), key=lambda pair: pair[0].file)
    failures = [(sound.file, result) for sound, result in pairs if result.error]
    _write_csv(
        folder / FAILURES,
        ("file", "error", "cause"),
        [(file, result.error, result.cause) for file, result in failures],
    )
    if len(failures) == len(pairs):
        causes = Counter(result.error for _, result in failures).most_common()
        counted = ", ".join(f"{count} {error}" for error, count in causes)
        raise DatasetError(
            f"{audio}: none of {len(pairs)} sounds could be decoded ({counted}). "
            f"Fix: see the causes in {folder / FAILURES}"
        )
    if failures:
        logging.warning("%d of %d sounds skipped (see %s):", len(failures), len(pairs), FAILURES)
        for file, result in failures[:_NAMED]:
            logging.warning("  %s: %s", file, result.cause)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes the table; no file if it has no rows."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    storage.write_text(path, text.getvalue())


def _reuse(out: Path, fingerprint: str, settings: Settings) -> Manifest:
    """The manifest of the dataset that is there. Raises DatasetError if it is another one."""
    if not (out / MANIFEST).is_file():
        raise DatasetError(f"{out}: exists, but is not a dataset. Fix: choose another --out")
    try:
        manifest = Manifest.load(out)
    except DatasetError as error:
        raise DatasetError(f"{error}, or choose another --out") from error
    if manifest.fingerprint != fingerprint:
        wanted = settings.to_dict() | settings.front_end.to_dict()
        found = manifest.settings | manifest.front_end
        names = wanted | found  # a limit at its default is in neither
        differing = [name for name in names if found.get(name) != wanted.get(name)]
        what = f"with another {', '.join(differing)}" if differing else "from other sounds or tags"
        raise DatasetError(
            f"{out}: holds a dataset made {what}. Fix: choose another --out, or delete it"
        )
    manifest.check_files(out)
    logging.info("%s: reused; it was made from the same table, settings and file sizes", out)
    if (out / FAILURES).exists():
        logging.info("to retry the sounds listed in %s, delete the dataset", out / FAILURES)
    return manifest
