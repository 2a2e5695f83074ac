"""The staging directory in which a dataset is made, and how a killed run is resumed from it."""

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

from coala_jax import storage
from coala_jax.data.tfrecord import DatasetError, walk
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.table import Sound

_STAMP, _LOCK = "fingerprint", "lock"


def discard_staging(out: Path) -> None:
    """Removes the staging directory of a run that was killed just after it finished."""
    staging = staging_of(out)
    if (staging / _STAMP).is_file():
        shutil.rmtree(staging)
    storage.sweep_temporary(out, older_seconds=60.0)  # of a report that was being written


@contextlib.contextmanager
def staging_directory(out: Path, fingerprint: str) -> Iterator[Path]:
    """`OUT.work`, locked for this process; emptied if it belongs to another fingerprint.

    Raises:
        DatasetError: another process uses it, or it holds something else.
    """
    staging = staging_of(out)
    stamp = staging / _STAMP
    if staging.exists() and not stamp.is_file() and not all(map(_is_own, staging.iterdir())):
        raise DatasetError(
            f"{staging}: needed to make {out}, but it holds something else. Fix: move it away, or "
            "choose another --out"
        )
    staging.mkdir(parents=True, exist_ok=True)
    with storage.path(staging / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(f"{out}: another process is making it. Fix: wait for it") from error
        storage.sweep_temporary(staging)
        if stamp.is_file() and storage.read_bytes(stamp).decode() != fingerprint:
            logging.info("%s: made from other sounds or settings; starting over", staging)
            for path in staging.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
        storage.write_text(stamp, fingerprint)
        yield staging


def staging_of(out: Path) -> Path:
    """The staging directory of a dataset."""
    return out.with_name(out.name + ".work")


def _is_own(path: Path) -> bool:
    """Whether a run that is killed before the directory has its stamp may leave it."""
    return path.name == _LOCK or (path.name.startswith(_STAMP) and storage.is_temporary(path.name))


class Written(NamedTuple):
    """The result of a sound, and the size of its shard in bytes after it was written."""

    result: ExtractionResult
    shard_bytes: int


class Journal:
    """The results of a shard's sounds, one JSON line each, appended after the records.

    After a kill, `recover` finds how far both the shard and its journal are complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def recover(self, sounds: Sequence[Sound], shard: Path) -> list[Written]:
        """Results of the first sounds, as far as their lines and records are complete."""
        if not (self._path.is_file() and shard.is_file()):
            return []
        ends = [0]  # of valid records
        for span in walk(storage.read_bytes(shard)):
            if span.cause:
                break
            ends.append(span.offset + span.size)
        found, records = [], 0
        lines = storage.read_bytes(self._path).split(b"\n")[:-1]  # the last may be cut short
        for sound, line in zip(sounds, lines, strict=False):
            try:
                fields = json.loads(line)
                file, size = fields.pop("file"), fields.pop("shard_bytes")
                result = ExtractionResult(**fields | {"frames": tuple(fields["frames"])})
            except (ValueError, TypeError, KeyError, AttributeError):
                break
            records += len(result.frames)
            if file != sound.file or records >= len(ends) or ends[records] != size:
                break
            found.append(Written(result, size))
        return found

    @contextlib.contextmanager
    def append_after(self, sounds: Sequence[Sound], kept: Sequence[Written]) -> Iterator["Journal"]:
        """Opens the journal for appending after the results that are kept."""
        pairs = zip(sounds, kept, strict=False)
        lines = b"".join(_line(sound, *written) for sound, written in pairs)
        storage.write_bytes(self._path, lines)
        with storage.open_after(self._path, len(lines)) as self._file:
            yield self

    def append(self, sound: Sound, written: Written) -> None:
        self._file.write(_line(sound, *written))
        self._file.flush()


def _line(sound: Sound, result: ExtractionResult, shard_bytes: int) -> bytes:
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    del fields["patches"]
    return json.dumps({"file": sound.file, **fields, "shard_bytes": shard_bytes}).encode() + b"\n"
