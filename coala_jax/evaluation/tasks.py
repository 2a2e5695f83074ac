"""Classification tasks: clips with one class each, and the folds that train and test on them.

Published data sets are read in their published layout, your own folder or CSV by its columns
(`layouts.py`). Nothing is left out silently: a missing file is an error, or is listed in
`Task.left_out`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64

from coala_jax import storage
from coala_jax.evaluation.layouts import (
    Listing,
    Row,
    read_esc50,
    read_gtzan,
    read_nsynth,
    read_own,
    read_urbansound8k,
)
from coala_jax.evaluation.task_files import TaskError

SPLITS = ("train", "test")
_NAMED = 20  # missing files in an error's message


@dataclass(frozen=True)
class Clip:
    """A sound and its class."""

    file: str  # relative to the task's root, forward slashes
    label: str


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and its test: indices into `Task.clips`, ascending."""

    name: str  # "fold 3" where that fold is tested, or "test"
    train: Int64[np.ndarray, " train"]
    test: Int64[np.ndarray, " test"]


@dataclass(frozen=True, eq=False)
class Task:
    """Clips ordered by file, the classes' names in order, and the folds: one for a fixed split."""

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]
    folds: tuple[Fold, ...]
    left_out: dict[str, list[str]]  # "fold 3", "train" or "test" -> files that are not used
    remarks: tuple[str, ...]

    @property
    def classes(self) -> Int64[np.ndarray, " clip"]:
        """The index in `labels` of each clip's class."""
        index = {label: i for i, label in enumerate(self.labels)}
        return np.array([index[clip.label] for clip in self.clips], np.int64)

    def without(self, files: Collection[str]) -> "Task":
        """The task without clips that cannot be used; they are added to `left_out`.

        The classes stay the same, so that accuracies can be compared.

        Raises:
            TaskError: a fold is left without test clips, or without training clips of a class.
            ValueError: a file is not a clip of the task.
        """
        gone = frozenset(files)
        if unknown := sorted(gone - {clip.file for clip in self.clips}):
            raise ValueError(f"{self.name}: {len(unknown)} files are not its clips: {unknown[:5]}")
        if not gone:
            return self
        left_out = {name: list(files) for name, files in self.left_out.items()}
        for name, clip in zip(_tested_in(self), self.clips, strict=True):
            if clip.file in gone:
                left_out.setdefault(name, []).append(clip.file)
        kept = np.array([clip.file not in gone for clip in self.clips], bool)
        index = np.cumsum(kept) - 1
        folds = tuple(
            Fold(fold.name, index[fold.train[kept[fold.train]]], index[fold.test[kept[fold.test]]])
            for fold in self.folds
        )
        clips = tuple(clip for clip in self.clips if clip.file not in gone)
        task = replace(self, clips=clips, folds=folds, left_out=left_out)
        _check_usable(task, f"{self.root}: without {len(gone)} clips", "repair or restore them")
        before = _untested(self)
        untested = [label for label in _untested(task) if label not in before]
        return replace(task, remarks=self.remarks + _untested_remark(untested))


def load_task(spec: str, *, allow_missing: bool = False, seed: int = 0) -> Task:
    """The task of a `--task` flag.

    Args:
        spec: "urbansound8k:DIR", "gtzan:DIR", "nsynth:DIR", "esc50:DIR" or "esc10:DIR" for a
            published data set; a folder with clips.csv, or a CSV, for your own.
        allow_missing: leave out missing files, and list them in `left_out`.
        seed: of NSynth's draw where the authors' list is missing.

    Raises:
        TaskError: the layout is not the published one, files are missing (without
            `allow_missing`), or some class cannot be trained and tested.
    """
    task, source = _build(_read(spec, seed))
    missing = [clip.file for clip in task.clips if not storage.is_file(task.root / clip.file)]
    if missing and (not allow_missing or len(missing) == len(task.clips)):
        raise TaskError(_missing_message(task, source, missing))
    return task.without(missing)


def _read(spec: str, seed: int) -> Listing:
    readers = {
        "urbansound8k": read_urbansound8k,
        "gtzan": read_gtzan,
        "nsynth": partial(read_nsynth, seed=seed),
        "esc50": read_esc50,
        "esc10": partial(read_esc50, only_esc10=True),
    }
    name, colon, place = spec.partition(":")
    reader = readers.get(name.lower()) if colon else None
    path = place if reader else spec
    known = f"{', '.join(f'{name}:DIR' for name in readers)}, DIR with clips.csv, or a CSV"
    if not path:
        raise TaskError(f"the task {spec!r} names no folder. Fix: give one of {known}")
    folder = Path(path).expanduser() if path.startswith("~/") else Path(path)
    if (reader and not folder.is_dir()) or not folder.exists():
        raise TaskError(f"{folder}: no such file or folder. Fix: give one of {known}")
    if reader:
        return reader(folder)
    own = read_own(folder)
    # Otherwise published results would be shown beside it.
    return replace(own, name=f"my {own.name}") if own.name in readers else own


