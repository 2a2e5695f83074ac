import dataclasses
import resource
import struct
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from coala_jax.data import dataset as module
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import Example, Manifest, parse_example
from coala_jax.data.tfrecord import DatasetError, Shard, write_shard
from tests.synthetic import random_examples, write_random_dataset

TRAIN, VALIDATION = 7, 3


@pytest.fixture
def dataset(tmp_path):
    write_random_dataset(tmp_path / "dataset", TRAIN, VALIDATION)
    return tmp_path / "dataset"


def shard_path(dataset, split="train"):
    return dataset / f"coala-{split}.tfrecord-00000-of-00001"


def test_what_is_written_is_read(dataset):
    wanted = random_examples(TRAIN + VALIDATION, 6)
    for split, examples in (("train", wanted[:TRAIN]), ("validation", wanted[TRAIN:])):
        reader = SplitReader(dataset, split)
        assert len(reader) == len(examples)
        for number, example in enumerate(examples):
            got = reader[number]
            assert got.key == (f"{example.id}", example.frame)
            assert got.patch.tobytes() == example.patch.tobytes()
            assert got.tags.tolist() == example.tags.tolist()
        for number in (-1, len(examples)):
            with pytest.raises(IndexError, match=f"{number}"):
                reader[number]


def test_examples_keep_their_order_over_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS_PER_SHARD", 3)
    manifest = write_random_dataset(tmp_path / "d", train=7, validation=3)
    assert [shard["records"] for shard in manifest.shards["train"]] == [3, 3, 1]
    assert [shard["records"] for shard in manifest.shards["validation"]] == [3]
    reader = SplitReader(tmp_path / "d", "train")
    assert [reader[n].key for n in range(7)] == [e.key for e in random_examples(10, 6)[:7]]


def write(folder, train, validation=(), **changes) -> Manifest:
    given = {
        "name": "corpus",
        "fingerprint": "digest",
        "settings": {"processing": ("a", 1)},
        "front_end": {"hop_samples": 512},
        "vocabulary": [f"tag{number}" for number in range(6)],
        "tag_processing": "released",
        "splits": {"train": train, "validation": list(validation)},
    }
    return write_dataset(folder, **given | changes)


def test_the_manifest_holds_what_was_given_and_counted(tmp_path):
    examples = random_examples(TRAIN, 6)
    (tmp_path / "report.md").write_text("a report")
    manifest = write(tmp_path, examples)
    assert manifest == Manifest.load(tmp_path)
    assert (manifest.name, manifest.fingerprint) == ("corpus", "digest")
    assert manifest.tag_processing == "released"
    unknown = {"level": "recorded", "resampler": "unknown", "scaling": "none"}
    assert manifest.settings == unknown | {"processing": ["a", 1]}
    assert Scaler.from_dict(manifest.scaler) == Scaler.none()
    counts = np.bincount(np.concatenate([example.tags for example in examples]), minlength=6)
    assert manifest.tag_counts == counts.tolist()
    assert manifest.shards["train"][0]["bytes"] == shard_path(tmp_path).stat().st_size
    named = {"report.md", "features.json", "dataset_info.json", "tags.labels.txt"}
    assert manifest.side_files.keys() == named
    manifest.check_files(tmp_path)
    assert manifest.counts == {"train": TRAIN, "validation": 0}
    assert manifest.shards["validation"] == []
    assert len(SplitReader(tmp_path, "validation")) == 0


def test_patches_are_log_mel_on_disk_and_scaled_where_they_are_read(tmp_path):
    rng = np.random.default_rng(0)
    raw = [
        dataclasses.replace(example, patch=rng.uniform(-15, 5, (96, 96)).astype(np.float32))
        for example in random_examples(TRAIN + VALIDATION, 6)
    ]
    louder = dataclasses.replace(raw[-1], patch=raw[-1].patch + 9)
    manifest = write(tmp_path, raw[:TRAIN], [*raw[TRAIN:-1], louder], scaling="global")
    low, high = np.min([e.patch for e in raw[:TRAIN]]), np.max([e.patch for e in raw[:TRAIN]])
    assert Scaler.from_dict(manifest.scaler) == Scaler(float(low), float(high))
    record = Shard(shard_path(tmp_path), TRAIN).read(3)
    assert parse_example(record).patch.tobytes() == raw[3].patch.tobytes()
    read = SplitReader(tmp_path, "train")[3].patch
    np.testing.assert_allclose(read, (raw[3].patch - low) / (high - low), atol=1e-6)
    assert read.dtype == np.float32
    assert SplitReader(tmp_path, "validation")[VALIDATION - 1].patch.max() == 1


