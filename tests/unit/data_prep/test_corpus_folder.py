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
    CorpusSound('p/a "b", c.wav', ("drum", "café"), "p/a", "CC0-1.0", "p"),
    CorpusSound("p/d.wav", ("bell",), "p/a", "MIT", "p"),
]
ORIGIN = {"seed": 1}


def test_the_index_reads_back(tmp_path):
    missing = {"too loud": ["p/x.wav", "p/y.wav"]}
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, missing, {"p": "1.0", "unused": "2"})
    with (tmp_path / "sounds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            **{"file": 'p/a "b", c.wav', "tags": "drum café", "group": "p/a"},
            **{"licence": "CC0-1.0", "source": "p"},
        },
        {"file": "p/d.wav", "tags": "bell", "group": "p/a", "licence": "MIT", "source": "p"},
    ]
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8")) == {
        "name": "mine",
        "sounds": 2,
        "groups": 1,
        "made_from": ORIGIN,
        "sources": {"p": {"sounds": 2, "licences": {"CC0-1.0": 1, "MIT": 1}, "version": "1.0"}},
        "missing": {"too loud": 2},
        "missing_files": {"too loud": ["p/x.wav", "p/y.wav"]},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.json", "sounds.csv"]


def test_a_version_stands_until_another_is_fetched(tmp_path):
    description = tmp_path / "corpus.json"
    for versions, known in (({}, None), ({"p": "1.0"}, "1.0"), ({}, "1.0"), ({"p": "2"}, "2")):
        write_index(tmp_path, "mine", SOUNDS, ORIGIN, {}, versions)
        assert storage.read_json(description)["sources"]["p"].get("version") == known
    old = {k: v for k, v in storage.read_json(description).items() if k != "sources"}
    storage.write_json(description, old)  # of an earlier release
    write_index(tmp_path, "mine", SOUNDS, ORIGIN, {})
    assert "version" not in storage.read_json(description)["sources"]["p"]


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
