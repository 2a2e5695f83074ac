"""The whole preparation on small folders of sounds, against counts, tags and patches made apart."""

import csv
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import soxr

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.records import DatasetError, Manifest, SplitReader
from coala_jax.preparation import folder
from coala_jax.preparation.folder import Settings, prepare
from coala_jax.preparation.synthetic import write_synthetic_corpus
from coala_jax.preparation.table import TableError

SPLITS = ("train", "validation")
SETTINGS = Settings(name="tiny", validation_fraction=0.2)


class Corpus(NamedTuple):
    audio: Path
    table: Path
    tags: dict[str, set[str]]  # of each file
    group: dict[str, str]


def write_table(path: Path, tags: dict[str, set[str]], group: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(name, " ".join(sorted(tags[name])), group[name]) for name in tags]
        csv.writer(file).writerows([("file", "tags", "group"), *rows])


@pytest.fixture
def tiny(tmp_path: Path) -> Corpus:
    """Twelve sounds of 1 sample to 0.2 s, mono and stereo, three tags, takes in pairs."""
    audio = tmp_path / "audio"
    audio.mkdir()
    rng = np.random.default_rng(0)
    tags, group = {}, {}
    for number, samples in enumerate([1, 77, *[4400] * 10]):
        name = f"{number:02d}.{'flac' if number % 3 else 'wav'}"
        waveform = rng.uniform(-0.5, 0.5, (samples, 1 + number % 2)) / (1 + number)
        soundfile.write(audio / name, waveform, (22_000, 16_000)[number % 2])
        tags[name], group[name] = {f"tag{number % 3}"}, f"take{number // 2}"
    write_table(tmp_path / "sounds.csv", tags, group)
    return Corpus(audio, tmp_path / "sounds.csv", tags, group)


def contents(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(dataset.iterdir())}


def read(dataset: Path) -> dict[str, dict[str, tuple[np.ndarray, list[int]]]]:
    """split -> file -> patch and tags."""
    readers = {split: SplitReader(dataset, split) for split in SPLITS}
    return {
        split: {example.id: (example.patch, example.tags.tolist()) for example in reader}
        for split, reader in readers.items()
    }


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    """Thirty sounds of 0.3 to 3 s, and the dataset made of them.

    All have the tag `sound`, which says nothing; the last has no other.
    """
    root = tmp_path_factory.mktemp("thirty")
    sounds = write_synthetic_corpus(root, 30, seed=2)
    tags = {sound.file: {*sound.tags, "sound"} for sound in sounds}
    tags[sounds[-1].file] = {"sound"}
    group = {sound.file: sound.group for sound in sounds}
    write_table(root / "table.csv", tags, group)
    prepare(root / "audio", root / "table.csv", root / "dataset", Settings("thirty"))
    return Corpus(root / "audio", root / "table.csv", tags, group), root / "dataset"


def test_vocabulary_counts_and_tags(thirty: tuple[Corpus, Path]) -> None:
    corpus, dataset = thirty
    sounds_with = Counter(tag for tags in corpus.tags.values() for tag in tags)
    assert sounds_with.pop("sound") == 30  # more than 70 %
    assert max(sounds_with.values()) <= 21  # at most 70 %
    vocabulary = sorted(sounds_with, key=lambda tag: (-sounds_with[tag], tag))

    manifest, examples = Manifest.load(dataset), read(dataset)
    assert manifest.name == "thirty"
    assert manifest.vocabulary == vocabulary
    assert manifest.counts == {"train": 26, "validation": 3}  # 2.9 of the 29 with a tag
    for split in SPLITS:
        assert list(examples[split]) == sorted(examples[split])
        for file, (_, tags) in examples[split].items():
            assert {vocabulary[tag] for tag in tags} == corpus.tags[file] - {"sound"}
    assert sorted([*examples["train"], *examples["validation"]]) == sorted(corpus.tags)[:-1]
    train_counts = Counter(tag for _, tags in examples["train"].values() for tag in tags)
    assert manifest.tag_counts == [train_counts[place] for place in range(len(vocabulary))]
    assert not (dataset / "failures.csv").exists()


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_on_one_side(tiny: Corpus, tmp_path: Path, seed: int) -> None:
    settings = dataclasses.replace(SETTINGS, seed=seed, validation_fraction=0.5)
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    train, validation = (
        {tiny.group[file] for file in files} for files in read(tmp_path / "dataset").values()
    )
    assert len(train) == len(validation) == 3
    assert not train & validation


