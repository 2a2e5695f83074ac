"""Every kind of damage and contradiction in a dataset is found, and where it is."""

import dataclasses
import random
import shutil

import numpy as np
import pytest

from coala_jax.cli import verify as command
from coala_jax.data.schema import MANIFEST, Manifest, serializer
from coala_jax.data.tfrecord import DatasetError, walk, write_shard
from coala_jax.data.verify import Problem, check_shard, check_side_file, verify
from tests.damage import flipped, truncated
from tests.synthetic import random_examples, write_random_dataset

TRAIN, VALIDATION = 5, 3
SHARDS = {split: f"coala-{split}.tfrecord-00000-of-00001" for split in ("train", "validation")}
VOCABULARY = [f"tag{number}" for number in range(6)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Never damaged, or put right again."""
    folder = tmp_path_factory.mktemp("small") / "dataset"
    write_random_dataset(folder, 2, 2)
    yield folder
    assert not verify(folder).problems


@pytest.fixture
def dataset(tmp_path):
    write_random_dataset(tmp_path / "dataset", TRAIN, VALIDATION)
    return tmp_path / "dataset"


def test_a_valid_dataset_is_valid(dataset):
    (dataset / "notes.txt").write_text("not ours")
    (dataset / "folder").mkdir()
    report = verify(dataset)
    assert not report.problems
    names = [MANIFEST, *Manifest.load(dataset).digests()]
    assert report.bytes_read == sum((dataset / name).stat().st_size for name in names)
    assert (report.records, report.shards) == (8, 2)


@pytest.mark.parametrize("damage", [flipped, truncated])
def test_damage_to_a_side_file_is_found_at_any_bit_and_size(small, damage):
    """Of the manifest, see `test_manifest.py`."""
    manifest = Manifest.load(small)
    for name, digest in manifest.side_files.items():
        size = (small / name).stat().st_size
        places = range(0, 8 * size, 7) if damage is flipped else range(0, size, 3)
        for place in damage(small / name, places):
            assert [p.file for p in check_side_file(small / name, digest)] == [name], place


def framing_and_a_sample(content: bytes) -> list[int]:
    """The bytes of all headers and footers, and some of the data."""
    framing = set()
    for span in walk(content):
        data = span.data
        framing |= {*range(span.offset, data.start), *range(data.stop, data.stop + 4)}
    return sorted(framing | set(random.Random(0).sample(range(len(content)), 50)))


def test_flipped_bits_of_a_shard_are_found_where_they_are(small):
    entry = Manifest.load(small).shards["train"][0]
    path = small / entry["file"]
    content = path.read_bytes()
    offsets = [span.offset for span in walk(content)]
    places = framing_and_a_sample(content)
    assert len(places) >= 2 * 16 + 40
    for bit in flipped(path, [8 * place + bit for place in places for bit in range(0, 8, 3)]):
        record = bit // 8 >= offsets[1]
        first = check_shard(path, entry, 6).problems[0]
        assert (first.record, first.offset) == (record, offsets[record]), bit


def test_truncations_of_a_shard_are_found(small):
    entry = Manifest.load(small).shards["train"][0]
    path, size = small / entry["file"], entry["bytes"]
    ends = [span.offset + span.size for span in walk(path.read_bytes())]
    edges = {*range(20), *range(ends[0] - 20, ends[0] + 20), *range(size - 20, size)}
    for cut in truncated(path, edges):
        shard = check_shard(path, entry, 6)
        assert (shard.problems[0].file, shard.problems[0].offset) == (entry["file"], cut)
        assert len(shard.records) == sum(cut >= end for end in ends)
        assert len(shard.problems) >= 2


def flip(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))


def test_all_problems_are_listed_with_their_places(dataset):
    offsets = [span.offset for span in walk((dataset / SHARDS["train"]).read_bytes())]
    flip(dataset / SHARDS["train"], offsets[1] + 20_000)
    flip(dataset / SHARDS["train"], offsets[3] + 20_000)
    (dataset / SHARDS["validation"]).unlink()
    flip(dataset / "features.json", 5)
    (dataset / "dataset_info.json").unlink()
    (dataset / "tags.labels.txt").unlink()
    (dataset / "tags.labels.txt").mkdir()
    (dataset / "coala-train.tfrecord-00001-of-00002").write_text("old")
    report = verify(dataset)
    found = [(p.file, p.record, p.offset, p.sound) for p in report.problems]
    assert found == [
        (SHARDS["train"], 1, offsets[1], "sound-1-é.wav"),
        (SHARDS["train"], 3, offsets[3], "sound-3-é.wav"),
        (SHARDS["validation"], None, None, ""),
        ("dataset_info.json", None, None, ""),
        ("features.json", None, None, ""),
        ("tags.labels.txt", None, None, ""),
        ("coala-train.tfrecord-00001-of-00002", None, None, ""),
    ]
    assert report.records == 3
    lines = str(report).splitlines()
    assert lines[0].startswith(f"{SHARDS['train']}: record 1 at byte {offsets[1]}: ")
    assert len(lines) == 8


@pytest.mark.parametrize("other", ["one more", "one fewer", "reversed", "twice"])
def test_another_shard_in_its_place_is_found(dataset, tmp_path, other):
    """Every checksum in it is right."""
    path = dataset / SHARDS["train"]
    content = path.read_bytes()
    if other in ("reversed", "twice"):
        records = [content[span.offset : span.offset + span.size] for span in walk(content)]
        path.write_bytes(content * 2 if other == "twice" else b"".join(reversed(records)))
    else:
        records = TRAIN + 1 if other == "one more" else TRAIN - 1
        write_random_dataset(tmp_path / "other", records, 0, tags=5)
        shutil.copy(tmp_path / "other" / SHARDS["train"], path)
    report = verify(dataset)
    assert {problem.file for problem in report.problems} == {SHARDS["train"]}
    if other == "twice":
        assert [problem.offset for problem in report.problems] == [len(content)]
        assert report.records == TRAIN + VALIDATION


def resaved(dataset, **changes) -> None:
    dataclasses.replace(Manifest.load(dataset), **changes).save(dataset)


def rewrite(dataset, examples, **entry_changes) -> None:
    """A training shard of these examples, and a manifest that knows it, but counts as before."""
    serialize = serializer([*VOCABULARY, "more"])
    records = (e if isinstance(e, bytes) else serialize(e) for e in examples)
    entry = write_shard(dataset / SHARDS["train"], records) | entry_changes
    resaved(dataset, shards=Manifest.load(dataset).shards | {"train": [entry]})


EXAMPLES = random_examples(TRAIN + VALIDATION, 6)
ODD = dataclasses.replace(EXAMPLES[2], tags=np.array([6]))


FIRST = EXAMPLES[:4]
# What is done to the dataset, and what each problem names.
CONTRADICTIONS = {
    "tag": (lambda d: rewrite(d, [*EXAMPLES[:2], ODD, *EXAMPLES[3:5]]), ["sound-2-é.wav"]),
    "no example": (lambda d: rewrite(d, [*FIRST, b"no example"]), ["record 4"]),
    "twice in a split": (lambda d: rewrite(d, [*FIRST, EXAMPLES[1]]), ["sound-1-é.wav"]),
    "both splits": (
        lambda d: rewrite(d, [*FIRST, EXAMPLES[5]]),
        ["sound-5-é.wav", "tag_counts"],
    ),
    "counts": (lambda d: rewrite(d, FIRST), ["examples in train", "tag_counts"]),
    "records": (
        lambda d: rewrite(d, EXAMPLES[:5], records=6),
        ["5 records", "examples in train"],
    ),
    "CRC": (lambda d: rewrite(d, EXAMPLES[:5], crc32c=7), ["CRC-32C"]),
    "tag counts": (lambda d: resaved(d, tag_counts=[0] * 6), ["tag_counts"]),
    "side files": (lambda d: resaved(d, side_files={}), ["features.json", "dataset_info.json"]),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_the_manifest_is_found(dataset, name):
    """Every digest is right here: what is wrong is what was written."""
    change, tokens = CONTRADICTIONS[name]
    change(dataset)
    for problem, token in zip(verify(dataset).problems, tokens, strict=True):
        assert token in str(problem)


@pytest.mark.parametrize("make", ["flip", "delete", "no folder"])
def test_without_a_valid_manifest_it_says_why(dataset, make):
    path = dataset / MANIFEST
    if make == "flip":
        flip(path, 30)
    else:
        path.unlink() if make == "delete" else shutil.rmtree(dataset)
    with pytest.raises(DatasetError) as error:
        verify(dataset)
    assert str(dataset) in str(error.value)


def test_the_command(dataset, capsys):
    assert command.main([str(dataset)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{verify(dataset)}\n"
    assert "100%" in captured.err
    (dataset / "features.json").unlink()
    assert command.main([str(dataset)]) == 1
    assert str(Problem("features.json", "missing")) in capsys.readouterr().out
