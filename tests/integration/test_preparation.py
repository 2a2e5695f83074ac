"""Whole preparations: killed and resumed, with other numbers of workers, in `released` mode."""

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.schema import SPLITS
from coala_jax.preparation import extract, run, shards
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.reporting import dataset_report
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


def interrupted(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def killed_after(sounds: int) -> Callable[..., object]:
    """`extract` that is interrupted after so many sounds."""
    done = []

    def extracting(path: Path, settings: Settings) -> object:
        if len(done) == sounds:
            raise KeyboardInterrupt
        done.append(path)
        return extract.extract(path, settings)

    return extracting


def failing_on(file: str) -> Callable[..., object]:
    failure = extract.ExtractionResult(error="MissingDecoder", cause="no program")
    return lambda path, settings: failure if path.name == file else extract.extract(path, settings)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sounds that are decoded from here on."""
    names = []
    monkeypatch.setattr(
        shards, "extract", lambda *a: (names.append(a[0].name), extract.extract(*a))[1]
    )
    return names


@pytest.mark.parametrize("sounds", [0, 1, 5, 9, 10, 11])
def test_killed_anywhere_the_next_run_does_the_rest_and_ends_with_the_same_bytes(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], sounds: int
) -> None:
    """Shards of 4 sounds: ten to train on, two for validation."""
    monkeypatch.setattr(shards, "RECORDS_PER_SHARD", 4)
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    before = {path.name for path in tmp_path.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shards, "extract", killed_after(sounds))
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS, workers=1)
    assert not (tmp_path / "dataset").exists()
    decoded.clear()
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert len(decoded) == 12 - sounds
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == before | {"dataset"}


@pytest.mark.parametrize("step", ["_write_failures", "summarize", "finish", "rename"])
def test_killed_near_the_end_nothing_is_decoded_again(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], step: str
) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    where = {"finish": run.DatasetWriter, "rename": Path}.get(step, run)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(where, step, interrupted)
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    (tmp_path / "dataset.work" / "dataset" / "failures.csv.1234.tmp").write_text("half")
    decoded.clear()
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert decoded == ["04.flac"]  # which might have been mended
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_killed_by_the_system_in_the_middle_of_a_shard(tiny: Corpus, tmp_path: Path) -> None:
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    code = f"""
import os, signal
from pathlib import Path
from coala_jax.preparation import run, shards
from coala_jax.preparation.settings import Settings
extract, calls = shards.extract, []
def killed(path, settings):
    calls.append(path)
    if len(calls) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(path, settings)
shards.extract = killed
audio, table, out = map(Path, {[str(tiny.audio), str(tiny.table), str(tmp_path / "dataset")]!r})
run.prepare(audio, table, out, Settings("tiny", validation_fraction=0.2), workers=1)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == -9, process.stderr
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_a_sound_that_failed_before_the_kill_and_is_readable_now_takes_its_place(
    tiny: Corpus, tmp_path: Path
) -> None:
    """A missing program may have been installed since; the file is the same."""
    prepare(tiny.audio, tiny.table, tmp_path / "whole", SETTINGS)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shards, "extract", failing_on("02.flac"))
        patched.setattr(run, "_write_failures", interrupted)
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_a_training_sound_that_is_readable_now_takes_its_copy_out_of_validation(
    tmp_path: Path,
) -> None:
    """The killed run had written the copy, since it did not know the training sound."""
    corpus = copied_corpus(tmp_path, ".flac")
    settings = Settings("copies", validation_fraction=0.3)
    prepare(corpus.audio, corpus.table, tmp_path / "whole", settings)
    lost = read_table(tmp_path / "whole" / "failures.csv")[0]["file"]
    (twin,) = (name for name in corpus.tags if name[1:3] == lost[1:3] and name != lost)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shards, "extract", failing_on(twin))
        patched.setattr(run, "_write_failures", interrupted)
        prepare(corpus.audio, corpus.table, tmp_path / "dataset", settings)
    prepare(corpus.audio, corpus.table, tmp_path / "dataset", settings)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["sound", "front_end", "patches_per_sound", "tags", "level"])
def test_a_killed_run_of_other_inputs_is_not_resumed(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shards, "extract", killed_after(8))
        prepare(tiny.audio, tiny.table, tmp_path / "dataset", SETTINGS)
    settings = SETTINGS
    if change == "sound":
        soundfile.write(tiny.audio / "05.flac", np.full(9000, 0.5), 22_000)
    elif change == "tags":
        write_table(tiny.table, tiny.tags | {"05.flac": {"changed"}}, tiny.group)
    else:
        value = {"front_end": FrontEnd(power=1.0), "patches_per_sound": 2, "level": "peak"}
        settings = dataclasses.replace(SETTINGS, **{change: value[change]})
    prepare(tiny.audio, tiny.table, tmp_path / "dataset", settings)
    prepare(tiny.audio, tiny.table, tmp_path / "whole", settings)
    assert contents(tmp_path / "dataset") == contents(tmp_path / "whole")


def test_bytes_do_not_depend_on_workers_rows_or_place(tiny: Corpus, tmp_path: Path) -> None:
    (tiny.audio / "04.flac").write_bytes(b"no sound")
    prepare(tiny.audio, tiny.table, tmp_path / "1", SETTINGS, workers=1)
    dataset_report.render(tmp_path / "1")
    expected = contents(tmp_path / "1")
    assert {"manifest.json", "failures.csv", "report.md", "report.png"} < set(expected)
    assert {"coala-train.tfrecord-00000-of-00001"} < set(expected)
    for workers in (2, 7):
        prepare(tiny.audio, tiny.table, tmp_path / f"{workers}", SETTINGS, workers=workers)
        dataset_report.render(tmp_path / f"{workers}")
        assert contents(tmp_path / f"{workers}") == expected

    names = random.Random(0).sample(sorted(tiny.tags), 12)
    write_table(tiny.table, {name: tiny.tags[name] for name in names}, tiny.group)
    moved = tiny.audio.rename(tmp_path / "elsewhere")
    prepare(moved, tiny.table, tmp_path / "shuffled", SETTINGS)
    dataset_report.render(tmp_path / "shuffled")
    assert contents(tmp_path / "shuffled") == expected


def released_patch(path: Path) -> np.ndarray:
    """By librosa, as the released code calls it, but without its noise."""
    import librosa

    waveform = mono(path)
    mel = librosa.feature.melspectrogram(
        y=np.pad(waveform, (0, 220_000 - waveform.size)),
        sr=22_000,
        n_fft=1024,
        hop_length=512,
        window="hann",
        power=1.0,
        n_mels=96,
        pad_mode="reflect",
    )
    return loudest_patch(np.log(mel + np.finfo(np.float32).eps))


def test_the_released_mode_from_file_to_scaled_patch(tiny: Corpus, tmp_path: Path) -> None:
    released = Settings.released("tiny")
    settings = dataclasses.replace(
        released,
        validation_fraction=0.2,
        min_tag_sounds=4,
        front_end=dataclasses.replace(released.front_end, noise=0.0, precision="float64"),
    )
    # Alphabetic tags of at least four sounds: not tag0 to tag2.
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
