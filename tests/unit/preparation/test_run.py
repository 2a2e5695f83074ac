"""Preparations of small folders of sounds, against counts, tags and patches computed apart."""

import csv
import dataclasses
import errno
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import DatasetWriter, SplitReader
from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import SPLITS, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import TableError
from tests.tiny_corpus import (
    Corpus,
    contents,
    copied_corpus,
    loudest_patch,
    mono,
    read,
    read_table,
    tiny_corpus,
    write_table,
)

SETTINGS = Settings(name="tiny", validation_fraction=0.2)


@pytest.fixture
def tiny(tmp_path: Path) -> Corpus:
    return tiny_corpus(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    """The tiny corpus with a dataset of it, made in `paper` mode.

    All sounds have the tag `sound`, which is too frequent; 11 has no other, and 02 and 03 are
    corrupt. The later ones are of the collection `notes`.
    """
    root = tmp_path_factory.mktemp("made")
    corpus = tiny_corpus(root)
    (corpus.audio / "02.flac").write_bytes(b"no sound")
    soundfile.write(corpus.audio / "03.wav", np.array([np.nan]), 22_000, "FLOAT")
    tags = {file: {*words, "sound"} for file, words in corpus.tags.items()}
    tags["11.flac"] = {"sound"}
    with corpus.table.open("w", encoding="utf-8", newline="") as file:
        rows = [(f, " ".join(tags[f]), corpus.group[f], "notes" * (f > "05")) for f in tags]
        csv.writer(file).writerows([("file", "tags", "group", "source"), *rows])
    settings = dataclasses.replace(SETTINGS, validation_fraction=0.5)
    prepare(corpus.audio, corpus.table, root / "dataset", settings)
    return corpus._replace(tags=tags), root / "dataset"


def test_vocabulary_tags_groups_and_collections(made: tuple[Corpus, Path]) -> None:
    corpus, dataset = made
    manifest, groups = Manifest.load(dataset), {}
    sounds_with = Counter(tag for tags in corpus.tags.values() for tag in tags)
    assert sounds_with.pop("sound") == 12  # more than 70 %
    vocabulary = sorted(sounds_with, key=lambda tag: (-sounds_with[tag], tag))
    assert (manifest.name, manifest.vocabulary) == ("tiny", vocabulary)
    for split in SPLITS:
        examples = list(SplitReader(dataset, split))
        assert [example.id for example in examples] == sorted(example.id for example in examples)
        for example in examples:
            assert example.source == ("notes" if example.id > "05" else "tiny")
            assert example.group == corpus.group[example.id]
            assert {vocabulary[tag] for tag in example.tags} == corpus.tags[example.id] - {"sound"}
        groups[split] = {example.group for example in examples}
        counts = Counter(tag for example in examples for tag in example.tags.tolist())
        counts = [counts[place] for place in range(len(vocabulary))]
        assert manifest.preparation["tag_sounds"][split] == counts
        assert split != "train" or manifest.tag_counts == counts
    assert groups["train"] and groups["validation"]
    assert not groups["train"] & groups["validation"]


def test_what_is_lost_is_listed_and_nothing_else_is_lost(made: tuple[Corpus, Path]) -> None:
    corpus, dataset = made
    manifest = Manifest.load(dataset)
    kept = {file for files in read(dataset).values() for file in files}
    assert kept == corpus.tags.keys() - {"02.flac", "03.wav", "11.flac"}
    failures = read_table(dataset / "failures.csv")
    assert [(row["file"], row["error"]) for row in failures] == [
        ("02.flac", "WrongName"),
        ("03.wav", "NotFinite"),
    ]
    assert not any(str(corpus.audio) in row["cause"] for row in failures)
    assert read_table(dataset / "untagged.csv") == [{"file": "11.flac", "tags": "sound"}]
    names = {"failures.csv", "untagged.csv", "features.json", "dataset_info.json"}
    assert manifest.side_files.keys() == names | {"tags.labels.txt"}
    assert sum(manifest.counts.values()) == 9
    assert manifest.preparation["sounds"] == {
        "listed": 12, "excluded": 0, "untagged": 1, "failed": 2, "copies": 0, "kept": 9,
    }  # fmt: skip
    assert manifest.preparation["failures"] == {"NotFinite": 1, "WrongName": 1}


def log_mel_patch(path: Path) -> np.ndarray:
    return loudest_patch(FrontEnd().log_mel(mono(path)))


def test_patches_are_scaled_by_the_training_sounds(made: tuple[Corpus, Path]) -> None:
    corpus, dataset = made
    manifest, examples = Manifest.load(dataset), read(dataset)
    raw = {f: log_mel_patch(corpus.audio / f) for files in examples.values() for f in files}
    lowest = min(raw[file].min() for file in examples["train"])
    highest = max(raw[file].max() for file in examples["train"])
    assert Scaler.from_dict(manifest.scaler) == Scaler(float(lowest), float(highest))
    assert manifest.front_end == FrontEnd().to_dict()
    for split in SPLITS:
        for file, (patch, _) in examples[split].items():
            expected = np.clip((raw[file] - lowest) / (highest - lowest), 0, 1)
            np.testing.assert_allclose(patch, expected, atol=1e-6, rtol=0)
    for file in ("00.wav", "01.flac"):  # one sample and 77: in the first two frames
        patch = (examples["train"] | examples["validation"])[file][0]
        assert patch[:, :2].max() > 0.1
        assert not patch[:, 2:].any()


def test_a_validation_sound_louder_than_all_does_not_move_the_scaler(tiny: Corpus) -> None:
    manifest = prepare(tiny.audio, tiny.table, tiny.table.with_name("first"), SETTINGS)
    kept = next(iter(read(tiny.table.with_name("first"))["validation"]))
    soundfile.write(tiny.audio / kept, np.full(4400, 1.0), 22_000)  # the split stays as it was
    again = prepare(tiny.audio, tiny.table, tiny.table.with_name("second"), SETTINGS)
    assert again.scaler == manifest.scaler
    assert log_mel_patch(tiny.audio / kept).max() > manifest.scaler["maximum"] + 1
    assert read(tiny.table.with_name("second"))["validation"][kept][0].max() == 1


def test_all_corrupt_is_an_error_and_its_causes_are_listed(tiny: Corpus, tmp_path: Path) -> None:
    for path in tiny.audio.iterdir():
        path.write_bytes(b"" if path.name == "00.wav" else f"no sound {path}".encode())
    with pytest.raises(DatasetError) as error:
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    listed = tmp_path / "dataset.work" / "dataset" / "failures.csv"
    assert str(listed) in str(error.value)
    assert len(read_table(listed)) == 12
    assert not (tmp_path / "dataset").exists()


def test_excluded_sounds_are_not_even_read(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "05.flac").unlink()
    ids = frozenset({"05", "07.flac", "99"})
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, exclude=ids)
    files = {file for split in read(tmp_path / "dataset").values() for file in split}
    assert files == tiny.tags.keys() - {"05.flac", "07.flac"}
    assert manifest.preparation["sounds"]["excluded"] == 2
    with pytest.raises(TableError) as error:
        prepare(tiny.audio, tiny.table, tmp_path / "none", SETTINGS, exclude=frozenset(tiny.tags))
    assert str(tiny.table) in str(error.value)