def log_mel_patch(path: Path) -> np.ndarray:
    channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = soxr.resample(channels.mean(axis=1), rate_hz, 22_000, quality="HQ")
    log_mel = FrontEnd().log_mel(waveform)
    starts = range(0, log_mel.shape[1] - 95, 12)
    patches = [log_mel[:, start : start + 96] for start in starts]
    return max(patches, key=lambda patch: patch.sum(dtype=np.float64))


def test_patches_are_scaled_by_the_training_sounds(thirty: tuple[Corpus, Path]) -> None:
    corpus, dataset = thirty
    raw = {file: log_mel_patch(corpus.audio / file) for file in corpus.tags}
    manifest, examples = Manifest.load(dataset), read(dataset)
    lowest = min(raw[file].min() for file in examples["train"])
    highest = max(raw[file].max() for file in examples["train"])
    assert manifest.scaler == {"minimum": float(lowest), "maximum": float(highest)}
    assert manifest.front_end == FrontEnd().to_dict()
    for split in SPLITS:
        for file, (patch, _) in examples[split].items():
            expected = np.clip((raw[file] - lowest) / (highest - lowest), 0, 1)
            np.testing.assert_allclose(patch, expected, atol=1e-6, rtol=0)
            assert patch.min() >= 0 and patch.max() <= 1


def test_a_validation_sound_louder_than_all_does_not_move_the_scaler(tiny: Corpus) -> None:
    manifest = prepare(tiny.audio, tiny.table, tiny.table.with_name("first"), SETTINGS)
    kept = next(iter(read(tiny.table.with_name("first"))["validation"]))
    soundfile.write(tiny.audio / kept, np.full(4400, 1.0), 22_000)  # the split stays as it was
    again = prepare(tiny.audio, tiny.table, tiny.table.with_name("second"), SETTINGS)
    assert again.scaler == manifest.scaler
    assert log_mel_patch(tiny.audio / kept).max() > manifest.scaler["maximum"] + 1
    assert read(tiny.table.with_name("second"))["validation"][kept][0].max() == 1


def test_very_short_sounds_are_in(tiny: Corpus, tmp_path: Path) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    examples = read(tmp_path / "dataset")
    patches = examples["train"] | examples["validation"]
    assert sorted(patches) == sorted(tiny.tags)
    for file in ("00.wav", "01.flac"):  # one sample and 77: heard in the first two frames
        patch = patches[file][0]
        assert patch[:, :2].max() > 0.1
        assert not patch[:, 2:].any()


