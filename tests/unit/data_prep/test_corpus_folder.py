"""coala_jax.data_prep.sample_corpus.corpus_folder."""

import csv
import json
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_corpus,
    write_index,
)

SOUNDS = [
    CorpusSound('p/a "b", c.wav', ("drum", "café"), "p/a", "CC0-1.0"),
    CorpusSound("p/d.wav", ("bell",), "p/a", "MIT"),
]
MADE_FROM = {"seed": 1}


def test_index_reads_back_and_counts(tmp_path: Path) -> None:
    write_index(tmp_path, "mine", SOUNDS, MADE_FROM, {"too loud": ["p/x.wav", "p/y.wav"]})
    with (tmp_path / "sounds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"file": 'p/a "b", c.wav', "tags": "drum café", "group": "p/a", "licence": "CC0-1.0"},
        {"file": "p/d.wav", "tags": "bell", "group": "p/a", "licence": "MIT"},
    ]
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8")) == {
        "name": "mine",
        "sounds": 2,
        "groups": 1,
        "made_from": {"seed": 1},
        "left_out": {"too loud": 2},
        "left_out_files": {"too loud": ["p/x.wav", "p/y.wav"]},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.json", "sounds.csv"]


def test_index_already_there_is_not_written_again(tmp_path: Path) -> None:
    write_index(tmp_path, "mine", SOUNDS, MADE_FROM, {})
    files = [tmp_path / "corpus.json", tmp_path / "sounds.csv"]
    before = [path.stat().st_ino for path in files]
    write_index(tmp_path, "mine", SOUNDS, MADE_FROM, {})
    assert [path.stat().st_ino for path in files] == before
    write_index(tmp_path, "mine", SOUNDS[:1], MADE_FROM, {})
    assert len((tmp_path / "sounds.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_csv_is_absent_until_all_else_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails in between must not leave yesterday's CSV beside today's description."""
    write_index(tmp_path, "mine", SOUNDS, MADE_FROM, {})
    replace = Path.replace

    def fail_on_csv(self: Path, target: Path) -> Path:
        if target.name == "sounds.csv":
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_csv)
    with pytest.raises(OSError, match="disk full"):
        write_index(tmp_path, "mine", SOUNDS[:1], MADE_FROM, {})
    assert not (tmp_path / "sounds.csv").exists()
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8"))["sounds"] == 1


def test_other_corpus_is_refused_and_the_same_is_not(tmp_path: Path) -> None:
    check_same_corpus(tmp_path, MADE_FROM)
    write_index(tmp_path, "mine", SOUNDS, MADE_FROM, {})
    check_same_corpus(tmp_path, MADE_FROM)
    with pytest.raises(CorpusError, match=r"holds another corpus.*choose another folder"):
        check_same_corpus(tmp_path, {"seed": 2})


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(CorpusError, match=r"corpus\.json is no description of a corpus"):
        check_same_corpus(tmp_path, MADE_FROM)