def _build(listing: Listing) -> tuple[Task, Path]:
    """The task as it is listed, and the file that lists it."""
    source = listing.source
    rows = _ordered(listing)
    remarks = list(listing.remarks)
    if listing.in_folds:
        names = sorted({row.fold for row in rows}, key=_natural)
        if len(names) < 2:
            raise TaskError(f"{source}: one fold only. Fix: cross-validation needs at least two")
    else:
        rows, unused = _train_and_test(source, rows)
        remarks += unused
        names = ["test"]
    _check_groups(source, rows)
    labels = tuple(sorted({row.label for row in rows}))
    if len(labels) < 2:
        raise TaskError(f"{source}: all clips are {labels[0]!r}. Fix: a task needs two classes")
    own = np.array([row.fold for row in rows])
    folds = tuple(
        Fold(
            f"fold {name}" if listing.in_folds else name,
            np.flatnonzero(own != name),
            np.flatnonzero(own == name),
        )
        for name in names
    )
    clips = tuple(Clip(row.file, row.label) for row in rows)
    task = Task(listing.name, listing.root, labels, clips, folds, {}, tuple(remarks))
    _check_usable(task, str(source), "give every class clips in two folds, or in train")
    return replace(task, remarks=task.remarks + _untested_remark(_untested(task))), source


def _ordered(listing: Listing) -> list[Row]:
    """The rows sorted by file, each once and below the root."""
    if not listing.rows:
        raise TaskError(f"{listing.source}: no clips listed. Fix: copy it again, or fill it in")
    rows: dict[str, Row] = {}
    for row in listing.rows:
        file = PurePosixPath(row.file)
        if file.is_absolute() or ".." in file.parts:
            raise TaskError(
                f"{listing.source}: {row.file} is not below {listing.root}. Fix: put the sounds "
                "there, and name them relative to it"
            )
        if str(file) in rows:
            raise TaskError(f"{listing.source}: {file} is listed twice. Fix: keep one of the two")
        rows[str(file)] = replace(row, file=str(file))
    return [rows[file] for file in sorted(rows)]


def _natural(name: str) -> tuple[bool, int, str]:
    """Sorts numbers by value, before other names."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _train_and_test(source: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of train and test, and remarks on the others."""
    rows = [replace(row, fold=row.fold.lower()) for row in rows]
    counts = Counter(row.fold for row in rows)
    for split in SPLITS:
        if not counts[split]:
            raise TaskError(
                f"{source}: no clip has the split {split}, only {', '.join(sorted(counts))}. Fix: "
                "call the splits train and test"
            )
    others = sorted(counts.keys() - set(SPLITS))
    remarks = [f"not used: {counts[other]:,} clips of the split {other}" for other in others]
    return [row for row in rows if row.fold in SPLITS], remarks


def _check_groups(source: Path, rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row) if row.group else row
        if other.fold != row.fold:
            raise TaskError(
                f"{source}: the group {row.group!r} is in two folds or splits: {other.file} in "
                f"{other.fold}, {row.file} in {row.fold}. Fix: keep a group in one, or its sounds "
                "are both trained on and tested"
            )


def _check_usable(task: Task, where: str, hint: str) -> None:
    classes = task.classes
    for fold in task.folds:
        if not len(fold.test):
            raise TaskError(f"{where}: {fold.name} has no test clips. Fix: {hint}")
        trained = np.bincount(classes[fold.train], minlength=len(task.labels))
        bare = [label for label, count in zip(task.labels, trained, strict=True) if not count]
        if bare:
            raise TaskError(
                f"{where}: {fold.name} has no training clips of {', '.join(bare)}. Fix: {hint}"
            )


def _untested(task: Task) -> list[str]:
    tested = {task.clips[index].label for fold in task.folds for index in fold.test}
    return [label for label in task.labels if label not in tested]


def _untested_remark(labels: Sequence[str]) -> tuple[str, ...]:
    return (f"no test clips of: {', '.join(labels)}",) if labels else ()


def _tested_in(task: Task) -> list[str]:
    """For each clip the name of the fold that tests it, or "train"."""
    names = ["train"] * len(task.clips)
    for fold in task.folds:
        for index in fold.test:
            names[index] = fold.name
    return names


def _missing_message(task: Task, source: Path, missing: Sequence[str]) -> str:
    absent = set(missing)
    pairs = zip(_tested_in(task), task.clips, strict=True)
    counts = Counter(name for name, clip in pairs if clip.file in absent)
    counted = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    all_gone = len(missing) == len(task.clips)
    hint = "check the folder" + ("" if all_gone else ", or skip them with --allow_missing")
    return (
        f"{source}: {len(missing):,} of {len(task.clips):,} files are missing in {task.root} "
        f"({counted}): {', '.join(missing[:_NAMED])}{more}. Fix: {hint}"
    )
