import hashlib
import os

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    return [Shard(path, 3).read(number) for number in range(3)]


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
    with pytest.raises(DatasetError, match="small"):
        Shard(path, 4)
    path.unlink()
    with pytest.raises(DatasetError, match="small"):
        Shard(path, 3)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    records=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    place=st.integers(0, 10**6),
    cut=st.integers(0, 20),
    inserted=st.binary(max_size=20),
)
def test_the_walk_covers_every_byte_and_trusts_no_byte_after_a_damaged_header(
    records, place, cut, inserted, tmp_path_factory
):
    """Some bytes are cut out and others put in their place, anywhere."""
    path = tmp_path_factory.mktemp("shard") / "small"
    write_shard(path, records)
    whole = path.read_bytes()
    place %= len(whole) + 1
    content = whole[:place] + inserted + whole[place + cut :]
    spans = list(walk(content))
    assert [span.offset for span in spans] == np.cumsum([0, *(s.size for s in spans)])[:-1].tolist()
    assert sum(span.size for span in spans) == len(content)
    assert [span.record for span in spans] == list(range(len(spans)))
    ends = np.cumsum([16 + len(record) for record in records])
    before = int((ends <= place).sum())
    assert [content[span.data] for span in spans[:before]] == records[:before]
    assert not any(span.cause for span in spans[:before])
    assert all(span.cause or content[span.data] in records for span in spans)


def test_after_damaged_data_the_walk_goes_on_and_without_check_data_it_is_not_seen(path):
    content = bytearray(path.read_bytes())
    content[12] ^= 1  # in the data of the first record
    assert [bool(span.cause) for span in walk(bytes(content))] == [True, False, False]
    assert not any(span.cause for span in walk(bytes(content), check_data=False))
    content[35] ^= 1  # in the header of the last
    assert [bool(span.cause) for span in walk(bytes(content))] == [True, False, True]
