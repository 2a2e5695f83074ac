"""What pretrained models are evaluated on: clips with one class each, who trains and tests when.

Published data sets are read in the layout that they are published in, and a folder or CSV of one's
own by its columns (`task_layouts.py`). Nothing is left out silently: a file that is not there is an
error, or is counted in `Task.left_out`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64

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
class Round:
    """One training and its test: places in `Task.clips`, ascending."""

    name: str  # "fold 3" where that fold is tested, or "test"
    train: Int64[np.ndarray, " train"]
    test: Int64[np.ndarray, " test"]


@dataclass(frozen=True, eq=False)
class Task:
    """Clips ordered by file, the classes' names in order, and one round or one for each fold."""

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]
    rounds: tuple[Round, ...]
    left_out: dict[str, list[str]]  # "fold 3", "train" or "test" -> files that are not used
    remarks: tuple[str, ...]

    @property
    def classes(self) -> Int64[np.ndarray, " clip"]:
        """The place in `labels` of each clip's class."""
        place = {label: i for i, label in enumerate(self.labels)}
        return np.array([place[clip.label] for clip in self.clips], np.int64)

    def without(self, files: Collection[str]) -> "Task":
        """The task without clips that cannot be used; they are added to `left_out`.

        The classes stay what they are, so that figures can be compared.

        Raises:
            TaskError: a class is left without training clips, or a round without test clips.
            ValueError: a file that is no clip of the task.
        """
        gone = frozenset(files)
        if unknown := sorted(gone - {clip.file for clip in self.clips}):
            raise ValueError(f"{self.name}: {len(unknown)} files are no clips of it: {unknown[:5]}")
        if not gone:
            return self
        left_out = {part: list(named) for part, named in self.left_out.items()}
        for part, clip in zip(_parts(self), self.clips, strict=True):
            if clip.file in gone:
                left_out.setdefault(part, []).append(clip.file)
        kept = np.array([clip.file not in gone for clip in self.clips], bool)
        place = np.cumsum(kept) - 1
        rounds = tuple(
            Round(r.name, place[r.train[kept[r.train]]], place[r.test[kept[r.test]]])
            for r in self.rounds
        )
        clips = tuple(clip for clip in self.clips if clip.file not in gone)
        task = replace(self, clips=clips, rounds=rounds, left_out=left_out)
        _check_usable(
            task, f"{self.root}: without {len(gone)} clips", "repair them or put them back"
        )
        before = _untested(self)
        untested = [label for label in _untested(task) if label not in before]
        return replace(task, remarks=self.remarks + _say_untested(untested))


def load_task(spec: str, *, allow_missing: bool = False, seed: int = 0) -> Task:
    """The task that a user names.

    Args:
        spec: "urbansound8k:DIR", "gtzan:DIR", "nsynth:DIR", "esc50:DIR" or "esc10:DIR" for a
            published data set; a folder with clips.csv, or a CSV, for one's own.
        allow_missing: leave out files that are not there, and count them in `left_out`.
        seed: of NSynth's draw where the authors' list is not there.

    Raises:
        TaskError: the layout is not as it should be, files are missing (without `allow_missing`),
            or what is there cannot train and test every class.
    """
    task, source = _build(_read(spec, seed))
    missing = [clip.file for clip in task.clips if not (task.root / clip.file).is_file()]
    if missing and (not allow_missing or len(missing) == len(task.clips)):
        raise TaskError(_describe_missing(task, source, missing))
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
        raise TaskError(f"the task {spec!r} names no folder; give one of {known}")
    folder = Path(path).expanduser() if path.startswith("~/") else Path(path)
    if (reader and not folder.is_dir()) or not folder.exists():
        raise TaskError(f"{folder}: there is no such folder; a task is one of {known}")
    if reader:
        return reader(folder)
    own = read_own(folder)
    # Published figures would stand beside it.
    return replace(own, name=f"my {own.name}") if own.name in readers else own


