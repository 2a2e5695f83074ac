"""An index follows its folder: what is new is embedded, what has gone leaves, what moved is kept.

A file is unchanged while size and time of change are. One with the content of a sound in the index
(size and SHA-256), be it moved, copied or only touched, takes over its vectors. Rows are written
every few seconds, each with all that belongs to it, so that a kill costs no more than these; a row
that replaces another is written before the other is deleted.
"""

import csv
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from absl import logging
from tqdm import tqdm

from coala_jax import storage
from coala_jax.embedding.folder import State, find_sounds, first_lines, path_of
from coala_jax.embedding.index_settings import POLICY, Settings, read_scale, shown
from coala_jax.embedding.index_store import File, Store, path_columns, vector_array

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Description, Embedder

FAILURES = "failures.csv"
_SAVE_SECONDS = 20.0  # between writes, which a kill may cost
_SAVE_ROWS = 1000

Tags = Mapping[str, tuple[str, ...]]


class Changes(NamedTuple):
    """How many sounds of the folder were added, changed, moved and so on.

    failures: why each sound failed that is new and cannot be read, by path.
    skipped: those that could not be read before and have not changed.
    """

    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int
    failures: dict[str, str]
    skipped: int


class Writer:
    """Collects rows and writes them; deletes the rows that they replace."""

    def __init__(
        self, folder: Path, settings: Settings, store: Store, embedder: "Embedder"
    ) -> None:
        self._settings, self._store, self._bank = settings, store, embedder.bank
        self._mean, self._spread = read_scale(folder, settings.table)
        self._patch_seconds = (
            embedder.front_end.patch_frames * embedder.front_end.hop_samples
        ) / embedder.sample_rate_hz
        self._rows: list[dict[str, Any]] = []
        self._vectors: list[Description] = []
        self._replaced: list[int] = []
        self._saved = time.monotonic()

    def add(self, row: dict[str, Any], found: "Description", replaced: int | None) -> None:
        """A sound that was embedded."""
        times = np.arange(found.patches, dtype=np.float32) * np.float32(self._patch_seconds)
        row |= {"seconds": found.seconds, "times": times, "model": self._settings.digest}
        self._rows.append(row)
        self._vectors.append(found)
        self._replaced += [] if replaced is None else [replaced]
        if len(self._rows) >= _SAVE_ROWS or time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Writes the rows so far."""
        if self._rows:
            self._store.add(self._table())
        self._store.delete(self._replaced)
        self._rows, self._vectors, self._replaced = [], [], []
        self._saved = time.monotonic()

    def _table(self) -> pa.Table:
        of = self._store.schema
        embeddings = np.stack([found.embedding for found in self._vectors])
        vectors = {"embedding": (embeddings - self._mean) / self._spread}
        matched = np.stack([found.matched for found in self._vectors])
        vectors["logits" if self._settings.match == "logits" else "projection"] = matched
        if self._settings.match == "vote":
            vectors["votes"] = self._bank.vote(matched)
        columns = [
            vector_array(vectors[field.name])
            if field.name in vectors
            else pa.array([row[field.name] for row in self._rows], field.type)
            for field in of
        ]
        return pa.Table.from_arrays(columns, schema=of)


def follow(
    folder: Path,
    settings: Settings,
    store: Store,
    embedder: "Embedder",
    tags: Tags | None = None,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> Changes:
    """Makes the rows those of the files that are in the folder of sounds now.

    Args:
        tags: that were given to the files, by path; None to keep those of the index.
        progress: whether a bar is shown.

    Raises:
        ValueError: there is no sound in the folder, or none can be read.
    """
    root = Path(settings.sounds)
    found = find_sounds(root, any_name=True)
    known, replaced = store.files()
    store.delete(replaced)  # of a run that was killed between writing and deleting
    past = _read_failures(folder)
    failures = {path: ((0, 0), error) for path, error in found.errors.items()}
    todo = []
    for path, state in found.files.items():
        if path in known and _state(known[path]) == state:
            continue
        if past.get(shown(path), (None,))[0] == state:
            failures[path] = past[shown(path)]
        else:
            todo.append(path)
    logging.info(
        "%d sounds in %s, %d of them new or changed; %d other files",
        *(len(found.files), shown(root), len(todo), found.ignored),
    )
    ids = iter(range(max((file.id for file in known.values()), default=-1) + 1, 2**62))
    gone = [path for path in known if path not in found.files and not _hidden(path, found.errors)]
    moved, todo = _take_over(store, root, found.files, known, set(gone), todo, tags, ids)
    writer = Writer(folder, settings, store, embedder)
    new_failures: dict[str, str] = {}
    files = [path_of(root, path) for path in todo]
    done: dict[str, int] = {"added": 0, "changed": 0}
    try:
        with tqdm(todo, unit="sound", disable=not progress or not todo) as bar:
            described = embedder.describe_each(files, policy=POLICY, workers=workers)
            for path, result in zip(bar, described, strict=True):
                try:
                    row = _row(root, path, found.files[path], result, tags, known.get(path), ids)
                except (ValueError, OSError) as error:
                    new_failures[path] = str(error)
                    failures[path] = (found.files[path], str(error))
                    continue
                old = known.get(path)
                writer.add(row, result, None if old is None else old.id)
                done["added" if old is None else "changed"] += 1
    finally:
        writer.save()  # what is done, when it is interrupted too
    # A file that has changed and cannot be read any more has no place in the index either.
    gone += [path for path in new_failures if path in known]
    store.delete([known[path].id for path in gone])
    _retag(store, {path: known[path] for path in known if path in found.files}, tags, set(todo))
    _write_failures(folder, failures)
    if not len(store):
        raise ValueError(
            f"{shown(root)}: no sound can be read: "
            f"{first_lines(error for _, error in failures.values())}"
        )
    new_failures |= found.errors
    skipped = len(failures) - len(new_failures)
    removed = len(gone) - moved.from_gone
    unchanged = len(found.files) - len(todo) - moved.count - skipped
    return Changes(*done.values(), moved.count, removed, unchanged, new_failures, skipped)


class _Moved(NamedTuple):
    count: int
    from_gone: int  # whose old place is empty now


def _take_over(
    store: Store,
    root: Path,
    files: Mapping[str, State],
    known: Mapping[str, File],
    gone: set[str],
    todo: Sequence[str],
    tags: Tags | None,
    ids: Iterator[int],
) -> tuple[_Moved, list[str]]:
    """Files whose content is in the index take over its vectors; returns those that are left."""
    by_content: dict[tuple[int, str], tuple[str, File]] = {}
    for path, file in known.items():
        # Of equal ones that which has gone: the file has moved.
        if (file.size_bytes, file.sha256) not in by_content or path in gone:
            by_content[file.size_bytes, file.sha256] = (path, file)
    sizes = {size for size, _ in by_content}
    left, copies, from_gone = [], [], set()
    for path in todo:
        size = files[path][0]
        source = None
        if size in sizes:
            source = by_content.get((size, _digest(path_of(root, path))))
        if source is None:
            left.append(path)
            continue
        copies.append((path, source[1]))
        if source[0] in gone:
            from_gone.add(source[0])
    _copy(store, copies, files, known, tags, ids)
    return _Moved(len(copies), len(from_gone)), left


def _copy(
    store: Store,
    copies: Sequence[tuple[str, File]],
    files: Mapping[str, State],
    known: Mapping[str, File],
    tags: Tags | None,
    ids: Iterator[int],
) -> None:
    """Rows of other rows' vectors, with the paths, states and tags of these files."""
    for start in range(0, len(copies), _SAVE_ROWS):
        part = copies[start : start + _SAVE_ROWS]
        rows = store.take([file.id for _, file in part], store.schema.names)
        new = {"id": [next(ids) for _ in part]}
        shown_paths = [path_columns(path) for path, _ in part]
        new |= {name: [row[name] for row in shown_paths] for name in ("path", "raw_path")}
        new["size_bytes"], new["modified_ns"] = zip(*(files[path] for path, _ in part), strict=True)
        new["tags"] = [_tags(path, tags, file) for path, file in part]
        for name, values in new.items():
            field = store.schema.field(name)
            place = store.schema.get_field_index(name)
            rows = rows.set_column(place, field, pa.array(list(values), field.type))
        store.add(rows)
        store.delete([known[path].id for path, _ in part if path in known])


