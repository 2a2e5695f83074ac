"""TFRecord shards: records one after the other, each with two checksums.

A record is: length (8 bytes), masked CRC of the length (4), data, masked CRC of the data (4).
"""

import hashlib
import itertools
import os
import struct
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

import google_crc32c
import numpy as np

from coala_jax import storage
from coala_jax.storage import OpenFiles, PathLike

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_SEARCHED_AT_ONCE = 1 << 20  # bytes
_BAD_DATA = "its checksum does not match its data"


class DatasetError(ValueError):
    """A folder that is no dataset, or is damaged; the message names file, place and cause."""


def hint(dataset: PathLike) -> str:
    """What to do about damaged files, to end a message with."""
    return (
        f"python -m coala_jax.data.verify {dataset} lists every damaged file; copy them again, or "
        "delete the dataset and prepare it again"
    )


class Span(NamedTuple):
    """A stretch of a shard: a record with its framing, or bytes in which none can be read."""

    record: int  # its number, as spans are met
    offset: int  # of its first byte in the shard
    size: int  # in bytes
    cause: str  # what is wrong with it; empty if it is whole

    @property
    def data(self) -> slice:
        """Where the record's data lie in the shard."""
        return slice(self.offset + _HEADER.size, self.offset + self.size - _FOOTER.size)


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as the TFRecord format asks."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class ShardWriter:
    """Writes one shard, record after record, and knows its entry in the manifest in the end.

    It can go on with a shard that was begun: `kept` are the whole records that its file begins with
    and that stay; the rest is cut off.

    Attributes:
        size: bytes written so far, those kept included.
    """

    def __init__(self, path: PathLike, kept: bytes = b"") -> None:
        self._path, self.size = storage.path(path), len(kept)
        self._digest, self._crc = hashlib.sha256(kept), google_crc32c.value(kept)
        self._count = sum(1 for _ in walk(kept, check_data=False))
        self._file = storage.open_after(path, len(kept))

    def write(self, data: bytes) -> None:
        """Appends one record."""
        length = struct.pack("<Q", len(data))
        framed = b"".join(
            [length, _FOOTER.pack(masked_crc(length)), data, _FOOTER.pack(masked_crc(data))]
        )
        self._file.write(framed)
        self._digest.update(framed)
        self._crc = google_crc32c.extend(self._crc, framed)
        self._count += 1
        self.size += len(framed)

    def flush(self) -> None:
        """Hands what was written to the system, so that a killed process does not lose it."""
        self._file.flush()

    def close(self) -> dict[str, Any]:
        """Waits until the shard is on the disk; returns its entry in the manifest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {
            "file": self._path.name,
            "records": self._count,
            "bytes": self.size,
            "crc32c": self._crc,
            "sha256": self._digest.hexdigest(),
        }

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write_shard(path: PathLike, records: Iterable[bytes]) -> dict[str, Any]:
    """Writes one shard through to the disk and returns its entry in the manifest."""
    with ShardWriter(path) as shard:
        for data in records:
            shard.write(data)
        return shard.close()


class _FileBytes:
    """The bytes of an open file, of which only those are read that are asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))


def walk(shard: bytes | _FileBytes, *, check_data: bool = True) -> Iterator[Span]:
    """Every byte of a shard, in order, as spans; after a broken one it goes on where it can.

    Without `check_data` only the framing is read, not the checksums of the data.
    """
    offset = 0
    for number in itertools.count():
        if offset == len(shard):
            return
        size, cause = _record_at(shard, offset, check_data)
        if cause:
            # A record that begins inside a broken one was behind bytes that are gone.
            size = _find_record(shard, offset + 1, offset + size) - offset
        yield Span(number, offset, size, cause)
        offset += size


def _record_at(shard: bytes | _FileBytes, offset: int, check_data: bool) -> tuple[int, str]:
    """The size of the record that begins here and what is wrong with it.

    A record whose header cannot be trusted, or that does not end in the shard, is taken to reach
    the shard's end.
    """
    rest = len(shard) - offset
    if rest < _HEADER.size:
        return rest, "the file ends within its header"
    header = shard[offset : offset + _HEADER.size]
    length, crc = _HEADER.unpack(header)
    if masked_crc(header[:8]) != crc:
        return rest, "the checksum of its length does not match"
    size = _HEADER.size + length + _FOOTER.size
    if size > rest:
        return rest, "the file ends within its data"
    if check_data:
        framed = shard[offset : offset + size]
        if not _data_is_whole(framed):
            return size, _BAD_DATA
    return size, ""


def _find_record(shard: bytes | _FileBytes, start: int, stop: int) -> int:
    """Where the first record begins at or after `start`, or `stop` if none does before it.

    Only records of 1 byte to 4 GiB are looked for: their lengths end in four zero bytes.
    """
    for first in range(start, stop, _SEARCHED_AT_ONCE):
        count = min(_SEARCHED_AT_ONCE, stop - first)
        bytes_ = np.frombuffer(shard[first : first + count + 7], np.uint8)
        count = max(len(bytes_) - 7, 0)
        low, high = (
            np.bitwise_or.reduce([bytes_[n : n + count] for n in places])
            for places in (range(4), range(4, 8))
        )
        for place in np.flatnonzero((low != 0) & (high == 0)).tolist():
            if not _record_at(shard, first + place, check_data=False)[1]:
                return first + place
    return stop


def _data_is_whole(framed: bytes) -> bool:
    """Whether the data of a record with its framing match their checksum."""
    data = framed[_HEADER.size : -_FOOTER.size]
    return _FOOTER.unpack(framed[-_FOOTER.size :])[0] == masked_crc(data)


class Shard:
    """Random access to the records of one shard; every CRC that is passed is verified.

    It holds 8 bytes a record and no open file: `files` opens those that are read.
    """

    def __init__(
        self, path: PathLike, expected_records: int, files: OpenFiles | None = None
    ) -> None:
        self.path, self._files = path, files or OpenFiles()
        offsets = [0]
        try:
            with storage.path(path).open("rb") as file:
                for span in walk(_FileBytes(file), check_data=False):
                    if span.cause:
                        raise self._damaged(span.record, span.offset, span.cause)
                    offsets.append(span.offset + span.size)
        except OSError as error:
            raise self._unreadable(error) from error
        self._offsets = np.array(offsets, np.int64)
        if len(self) != expected_records:
            raise DatasetError(
                f"{path}: {len(self)} records where the manifest says {expected_records}; "
                f"the file was cut or replaced; {hint(storage.path(path).parent)}"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, record: int) -> bytes:
        """The data of a record. Raises DatasetError where they are damaged, or gone since."""
        start, stop = self._offsets[record : record + 2].tolist()
        try:
            framed = self._files.read(self.path, start, stop - start)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(framed) < stop - start:
            raise self.damaged(record, "the file has become shorter")
        if not _data_is_whole(framed):
            raise self.damaged(record, _BAD_DATA)
        return framed[_HEADER.size : -_FOOTER.size]

    def damaged(self, record: int, cause: str) -> DatasetError:
        """The error that says where a record lies, what is wrong with it and what to do."""
        return self._damaged(record, int(self._offsets[record]), cause)

    def _damaged(self, record: int, offset: int, cause: str) -> DatasetError:
        place = f"{self.path}: record {record} at byte {offset}"
        return DatasetError(f"{place}: {cause}; {hint(storage.path(self.path).parent)}")

    def _unreadable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"{self.path}: it cannot be read ({error}); {hint(storage.path(self.path).parent)}"
        )
