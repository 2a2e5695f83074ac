import hashlib
import os
import struct

import google_crc32c
import numpy as np
import pytest

from coala_jax.data import tfrecord
from coala_jax.data.tfrecord import DatasetError, Shard, masked_crc, walk, write_shard
from tests.damage import flipped, truncated

RECORDS = [b"one", b"", b"three"]
BEGINNINGS = [0, 19, 35]  # 16 bytes of framing each
SIZE = 56


@pytest.fixture
def path(tmp_path):
    write_shard(tmp_path / "small", RECORDS)
    return tmp_path / "small"


def test_the_checksum_is_castagnolis():
    # The check value of CRC-32C, from the catalogue of CRC algorithms.
    assert google_crc32c.value(b"123456789") == 0xE3069283
    # Rotated right by 15 bits, plus the constant of the TFRecord format.
    rotated = ((0xE3069283 >> 15) | (0xE3069283 << 17)) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_a_shard_is_described_as_it_is_written(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file))
    )
    entry = write_shard(tmp_path / "small", iter(RECORDS))
    content = (tmp_path / "small").read_bytes()
    assert len(content) == SIZE
    assert entry == {
        "file": "small",
        "records": 3,
        "bytes": SIZE,
        "crc32c": google_crc32c.value(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert synced == [SIZE], "not through to the disk, or before all was written"


def test_every_flipped_bit_of_a_shard_is_found(path):
    assert [Shard(path, 3).read(n) for n in range(3)] == RECORDS
    for bit in flipped(path, range(8 * SIZE)):
        record = sum(bit // 8 >= beginning for beginning in BEGINNINGS) - 1
        place = f"small: record {record} at byte {BEGINNINGS[record]}: "
        with pytest.raises(DatasetError, match=place):
            read_all(path)
        first = next(span for span in walk(path.read_bytes()) if span.cause)
        assert (first.record, first.offset) == (record, BEGINNINGS[record])
    assert read_all(path) == RECORDS


def read_all(path):
    shard = Shard(path, 3)
    return [shard.read(number) for number in range(3)]


def test_every_truncation_of_a_shard_is_found(path):
    for size in truncated(path, range(SIZE)):
        with pytest.raises(DatasetError, match="small"):
            Shard(path, 3)
        spans = list(walk(path.read_bytes()))
        whole = sum(size >= end for end in (19, 35, SIZE))
        assert [not span.cause for span in spans[:whole]] == [True] * whole
        assert all(span.cause for span in spans[whole:])
        assert sum(span.size for span in spans) == size
    assert read_all(path) == RECORDS


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    checksums = [struct.pack("<I", masked_crc(data)) for data in (length, record)]
    return length + checksums[0] + record + checksums[1]


def records_of(size: int, count: int = 5) -> list[bytes]:
    return [np.random.default_rng(n).bytes(size + n) for n in range(count)]


LENGTH, DATA = "checksum of its length", "does not match its data"
ENDS = "ends within its data"


@pytest.mark.parametrize("at_once", [1, 7, 1 << 20], ids=lambda n: f"search-{n}")
@pytest.mark.parametrize(
    ("damage", "whole", "causes"),
    [
        pytest.param(lambda a: [a[0], b"", *a[2:]], [0, 2, 3, 4], [], id="one-gone"),
        pytest.param(lambda a: [a[0], b"\1" + a[1][1:], *a[2:]], [0, 2, 3, 4], [LENGTH], id="size"),
        pytest.param(lambda a: [b"\1" + a[0][1:], *a[1:]], [1, 2, 3, 4], [LENGTH], id="first"),
        pytest.param(lambda a: [*a[:4], b"\1" + a[4][1:]], [0, 1, 2, 3], [LENGTH], id="last"),
        pytest.param(lambda a: [a[0], a[1][:-1] + b"?", *a[2:]], [0, 2, 3, 4], [DATA], id="data"),
        pytest.param(
            lambda a: [a[0], a[1][:-1] + b"?", b"\1" + a[2][1:], *a[3:]],
            [0, 3, 4],
            [DATA, LENGTH],
            id="data-then-size",
        ),
        pytest.param(lambda a: [a[0], a[1][:40], *a[2:]], [0, 2, 3, 4], [DATA], id="bytes-gone"),
        pytest.param(
            lambda a: [a[0], a[1][:40], a[2][41:], *a[3:]], [0, 3, 4], [DATA], id="hole-over-two"
        ),
        pytest.param(lambda a: [a[0], b"???", *a[1:]], [0, 1, 2, 3, 4], [LENGTH], id="bytes-more"),
        pytest.param(
            lambda a: [*a, bytes(5)],
            [0, 1, 2, 3, 4],
            ["ends within its header"],
            id="tail",
        ),
        pytest.param(lambda a: [*a[:4], a[4][:-1]], [0, 1, 2, 3], [ENDS], id="cut"),
        pytest.param(lambda a: [b"?" * 500], [], [LENGTH], id="garbage"),
        pytest.param(lambda a: [], [], [], id="empty"),
    ],
)
def test_the_walk_goes_on_after_damage(damage, whole, causes, at_once, monkeypatch):
    monkeypatch.setattr(tfrecord, "_SEARCHED_AT_ONCE", at_once)
    records = records_of(100)
    content = b"".join(damage([framed(record) for record in records]))
    spans = list(walk(content))
    assert [content[span.data] for span in spans if not span.cause] == [records[n] for n in whole]
    found = [span.cause for span in spans if span.cause]
    assert [cause in given for cause, given in zip(causes, found, strict=True)] == [True] * len(
        causes
    )
    assert [span.record for span in spans] == list(range(len(spans)))
    assert [span.offset for span in spans] == np.cumsum([0, *(s.size for s in spans)])[:-1].tolist()
    assert sum(span.size for span in spans) == len(content)


def test_a_record_that_follows_garbage_is_found_wherever_it_begins(monkeypatch):
    """Around the edges of what is searched at once, and for lengths of one to three bytes."""
    monkeypatch.setattr(tfrecord, "_SEARCHED_AT_ONCE", 16)
    for size in (1, 255, 256, 65_536):
        record = framed(bytes([7]) * size)
        for before in range(1, 40):
            spans = list(walk(b"\xee" * before + record))
            assert [(span.offset, span.size) for span in spans] == [
                (0, before),
                (before, len(record)),
            ]
            assert [bool(span.cause) for span in spans] == [True, False]


def test_without_the_data_only_the_framing_is_walked():
    content = bytearray(framed(b"one") + framed(b"two"))
    content[12] ^= 1
    assert [bool(span.cause) for span in walk(bytes(content), check_data=False)] == [False, False]
    assert [bool(span.cause) for span in walk(bytes(content))] == [True, False]


@pytest.mark.parametrize(
    ("make", "expected", "token"),
    [
        pytest.param(lambda p: p.unlink(), 3, "No such file", id="missing"),
        pytest.param(lambda p: p.write_bytes(b""), 3, "0 records .* 3", id="empty"),
        pytest.param(lambda p: None, 4, "3 records .* 4", id="count"),
    ],
)
def test_a_shard_that_cannot_be_used_is_named(path, make, expected, token):
    make(path)
    with pytest.raises(DatasetError, match=f"small: .*{token}"):
        Shard(path, expected)