def test_exclusions_that_match_nothing_and_names_in_another_form_are_told(
    tiny: Corpus, tmp_path: Path, caplog
) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "all", SETTINGS, exclude=frozenset({"99"}))
    assert "no sound matches any of the 1 ids of --exclude" in caplog.text
    composed, decomposed = "\u00e9.flac", "e\u0301.flac"
    (tiny.audio / "05.flac").rename(tiny.audio / composed)
    tiny.table.write_text(tiny.table.read_text().replace("05.flac", decomposed))
    with pytest.raises(TableError, match="another Unicode form"):
        prepare(tiny.audio, tiny.table, tmp_path / "none", SETTINGS)


def test_all_patches_of_a_sound_are_in_one_split(tiny: Corpus, tmp_path: Path) -> None:
    """Sounds of 0.2 s end in frame 9, of 0.275 s in frame 12, where a second candidate begins."""
    settings = dataclasses.replace(
        SETTINGS, patches_per_sound=0, front_end=FrontEnd(clip_seconds=3.0)
    )
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    frames = {name: (0, 12) if name > "02" and int(name[:2]) % 2 else (0,) for name in tiny.tags}
    assert sorted(map(len, frames.values())) == [1] * 7 + [2] * 5
    for split, count in (("train", 10), ("validation", 2)):
        kept = list(SplitReader(tmp_path / "dataset", split))
        files = sorted({example.id for example in kept})
        assert len(files) == count
        expected = [(file, frame) for file in files for frame in frames[file]]
        assert [example.key for example in kept] == expected
        assert manifest.counts[split] == len(expected)
        assert manifest.preparation["splits"][split]["patches"] == len(expected)
    assert sum(manifest.tag_counts) == manifest.counts["train"]  # each sound has one tag


