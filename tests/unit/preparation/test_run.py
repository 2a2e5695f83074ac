"""The whole preparation on small folders of sounds, against counts, tags and patches made apart."""

import csv
import dataclasses
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import soxr
from coala_jax.data_prep.sample_corpus.synthetic import write_synthetic_corpus
from matplotlib.figure import Figure

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader
from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.preparation import extract, report, run
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.staging import staging_directory
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


@pytest.fixture(autouse=True)
def sketched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture takes a second; it is drawn only where a test is marked so."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr(report, "picture", lambda summary: Figure())


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
    assert Scaler.from_dict(manifest.scaler) == Scaler(float(lowest), float(highest))
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
    settings = dataclasses.replace(SETTINGS, validation_fraction=0.4)
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    assert sum(manifest.counts.values()) == 10
    examples = read(tmp_path / "dataset")
    assert {*examples["train"], *examples["validation"]} == {*tiny.tags} - {"04.flac", "06.wav"}

    with (tmp_path / "dataset" / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["04.flac", "06.wav"]
    assert [row["error"] for row in rows] == ["WrongName", "NotFinite"]
    assert "text" in rows[0]["cause"] and "NaN" in rows[1]["cause"]
    assert not any(str(tiny.audio) in row["cause"] for row in rows)
    out = capsys.readouterr().out
    assert "2 of 12 sounds are left out" in out
    assert f"04.flac: {rows[0]['cause']}" in out
    assert "| decoding | 12 | 2 |" in (tmp_path / "dataset" / "report.md").read_text(
        encoding="utf-8"
    )


def test_four_corrupt_sounds_among_a_thousand_cost_four(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(0)
    tags = {f"{number:03d}.wav": {f"tag{number % 7}"} for number in range(1000)}
    for name in tags:
        soundfile.write(tmp_path / "audio" / name, rng.uniform(-0.5, 0.5, 440), 22_000)
    corrupt = {"000.wav": b"", "031.wav": b"RIFF", "500.wav": b"\0" * 99, "999.wav": b"<html>"}
    for name, content in corrupt.items():
        (tmp_path / "audio" / name).write_bytes(content)
    write_table(tmp_path / "sounds.csv", tags, {name: name for name in tags})
    settings = Settings("thousand", front_end=FrontEnd(clip_seconds=2.5))
    prepare(tmp_path / "audio", tmp_path / "sounds.csv", tmp_path / "dataset", settings)
    examples = read(tmp_path / "dataset")
    assert {*examples["train"], *examples["validation"]} == tags.keys() - corrupt.keys()
    assert len(examples["train"]) + len(examples["validation"]) == 996
    with (tmp_path / "dataset" / "failures.csv").open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == sorted(corrupt)


def test_all_corrupt_is_an_error_and_its_causes_are_listed(tiny: Corpus, tmp_path: Path) -> None:
    for path in tiny.audio.iterdir():
        path.write_bytes(b"" if path.name == "00.wav" else f"no sound {path}".encode())
    with pytest.raises(DatasetError) as raised:
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    listed = tmp_path / "dataset.work" / "dataset" / "failures.csv"
    assert "audio: not one of 12 sounds could be read (11 WrongName, 1 EmptyFile)" in str(
        raised.value
    )
    assert str(listed) in str(raised.value)
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 13
    assert not (tmp_path / "dataset").exists()


def test_what_failed_can_be_tried_again(
    tiny: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    capsys.readouterr()
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert "failures.csv names the sounds it lacks; to try them again" in capsys.readouterr().out


def test_sounds_without_a_known_tag_are_listed(tiny: Corpus, tmp_path: Path) -> None:
    write_table(tiny.table, tiny.tags | {"05.flac": {"rare", "one"}}, tiny.group)
    settings = dataclasses.replace(SETTINGS, min_tag_sounds=2)
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    listed = (tmp_path / "dataset" / "untagged.csv").read_text(encoding="utf-8")
    assert listed.splitlines() == ["file,tags", "05.flac,one rare"]
    text = (tmp_path / "dataset" / "report.md").read_text(encoding="utf-8")
    assert "| tags | 12 | 1 |" in text and "untagged.csv" in text


def test_a_folder_of_the_user_is_not_taken_for_ours(tiny: Corpus, tmp_path: Path) -> None:
    (tmp_path / "dataset.work").mkdir()
    (tmp_path / "dataset.work" / "thesis.txt").write_text("keep me")
    with pytest.raises(DatasetError, match=r"dataset\.work: .* holds something else; move it away"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert (tmp_path / "dataset.work" / "thesis.txt").read_text() == "keep me"
    assert not (tmp_path / "dataset").exists()


def test_two_runs_do_not_make_one_dataset(tiny: Corpus, tmp_path: Path) -> None:
    with (
        staging_directory(tmp_path / "dataset", "anything"),
        pytest.raises(DatasetError, match="dataset: another process is making it"),
    ):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)


def test_excluded_sounds_are_not_even_read(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "05.flac").unlink()
    manifest = prepare(
        tiny.audio,
        tiny.table,
        tmp_path / "dataset",
        SETTINGS,
        exclude=frozenset({"05", "07.flac", "99"}),
    )
    examples = read(tmp_path / "dataset")
    files = {*examples["train"], *examples["validation"]}
    assert files == tiny.tags.keys() - {"05.flac", "07.flac"}
    assert sum(manifest.counts.values()) == 10
    assert "| excluded | 12 | 2 |" in (tmp_path / "dataset" / "report.md").read_text(
        encoding="utf-8"
    )
    with pytest.raises(TableError, match="all its 12 sounds are excluded"):
        prepare(tiny.audio, tiny.table, tmp_path / "none", SETTINGS, exclude=frozenset(tiny.tags))


def test_all_patches_of_a_sound_lie_on_one_side(tiny: Corpus, tmp_path: Path) -> None:
    """Sounds of 0.2 s end in frame 9, of 0.275 s in frame 12, where a second candidate begins."""
    settings = dataclasses.replace(
        SETTINGS, patches_per_sound=0, front_end=FrontEnd(clip_seconds=3.0)
    )
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    kept = {split: list(SplitReader(tmp_path / "dataset", split)) for split in SPLITS}
    frames = {name: (0, 12) if name > "02" and int(name[:2]) % 2 else (0,) for name in tiny.tags}
    assert sorted(map(len, frames.values())) == [1] * 7 + [2] * 5
    for split, count in (("train", 10), ("validation", 2)):
        files = sorted({example.id for example in kept[split]})
        assert len(files) == count
        expected = [(file, frame) for file in files for frame in frames[file]]
        assert [(example.id, example.frame) for example in kept[split]] == expected
        assert manifest.counts[split] == len(expected)
    # Of the examples, since each sound has one tag.
    assert sum(manifest.tag_counts) == manifest.counts["train"]


def copies(tmp_path: Path, suffix: str) -> Corpus:
    """Twenty sounds in groups of their own, and each once more under another name."""
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(0)
    tags = {}
    for number in range(20):
        waveform = rng.integers(-9000, 9000, 500).astype(np.int16)
        for name in (f"a{number:02d}.wav", f"z{number:02d}{suffix}"):
            soundfile.write(tmp_path / "audio" / name, waveform, 22_000)
            tags[name] = {f"tag{number % 2}"}
    group = {name: name for name in tags}
    write_table(tmp_path / "sounds.csv", tags, group)
    return Corpus(tmp_path / "audio", tmp_path / "sounds.csv", tags, group)


def test_equal_files_are_one_group(tmp_path: Path) -> None:
    corpus = copies(tmp_path, ".wav")
    for seed in range(3):
        settings = Settings("copies", seed=seed, validation_fraction=0.3)
        out = tmp_path / f"{seed}"
        prepare(corpus.audio, corpus.table, out, settings)
        train, validation = ({file[1:3] for file in files} for files in read(out).values())
        assert len(validation) == 6 and not train & validation
        assert not (out / "failures.csv").exists()
        assert {e.group[0] for e in SplitReader(out, "train")} == {"a"}  # the first name


def test_a_validation_sound_that_equals_a_training_sound_is_left_out(tmp_path: Path) -> None:
    """As flac its bytes differ, and only decoding tells."""
    corpus = copies(tmp_path, ".flac")
    for seed in range(3):
        settings = Settings("copies", seed=seed, validation_fraction=0.3)
        out = tmp_path / f"{seed}"
        manifest = prepare(corpus.audio, corpus.table, out, settings)
        train, validation = ({file[1:3] for file in files} for files in read(out).values())
        assert not train & validation
        with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["error"] for row in rows} == {"CopyOfTraining"}
        assert {row["file"][1:3] for row in rows} <= train
        assert sum(manifest.counts.values()) == 40 - len(rows)
        assert manifest.counts["train"] == 28
        text = (out / "report.md").read_text(encoding="utf-8")
        assert f"| copies | 40 | {len(rows)} |" in text


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


def test_where_a_sound_is_from_is_in_its_record(tiny: Corpus, tmp_path: Path) -> None:
    with tiny.table.open("w", encoding="utf-8", newline="") as file:
        rows = [(n, " ".join(tiny.tags[n]), tiny.group[n], "notes" * (n > "05")) for n in tiny.tags]
        csv.writer(file).writerows([("file", "tags", "group", "source"), *rows])
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    for split in SPLITS:
        for example in SplitReader(tmp_path / "dataset", split):
            assert example.source == ("notes" if example.id > "05" else "tiny")
            assert example.group == tiny.group[example.id]


def released_patch(path: Path) -> np.ndarray:
    """By librosa, as the released code calls it, but without its noise."""
    import librosa

    channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = soxr.resample(channels.mean(axis=1), rate_hz, 22_000, quality="HQ")
    padded = np.pad(waveform, (0, 220_000 - waveform.size))
    mel = librosa.feature.melspectrogram(
        y=padded,
        sr=22_000,
        n_fft=1024,
        hop_length=512,
        window="hann",
        power=1.0,
        n_mels=96,
        pad_mode="reflect",
    )
    log_mel = np.log(mel + np.finfo(np.float32).eps)
    starts = range(0, log_mel.shape[1] - 95, 12)
    patches = [log_mel[:, start : start + 96] for start in starts]
    return max(patches, key=lambda patch: patch.sum(dtype=np.float64))


def test_the_released_mode_from_file_to_scaled_patch(tiny: Corpus, tmp_path: Path) -> None:
    released = Settings.released("tiny")
    settings = dataclasses.replace(
        released,
        validation_fraction=0.2,
        min_tag_sounds=4,
        front_end=dataclasses.replace(released.front_end, noise=0.0, precision="float64"),
    )
    # Alphabetic tags of at least four sounds: tag0 to tag2 are none.
    words = {file: {*tags, "Bass" if file < "06" else "Dogs"} for file, tags in tiny.tags.items()}
    words["11.flac"] |= {"rain"}
    write_table(tiny.table, words, tiny.group)
    manifest = prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    assert manifest.vocabulary == ["bas", "dog"]
    assert manifest.tag_processing == "released"

    raw = {file: released_patch(tiny.audio / file) for file in tiny.tags}
    examples = read(tmp_path / "dataset")
    train = np.stack([raw[file] for file in examples["train"]])
    lowest, highest = train.min(axis=(0, 1)), train.max(axis=(0, 1))
    span = np.where(highest > lowest, highest - lowest, 1)
    for split in SPLITS:
        for file, (patch, _) in examples[split].items():
            expected = np.maximum((raw[file] - lowest) / span, 0)
            np.testing.assert_allclose(patch, expected, atol=1e-5, rtol=0)


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
    assert len(failures) == 2
    assert failures[1].startswith("03.wav,MissingFile,there is no such file; ")


def killed_after(sounds: int) -> Callable[..., object]:
    """`extract` that ends the process, so to speak, when it has done so many sounds."""
    done = []

    def extracting(path: Path, settings: Settings) -> object:
        if len(done) == sounds:
            raise KeyboardInterrupt
        done.append(path)
        return extract.extract(path, settings)

    return extracting


@pytest.mark.parametrize("sounds", [0, 1, 5, 9, 10, 11])
def test_killed_anywhere_the_next_run_does_the_rest_and_ends_with_the_same_bytes(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sounds: int
) -> None:
    """Shards of 4 sounds: ten to train on, two for validation."""
    monkeypatch.setattr(run, "RECORDS_PER_SHARD", 4)
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    before = {path.name for path in tmp_path.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run, "extract", killed_after(sounds))
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, workers=1)
    assert not (tmp_path / "dataset").exists()

    decoded = []
    with monkeypatch.context() as patched:
        patched.setattr(run, "extract", lambda *a: (decoded.append(a[0]), extract.extract(*a))[1])
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert len(decoded) == 12 - sounds
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == before | {"dataset"}


@pytest.mark.parametrize("step", ["write_report", "_write_failures", "finish", "rename"])
def test_killed_near_the_end_nothing_is_decoded_again(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    where = {"finish": run.DatasetWriter, "rename": Path}.get(step, run)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(where, step, killed)
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    (tmp_path / "dataset.work" / "dataset" / "report.md.1234.tmp").write_text("half")
    decoded = []
    monkeypatch.setattr(
        run, "extract", lambda *a: (decoded.append(a[0].name), extract.extract(*a))[1]
    )
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert decoded == ["04.flac"]  # which might have been mended
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_killed_by_the_system_in_the_middle_of_a_shard(tiny: Corpus, tmp_path: Path) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    code = f"""
import os, signal
from pathlib import Path
from coala_jax.preparation import run
from coala_jax.preparation.settings import Settings
extract, calls = run.extract, []
def killed(path, settings):
    calls.append(path)
    if len(calls) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(path, settings)
run.extract = killed
audio, table, out = map(Path, {[str(tiny.audio), str(tiny.table), str(tmp_path / "dataset")]!r})
run.prepare(audio, table, out, Settings("tiny", validation_fraction=0.2), workers=1)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == -9, process.stderr
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_what_failed_and_is_mended_since_takes_its_place(tiny: Corpus, tmp_path: Path) -> None:
    """A missing program may have been installed since; the file is the same."""
    whole = tmp_path / "whole"
    prepare(tiny.audio, tiny.table, whole, SETTINGS)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        failing = extract.ExtractionResult(error="MissingDecoder", cause="no program")
        patched.setattr(
            run, "extract", lambda p, s: failing if p.name == "02.flac" else extract.extract(p, s)
        )
        patched.setattr(run, "_write_failures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert contents(tmp_path / "dataset") == contents(whole)


def test_a_mended_training_sound_takes_its_copy_out_of_validation(tmp_path: Path) -> None:
    """Whose record a killed run had written, for it did not know the training sound."""
    corpus = copies(tmp_path, ".flac")
    settings = Settings("copies", validation_fraction=0.3)
    prepare(corpus.audio, corpus.table, tmp_path / "whole", settings)
    with (tmp_path / "whole" / "failures.csv").open(encoding="utf-8", newline="") as file:
        lost = next(row["file"] for row in csv.DictReader(file))
    (twin,) = (name for name in corpus.tags if name[1:3] == lost[1:3] and name != lost)
    failing = extract.ExtractionResult(error="MissingDecoder", cause="no program")
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(
            run, "extract", lambda p, s: failing if p.name == twin else extract.extract(p, s)
        )
        patched.setattr(run, "_write_failures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare(corpus.audio, corpus.table, tmp_path / "dataset", settings)
    prepare(corpus.audio, corpus.table, tmp_path / "dataset", settings)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["sound", "front_end", "patches_per_sound", "tags", "level"])
def test_what_was_begun_for_another_dataset_is_not_taken(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run, "extract", killed_after(8))
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    settings = SETTINGS
    if change == "sound":
        soundfile.write(tiny.audio / "05.flac", np.full(9000, 0.5), 22_000)
    elif change == "tags":
        other_tags(tiny)
    else:
        value = {"front_end": FrontEnd(power=1.0), "patches_per_sound": 2, "level": "peak"}
        settings = dataclasses.replace(SETTINGS, **{change: value[change]})
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    prepare(tiny.audio, tiny.table, tmp_path / "whole", settings)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_a_full_disk_is_known_before_the_work(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 sounds of 96 x 96 float32 values: 442,368 bytes."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=442_367))
    with pytest.raises(DatasetError, match=r"12 sounds need 0\.0 GB, .* choose another --out"):
        prepare(tiny.audio, tiny.table, tmp_path / "new" / "dataset", SETTINGS)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=442_368))
    prepare(tiny.audio, tiny.table, tmp_path / "new" / "dataset", SETTINGS)


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
    ("change", "changes", "what"),
    [
        pytest.param(lambda tiny: None, {"seed": 1}, "with another seed", id="seed"),
        pytest.param(
            lambda tiny: None,
            {"vocabulary_size": 2, "scaling": "per_frame"},
            "with another vocabulary_size, scaling",
            id="vocabulary-and-scaling",
        ),
        pytest.param(
            lambda tiny: None,
            {"front_end": FrontEnd(clip_seconds=5.0)},
            "with another clip_seconds",
            id="front-end",
        ),
        pytest.param(other_tags, {}, "from other sounds or tags", id="tags"),
        pytest.param(other_group, {}, "from other sounds or tags", id="group"),
        pytest.param(other_sound, {}, "from other sounds or tags", id="sound"),
    ],
)
def test_a_dataset_made_from_something_else_is_refused(
    tiny: Corpus, tmp_path: Path, change: Callable[[Corpus], None], changes: dict, what: str
) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    before = contents(tmp_path / "dataset")
    change(tiny)
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(DatasetError, match=f"a dataset made {what}; choose another"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    assert contents(tmp_path / "dataset") == before


@pytest.mark.drawn
def test_bytes_do_not_depend_on_workers_rows_or_place(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "1", SETTINGS, workers=1)
    expected = contents(tmp_path / "1")
    assert {"manifest.json", "failures.csv", "report.md", "report.png"} < set(expected)
    assert {"coala-train.tfrecord-00000-of-00001"} < set(expected)
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


def test_no_workers_are_refused(tiny: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers is 0; it must be at least 1"):
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, workers=0)
