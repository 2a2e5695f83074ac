"""The directory beside a dataset in which it is made, and what a killed run left in it."""

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coala_jax import storage
from coala_jax.data.tfrecord import DatasetError, walk
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.table import Sound

_STAMP, _LOCK = "fingerprint", "lock"


def discard_staging(out: Path) -> None:
    """Removes what a run left that was killed when it had just finished."""
    staging = _beside(out)
    if (staging / _STAMP).is_file():
        shutil.rmtree(staging)


@contextlib.contextmanager
def staging_directory(out: Path, fingerprint: str) -> Iterator[Path]:
    """`OUT.work`, for this process alone; emptied unless it was begun for the same fingerprint.

    Raises:
        DatasetError: another process is at work in it, or it holds something else.
    """
    staging = _beside(out)
    stamp = staging / _STAMP
    if staging.exists() and not stamp.is_file() and any(staging.iterdir()):
        raise DatasetError(
            f"{staging}: it is needed to make {out} and holds something else; move it away, or "
            "choose another --out"
        )
    staging.mkdir(parents=True, exist_ok=True)
    with storage.path(staging / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(f"{out}: another process is making it; wait for that one") from error
        if stamp.is_file() and storage.read_bytes(stamp).decode() != fingerprint:
            print(f"{staging}: it was begun for other sounds or settings, and is started afresh")
            for path in staging.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
        storage.write_text(stamp, fingerprint)
        yield staging


def _beside(out: Path) -> Path:
    return out.with_name(out.name + ".work")


class Written(NamedTuple):
    """A sound that has been worked through, and the size of its shard after it, in bytes."""

    result: ExtractionResult
    shard_bytes: int


class Journal:
    """What each sound of a shard gave, a JSON line each, appended after its records are written.

    The shard and its journal together are as good as the shorter of them: `recover` finds how far
    both are whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def recover(self, sounds: Sequence[Sound], shard: Path) -> list[Written]:
        """The first of the sounds, as far as their lines and their records are there."""
        if not (self._path.is_file() and shard.is_file()):
            return []
        ends = [0]  # of whole records
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
        """Opens the journal to append to it, with the lines of the first sounds in it."""
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
