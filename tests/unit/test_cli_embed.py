"""The programs `coala embed` and `coala tags`, in this process, on a folder of a few sounds."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from coala_jax.cli import embed as embed_command
from coala_jax.cli import tags as tags_command
from coala_jax.embedding.embedder import load
from coala_jax.models.bank import make_bank
from tests.synthetic import MODEL_TAGS, tiny_model
from tests.unit.embedding.test_embedder import noise

pytestmark = pytest.mark.integration  # compiles a whole network


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    projected = np.random.default_rng(0).normal(size=(MODEL_TAGS, 18)).astype(np.float32)
    bank = make_bank(projected, np.eye(MODEL_TAGS, dtype=np.uint8), 0.1, 100)
    tiny_model("ae_c", bank=bank).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def built_in(model, monkeypatch) -> None:
    """The small model stands in the place of the built-in one."""
    monkeypatch.setattr("coala_jax.models.default._FOLDER", Path(model))


@pytest.fixture
def sounds(tmp_path):
    """Two sounds, one of them deep down, one that cannot be read, and what is no sound."""
    folder = tmp_path / "sounds"
    (folder / "a" / "deep one").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    soundfile.write(folder / "a" / "deep one" / "é.flac", noise(9_000), 22_000)
    soundfile.write(folder / "B.WAV", noise(70_000, 1), 22_000, format="WAV")
    soundfile.write(folder / ".hidden" / "c.wav", noise(9_000), 22_000)
    (folder / "no.mp3").write_bytes(b"<html>")
    (folder / "notes.txt").write_text("no sound")
    return folder


def embed(model, sounds, out, *flags) -> int:
    return embed_command.main([str(sounds), f"--model={model}", f"--out={out}", *flags])


def rows(out) -> dict[str, list[float]]:
    found = pq.read_table(out).to_pydict()
    return dict(zip(found["path"], found["vector"], strict=True))


def test_a_folder_becomes_a_table_and_what_failed_a_list(model, sounds, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "new folder" / "vectors.parquet"
    assert embed(model, sounds, out) == 1
    told = capsys.readouterr()
    assert told.out == f"{out}: 2 vectors of 18 values\n"
    assert f"coala embed: sounds that could not be read: 1. Fix: see {out}.failures.csv" in told.err
    assert "on 8 x cpu" in caplog.text and "times real time" in caplog.text
    failures = (out.parent / "vectors.parquet.failures.csv").read_text().splitlines()
    assert failures[0] == "path,error" and failures[1].startswith("no.mp3,")
    assert len(failures) == 2
    found = rows(out)
    assert list(found) == ["B.WAV", "a/deep one/é.flac"]
    wanted = load(model).embed([sounds / path for path in found])
    np.testing.assert_array_equal(np.float32(list(found.values())), wanted)
    (sounds / "no.mp3").unlink()
    assert embed(model, sounds, out) == 0
    assert not (out.parent / "vectors.parquet.failures.csv").exists()
    assert rows(out) == found


def test_a_link_to_nothing_costs_itself_alone(model, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(9_000), 22_000)
    (tmp_path / "b.wav").symlink_to("nowhere.wav")
    assert embed(model, tmp_path, tmp_path / "v.parquet") == 1
    assert list(rows(tmp_path / "v.parquet")) == ["a.wav"]
    assert "b.wav,No such file" in (tmp_path / "v.parquet.failures.csv").read_text()


def test_what_is_done_is_kept_and_what_changed_is_done_again(model, sounds, tmp_path, monkeypatch):
    (sounds / "no.mp3").unlink()
    out, asked = tmp_path / "vectors.npz", []
    original = embed_command._whole

    def whole(model, files, *rest):
        asked.append([file.relative_to(sounds).as_posix() for file in files])
        return original(model, files, *rest)

    monkeypatch.setattr(embed_command, "_whole", whole)
    assert embed(model, sounds, out) == 0
    soundfile.write(sounds / "new.wav", noise(9_000, 5), 22_000)
    os.utime(sounds / "B.WAV", ns=(1, 1))
    assert embed(model, sounds, out) == 0
    assert embed(model, sounds, out) == 0
    assert embed(model, sounds, out, "--policy=masked") == 0
    everything = ["B.WAV", "a/deep one/é.flac", "new.wav"]
    assert asked == [everything[:2], ["B.WAV", "new.wav"], [], everything]
    with np.load(out) as table:
        assert table["path"].tolist() == everything


def test_a_kill_in_the_middle_loses_nothing_that_was_saved(model, sounds, tmp_path, monkeypatch):
    (sounds / "no.mp3").unlink()
    monkeypatch.setattr(embed_command, "_SAVE_SECONDS", 0)
    whole, out, original = tmp_path / "a.parquet", tmp_path / "b.parquet", embed_command._one

    def interrupt(vector, seconds, error):
        if len(served) == 1:
            raise KeyboardInterrupt
        served.append(seconds)
        return original(vector, seconds, error)

    assert embed(model, sounds, whole) == 0
    served = []
    with monkeypatch.context() as patch:
        patch.setattr(embed_command, "_one", interrupt)
        assert embed(model, sounds, out) == 130
    assert len(served) == 1 and not out.exists()
    assert embed(model, sounds, out) == 0
    assert rows(out) == rows(whole)
    assert not (tmp_path / "b.parquet.work").exists()


def test_a_row_for_each_time(model, sounds, tmp_path):
    out = tmp_path / "times.parquet"
    assert embed(model, sounds, out, "--hop_seconds=1") == 1
    found = pq.read_table(out).to_pydict()
    vectors, seconds = load(model).embed_timestamps(sounds / "B.WAV", 1.0)
    assert found["path"] == ["B.WAV"] * 4 + ["a/deep one/é.flac"]
    assert found["time"][:4] == seconds.tolist()
    np.testing.assert_array_equal(np.float32(found["vector"][:4]), vectors)


def test_a_table_of_another_pooling_is_another_table(model, sounds, tmp_path, capsys):
    """Which does not replace that of the mean: its vectors are longer."""
    (sounds / "no.mp3").unlink()
    out, other = tmp_path / "mean.parquet", tmp_path / "layers.parquet"
    assert embed(model, sounds, out) == 0
    found = rows(out)
    assert embed(model, sounds, other, "--pooling=layers") == 0
    assert f"{other}: 2 vectors of 60 values" in capsys.readouterr().out
    wanted = load(model, "layers").embed([sounds / path for path in found])
    np.testing.assert_array_equal(np.float32(list(rows(other).values())), wanted)
    assert embed(model, sounds, out, "--pooling=layers") == 1
    assert "name another --out" in capsys.readouterr().err
    assert rows(out) == found


@pytest.mark.parametrize(
    ("arguments", "code", "token"),
    [
        (["{sounds}/nowhere", "--out={out}"], 1, "nowhere: no such file or folder"),
        (["{sounds}/.hidden/..", "--out={out}.mat"], 1, ".parquet, .npz, .csv"),
        (["{sounds}", "--model={sounds}", "--out={out}"], 1, "not a pretrained model"),
        (["{sounds}/no.mp3", "--out={out}"], 1, "no sound can be read"),
        (["{empty}", "--out={out}"], 1, "no sound in it, of 1 files"),
        (["{sounds}", "--out={out}", "--hop-seconds=1", "--policy=masked"], 1, "Fix: drop one"),
        (["{sounds}"], 2, "--out is missing"),
        (["{sounds}", "--out={out}", "--worker=2"], 2, "did you mean --workers?"),
        (["{sounds}", "{sounds}", "--out={out}"], 2, "unexpected arguments: "),
        (
            ["{model}", "{sounds}", "--out={out}"],
            2,
            "{model} is a model, where sounds are expected: --model names the model. "
            "Fix: coala embed --model={model} {sounds} --out={out}",
        ),
    ],
)
def test_mistakes_get_a_sentence(built_in, model, sounds, tmp_path, capsys, arguments, code, token):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("")
    places = {"model": model, "sounds": sounds, "out": tmp_path / "v.csv", "empty": empty}
    try:
        found = embed_command.main([argument.format(**places) for argument in arguments])
    except SystemExit as exit_:
        found = exit_.code
    last = capsys.readouterr().err.splitlines()[-1]
    assert found == code and last.startswith("coala embed: ") and token.format(**places) in last
    assert not (tmp_path / "v.csv").exists()


def test_tags_are_printed_a_line_a_sound(model, sounds, capsys, caplog):
    wanted = load(model).tags(sounds / "B.WAV", 2)
    flags = [f"--model={model}", "--top=2"]
    assert tags_command.main([str(sounds / "B.WAV"), *flags]) == 0
    line = ", ".join(f"{tag} {score:.2f}" for tag, score in wanted)
    assert capsys.readouterr().out == f"{sounds / 'B.WAV'}: {line}\n"
    assert tags_command.main([str(sounds), f"--model={model}", "--json"]) == 1
    told = capsys.readouterr()
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["path"] for row in rows] == [
        str(sounds / path) for path in ("B.WAV", "a/deep one/é.flac")
    ]
    assert [tag["tag"] for tag in rows[0]["tags"][:2]] == [tag for tag, _ in wanted]
    assert "no.mp3" in caplog.text


def test_without_a_model_it_is_the_built_in_one(built_in, model, sounds, tmp_path, capsys, caplog):
    """Which the log names, with its digest, as it names any other."""
    (sounds / "no.mp3").unlink()
    caplog.set_level("INFO")
    sound, digest = str(sounds / "B.WAV"), load(model).digest[:12]
    told = {}
    for name, flags in (("built-in", []), ("named", [f"--model={model}"])):
        caplog.clear()
        assert tags_command.main([sound, *flags]) == 0
        out = tmp_path / f"{name}.parquet"
        assert embed_command.main([sound, f"--out={out}", *flags]) == 0
        told[name] = capsys.readouterr().out.splitlines()[0], rows(out)
        assert caplog.text.count("the built-in model: <Embedder ae_c: ") == 2
        assert caplog.text.count(f"digest {digest}>") == 2
    assert told["built-in"] == told["named"]
    tiny_model("e_c").save_pretrained(tmp_path / "other")
    other = tmp_path / "other"
    caplog.clear()
    assert embed(str(other), sounds, tmp_path / "other.parquet") == 0
    assert f"the model {other}: <Embedder e_c: " in caplog.text


@pytest.mark.parametrize("more", [["{sounds}"], [], ["{sounds}", "--json"]])
def test_a_model_as_the_first_sound_is_said_to_be_one(model, sounds, capsys, more):
    words = [word.format(sounds=sounds) for word in more]
    with pytest.raises(SystemExit) as ended:
        tags_command.main([model, *words])
    assert ended.value.code == 2
    fix = " ".join([f"Fix: coala tags --model={model}", *(words or ["SOUNDS"])])
    assert capsys.readouterr().err.endswith(f": --model names the model. {fix}\n")
