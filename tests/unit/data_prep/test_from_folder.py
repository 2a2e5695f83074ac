"""The program: its exit codes, what it says, and what it calls the corpus."""

import dataclasses
import json
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


def test_every_flag_of_the_settings_changes_that_setting(corpus: Path) -> None:
    flags = (
        "--vocabulary_size=5 --min_tag_sounds=2 --max_document_fraction=0.9 --split=random "
        "--tag_processing=released --stop_words=english,spanish --validation_fraction=0.3 "
        "--seed=4 --patches_per_sound=2 --max_seconds=9 --scaling=per_frame --file_column=a "
        "--tags_column=b --group_column=c "
        "--id_column=d --window=hann --power=1 --edges=reflect --noise=0.1 --precision=float64"
    )
    places = ["--audio=a", "--tags=b", "--out=c"]
    assert settings_of(parse([*places, *flags.split()]), "x") == Settings(
        name="x",
        columns=Columns("a", "b", "c", "d"),
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
        scaling="per_frame",
        front_end=FrontEnd(
            window="hann", power=1.0, edges="reflect", noise=0.1, precision="float64"
        ),
    )
    assert settings_of(parse(places), "x") == Settings("x")
    released = settings_of(parse([*places, "--mode=released", "--min_tag_sounds=3"]), "x")
    assert released == dataclasses.replace(Settings.released("x"), min_tag_sounds=3)


def test_excluded_ids(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "ids.json").write_text("[3, 4, 77]")
    assert run(corpus, f"--exclude={corpus / 'ids.json'}") == 0
    assert "2 of 20 sounds are excluded by 2 of 3 ids" in capsys.readouterr().out
    assert sum(Manifest.load(corpus / "out").counts.values()) == 18
    (corpus / "ids.json").write_text("[]")
    assert run(corpus, f"--exclude={corpus / 'ids.json'}") == 1
    assert "ids.json" in capsys.readouterr().err


def test_success(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(corpus) == 0
    out = capsys.readouterr().out
    assert f"dataset {corpus / 'out'}: 18 train, 2 validation, in " in out
    assert "20 sounds, 20 with a tag of the 2 in the vocabulary, 0 of these not decoded" in out
    assert f"report: {corpus / 'out' / 'report.md'}" in out
    assert Manifest.load(corpus / "out").vocabulary == ["cat", "dog"]
    assert run(corpus) == 0
    assert "is there already" in capsys.readouterr().out


def test_too_few_sounds_for_a_split_are_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (corpus / "sounds.csv").read_text(encoding="utf-8").splitlines()
    (corpus / "sounds.csv").write_text("\n".join(rows[:11]), encoding="utf-8")
    assert run(corpus) == 1
    err = capsys.readouterr().err
    assert "9 sounds to train on and 1 to validate on are too few" in err
    assert "--validation_fraction" in err
    assert run(corpus, "--validation_fraction=0.2") == 0


def test_a_dataset_that_was_damaged_is_not_reused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(corpus) == 0
    shard = corpus / "out" / "coala-train.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(bytes(content))
    assert run(corpus) == 1
    assert "has changed since; " in capsys.readouterr().err
    shard.unlink()
    assert run(corpus) == 1
    assert "the file is missing; " in capsys.readouterr().err


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
        pytest.param({"name": "debian-small"}, ["--name=other"], "other", id="flag"),
        pytest.param({"no": "name"}, ["--name=other"], "other", id="flag-beside-a-broken-one"),
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


def without_a_sound(corpus: Path) -> None:
    (corpus / "audio" / "3.wav").unlink()


def without_the_table(corpus: Path) -> None:
    (corpus / "sounds.csv").unlink()


def out_is_no_dataset(corpus: Path) -> None:
    (corpus / "out").mkdir()
    (corpus / "out" / "thesis.txt").write_text("keep me")


def description_is_none(corpus: Path) -> None:
    (corpus / "corpus.json").write_text("[]")


@pytest.mark.parametrize(
    ("change", "flags", "said"),
    [
        pytest.param(
            without_column,
            [],
            ["sounds.csv", "no column 'tags', only file, words", "--tags_column"],
            id="csv-without-the-column",
        ),
        pytest.param(
            without_a_sound,
            [],
            ["sounds.csv", "1 of its 20 sounds are not in", ": 3.wav;", "--allow_missing"],
            id="csv-names-a-sound-that-is-not-there",
        ),
        pytest.param(
            without_the_table, [], ["sounds.csv", "no such file", "give the CSV"], id="no-csv"
        ),
        pytest.param(
            out_is_no_dataset,
            [],
            ["out", "it exists and is no dataset", "choose another --out"],
            id="out-is-no-dataset",
        ),
        pytest.param(
            description_is_none,
            [],
            ["corpus.json", "it names no corpus", "give --name"],
            id="corpus.json-is-none",
        ),
        pytest.param(
            lambda corpus: None,
            ["--validation_fraction=2"],
            ["", "validation_fraction is 2.0", "between 0 and 1"],
            id="fraction-out-of-range",
        ),
    ],
)
def test_errors(
    corpus: Path, capsys: pytest.CaptureFixture[str], change, flags: list[str], said: list[str]
) -> None:
    change(corpus)
    before = sorted(corpus.rglob("*"))
    assert run(corpus, *flags) == 1
    captured = capsys.readouterr()
    file, *words = said
    assert captured.err.startswith(f"from_folder: {corpus / file if file else ''}")
    assert [word for word in words if word not in captured.err] == []
    assert captured.err.count("\n") == 1  # a sentence, no traceback
    assert captured.out == ""
    assert sorted(corpus.rglob("*")) == before


def test_a_missing_sound_may_be_allowed(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_a_sound(corpus)
    assert run(corpus, "--allow_missing") == 0
    assert "1 of 20 sounds are left out" in capsys.readouterr().out
    assert sum(Manifest.load(corpus / "out").counts.values()) == 19


def test_a_flag_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--audio", "sounds", "--out", "dataset"])
    assert "--tags" in capsys.readouterr().err
