"""The program: its exit codes, its answer, and the name of the corpus."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.from_folder import corpus_name, main, parse, settings_of

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.schema import Manifest
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Columns

ROWS = [f"{number}.wav,{('dog', 'cat')[number % 2]}" for number in range(20)]


def table_of(*rows: str):
    return lambda corpus: (corpus / "sounds.csv").write_text("\n".join(rows))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder named `mine`: twenty sounds of 0.1 s with two tags in turn, and their CSV."""
    folder = tmp_path / "mine"
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(20):
        waveform = rng.uniform(-0.5, 0.5, 2200)
        soundfile.write(folder / "audio" / f"{number}.wav", waveform, 22_000)
    table_of("file,tags", *ROWS)(folder)
    return folder


def run(corpus: Path, *flags: str) -> int:
    places = {"--audio": corpus / "audio", "--tags": corpus / "sounds.csv", "--out": corpus / "out"}
    return main([*(str(word) for pair in places.items() for word in pair), *flags])


def test_every_flag_of_the_settings_changes_that_setting() -> None:
    flags = (
        "--vocabulary_size=5 --min_tag_sounds=2 --max_document_fraction=0.9 --split=random "
        "--tag_processing=released --stop_words=english,spanish --validation_fraction=0.3 "
        "--seed=4 --patches_per_sound=2 "
        "--max_seconds=9 --level=peak --scaling=per_frame --file_column=a --tags_column=b "
        "--group_column=c --id_column=d --source_column=e --window=hann --power=1 --edges=reflect "
        "--noise=0.1 --precision=float64"
    )
    places = ["--audio=a", "--tags=b", "--out=c"]
    changed = settings_of(parse([*places, *flags.split()]), "x")
    assert changed == Settings(
        name="x",
        columns=Columns("a", "b", "c", "d", "e"),
        tag_processing="released",
        stop_words=("english", "spanish"),
        vocabulary_size=5,
        min_tag_sounds=2,
        max_document_fraction=0.9,
        validation_fraction=0.3,
        split="random",
        seed=4,
        patches_per_sound=2,
        max_seconds=9.0,
        level="peak",
        scaling="per_frame",
        front_end=FrontEnd(
            window="hann", power=1.0, edges="reflect", noise=0.1, precision="float64"
        ),
    )
    assert settings_of(parse(places), "x") == Settings("x")
    released = settings_of(parse([*places, "--mode=released", "--min_tag_sounds=3"]), "x")
    assert released == dataclasses.replace(Settings.released("x"), min_tag_sounds=3)


def test_the_answer_names_the_counts_and_the_report_and_a_second_run_gives_it_again(
    corpus: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (corpus / "audio" / "3.wav").unlink()
    (corpus / "ids.json").write_text("[4, 77]")
    flags = [f"--exclude={corpus / 'ids.json'}", "--allow_missing"]
    with caplog.at_level(logging.INFO, logger="absl"):
        assert run(corpus, *flags) == 0
        first = capsys.readouterr().out.splitlines()
        assert run(corpus, *flags) == 0
    again = capsys.readouterr().out.splitlines()
    counts = "18 of 20 sounds (16 train, 2 validation; left out: 1 excluded, 1 failed)"
    assert first[0].startswith(f"{corpus / 'out'}: {counts}, in ")
    assert first[1:] == again[1:] == [str(corpus / "out" / f"report.{e}") for e in ("md", "png")]
    assert again[0].startswith(f"{corpus / 'out'}: {counts}, in ")
    assert all((corpus / "out" / f"report.{ending}").is_file() for ending in ("md", "png"))
    for token in ("1 of 2 ids", "failures.csv", "3.wav: ", "reused"):
        assert token in caplog.text


def test_a_dataset_that_was_damaged_is_not_reused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(corpus) == 0
    shard = corpus / "out" / "coala-train.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(bytes(content))
    assert run(corpus) == 1
    assert str(shard) in capsys.readouterr().err
    shard.unlink()
    assert run(corpus) == 1
    assert str(shard) in capsys.readouterr().err


def test_name_of_the_corpus(corpus: Path) -> None:
    """Of the dataset, of the corpus.json, or as it is asked for."""
    assert corpus_name(corpus / "sounds.csv", corpus / "out") == "out"
    (corpus / "corpus.json").write_text('{"name": "debian-small"}', encoding="utf-8")
    assert corpus_name(corpus / "sounds.csv", corpus / "out") == "debian-small"
    (corpus / "corpus.json").write_text('{"no": "name"}', encoding="utf-8")
    assert run(corpus, "--name=other") == 0
    assert Manifest.load(corpus / "out").name == "other"


def out_is_no_dataset(corpus: Path) -> None:
    (corpus / "out").mkdir()
    (corpus / "out" / "thesis.txt").write_text("keep me")


# What is done to the corpus, the flags, the file that is named first, and what else is.
ERRORS = {
    "no such column": (table_of("file,words", *ROWS), [], "sounds.csv", "--tags_column"),
    "too few": (table_of("file,tags", *ROWS[:10]), [], "sounds.csv", "--validation_fraction"),
    "no CSV": (lambda c: (c / "sounds.csv").unlink(), [], "sounds.csv", "--tags"),
    "missing": (lambda c: (c / "audio/3.wav").unlink(), [], "sounds.csv", "--allow_missing"),
    "no dataset": (out_is_no_dataset, [], "out", "--out"),
    "corpus.json": (lambda c: (c / "corpus.json").write_text("[]"), [], "corpus.json", "--name"),
    "no ids": (lambda c: (c / "ids.txt").touch(), ["--exclude=ids.txt"], None, "ids.txt"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_and_change_nothing(corpus: Path, capsys, monkeypatch, name: str):
    change, flags, file, token = ERRORS[name]
    monkeypatch.chdir(corpus)
    change(corpus)
    before = sorted(corpus.rglob("*"))
    assert run(corpus, *flags) == 1
    captured = capsys.readouterr()
    error = captured.err.splitlines()[-1]
    assert error.startswith(f"coala prepare: {corpus / file if file else ''}")
    assert token in error
    assert captured.out == ""
    assert sorted(corpus.rglob("*")) == before
