"""The program: its exit codes, its answer, and the name of the corpus."""

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.from_folder import main, parse, settings_of

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.schema import Manifest
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Columns


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder named `mine`: twenty sounds of 0.1 s with two tags in turn, and their CSV."""
    folder = tmp_path / "mine"
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file,tags"]
    for number in range(20):
        name = f"{number}.wav"
        soundfile.write(folder / "audio" / name, rng.uniform(-0.5, 0.5, 2200), 22_000)
        rows.append(f"{name},{('dog', 'cat')[number % 2]}")
    (folder / "sounds.csv").write_text("\n".join(rows), encoding="utf-8")
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


def test_flags_reach_the_dataset(corpus: Path) -> None:
    rows = [
        f'{number}.wav,"cat, dog; bird song, tag{number}",{number // 2}' for number in range(10)
    ]
    text = "\n".join(["path,words,take", *rows])
    (corpus / "sounds.csv").write_text(text, encoding="utf-8")
    columns = "--file_column=path --tags_column=words --group_column=take"
    others = "--vocabulary_size=4 --validation_fraction=0.5 --seed=3 --workers=1"
    assert run(corpus, *columns.split(), *others.split()) == 0
    manifest = Manifest.load(corpus / "out")
    assert manifest.vocabulary == ["tag0", "tag1", "tag2", "tag3"]  # the others are in all sounds
    assert manifest.counts == {"train": 2, "validation": 2}
    settings = Settings(
        name="mine",
        columns=Columns("path", "words", "take"),
        vocabulary_size=4,
        validation_fraction=0.5,
        seed=3,
    )
    # With any other settings it would refuse the dataset that is there.
    again = prepare(corpus / "audio", corpus / "sounds.csv", corpus / "out", settings)
    assert again == manifest


@pytest.mark.parametrize(
    ("described", "flags", "name"),
    [
        pytest.param(None, [], "mine", id="folder"),
        pytest.param({"name": "debian-small"}, [], "debian-small", id="corpus.json"),
        pytest.param({"no": "name"}, ["--name=other"], "other", id="flag"),
    ],
)
def test_name_of_the_corpus(
    corpus: Path, described: dict | None, flags: list[str], name: str
) -> None:
    if described:
        (corpus / "corpus.json").write_text(json.dumps(described), encoding="utf-8")
    assert run(corpus, *flags) == 0
    assert Manifest.load(corpus / "out").name == name


def without_column(corpus: Path) -> None:
    text = (corpus / "sounds.csv").read_text(encoding="utf-8")
    (corpus / "sounds.csv").write_text(text.replace("file,tags", "file,words"), encoding="utf-8")


def of_ten_sounds(corpus: Path) -> None:
    rows = (corpus / "sounds.csv").read_text(encoding="utf-8").splitlines()
    (corpus / "sounds.csv").write_text("\n".join(rows[:11]), encoding="utf-8")


def out_is_no_dataset(corpus: Path) -> None:
    (corpus / "out").mkdir()
    (corpus / "out" / "thesis.txt").write_text("keep me")


@pytest.mark.parametrize(
    ("change", "flags", "file", "hint"),
    [
        pytest.param(without_column, [], "sounds.csv", "--tags_column", id="no such column"),
        pytest.param(
            lambda corpus: (corpus / "audio" / "3.wav").unlink(),
            [],
            "sounds.csv",
            "--allow_missing",
            id="missing sound",
        ),
        pytest.param(
            lambda corpus: (corpus / "sounds.csv").unlink(), [], "sounds.csv", "--tags", id="no CSV"
        ),
        pytest.param(of_ten_sounds, [], "sounds.csv", "--validation_fraction", id="too few sounds"),
        pytest.param(out_is_no_dataset, [], "out", "--out", id="out is not a dataset"),
        pytest.param(
            lambda corpus: (corpus / "corpus.json").write_text("[]"),
            [],
            "corpus.json",
            "--name",
            id="invalid corpus.json",
        ),
        pytest.param(
            lambda corpus: (corpus / "ids.txt").write_text(""),
            ["--exclude=ids.txt"],
            None,
            "ids.txt",
            id="no ids",
        ),
        pytest.param(
            lambda corpus: None,
            ["--validation_fraction=2"],
            None,
            "validation_fraction is 2.0",
            id="fraction out of range",
        ),
    ],
)
def test_errors_are_one_line_and_change_nothing(
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change,
    flags: list[str],
    file: str | None,
    hint: str,
) -> None:
    monkeypatch.chdir(corpus)
    change(corpus)
    before = sorted(corpus.rglob("*"))
    assert run(corpus, *flags) == 1
    captured = capsys.readouterr()
    error = captured.err.splitlines()[-1]
    assert error.startswith(f"from_folder: {corpus / file if file else ''}")
    assert hint in error
    assert captured.out == ""
    assert sorted(corpus.rglob("*")) == before


def test_a_flag_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--audio", "sounds", "--out", "dataset"])
    assert "--tags" in capsys.readouterr().err
