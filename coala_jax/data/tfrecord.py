"""TFRecord shards: records one after the other, each with two checksums.

A record is: length (8 bytes), masked CRC of the length (4), data, masked CRC of the data (4).
"""

import hashlib
import itertools
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_SEARCHED_AT_ONCE = 1 << 20  # bytes


class DatasetError(ValueError):
    """A folder that is no dataset, or is damaged; the message names file, place and cause."""


def way_out(dataset: Path) -> str:
    """What to do about damaged files, to end a message with."""
    return (
        f"python -m coala_jax.data.records verify {dataset} lists all that is wrong, and repair "
        "keeps what is whole"
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


def write_shard(path: Path, records: Iterable[bytes]) -> dict[str, Any]:
    """Writes one shard through to the disk and returns its entry in the manifest."""
    digest, crc, count = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            framed = b"".join(
                [length, _FOOTER.pack(masked_crc(length)), data, _FOOTER.pack(masked_crc(data))]
            )
            file.write(framed)
            digest.update(framed)
            crc = google_crc32c.extend(crc, framed)
            count += 1
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    return {
        "file": path.name,
        "records": count,
        "bytes": size,
        "crc32c": crc,
        "sha256": digest.hexdigest(),
    }


def walk(shard: bytes | mmap.mmap, *, check_data: bool = True) -> Iterator[Span]:
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


def _record_at(shard: bytes | mmap.mmap, offset: int, check_data: bool) -> tuple[int, str]:
    """The size of the record that begins here and what is wrong with it.

    A record whose header cannot be trusted, or that does not end in the shard, is taken to reach
    the shard's end.
    """
    rest = len(shard) - offset
    if rest < _HEADER.size:
        return rest, "the file ends within its header"
    length, crc = _HEADER.unpack_from(shard, offset)
    if masked_crc(shard[offset : offset + 8]) != crc:
        return rest, "the checksum of its length does not match"
    size = _HEADER.size + length + _FOOTER.size
    if size > rest:
        return rest, "the file ends within its data"
    if check_data:
        data = shard[offset + _HEADER.size : offset + _HEADER.size + length]
        if _FOOTER.unpack_from(shard, offset + size - _FOOTER.size)[0] != masked_crc(data):
            return size, "its checksum does not match its data"
    return size, ""


def _find_record(shard: bytes | mmap.mmap, start: int, stop: int) -> int:
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


class Shard:
    """Random access to the records of one shard; every CRC that is passed is verified."""

    def __init__(self, path: Path, expected_records: int) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path}: it cannot be read ({error}); {way_out(path.parent)}"
            ) from error
        self._spans: list[Span] = []
        for span in walk(self._map, check_data=False):
            self._spans.append(span)
            if span.cause:
                raise self.damaged(span.record, span.cause)
        if len(self) != expected_records:
            raise DatasetError(
                f"{path}: {len(self)} records where the manifest says {expected_records}; "
                f"the file was cut or replaced; {way_out(path.parent)}"
            )

    def __len__(self) -> int:
        return len(self._spans)

    def read(self, record: int) -> bytes:
        span = self._spans[record]
        data = self._map[span.data]
        if _FOOTER.unpack_from(self._map, span.data.stop)[0] != masked_crc(data):
            raise self.damaged(record, "its checksum does not match its data")
        return data

    def damaged(self, record: int, cause: str) -> DatasetError:
        """The error that says where a record lies, what is wrong with it and what to do."""
        offset = self._spans[record].offset
        place = f"{self.path}: record {record} at byte {offset}"
        return DatasetError(f"{place}: {cause}; {way_out(self.path.parent)}")
