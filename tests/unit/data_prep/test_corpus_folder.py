"""The folder of a sample corpus: its index, and what it refuses."""

import csv
import json

import pytest
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_origin,
    write_index,
)

from coala_jax import storage

SOUNDS = [
    CorpusSound('p/a "b", c.wav', ("drum", "café"), "p/a", "CC0-1.0"),
    CorpusSound("p/d.wav", ("bell",), "p/a", "MIT"),
]
ORIGIN = {"seed": 1}


def test_the_index_reads_back(tmp_path):
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {"too loud": ["p/x.wav", "p/y.wav"]})
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
        "made_from": ORIGIN,
        "missing": {"too loud": 2},
        "missing_files": {"too loud": ["p/x.wav", "p/y.wav"]},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.json", "sounds.csv"]


def test_an_index_that_is_there_is_not_written_again(tmp_path):
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {})
    files = [tmp_path / "corpus.json", tmp_path / "sounds.csv"]
    before = [path.stat().st_ino for path in files]
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {})
    assert [path.stat().st_ino for path in files] == before
    write_index(tmp_path, "mine", SOUNDS[:1], ORIGIN, {})
    assert len((tmp_path / "sounds.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_a_failed_write_leaves_no_old_csv_beside_a_new_description(tmp_path, monkeypatch):
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {})
    write_text = storage.write_text

    def fail_on_csv(path, text):
        if path.name == "sounds.csv":
            raise OSError("disk full")
        write_text(path, text)

    monkeypatch.setattr(storage, "write_text", fail_on_csv)
    with pytest.raises(OSError, match="disk full"):
        write_index(tmp_path, "mine", SOUNDS[:1], ORIGIN, {})
    assert not (tmp_path / "sounds.csv").exists()
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8"))["sounds"] == 1


def test_another_origin_is_refused_and_the_same_is_not(tmp_path):
    description = tmp_path / "corpus.json"
    check_same_origin(description, ORIGIN)
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {})
    check_same_origin(description, ORIGIN)
    with pytest.raises(CorpusError, match="'seed': 2"):
        check_same_origin(description, {"seed": 2})
    for damaged in ("{", "[]", "{}"):
        description.write_text(damaged)
        with pytest.raises(CorpusError, match=str(description)):
            check_same_origin(description, ORIGIN)