def test_a_corrupt_sound_costs_that_sound_alone(
    tiny: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    soundfile.write(tiny.audio / "06.wav", np.array([np.nan]), 22_000, "FLOAT")
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert manifest.counts == {"train": 8, "validation": 2}
    examples = read(tmp_path / "dataset")
    assert {*examples["train"], *examples["validation"]} == {*tiny.tags} - {"04.flac", "06.wav"}

    with (tmp_path / "dataset" / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["04.flac", "06.wav"]
    assert rows[0]["cause"].startswith("libsndfile cannot read it (Format not recognised.)")
    assert rows[1]["cause"].startswith("it holds NaN")
    out = capsys.readouterr().out
    assert "2 of 12 sounds are left out" in out
    assert "04.flac: libsndfile cannot read it" in out


def test_all_corrupt_is_an_error(tiny: Corpus, tmp_path: Path) -> None:
    for path in tiny.audio.iterdir():
        path.write_bytes(b"no sound")
    with pytest.raises(DatasetError, match="audio: not one of 12 sounds could be read"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize(("missing", "named"), [(1, 1), (5, 5), (6, 5)])
def test_missing_files_are_named(tiny: Corpus, tmp_path: Path, missing: int, named: int) -> None:
    gone = sorted(tiny.tags)[:missing]
    for file in gone:
        (tiny.audio / file).unlink()
    with pytest.raises(TableError, match=f"{missing} of its 12 sounds are not in") as raised:
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    message = str(raised.value)
    assert str(tiny.table) in message and str(tiny.audio) in message
    assert ", ".join(gone[:named]) + (" ...;" if missing > named else ";") in message
    assert "correct --audio or the table, or leave them out with --allow_missing" in message
    assert not (tmp_path / "dataset").exists()


def test_allow_missing_goes_on_and_lists_them(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "03.wav").unlink()
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, allow_missing=True)
    assert sum(manifest.counts.values()) == 11
    failures = (tmp_path / "dataset" / "failures.csv").read_text(encoding="utf-8").splitlines()
    assert failures[1:] == ["03.wav,there is no such file; correct the path or leave it out"]


def killed_at_once(place: Path, *args: object, **kwargs: object) -> None:
    (place / "half.tfrecord").write_bytes(b"half")
    raise KeyboardInterrupt


def test_killed_while_writing_leaves_no_dataset_and_the_next_run_succeeds(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    before = {path.name for path in tmp_path.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(folder, "write_dataset", killed_at_once)
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert not (tmp_path / "dataset").exists()
    # A run killed by the system leaves its scratch file, too.
    (tmp_path / "dataset.patches.tmp").write_bytes(b"half")

    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == before | {"dataset"}


def test_same_input_again_is_reused(
    tiny: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "dataset"
    manifest = prepare(tiny.audio, tiny.table, dataset, SETTINGS)
    written = {path: path.stat().st_mtime_ns for path in [dataset, *dataset.iterdir()]}
    assert prepare(tiny.audio, tiny.table, dataset, SETTINGS) == manifest
    assert {path: path.stat().st_mtime_ns for path in [dataset, *dataset.iterdir()]} == written
    assert "there already, made from the same" in capsys.readouterr().out


def other_tags(tiny: Corpus) -> None:
    write_table(tiny.table, tiny.tags | {"05.flac": {"changed"}}, tiny.group)


def other_group(tiny: Corpus) -> None:
    write_table(tiny.table, tiny.tags, tiny.group | {"05.flac": "alone"})


def other_sound(tiny: Corpus) -> None:
    soundfile.write(tiny.audio / "05.flac", np.zeros(9000), 22_000)


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        pytest.param(lambda tiny: None, {"seed": 1}, id="seed"),
        pytest.param(lambda tiny: None, {"vocabulary_size": 2}, id="vocabulary"),
        pytest.param(lambda tiny: None, {"front_end": FrontEnd(clip_seconds=5.0)}, id="front-end"),
        pytest.param(other_tags, {}, id="tags"),
        pytest.param(other_group, {}, id="group"),
        pytest.param(other_sound, {}, id="sound"),
    ],
)
def test_a_dataset_made_from_something_else_is_refused(
    tiny: Corpus, tmp_path: Path, change: Callable[[Corpus], None], changes: dict
) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    before = contents(tmp_path / "dataset")
    change(tiny)
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(DatasetError, match="made from other sounds, tags or settings; choose"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    assert contents(tmp_path / "dataset") == before


def test_bytes_do_not_depend_on_workers_rows_or_place(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "1", SETTINGS, workers=1)
    expected = contents(tmp_path / "1")
    assert {"coala-train.tfrecord-00000-of-00001", "manifest.json", "failures.csv"} < set(expected)
    for workers in (2, 7):
        prepare(tiny.audio, tiny.table, tmp_path / f"{workers}", SETTINGS, workers=workers)
        assert contents(tmp_path / f"{workers}") == expected

    names = random.Random(0).sample(sorted(tiny.tags), 12)
    write_table(tiny.table, {name: tiny.tags[name] for name in names}, tiny.group)
    moved = tiny.audio.rename(tmp_path / "elsewhere")
    prepare(moved, tiny.table, tmp_path / "shuffled", SETTINGS)
    assert contents(tmp_path / "shuffled") == expected


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        pytest.param(["", "", ""], r"sounds\.csv: no tag is left", id="no-tags"),
        pytest.param(["dog", "cat", "cow"], r"sounds\.csv: no group fits into 20%", id="one-group"),
    ],
)
def test_tables_that_leave_nothing_to_learn_or_to_validate(
    tiny: Corpus, tmp_path: Path, tags: list[str], message: str
) -> None:
    names = sorted(tiny.tags)[:3]
    pairs = zip(names, tags, strict=True)
    write_table(tiny.table, {name: {tag} for name, tag in pairs}, dict.fromkeys(names, "one"))
    with pytest.raises(DatasetError, match=message):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"vocabulary_size": 0}, "vocabulary_size must be at least 1, got 0", id="0"),
        pytest.param({"validation_fraction": 0.0}, "must be between 0 and 1, got 0.0", id="0.0"),
        pytest.param({"validation_fraction": 1.0}, "must be between 0 and 1, got 1.0", id="1.0"),
        pytest.param({"seed": -1}, "seed must be at least 0, got -1", id="-1"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings("tiny", **changes)


def test_no_workers_are_refused(tiny: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, workers=0)