def _build(listing: Listing) -> tuple[Task, Path]:
    """The task as it is listed, and the file that lists it."""
    source = listing.source
    rows = _ordered(listing)
    remarks = list(listing.remarks)
    if listing.in_folds:
        parts = sorted({row.part for row in rows}, key=_natural)
        if len(parts) < 2:
            raise TaskError(
                f"{source}: it has {len(parts)} fold; cross-validation takes two or more"
            )
    else:
        rows, unused = _of_splits(source, rows)
        remarks += unused
        parts = ["test"]
    _check_groups(source, rows)
    labels = tuple(sorted({row.label for row in rows}))
    if len(labels) < 2:
        raise TaskError(
            f"{source}: its clips are all {labels[0]!r}; a task has two classes at least"
        )
    own = np.array([row.part for row in rows])
    rounds = tuple(
        Round(
            f"fold {part}" if listing.in_folds else part,
            np.flatnonzero(own != part),
            np.flatnonzero(own == part),
        )
        for part in parts
    )
    clips = tuple(Clip(row.file, row.label) for row in rows)
    task = Task(listing.name, listing.root, labels, clips, rounds, {}, tuple(remarks))
    _check_usable(task, str(source), "give every class clips in two folds, or in train")
    return replace(task, remarks=task.remarks + _say_untested(_untested(task))), source


def _ordered(listing: Listing) -> list[Row]:
    """The rows by file, each once and below the root."""
    if not listing.rows:
        raise TaskError(f"{listing.source}: it lists no clips; copy it again or fill it")
    rows: dict[str, Row] = {}
    for row in listing.rows:
        place = PurePosixPath(row.file)
        if place.is_absolute() or ".." in place.parts:
            raise TaskError(
                f"{listing.source}: it names {row.file}, which is not below {listing.root}; "
                "put the sounds there, and name them relative to it"
            )
        if str(place) in rows:
            raise TaskError(f"{listing.source}: it lists {place} twice; keep one of the two")
        rows[str(place)] = replace(row, file=str(place))
    return [rows[file] for file in sorted(rows)]


def _natural(part: str) -> tuple[bool, int, str]:
    """Numbers in their order, before names in theirs."""
    return (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)


def _of_splits(source: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of train and test, and what is to be said of the others."""
    rows = [replace(row, part=row.part.lower()) for row in rows]
    counts = Counter(row.part for row in rows)
    for split in SPLITS:
        if not counts[split]:
            raise TaskError(
                f"{source}: no clip has the split {split}, only {', '.join(sorted(counts))}; "
                "the splits that are used are called train and test"
            )
    others = sorted(counts.keys() - set(SPLITS))
    remarks = [f"not used: {counts[other]:,} clips of the split {other}" for other in others]
    return [row for row in rows if row.part in SPLITS], remarks


def _check_groups(source: Path, rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row) if row.group else row
        if other.part != row.part:
            raise TaskError(
                f"{source}: the group {row.group!r} is on both sides of a round: {other.file} in "
                f"{other.part}, {row.file} in {row.part}; sounds that belong together are all "
                "trained on or all tested"
            )


def _check_usable(task: Task, where: str, hint: str) -> None:
    classes = task.classes
    for r in task.rounds:
        if not len(r.test):
            raise TaskError(f"{where}: the round {r.name} has no test clips; {hint}")
        trained = np.bincount(classes[r.train], minlength=len(task.labels))
        bare = [label for label, count in zip(task.labels, trained, strict=True) if not count]
        if bare:
            raise TaskError(
                f"{where}: the round {r.name} has no training clips of {', '.join(bare)}; {hint}"
            )


def _untested(task: Task) -> list[str]:
    tested = {task.clips[place].label for r in task.rounds for place in r.test}
    return [label for label in task.labels if label not in tested]


def _say_untested(labels: Sequence[str]) -> tuple[str, ...]:
    return (f"no test clips of: {', '.join(labels)}",) if labels else ()


def _parts(task: Task) -> list[str]:
    """For each clip the round that tests it, or train."""
    parts = ["train"] * len(task.clips)
    for r in task.rounds:
        for place in r.test:
            parts[place] = r.name
    return parts


def _describe_missing(task: Task, source: Path, missing: Sequence[str]) -> str:
    absent = set(missing)
    pairs = zip(_parts(task), task.clips, strict=True)
    counts = Counter(part for part, clip in pairs if clip.file in absent)
    counted = ", ".join(f"{part}: {count:,}" for part, count in counts.items())
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    all_gone = len(missing) == len(task.clips)
    hint = "check the folder" + ("" if all_gone else ", or go on without them: --allow-missing")
    return (
        f"{source}: {len(missing):,} of its {len(task.clips):,} files are not in {task.root} "
        f"({counted}): {', '.join(missing[:_NAMED])}{more}; {hint}"
    )
