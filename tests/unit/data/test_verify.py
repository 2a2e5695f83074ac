import dataclasses
import json
import random
import re
import shutil

import numpy as np
import pytest

from coala_jax.data import verify as module
from coala_jax.data.schema import MANIFEST, Manifest, serializer
from coala_jax.data.tfrecord import DatasetError, walk, write_shard
from coala_jax.data.verify import Problem, check_shard, check_side_file, verify
from tests.damage import flipped, truncated, write_small_dataset
from tests.synthetic import random_examples, write_random_dataset

TRAIN, VALIDATION = 5, 3
SHARDS = {split: f"coala-{split}.tfrecord-00000-of-00001" for split in ("train", "validation")}
SMALL = ("manifest.json", "features.json", "dataset_info.json", "tags.labels.txt", "report.md")
VOCABULARY = [f"tag{number}" for number in range(6)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Never damaged, or put right again."""
    folder = tmp_path_factory.mktemp("integrity") / "small"
    write_small_dataset(folder)
    yield folder
    assert not verify(folder).problems


@pytest.fixture
def dataset(tmp_path):
    write_random_dataset(tmp_path / "dataset", TRAIN, VALIDATION)
    return tmp_path / "dataset"


def said(dataset) -> list[str]:
    return [str(problem) for problem in verify(dataset).problems]


def test_a_whole_dataset_is_whole(dataset):
    report = verify(dataset)
    assert not report.problems
    assert not report.remarks
    size = sum(path.stat().st_size for path in dataset.iterdir())
    assert str(report) == f"{dataset}: 8 records in 2 shards, {size} bytes, all whole"


def test_every_flipped_bit_of_the_small_files_is_found(whole):
    manifest = Manifest.load(whole)
    for name in SMALL:
        path = whole / name
        for bit in flipped(path, range(8 * path.stat().st_size)):
            if name == MANIFEST:
                with pytest.raises(DatasetError):
                    Manifest.load(whole)
            else:
                found = check_side_file(path, manifest.side_files[name])
                assert [problem.file for problem in found] == [name], bit


def test_every_truncation_of_the_small_files_is_found(whole):
    manifest = Manifest.load(whole)
    for name in SMALL[1:]:
        path = whole / name
        for size in truncated(path, range(path.stat().st_size)):
            assert check_side_file(path, manifest.side_files[name]), size


def framing_and_a_sample(content: bytes) -> list[int]:
    """The bytes of all headers and footers, and some of the data."""
    framing = set()
    for span in walk(content):
        data = span.data
        framing |= {*range(span.offset, data.start), *range(data.stop, data.stop + 4)}
    return sorted(framing | set(random.Random(0).sample(range(len(content)), 150)))


def test_flipped_bits_of_a_shard_are_found_where_they_are(whole):
    entry = Manifest.load(whole).shards["train"][0]
    path = whole / entry["file"]
    content = path.read_bytes()
    beginnings = [span.offset for span in walk(content)]
    places = framing_and_a_sample(content)
    assert len(places) >= 2 * 16 + 140
    for bit in flipped(path, [8 * place + bit for place in places for bit in range(8)]):
        record = bit // 8 >= beginnings[1]
        first = check_shard(path, entry, 2).problems[0]
        assert (first.record, first.offset) == (record, beginnings[record]), bit


def test_truncations_of_a_shard_are_found(whole):
    entry = Manifest.load(whole).shards["train"][0]
    path = whole / entry["file"]
    size = entry["bytes"]
    middle = size // 2
    edges = [*range(40), *range(middle - 40, middle + 40), *range(size - 40, size)]
    for cut in truncated(path, {*edges, *random.Random(0).sample(range(size), 100)}):
        shard = check_shard(path, entry, 2)
        cause = f"it has {cut} bytes where the manifest says {size}"
        assert shard.problems[0] == Problem(entry["file"], cause, offset=cut)
        assert len(shard.found) == (cut >= middle)  # the two records are equally long
        between = "records where the manifest says 2"
        cause = between if cut in (0, middle) else "the file ends within its "
        assert cause in shard.problems[1].cause, cut


def flip(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))


def test_all_problems_are_listed(dataset):
    content = (dataset / SHARDS["train"]).read_bytes()
    beginnings = [span.offset for span in walk(content)]
    flip(dataset / SHARDS["train"], beginnings[1] + 20_000)
    flip(dataset / SHARDS["train"], beginnings[3] + 20_000)
    (dataset / SHARDS["validation"]).unlink()
    flip(dataset / "features.json", 5)
    (dataset / "dataset_info.json").unlink()
    (dataset / "notes.txt").write_text("mine")
    crc = "its checksum does not match its data (it seems to be of sound-{}-é.wav)"
    report = verify(dataset)
    assert [str(problem) for problem in report.problems] == [
        f"{SHARDS['train']}: record 1 at byte {beginnings[1]}: {crc.format(1)}",
        f"{SHARDS['train']}: record 3 at byte {beginnings[3]}: {crc.format(3)}",
        f"{SHARDS['validation']}: the file is missing",
        "dataset_info.json: the file is missing",
        "features.json: it is not as it was written",
    ]
    assert str(report).splitlines()[5:] == [
        "remark: notes.txt: manifest.json does not name it",
        f"{dataset}: 5 problems; 3 records are whole. Fix: copy the damaged files again, or delete "
        "the dataset and prepare it again",
    ]


def test_what_does_not_belong_to_the_dataset_is_remarked(dataset):
    (dataset / "notes.txt").write_text("mine")
    (dataset / "folder").mkdir()
    (dataset / "coala-train.tfrecord-00001-of-00002").write_text("old")
    report = verify(dataset)
    assert not report.problems
    assert [remark.split(":")[0] for remark in report.remarks] == [
        "coala-train.tfrecord-00001-of-00002",
        "folder",
        "notes.txt",
    ]


def test_a_file_that_cannot_be_read_is_a_problem(dataset):
    for name in (SHARDS["train"], "features.json"):
        (dataset / name).unlink()
        (dataset / name).mkdir()
    first, second = said(dataset)
    assert f"{SHARDS['train']}: it cannot be read" in first
    assert "features.json: it cannot be read" in second


@pytest.mark.parametrize("records", [TRAIN, VALIDATION], ids=["one-more", "one-less"])
def test_another_shard_in_its_place_is_found(dataset, tmp_path, records):
    """Every checksum in it is right."""
    write_random_dataset(tmp_path / "other", TRAIN + 1, 0, tags=5)
    write_random_dataset(tmp_path / "less", TRAIN - 1, 0, tags=5)
    other = tmp_path / ("other" if records == TRAIN else "less")
    shutil.copy(other / SHARDS["train"], dataset / SHARDS["train"])
    problems = said(dataset)
    assert "bytes where the manifest says" in problems[0]
    assert (
        f"{TRAIN + 1 if records == TRAIN else TRAIN - 1} records where the manifest says 5"
        in problems[1]
    )
    assert len(problems) == 3 - (records == VALIDATION)


def test_a_shard_of_the_same_size_in_its_place_is_found(dataset):
    """Its records, in another order."""
    path = dataset / SHARDS["train"]
    content = path.read_bytes()
    records = [content[span.offset : span.offset + span.size] for span in walk(content)]
    path.write_bytes(b"".join(reversed(records)))
    (problem,) = said(dataset)
    assert (
        "its records are whole but its SHA-256 is not the manifest's: it is of another" in problem
    )
    assert verify(dataset).shards[SHARDS["train"]].found == []


def test_bytes_after_a_shards_end_are_found(dataset):
    path = dataset / SHARDS["train"]
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() * 2)
    report = verify(dataset)
    assert [str(problem) for problem in report.problems] == [
        f"{path.name} at byte {size}: it has {2 * size} bytes where the manifest says {size}"
    ]
    assert len(report.shards[path.name].found) == TRAIN


def resaved(dataset, **changes) -> None:
    dataclasses.replace(Manifest.load(dataset), **changes).save(dataset)


def rewrite(dataset, examples, **entry_changes) -> None:
    """A training shard of these examples, and a manifest that knows it, but counts as before."""
    serialize = serializer([*VOCABULARY, "more"])
    records = (e if isinstance(e, bytes) else serialize(e) for e in examples)
    entry = write_shard(dataset / SHARDS["train"], records) | entry_changes
    shards = Manifest.load(dataset).shards | {"train": [entry]}
    resaved(dataset, shards=shards)


EXAMPLES = random_examples(TRAIN + VALIDATION, 6)[:TRAIN]
ODD = dataclasses.replace(EXAMPLES[2], tags=np.array([6]))
SECOND = 2 * (16 + len(serializer(VOCABULARY)(EXAMPLES[0])))


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        pytest.param(
            lambda d: rewrite(d, [*EXAMPLES[:2], ODD, *EXAMPLES[3:]]),
            [r"its tags \[6\] are not all in the vocabulary of 6 \(it seems to be of sound-2"],
            id="tag",
        ),
        pytest.param(
            lambda d: rewrite(d, [*EXAMPLES[:4], b"no example"]),
            ["it is no tf.train"],
            id="no-example",
        ),
        pytest.param(
            lambda d: rewrite(d, [*EXAMPLES[:4], EXAMPLES[1]]),
            ["frame 12 of sound-1-é.wav comes a second time, after record 1 of coala-train"],
            id="twice",
        ),
        pytest.param(
            lambda d: rewrite(d, [*EXAMPLES[:4], random_examples(6, 6)[5]]),
            [
                "frame 60 of sound-5-é.wav comes a second time, after record 4 of coala-train",
                "its tag_counts are not",
            ],
            id="in-both-splits",
        ),
        pytest.param(
            lambda d: rewrite(d, EXAMPLES[:4]),
            ["it counts 5 examples in train, its shards 4", "its tag_counts are not"],
            id="counts",
        ),
        pytest.param(
            lambda d: rewrite(d, EXAMPLES, records=6),
            ["5 records where the manifest says 6", "it counts 5 examples in train, its shards 6"],
            id="records",
        ),
        pytest.param(lambda d: rewrite(d, EXAMPLES, crc32c=7), ["its CRC-32C is not"], id="crc"),
        pytest.param(
            lambda d: resaved(d, tag_counts=[0] * 6), ["its tag_counts are not"], id="tag-counts"
        ),
        pytest.param(lambda d: resaved(d, tag_counts=[]), ["its tag_counts"], id="no-tag-counts"),
        pytest.param(
            lambda d: resaved(d, side_files={}),
            ["it does not name features.json", "it does not name dataset_info.json"],
            id="side-files",
        ),
    ],
)
def test_what_contradicts_the_manifest_is_found(dataset, change, problems):
    """Every digest is right here: what is wrong is what was written."""
    change(dataset)
    found = said(dataset)
    assert len(found) == len(problems)
    for problem, pattern in zip(found, problems, strict=True):
        assert re.search(pattern, problem), problem


def test_without_a_manifest_the_shards_are_walked(dataset):
    flip(dataset / MANIFEST, 30)
    flip(dataset / SHARDS["validation"], 0)
    report = verify(dataset)
    first, second = report.problems
    assert first.file == MANIFEST
    assert (second.file, second.record, second.offset) == (SHARDS["validation"], 0, 0)
    assert report.manifest is None
    assert [len(report.shards[SHARDS[split]].found) for split in SHARDS] == [TRAIN, 2]
    assert str(report).endswith("2 problems; 7 records are whole")
    names = ("dataset_info.json", "features.json", "tags.labels.txt")
    assert report.remarks == [f"{name}: it cannot be checked" for name in names]
    (dataset / MANIFEST).unlink()
    assert len(verify(dataset).problems) == 2


def test_a_dataset_of_another_format_is_not_judged_by_the_schema_of_this_one(dataset):
    content = json.loads((dataset / MANIFEST).read_text()) | {"format": 2}
    (dataset / MANIFEST).write_text(json.dumps(content))
    write_shard(dataset / SHARDS["train"], [b"of another schema"] * 9)
    report = verify(dataset)
    (problem,) = map(str, report.problems)
    assert problem.startswith("manifest.json: it says format 2, this version reads format 3; prep")
    assert str(report).endswith(f"1 problem; {9 + VALIDATION} records are whole")


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "nowhere"):
        with pytest.raises(DatasetError, match=f"{name}: there is no such folder"):
            verify(tmp_path / name)


def test_an_empty_folder_is_no_dataset(tmp_path):
    (problem,) = said(tmp_path)
    assert "is no dataset" in problem


def test_progress_counts_all_bytes(dataset, capsys):
    verify(dataset)
    assert capsys.readouterr().err == ""
    verify(dataset, show_progress=True)
    assert "100%" in capsys.readouterr().err.splitlines()[-1]


def test_the_command(dataset, capsys):
    assert module.main([str(dataset)]) == 0
    size = sum(path.stat().st_size for path in dataset.iterdir())
    assert capsys.readouterr().out.endswith(f" records in 2 shards, {size} bytes, all whole\n")
    (dataset / "features.json").unlink()
    assert module.main([str(dataset)]) == 1
    assert "features.json" in capsys.readouterr().out
    assert module.main([str(dataset / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