def test_more_shards_than_a_process_may_open_are_read(tmp_path, monkeypatch):
    """150 shards under a limit of 128 descriptors, in any order, by several threads."""
    monkeypatch.setattr(module, "RECORDS_PER_SHARD", 1)
    patch = np.zeros((96, 96), np.float32)
    write(tmp_path, [Example(patch, np.array([0]), str(number)) for number in range(150)])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, limits[1]))
    try:
        reader = SplitReader(tmp_path, "train")
        order = np.random.default_rng(0).permutation(150).tolist()
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda number: reader[number].id, order))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert read == [str(number) for number in order]


class MadeWhenAskedFor(Sequence):
    """Examples, each made when it is asked for; which ones, and how many live at once."""

    def __init__(self, examples):
        self.examples, self.asked = examples, []
        self.living = self.most = 0

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, number):
        self.asked.append(number)
        example = dataclasses.replace(self.examples[number])
        self.living += 1
        self.most = max(self.most, self.living)
        weakref.finalize(example, self.forget)
        return example

    def forget(self):
        self.living -= 1


def test_examples_are_asked_for_once_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS_PER_SHARD", 4)
    examples = MadeWhenAskedFor(random_examples(10, 6))
    write(tmp_path, examples)
    # The check of the annotations asks for some before and after.
    assert str(list(range(10)))[1:-1] in str(examples.asked)
    assert len(examples.asked) < 20
    assert examples.most <= 2  # the one at hand and the one that takes its place


def test_an_example_is_written_once_and_an_invalid_one_is_refused(tmp_path):
    examples = random_examples(10, 6)
    odd = dataclasses.replace(examples[0], tags=np.array([-1]))
    refused = {
        "sound-0-é.wav, frame 0: ": [examples[0], examples[1], examples[0]],
        "sound-9-é.wav, frame 108: ": [examples[0], examples[9]],
        r"sound-0-é.wav, frame 0: .*\[-1\]": [odd],
    }
    for number, (token, train) in enumerate(refused.items()):
        (tmp_path / f"{number}").mkdir()
        with pytest.raises(ValueError, match=token):
            write(tmp_path / f"{number}", train, examples[9:])
        assert not (tmp_path / f"{number}" / "manifest.json").exists()
    (tmp_path / "frames").mkdir()
    write(tmp_path / "frames", [dataclasses.replace(examples[0], frame=f) for f in (0, 12)])
    reader = SplitReader(tmp_path / "frames", "train")
    assert [reader[n].frame for n in range(2)] == [0, 12]


@pytest.mark.parametrize("name", ["manifest.json", "coala-train.tfrecord-00000-of-00009", "sub/x"])
def test_a_folder_with_parts_of_a_dataset_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(DatasetError, match=name.split("/")[0]):
        write(tmp_path, random_examples(3, 6))


def test_a_flipped_bit_in_a_patch_is_found_when_it_is_read(dataset):
    path = shard_path(dataset)
    content = bytearray(path.read_bytes())
    length = struct.unpack_from("<Q", content)[0]
    content[16 + length + 12 + length // 2] ^= 16  # in the data of record 1
    path.write_bytes(bytes(content))
    reader = SplitReader(dataset, "train")
    reader[0]
    with pytest.raises(DatasetError, match=f"record 1 at byte {16 + length}: "):
        reader[1]


def test_a_record_of_another_schema_is_named_when_it_is_read(dataset):
    manifest = Manifest.load(dataset)
    write_shard(shard_path(dataset), [b"no example"] * TRAIN)
    reader = SplitReader(dataset, "train", manifest)
    with pytest.raises(DatasetError, match="record 2 at byte 52: "):
        reader[2]
    smaller = dataclasses.replace(manifest, vocabulary=["tag0"])
    reader = SplitReader(dataset, "validation", smaller)
    with pytest.raises(DatasetError, match=r"record 0 at byte 0: .* of 1"):
        reader[0]


def test_a_split_without_its_shard_is_refused(dataset):
    shard_path(dataset).unlink()
    with pytest.raises(DatasetError, match=r"coala-train.*No such file"):
        SplitReader(dataset, "train")
    assert len(SplitReader(dataset, "validation")) == VALIDATION
