import dataclasses
import errno
import json
import os
import re
import shutil

import numpy as np
import pytest

from coala_jax.data import dataset as module
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.data.integrity import verify
from coala_jax.data.repair import repair
from coala_jax.data.schema import MANIFEST, Manifest
from coala_jax.data.tfrecord import DatasetError, walk
from tests.synthetic import random_examples

TRAIN, VALIDATION = 7, 4
EXAMPLES = random_examples(TRAIN + VALIDATION, 6)
VOCABULARY = [f"tag{number}" for number in range(6)]


def write(folder, train=EXAMPLES[:TRAIN], validation=EXAMPLES[TRAIN:]) -> None:
    """Three shards to train on, of 3, 3 and 1 records, and two to validate on, of 3 and 1."""
    folder.mkdir()
    (folder / "report.md").write_text("a report")
    write_dataset(
        folder,
        name="corpus",
        fingerprint="digest",
        settings={"seed": 3},
        front_end={"hop_samples": 512},
        vocabulary=VOCABULARY,
        tag_processing="released",
        splits={"train": train, "validation": validation},
    )


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS_PER_SHARD", 3)
    write(tmp_path / "dataset")
    return tmp_path / "dataset"


def shard(split: str, number: int):
    count = {"train": 3, "validation": 2}[split]
    return f"coala-{split}.tfrecord-{number:05d}-of-{count:05d}"


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def raw_records(folder) -> list[bytes]:
    """The records of all shards as they lie there, framing and all."""
    found = []
    for path in sorted(folder.glob("*.tfrecord-*")):
        content = path.read_bytes()
        found += [content[s.offset : s.offset + s.size] for s in walk(content) if not s.cause]
    return found