@pytest.mark.parametrize(
    "suffix",
    [
        pytest.param(".wav", id="equal files are one group"),
        pytest.param(".flac", id="equal samples are dropped from validation"),
    ],
)
def test_no_copy_of_a_training_sound_is_validated_on(tmp_path: Path, suffix: str) -> None:
    corpus = copied_corpus(tmp_path, suffix)
    for seed in range(2):
        settings = Settings("copies", seed=seed, validation_fraction=0.3)
        manifest = prepare(corpus.audio, corpus.table, tmp_path / f"{seed}", settings)
        train, validation = (
            {file[1:3] for file in files} for files in read(tmp_path / f"{seed}").values()
        )
        assert validation and not train & validation
        copies = 0
        if suffix == ".flac":
            lost = read_table(tmp_path / f"{seed}" / "failures.csv")
            assert {row["error"] for row in lost} == {"CopyOfTraining"}
            assert {row["file"][1:3] for row in lost} <= train
            copies = len(lost)
        assert manifest.preparation["sounds"]["copies"] == copies
        assert sum(manifest.counts.values()) == 40 - copies
        assert manifest.counts["train"] == 28


def test_a_sound_that_fails_moves_neither_vocabulary_nor_split(
    tiny: Corpus, tmp_path: Path
) -> None:
    tags = tiny.tags | {"04.flac": {"onlyhere", "tag1"}}
    write_table(tiny.table, tags, tiny.group)
    whole = prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    lacking = prepare(tiny.audio, tiny.table, tmp_path / "lacking", SETTINGS)
    assert lacking.vocabulary == whole.vocabulary and "onlyhere" in lacking.vocabulary
    for split, files in read(tmp_path / "lacking").items():
        assert set(files) == set(read(tmp_path / "whole")[split]) - {"04.flac"}
    assert lacking.tag_counts[lacking.vocabulary.index("onlyhere")] == 0


@pytest.mark.parametrize("missing", [1, 6])
def test_up_to_five_missing_files_are_named(tiny: Corpus, tmp_path: Path, missing: int) -> None:
    gone = sorted(tiny.tags)[:missing]
    for file in gone:
        (tiny.audio / file).unlink()
    with pytest.raises(TableError) as error:
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    message = str(error.value)
    assert str(tiny.table) in message and str(tiny.audio) in message
    assert [file for file in tiny.tags if file in message] == gone[:5]
    assert not (tmp_path / "dataset").exists()