def _retag(store: Store, known: Mapping[str, File], tags: Tags | None, done: set[str]) -> None:
    """Unchanged sounds get the tags that they have in another table of tags."""
    if tags is None:
        return
    current, _ = store.files()
    other = [
        (path, file)
        for path, file in current.items()
        if path in known and path not in done and file.tags != tags.get(path, ())
    ]
    states = {path: _state(file) for path, file in other}
    top = max((file.id for file in current.values()), default=-1) + 1
    _copy(store, other, states, dict(other), tags, iter(range(top, 2**62)))


def _row(
    root: Path,
    path: str,
    state: State,
    found: "Description",
    tags: Tags | None,
    old: File | None,
    ids: Iterator[int],
) -> dict[str, Any]:
    """The columns that come from the file. Raises ValueError or OSError where it cannot be read."""
    if found.error is not None:
        raise found.error
    row = path_columns(path) | {"sha256": storage.file_sha256(path_of(root, path))}
    row |= dict(zip(("size_bytes", "modified_ns"), state, strict=True))
    return row | {"id": next(ids), "tags": _tags(path, tags, old)}


def _tags(path: str, tags: Tags | None, old: File | None) -> list[str]:
    if tags is None:
        return [] if old is None else list(old.tags)
    return list(tags.get(path, ()))


def _state(file: File) -> State:
    return file.size_bytes, file.modified_ns


def _digest(file: Path) -> str:
    try:
        return storage.file_sha256(file)
    except OSError:
        return ""  # which is then found where it is decoded


def _hidden(path: str, errors: Iterable[str]) -> bool:
    """Whether a path lies where nobody could look: it may still be there."""
    return any(place in (".", path) or path.startswith(place + "/") for place in errors)


def _read_failures(folder: Path) -> dict[str, tuple[State, str]]:
    try:
        text = storage.read_bytes(folder / FAILURES).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return {
            row["path"]: ((int(row["size_bytes"]), int(row["modified_ns"])), row["error"])
            for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # the sounds are tried again


def _write_failures(folder: Path, failures: Mapping[str, tuple[State, str]]) -> None:
    if not failures:
        (folder / FAILURES).unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "size_bytes", "modified_ns", "error"])
    rows.writerows(
        sorted([shown(path), *state, shown(error)] for path, (state, error) in failures.items())
    )
    storage.write_text(folder / FAILURES, text.getvalue())