def edit(name: str, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def flip(offset_in_record: int, record: int, name: str):
    """A flipped bit, so many bytes into a record."""

    def change(content: bytes) -> bytes:
        place = [span.offset for span in walk(content)][record] + offset_in_record
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    return edit(name, change)


def drop(name: str):
    return lambda folder: (folder / name).unlink()


def cut(name: str, size: int):
    return edit(name, lambda content: content[:-size])


def without_record(name: str, record: int):
    def change(content: bytes) -> bytes:
        span = list(walk(content))[record]
        return content[: span.offset] + content[span.offset + span.size :]

    return edit(name, change)


def copy(source: str, target: str):
    return lambda folder: shutil.copy(folder / source, folder / target)


LAST = "as far as can be read: sound-{}-é.wav"


@pytest.mark.parametrize(
    ("damages", "lost", "said"),
    [
        pytest.param(
            [flip(20_000, 1, shard("train", 0))], [1], [f"1 of 3 .*{LAST.format(1)}"], id="data"
        ),
        pytest.param(
            [flip(0, 1, shard("train", 0))], [1], [f"1 of 3 .*{LAST.format(1)}"], id="length"
        ),
        pytest.param(
            [flip(9, 0, shard("train", 1))], [3], [f"1 of 3 .*{LAST.format(3)}"], id="crc"
        ),
        pytest.param([cut(shard("train", 1), 1)], [5], ["1 of 3"], id="cut"),
        pytest.param([cut(shard("train", 2), 40)], [6], ["1 of 1"], id="no-record-left"),
        pytest.param([drop(shard("train", 1))], [3, 4, 5], ["3 of 3 records lost$"], id="missing"),
        pytest.param([without_record(shard("train", 1), 1)], [4], ["1 of 3"], id="record-gone"),
        pytest.param(
            [copy(shard("train", 1), shard("train", 0))], [0, 1, 2], ["3 of 3"], id="other-shard"
        ),
        # The validation's own copy stays, though the training shards are read first.
        pytest.param(
            [copy(shard("validation", 1), shard("train", 0))],
            [0, 1, 2],
            ["3 of 3"],
            id="other-side",
        ),
        pytest.param([edit(shard("train", 0), lambda c: c + c)], [], [], id="bytes-more"),
        pytest.param([edit(shard("train", 0), lambda c: b"?" * 9 + c)], [], [], id="bytes-before"),
        pytest.param([drop("features.json")], [], [], id="features"),
        pytest.param([drop("dataset_info.json"), drop("tags.labels.txt")], [], [], id="info"),
        pytest.param([edit("features.json", lambda c: c + b" ")], [], [], id="features-changed"),
        pytest.param(
            [
                flip(20_000, 0, shard("train", 0)),
                flip(3, 2, shard("train", 1)),
                drop(shard("train", 2)),
                cut(shard("validation", 0), 30_000),
                drop("features.json"),
            ],
            [0, 5, 6, 9],
            ["1 of 3", "1 of 3", "1 of 1", "1 of 3"],
            id="many",
        ),
    ],
)
def test_what_is_whole_is_kept(dataset, damages, lost, said):
    old, records_before = Manifest.load(dataset), raw_records(dataset)
    for damage in damages:
        damage(dataset)
    damaged = contents(dataset)
    *lines, last = repair(dataset).splitlines()

    kept = [number for number in range(TRAIN + VALIDATION) if number not in lost]
    assert raw_records(dataset) == [records_before[number] for number in kept]
    keys = [EXAMPLES[number].key for number in kept]
    readers = [SplitReader(dataset, split) for split in ("train", "validation")]
    assert [reader[n].key for reader in readers for n in range(len(reader))] == keys

    report = verify(dataset)
    assert not report.problems
    assert not report.remarks
    train = [number for number in kept if number < TRAIN]
    counts = np.zeros(6, int)
    for number in train:
        counts[EXAMPLES[number].tags] += 1
    assert report.manifest == dataclasses.replace(
        old,
        fingerprint="repaired " + old.fingerprint if lost else old.fingerprint,
        counts={"train": len(train), "validation": len(kept) - len(train)},
        tag_counts=counts.tolist(),
        shards=report.manifest.shards,
        side_files=report.manifest.side_files,
    )
    # The report tells of records that are lost.
    outdated = {"report.md"} if lost else set()
    assert report.manifest.side_files.keys() == old.side_files.keys() - outdated
    if not lost:
        assert report.manifest == old

    assert contents(dataset.with_name("dataset.damaged")) == damaged
    assert {path.name for path in dataset.parent.iterdir()} == {"dataset", "dataset.damaged"}
    assert f"{len(kept)} of 11 records kept; as it was, it is {dataset}.damaged" in last
    lines = [line for line in lines if line != "report.md: left out, since it is outdated"]
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert re.search(part, line), line


def test_whole_shards_are_not_written_again(dataset):
    flip(20_000, 1, shard("train", 0))(dataset)
    files = {name: (dataset / name).stat().st_ino for name in contents(dataset)}
    repair(dataset)
    there = {name: (dataset / name).stat().st_ino for name in contents(dataset)}
    same = {name for name, inode in there.items() if files[name] == inode}
    names = {path.name for path in dataset.glob("*.tfrecord-*")} - {shard("train", 0)}
    assert same == names


def test_shards_are_numbered_anew_where_one_has_nothing_left(dataset):
    drop(shard("train", 0))(dataset)
    third = (dataset / shard("train", 2)).read_bytes()
    repair(dataset)
    assert sorted(path.name for path in dataset.glob("coala-train*")) == [
        "coala-train.tfrecord-00000-of-00002",
        "coala-train.tfrecord-00001-of-00002",
    ]
    assert (dataset / "coala-train.tfrecord-00001-of-00002").read_bytes() == third
    lengths = json.loads((dataset / "dataset_info.json").read_text())["splits"][0]["shardLengths"]
    assert lengths == ["3", "1"]


def test_files_are_copied_where_they_cannot_have_two_names(dataset, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    flip(20_000, 1, shard("train", 0))(dataset)
    repair(dataset)
    assert not verify(dataset).problems
    there = dataset / shard("train", 1)
    assert there.stat().st_nlink == 1


def test_what_cannot_be_made_anew_is_left_out_and_named(dataset):
    edit("report.md", lambda content: content + b"!")(dataset)
    (dataset / "notes.txt").write_text("mine")
    lines = repair(dataset).splitlines()
    assert lines[:2] == [
        "report.md: left out, since it is damaged",
        "notes.txt: manifest.json does not name it; left out",
    ]
    assert not (dataset / "report.md").exists()
    assert not (dataset / "notes.txt").exists()
    assert (dataset.with_name("dataset.damaged") / "notes.txt").read_text() == "mine"
    assert not verify(dataset).problems


def test_a_record_that_contradicts_the_schema_is_left_out(dataset):
    manifest = Manifest.load(dataset)
    with_tag = [number for number, example in enumerate(EXAMPLES) if 5 in example.tags]
    dataclasses.replace(
        manifest, vocabulary=VOCABULARY[:5], tag_counts=manifest.tag_counts[:5]
    ).save(dataset)
    assert with_tag
    assert repair(dataset).count("records lost (as far as can be read") >= 1
    kept = TRAIN + VALIDATION - len(with_tag)
    assert sum(Manifest.load(dataset).counts.values()) == kept
    assert not verify(dataset).problems


def test_a_whole_dataset_is_left_alone(dataset):
    before = contents(dataset), dataset.stat().st_ino
    assert repair(dataset).endswith("all whole; nothing to repair")
    assert (contents(dataset), dataset.stat().st_ino) == before
    assert [path.name for path in dataset.parent.iterdir()] == ["dataset"]
    # And so is one that was repaired, though the damaged one is still there.
    cut(shard("train", 0), 1)(dataset)
    repair(dataset)
    assert repair(dataset).endswith("all whole; nothing to repair")


def refused(dataset, message: str) -> None:
    """Repair says why it does not, and changes nothing."""
    before = contents(dataset)
    with pytest.raises(DatasetError, match=message):
        repair(dataset)
    assert contents(dataset) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(edit(MANIFEST, lambda content: content.replace(b"512", b"513")), id="edited"),
        pytest.param(edit(MANIFEST, lambda content: content[:-1]), id="cut"),
        pytest.param(drop(MANIFEST), id="missing"),
    ],
)
def test_a_manifest_is_not_made_up(dataset, damage):
    damage(dataset)
    refused(dataset, "cannot be repaired, since the scaler and the front end stand in the manifest")


