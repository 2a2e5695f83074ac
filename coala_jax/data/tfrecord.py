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
_BAD_DATA = "its checksum does not match its data"


class DatasetError(ValueError):
    """An invalid or damaged dataset; the message names the file, the place and the cause."""


def hint(dataset: PathLike) -> str:
    """What to do about damaged files, the end of a message."""
    return (
        f"Fix: copy the files that coala verify {dataset} lists again, or "
        "delete the dataset and prepare it again"
    )


class Span(NamedTuple):
    """A range of bytes of a shard: a record with its framing, or bytes that hold no valid record.

    record: index of the span in the shard.
    offset, size: in bytes.
    cause: what is wrong with it; empty if it is valid.
    """

    record: int
    offset: int
    size: int
    cause: str

    @property
    def data(self) -> slice:
        """The bytes of the record's data in the shard."""
        return slice(self.offset + _HEADER.size, self.offset + self.size - _FOOTER.size)


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as the TFRecord format defines."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class ShardWriter:
    """Writes one shard, record after record; `close` returns its entry in the manifest.

    To resume a shard, `kept` holds the valid records at the start of its file; the rest of the file
    is cut off.

    Attributes:
        size: bytes written so far, including those kept.
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
        with storage.explaining_full_disk(self._path, len(framed)):
            self._file.write(framed)
        self._digest.update(framed)
        self._crc = google_crc32c.extend(self._crc, framed)
        self._count += 1
        self.size += len(framed)

    def flush(self) -> None:
        """Passes what was written to the system, so that it survives a kill of the process."""
        with storage.explaining_full_disk(self._path, self.size):
            self._file.flush()

    def close(self) -> dict[str, Any]:
        """Syncs the shard to disk and returns its entry in the manifest."""
        self.flush()
        with storage.explaining_full_disk(self._path, self.size):
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
        with storage.explaining_full_disk(self._path, self.size):  # it writes what is left
            self._file.close()


def write_shard(path: PathLike, records: Iterable[bytes]) -> dict[str, Any]:
    """Writes and syncs one shard and returns its entry in the manifest."""
    with ShardWriter(path) as shard:
        for data in records:
            shard.write(data)
        return shard.close()


class _FileBytes:
    """The bytes of an open file; slicing reads only the slice."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))


def walk(shard: bytes | _FileBytes, *, check_data: bool = True) -> Iterator[Span]:
    """Splits a shard into spans that cover every byte, in order.

    After a header that is damaged there is no way to find the next record: the span of a record
    with a damaged header, or that is cut off, reaches to the end of the shard. Without `check_data`
    only the framing is checked, not the checksums of the data.
    """
    offset = 0
    for number in itertools.count():
        if offset == len(shard):
            return
        size, cause = _record_at(shard, offset, check_data)
        yield Span(number, offset, size, cause)
        offset += size


def _record_at(shard: bytes | _FileBytes, offset: int, check_data: bool) -> tuple[int, str]:
    """The size of the record at this offset and what is wrong with it."""
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


def _data_is_whole(framed: bytes) -> bool:
    """Whether the data of a framed record match their checksum."""
    data = framed[_HEADER.size : -_FOOTER.size]
    return _FOOTER.unpack(framed[-_FOOTER.size :])[0] == masked_crc(data)


class Shard:
    """Random access to the records of one shard; verifies the CRC of what it reads.

    Holds 8 bytes per record and no open file of its own: `files` opens the shards that are read.

    Raises:
        DatasetError: the shard cannot be read, is damaged, or has another number of records.
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
                f"{path}: {len(self)} records where the manifest says {expected_records}: "
                f"the file was cut or replaced. {hint(storage.path(path).parent)}"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, record: int) -> bytes:
        """The data of a record. Raises DatasetError if they are damaged or missing."""
        start, stop = self._offsets[record : record + 2].tolist()
        try:
            framed = self._files.read(self.path, start, stop - start)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(framed) < stop - start:
            raise self.damaged(record, "the file has been cut")
        if not _data_is_whole(framed):
            raise self.damaged(record, _BAD_DATA)
        return framed[_HEADER.size : -_FOOTER.size]

    def damaged(self, record: int, cause: str) -> DatasetError:
        """The error for a record: its place, the cause and the fix."""
        return self._damaged(record, int(self._offsets[record]), cause)

    def _damaged(self, record: int, offset: int, cause: str) -> DatasetError:
        place = f"{self.path}: record {record} at byte {offset}"
        return DatasetError(f"{place}: {cause}. {hint(storage.path(self.path).parent)}")

    def _unreadable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"{self.path}: cannot be read ({error}). {hint(storage.path(self.path).parent)}"
        )
