"""The commands that make an index and ask it, in this process."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax import cli
from coala_jax.cli.found import seconds_range
from coala_jax.embedding.index import Index
from coala_jax.embedding.index_settings import shown
from coala_jax.models.bank import make_bank
from coala_jax.serve.library import Question
from coala_jax.serve.server import open_index
from tests.synthetic import MODEL_TAGS, tiny_model
from tests.unit.embedding.test_index import write

pytestmark = pytest.mark.integration  # compiles a whole network

BAD_NAME = os.fsdecode(b"caf\xe9.wav")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    projected = np.random.default_rng(0).normal(size=(MODEL_TAGS, 18)).astype(np.float32)
    bank = make_bank(projected, np.eye(MODEL_TAGS, dtype=np.uint8), 0.1, 100)
    tiny_model("ae_c", bank=bank).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    """An index of tones and a noise, with an equal file, and a copy that is cut and quieter."""
    root = tmp_path_factory.mktemp("sounds")
    for seed in range(6):
        write(root / f"{seed}.wav", seed, 0.5)
    write(root / "<b>\n.wav", 6, 0.5)
    write(root / BAD_NAME, 7, 1.2)
    noise = np.random.default_rng(5).normal(size=33_000).astype(np.float32) / 9
    soundfile.write(root / "noise.wav", noise, 22_000)
    soundfile.write(root / "copy.flac", 0.8 * noise[:31_000], 22_000)
    shutil.copy(root / "3.wav", root / "same.wav")
    (root / "bad.wav").write_bytes(b"no sound")
    (root.parent / "tags.csv").write_text("file,tags\n1.wav,tag1 Loud\n")
    assert cli.main(["index", str(root), f"--model={model}", f"--out={root.parent / 'i'}"]) == 1
    return root.parent / "i", root


def ask(capsys, *words) -> list[str]:
    assert cli.main([*map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_an_index_is_made_and_what_failed_is_named(made, model, capsys, caplog):
    index, root = made
    flags = [str(root), f"--model={model}", f"--out={index}"]
    tags = f"--tags={root.parent / 'tags.csv'}"
    assert cli.main(["index", *flags, tags]) == 0
    told = capsys.readouterr()
    assert told.out == f"{index}: 11 sounds (11 unchanged)\n"
    assert "sounds that could not be read: 1, 0 of them new. Fix: see " in told.err
    (index / "failures.csv").unlink()
    assert cli.main(["index", *flags]) == 1
    assert capsys.readouterr().out == f"{index}: 11 sounds (11 unchanged)\n"
    assert f"{root / 'bad.wav'}: it holds plain text, no sound. Fix: " in caplog.messages[-1]
    records = [json.loads(line) for line in ask(capsys, "search", index, "tag1", "--json")]
    assert {r["path"]: r["tags"] for r in records}["1.wav"] == ["tag1", "loud"]
    (root.parent / "tags.csv").write_text(f"file,tags\n{'x' * 300}.wav,tag1\nother.wav,tag1\n")
    assert cli.main(["index", *flags, tags]) == 1
    assert "none of its 2 files is in" in capsys.readouterr().err


def test_without_a_model_it_is_the_built_in_one(model, tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("coala_jax.models.default._FOLDER", Path(model))
    write(tmp_path / "sounds" / "a.wav", 0)
    assert cli.main(["index", str(tmp_path / "sounds"), f"--out={tmp_path / 'i'}"]) == 0
    assert "the built-in model: <Embedder ae_c: " in caplog.text
    assert json.loads((tmp_path / "i" / "index.json").read_text())["model"] is None
    ask(capsys, "search", tmp_path / "i", "tag1")
    assert "1 sounds by the built-in model, digest " in caplog.messages[-1]


def test_text_and_json_say_the_same(made, capsys):
    index, root = made
    lines = ask(capsys, "search", index, "tag1, -tag2", "--top=20")
    records = [json.loads(x) for x in ask(capsys, "search", index, "tag1, -tag2", "--json")]
    assert len(lines) == len(records) == 11
    for line, record in zip(lines, records, strict=True):
        assert line.split()[0] == f"{record['score']:.3f}"
        assert f" {record['seconds']:.2f} s  " in line
    assert {record["path"] for record in records} >= {"<b>\n.wav", BAD_NAME}
    assert records[0]["file"] == str(root / records[0]["path"])
    assert sum("<b>\\n.wav" in line or "caf\\xe9.wav" in line for line in lines) == 2


def test_a_search_may_have_all_parts(made, capsys):
    index, _ = made
    flags = ("--seconds=1..2", "--top=2", "--json")
    both = ask(capsys, "search", index, "tag1", "--like=1.wav", *flags)
    assert both == ask(capsys, "similar", index, "1.wav", "--words=tag1", *flags)
    found = {json.loads(line)["path"] for line in both}
    assert len(found) == 2 and found < {BAD_NAME, "noise.wav", "copy.flac"}
    assert ask(capsys, "search", index, "--top=1", "--", "-tag1")


def test_a_page_plays_the_sounds(made, tmp_path, capsys, monkeypatch):
    index, _ = made
    page = tmp_path / "page.html"
    ask(capsys, "search", index, "tagg1", f"--html={page}")
    text = page.read_text()
    assert text.count('src="data:audio/mpeg;base64,') == 11
    assert "<title>tag1</title>" in text and "&lt;b&gt;\\x0a.wav" in text
    monkeypatch.setattr("coala_jax.cli.found._PAGE_BYTES", 1)
    ask(capsys, "similar", index, "1.wav", f"--html={page}")
    text = page.read_text()
    assert text.count("data:audio") == 1 and text.count("not in this page, which is full") == 9


def test_near_copies_are_found_however_they_are_encoded(made, capsys):
    index, _ = made
    records = [json.loads(line) for line in ask(capsys, "duplicates", index, "--json")]
    groups: dict[int, set[str]] = {}
    for record in records:
        groups.setdefault(record["group"], set()).add(record["path"])
        assert 0.95 <= record["score"] <= 1
    assert sorted(map(sorted, groups.values())) == [
        ["3.wav", "same.wav"],
        ["copy.flac", "noise.wav"],
    ]
    assert ask(capsys, "duplicates", index)[0] == "2 copies"
    for value in ("0", "nan", "1.1"):
        assert cli.main(["duplicates", str(index), f"--correlation={value}"]) == 1
        assert "it must be above 0, at most 1" in capsys.readouterr().err


def test_groups_have_names_and_all_sounds(made, capsys):
    index, _ = made
    records = [json.loads(x) for x in ask(capsys, "cluster", index, "--groups=3", "--json")]
    assert len(records) == 11 and len({record["path"] for record in records}) == 11
    assert "score" not in records[0]
    names = list(dict.fromkeys(record["group"] for record in records))
    assert len(names) == 3 and all(name.startswith("tag") for name in names)
    lines = ask(capsys, "cluster", index, "--groups=1")
    assert len(lines) == 12 and lines[0].endswith(": 11 sounds")


def test_a_sound_given_to_the_page_goes_through_the_model_as_in_similar(made, tmp_path):
    index, _ = made
    write(tmp_path / "other.wav", 3, 0.75)
    library, uploads = open_index(index)
    uploads.start()
    given = uploads.submit(tmp_path / "other.wav", "other.wav").result(timeout=300)
    uploads.close()
    found = library.search(Question("", given["key"], (0.0, np.inf), 20))["hits"]
    wanted = Index(index).similar(tmp_path / "other.wav")
    assert [hit["path"] for hit in found] == [shown(hit.path) for hit in wanted]
    scores = [hit.score for hit in wanted]
    np.testing.assert_allclose([hit["score"] for hit in found], scores, atol=1e-4)
    assert len(given["tags"]) == 5 and uploads.state() == {"state": "ready", "error": ""}


def test_nothing_found_and_no_index_are_no_success(made, tmp_path, capsys):
    index, root = made
    assert cli.main(["search", str(index), "tag1", "--seconds=100.."]) == 1
    assert "coala search: no sound of 11 is found" in capsys.readouterr().err
    assert cli.main(["similar", str(root), "1.wav"]) == 1
    assert "no index of sounds. Fix: make one with coala index" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0.5..2", (0.5, 2)), ("..2", (0, 2)), ("2..", (2, np.inf)), ("1..1", (1, 1))],
)
def test_a_range_is_written_with_two_dots(text, wanted):
    assert seconds_range(text) == wanted


@pytest.mark.parametrize("text", ["2", "2..1", "a..b", "", "nan..2"])
def test_what_is_no_range_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        cli.main(["search", "i", "tag", f"--seconds={text}"])
    said = capsys.readouterr().err
    assert f"--seconds is {text!r}; it must be a range such as 0.5..2, ..2 or 2.." in said
