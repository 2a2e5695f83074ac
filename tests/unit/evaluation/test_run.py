"""The whole command, on sounds and models that are tiny."""

import json
import re
import shutil

import numpy as np
import pytest

from coala_jax.audio.decode import LEVELS
from coala_jax.embedding.pooling import POLICIES
from coala_jax.evaluation import comparison, run
from coala_jax.evaluation.probe_result import ProbeResult
from tests.tiny_task import LABELS, write_task
from tests.unit.evaluation.test_correlation import audio, dataset  # noqa: F401
from tests.unit.evaluation.test_correlation import run as trained_run  # noqa: F401


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path / "saws", clips=18, samples=4000)


@pytest.fixture
def command(task, trained_run, audio, dataset, tmp_path):  # noqa: F811
    flags = [
        "--model",
        f"{trained_run}/model",
        f"untrained:{trained_run}/model:1",
        "mfcc",
        "--task",
        str(task),
    ]
    flags += ["--dataset", str(dataset), "--audio", str(audio), "--seeds", "2"]
    return [*flags, "--out", str(tmp_path / "out")]


def test_both_tables_from_one_command(command, task, tmp_path, capsys, monkeypatch):
    assert run.main(command) == 0
    out = tmp_path / "out"
    printed = capsys.readouterr()
    found = json.loads((out / "report.json").read_text())
    text = (out / "report.md").read_text()
    assert "3 models on cpu (" in printed.out
    assert "task saws: 18 clips, 3 classes" in printed.out
    assert "saws: classifiers: 100%" in printed.err
    assert found["command"] in text
    assert found["command"].endswith(f"--out {out}")
    outcomes = [ProbeResult.from_dict(content) for content in found["outcomes"]]
    assert [one.model for one in outcomes] == ["sines", "untrained sines 1", "MFCC"]
    for outcome, model in zip(outcomes, found["models"], strict=True):
        assert outcome.labels == LABELS
        assert outcome.seeds == 2
        assert f"{100 * outcome.mean:.1f}" in text
        assert re.fullmatch("[0-9a-f]{64}", model["digest"])
        assert model["digest"] in text
    assert found["tasks"][0]["clips"] == 18
    assert found["tasks"][0]["majority"] == pytest.approx(1 / 3)
    assert found["correlations"].keys() == {"sines", "untrained sines 1"}
    assert len(found["differences"]) == 2  # the first model beside each other one
    assert found["settings"]["seeds"] == [0, 1]
    for picture in found["pictures"]:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
        assert f"]({picture})" in text
        assert f"{out / picture}" in printed.out
    assert {"accuracy.png", "confusion-saws.png", "map-saws.png", "correlation.png"} <= set(
        found["pictures"]
    )
    left = {path.name for path in out.iterdir()}
    assert left == {"work", "report.md", "report.json", *found["pictures"]}

    # Again, nothing is trained or embedded, and nothing changes.
    monkeypatch.setitem(comparison.HEADS, "mlp", None)
    assert run.main(command) == 0
    assert json.loads((out / "report.json").read_text()) == found
    assert (out / "report.md").read_text() == text

    # With a model less, no picture of it stays behind.
    fewer = [flag for flag in command if flag != "mfcc"]
    assert run.main(fewer) == 0
    pictures = json.loads((out / "report.json").read_text())["pictures"]
    assert set(pictures) < set(found["pictures"])
    left = {path.name for path in out.iterdir()}
    assert left == {"work", "report.md", "report.json", *pictures}


def test_a_clip_that_is_not_there(command, task, tmp_path, capsys):
    (task / "audio" / "0004.wav").unlink()
    (task / "audio" / "0005.wav").write_bytes(b"no sound")
    assert run.main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("coala_jax.evaluation.run: ")
    assert "audio/0004.wav" in said
    assert not (tmp_path / "out" / "report.json").exists()
    assert run.main([*command, "--allow-missing"]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "left out of fold 1: 2 (audio/0004.wav, audio/0005.wav)" in text
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["tasks"][0]["left_out"] == {"fold 1": ["audio/0004.wav", "audio/0005.wav"]}
    assert np.sum(found["outcomes"][0]["confusion"]) == 16 * 2


def test_table_2_alone_needs_no_task(run, audio, dataset, tmp_path, capsys):  # noqa: F811
    flags = ["--model", f"{run}/model", "--dataset", str(dataset), "--audio", str(audio)]
    assert run.main([*flags, "--out", str(tmp_path)]) == 0
    assert "Table 2" in capsys.readouterr().out
    assert "Table 1" not in (tmp_path / "report.md").read_text()


def test_two_tasks_of_one_name(command, task, tmp_path, capsys):
    shutil.copytree(task, tmp_path / "other" / "saws")
    assert run.main([*command, "--task", str(tmp_path / "other" / "saws")]) == 1
    assert "two tasks are called 'saws'; rename the folder of one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "mfcc"], "nothing to do: give --task, or --dataset and --audio"),
        (["--model", "mfcc", "--dataset", "d"], "--dataset and --audio go together"),
        (["--model", "mfcc", "--task", "t", "--audio", "a"], "--dataset and --audio go together"),
        (["--model", "mfcc", "--task", "t", "--seeds", "0"], "--seeds must be at least 1"),
        (["--model", "mfcc", "--task", "t", "--head", "tree"], "invalid choice: 'tree'"),
    ],
)
def test_flags_that_make_no_sense(flags, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main([*flags, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_flags_offer_what_there_is():
    assert comparison.HEADS.keys() == set(run.HEADS)
    assert run.POLICIES == POLICIES
    assert run.LEVELS == LEVELS