def test_a_full_disk_is_known_before_the_work(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 sounds of 96 x 96 float32 values: 442,368 bytes."""
    usage, dataset = shutil.disk_usage(tmp_path), tmp_path / "new" / "dataset"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=442_367))
    with pytest.raises(DatasetError) as error:
        prepare(tiny.audio, tiny.table, dataset, SETTINGS)
    assert f"{dataset}: 12 sounds need 442.4 kB more, but 442.4 kB are free in {tmp_path}" in str(
        error.value
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=442_368))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DatasetError) as error:
        patch.setattr(DatasetWriter, "finish", full)
        prepare(tiny.audio, tiny.table, dataset, SETTINGS)
    for token in (
        f"{dataset}.work: the disk is full",
        "need about 442.4 kB",
        "44?.? kB are written",
    ):
        assert re.search(token.replace("44?.?", "44[0-9][.][0-9]"), str(error.value))
    # What is written needs no room again.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    prepare(tiny.audio, tiny.table, dataset, SETTINGS)


OTHER_INPUT = {
    "tags": lambda c: write_table(c.table, c.tags | {"05.flac": {"changed"}}, c.group),
    "group": lambda c: write_table(c.table, c.tags, c.group | {"05.flac": "alone"}),
    "sound": lambda c: soundfile.write(c.audio / "05.flac", np.zeros(9000), 22_000),
}


def test_no_workers_are_refused_before_anything_is_written(tiny: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, workers=0)
    assert not (tmp_path / "dataset").exists()


def test_a_dataset_is_reused_for_the_same_input_alone(tiny: Corpus, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    manifest = prepare(tiny.audio, tiny.table, dataset, SETTINGS)
    before = contents(dataset)
    written = {path: path.stat().st_mtime_ns for path in [dataset, *dataset.iterdir()]}
    assert prepare(tiny.audio, tiny.table, dataset, SETTINGS) == manifest
    assert {path: path.stat().st_mtime_ns for path in [dataset, *dataset.iterdir()]} == written

    def refused(*names: str, **changes: object) -> None:
        with pytest.raises(DatasetError) as error:
            prepare(tiny.audio, tiny.table, dataset, dataclasses.replace(SETTINGS, **changes))
        assert all(token in str(error.value) for token in (str(dataset), *names))
        assert contents(dataset) == before

    refused("seed", seed=1)
    refused("vocabulary_size", "scaling", vocabulary_size=2, scaling="per_frame")
    refused("clip_seconds", front_end=FrontEnd(clip_seconds=5.0))
    for change in OTHER_INPUT.values():
        change(tiny)
        refused()
        write_table(tiny.table, tiny.tags, tiny.group)


def test_one_bad_path_one_loud_sound_and_one_without_end_cost_themselves_alone(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = np.zeros(1_000 * 61, np.int16)
    soundfile.write(tiny.audio / "02.flac", endless, 1_000, format="FLAC")
    soundfile.write(tiny.audio / "04.flac", np.full(4_400, 1e9), 22_000, "FLOAT", format="WAV")
    long, closed = "x" * 300 + ".wav", "closed/13.wav"
    bad = {long: {"tag0"}, closed: {"tag1"}}
    write_table(tiny.table, tiny.tags | bad, tiny.group | {long: "long", closed: "closed"})
    stat = Path.stat

    def refuse(path: Path, **options: object) -> object:
        if path.parent.name == "closed":  # tests may run as root, who may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    settings = dataclasses.replace(SETTINGS, max_decode_minutes=1.0)
    with pytest.raises(TableError) as error:
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    for token in ("2 of 14", f"{closed} (Permission denied)", "x (File name too long)"):
        assert token in str(error.value)
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings, allow_missing=True)
    failures = {row["file"]: row["error"] for row in read_table(tmp_path / "dataset/failures.csv")}
    wanted = {"02.flac": "TooLong", "04.flac": "TooLoud", closed: "Unreadable", long: "Unreadable"}
    assert failures == wanted
    assert manifest.preparation["sounds"]["kept"] == 10
    file, peak = manifest.preparation["loudest"]
    assert (file, peak) == ("01.flac", pytest.approx(np.abs(mono(tiny.audio / file)).max()))