def test_a_split_that_is_lost_is_not_repaired(dataset):
    drop(shard("validation", 0))(dataset)
    refused(dataset, "only 1 of 4 records of validation are whole, 2 are needed; copy the dataset")
    flip(20_000, 0, shard("validation", 1))(dataset)
    refused(dataset, "only 0 of 4 records of validation are whole")


@pytest.mark.parametrize("validation", [0, 1])
def test_a_split_that_was_small_before_does_not_stand_in_the_way(tmp_path, validation):
    write(tmp_path / "dataset", validation=EXAMPLES[TRAIN : TRAIN + validation])
    cut("coala-train.tfrecord-00000-of-00001", 1)(tmp_path / "dataset")
    repair(tmp_path / "dataset")
    assert Manifest.load(tmp_path / "dataset").counts == {"train": 6, "validation": validation}


def test_an_earlier_damaged_dataset_is_not_replaced(dataset):
    cut(shard("train", 0), 1)(dataset)
    dataset.with_name("dataset.damaged").mkdir()
    refused(dataset, r"dataset\.damaged: it is there from an earlier repair; move it away first")


def test_a_repair_that_was_interrupted(dataset, monkeypatch):
    cut(shard("train", 0), 1)(dataset)
    damaged = contents(dataset)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Manifest, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        repair(dataset)
    assert contents(dataset) == damaged
    dataset.rename(dataset.with_name("dataset.damaged"))  # as if between the two last steps
    with pytest.raises(DatasetError, match=r"was interrupted; rename .*dataset\.damaged to it"):
        repair(dataset)
    dataset.with_name("dataset.damaged").rename(dataset)
    repair(dataset)
    assert {path.name for path in dataset.parent.iterdir()} == {"dataset", "dataset.damaged"}
    assert not verify(dataset).problems


def test_a_dataset_may_be_named_by_a_link(dataset):
    cut(shard("train", 0), 1)(dataset)
    link = dataset.with_name("link")
    link.symlink_to(dataset)
    repair(link)
    assert link.is_symlink()
    assert not verify(link).problems
    assert dataset.with_name("dataset.damaged").is_dir()
