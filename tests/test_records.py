import hashlib
import json
import struct
import subprocess
import sys

import google_crc32c
import numpy as np
import pytest

from coala_jax.data import records
from coala_jax.data.records import DatasetError, Manifest, Shard, SplitReader
from tests.synthetic import random_examples, write_random_dataset

TRAIN, VALIDATION = 7, 3


@pytest.fixture
def dataset(tmp_path):
    write_random_dataset(tmp_path / "dataset", TRAIN, VALIDATION)
    return tmp_path / "dataset"


def shard_path(dataset, split="train"):
    return dataset / f"coala-{split}.tfrecord-00000-of-00001"


def test_the_checksum_is_castagnolis():
    # The check value of CRC-32C, from the catalogue of CRC algorithms.
    assert google_crc32c.value(b"123456789") == 0xE3069283
    # Rotated right by 15 bits, plus the constant of the TFRecord format.
    rotated = ((0xE3069283 >> 15) | (0xE3069283 << 17)) & 0xFFFFFFFF
    assert records.masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_what_is_written_is_read(dataset):
    wanted = random_examples(TRAIN + VALIDATION, 6)
    for split, examples in (("train", wanted[:TRAIN]), ("validation", wanted[TRAIN:])):
        reader = SplitReader(dataset, split)
        assert len(reader) == len(examples)
        for number, example in enumerate(examples):
            got = reader[number]
            assert got.id == example.id
            assert got.patch.tobytes() == example.patch.tobytes()
            assert got.tags.tolist() == example.tags.tolist()


def test_reading_past_the_end_is_an_error(dataset):
    reader = SplitReader(dataset, "train")
    for number in (-1, TRAIN):
        with pytest.raises(IndexError, match=f"example {number} of {TRAIN}"):
            reader[number]


def test_examples_keep_their_order_over_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS_PER_SHARD", 3)
    manifest = write_random_dataset(tmp_path / "d", train=7, validation=3)
    assert [shard["records"] for shard in manifest.shards["train"]] == [3, 3, 1]
    reader = SplitReader(tmp_path / "d", "train")
    assert [reader[n].id for n in range(7)] == [e.id for e in random_examples(10, 6)[:7]]


def test_the_manifest_counts(dataset):
    manifest = Manifest.load(dataset)
    assert manifest.counts == {"train": TRAIN, "validation": VALIDATION}
    counts = np.zeros(6, int)
    for example in random_examples(TRAIN + VALIDATION, 6)[:TRAIN]:
        counts[example.tags] += 1
    assert manifest.tag_counts == counts.tolist()
    entry = manifest.shards["train"][0]
    content = shard_path(dataset).read_bytes()
    assert entry["bytes"] == len(content)
    assert entry["crc32c"] == google_crc32c.value(content)
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_every_flipped_bit_of_a_shard_is_found(tmp_path):
    """Every bit of a small shard: lengths, checksums and data."""
    path = tmp_path / "small"
    records.write_shard(path, [b"one", b"", b"three"])
    whole = path.read_bytes()
    assert [Shard(path, 3).read(n) for n in range(3)] == [b"one", b"", b"three"]
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(damaged))
        with pytest.raises(DatasetError, match=r"small: record \d at byte \d+"):
            shard = Shard(path, 3)
            for number in range(3):
                shard.read(number)


def test_every_truncation_of_a_shard_is_found(tmp_path):
    path = tmp_path / "small"
    records.write_shard(path, [b"one", b"", b"three"])
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DatasetError, match="small"):
            Shard(path, 3)


def test_a_flipped_bit_in_a_patch_is_found_when_it_is_read(dataset):
    path = shard_path(dataset)
    content = bytearray(path.read_bytes())
    length = struct.unpack_from("<Q", content)[0]
    content[16 + length + 12 + length // 2] ^= 16  # in the data of record 1
    path.write_bytes(bytes(content))
    reader = SplitReader(dataset, "train")
    reader[0]
    with pytest.raises(DatasetError, match=r"record 1 at byte .* checksum does not match its data"):
        reader[1]


def break_manifest(change):
    def damage(dataset):
        path = dataset / records.MANIFEST
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            lambda d: (d / "manifest.json").unlink(), "is no dataset.*from_folder", id="none"
        ),
        pytest.param(
            lambda d: (d / "manifest.json").write_text("{"), "this is no manifest", id="no-json"
        ),
        pytest.param(
            lambda d: (d / "manifest.json").write_text("[]"), "this is no manifest", id="list"
        ),
        pytest.param(
            break_manifest(lambda m: m.update(format=99)), "format 99 is not format 1", id="format"
        ),
        pytest.param(break_manifest(lambda m: m.pop("scaler")), "scaler", id="key-missing"),
        pytest.param(break_manifest(lambda m: m.update(colour=1)), "colour", id="key-unknown"),
        pytest.param(
            lambda d: shard_path(d).unlink(), "cannot be read .*No such file", id="no-shard"
        ),
        pytest.param(
            lambda d: shard_path(d).write_bytes(shard_path(d, "validation").read_bytes()),
            "3 records where the manifest says 7",
            id="other-shard",
        ),
    ],
)
def test_a_damaged_dataset_is_named(dataset, damage, message):
    damage(dataset)
    with pytest.raises(DatasetError, match=message):
        SplitReader(dataset, "train")


READ_WITH_TENSORFLOW = """
import json, sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
names = builder.info.features["tags"].feature.names
print(json.dumps({
    split: [
        [
            example["id"].decode(),
            example["patch"].tobytes().hex(),
            str(example["patch"].dtype),
            [names[tag] for tag in example["tags"]],
        ]
        for example in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
    ]
    for split in ("train", "validation")
}))
assert "tensorflow" in sys.modules
"""


def test_tensorflow_datasets_reads_the_same(tmp_path, monkeypatch):
    """In a process of its own: this one must not load TensorFlow."""
    monkeypatch.setattr(records, "RECORDS_PER_SHARD", 4)
    dataset = tmp_path / "dataset"
    vocabulary = write_random_dataset(dataset, TRAIN, VALIDATION).vocabulary
    process = subprocess.run(
        [sys.executable, "-c", READ_WITH_TENSORFLOW, str(dataset)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    read = json.loads(process.stdout.splitlines()[-1])
    for split in ("train", "validation"):
        reader = SplitReader(dataset, split)
        ours = [
            [
                example.id,
                example.patch.tobytes().hex(),
                "float32",
                [vocabulary[tag] for tag in example.tags],
            ]
            for example in (reader[number] for number in range(len(reader)))
        ]
        assert read[split] == ours
