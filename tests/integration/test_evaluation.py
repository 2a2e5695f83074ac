"""Both tables of the paper from one command, with a tiny model and the real probe."""

import json

from coala_jax.evaluation import run
from tests.tiny_task import write_task
from tests.unit.evaluation.test_correlation import audio, dataset  # noqa: F401
from tests.unit.evaluation.test_correlation import run as trained_run  # noqa: F401


def test_both_tables(trained_run, audio, dataset, tmp_path, capsys):  # noqa: F811
    task = write_task(tmp_path / "saws", clips=18, samples=4000)
    model = f"{trained_run}/model"
    flags = ["--model", model, f"untrained:{model}:1", "mfcc", "--task", str(task)]
    flags += ["--data", str(dataset), "--audio", str(audio), "--seeds", "2"]
    assert run.main([*flags, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [one["model"] for one in record["outcomes"]] == ["sines", "untrained sines 1", "MFCC"]
    assert [(one["first"], one["second"]) for one in record["differences"]]
    assert record["correlations"].keys() == {"sines", "untrained sines 1"}
    assert record["models"][0]["digest"] != record["models"][1]["digest"]
    assert "Table 1" in printed and "Table 2" in printed

    # Table 2 alone needs no task.
    flags = ["--model", model, "--data", str(dataset), "--audio", str(audio)]
    assert run.main([*flags, "--out", str(tmp_path / "2")]) == 0
    printed = capsys.readouterr().out
    assert "Table 1" not in printed and "Table 2" in printed
    assert (tmp_path / "2" / "correlation.png").exists()
