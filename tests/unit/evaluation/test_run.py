"""The command, on tiny clips: its record, its report, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from coala_jax.embedding.pooling import POLICIES, POOLINGS
from coala_jax.evaluation import comparison, run
from coala_jax.reporting import evaluation_report, style
from tests.evaluation_record import nearest_mean
from tests.synthetic import tiny_model
from tests.tiny_task import write_task


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path / "saws", clips=18, samples=4000)


@pytest.fixture
def command(task, tmp_path, monkeypatch):
    monkeypatch.setitem(comparison.HEADS, "mlp", nearest_mean)
    monkeypatch.setattr(style, "write", lambda figure, out: out.touch())
    flags = ["--model", "mfcc", "mfcc:released", "--task", str(task), "--seeds", "2"]
    return [*flags, "--out", str(tmp_path / "out")]


def test_without_a_model_it_is_the_built_in_one(command, tmp_path, monkeypatch):
    tiny_model("e_c").save_pretrained(tmp_path / "model")
    monkeypatch.setattr("coala_jax.models.default._FOLDER", tmp_path / "model")
    assert run.main(command[3:]) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(one["name"], one["digest"]) for one in record["models"]] == [
        ("default", tiny_model("e_c").digest)
    ]


def files(out):
    return {path.name for path in out.iterdir()} - {"work"}


def test_one_record_from_which_the_report_is_made(command, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert run.main(command) == 0
    printed = capsys.readouterr()
    record = json.loads((out / "results.json").read_text())
    text = (out / "report.md").read_text()
    assert record["command"].endswith(f"--out {out}")
    assert [len(one["accuracies"]) for one in record["outcomes"]] == [2, 2]
    assert f"{100 * record['outcomes'][0]['mean']:.1f}" in printed.out
    assert "saws: classifiers: 100%" in printed.err
    plots = {f"{name}.png" for name in ("accuracy", "confusion-saws", "map-saws")}
    plots |= {"class-difference-saws.png"}
    assert files(out) == {"results.json", "report.md", *plots}
    assert all(str(out / name) in printed.out for name in plots)

    # Again nothing is trained or embedded, and nothing changes.
    with monkeypatch.context() as patch:
        patch.setitem(comparison.HEADS, "mlp", None)
        assert run.main(command) == 0
    assert json.loads((out / "results.json").read_text()) == record

    # Other models are refused and change nothing; with --overwrite no old plot stays.
    one_model = [flag for flag in command if flag != "mfcc:released"]
    assert run.main(one_model) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "report.md").read_text() == text
    assert run.main([*one_model, "--overwrite"]) == 0
    assert files(out) == {"results.json", "report.md", *plots - {"class-difference-saws.png"}}


def test_a_kill_before_the_report_leaves_no_plot_of_older_results(command, tmp_path, monkeypatch):
    assert run.main(command) == 0
    old = (tmp_path / "out" / "results.json").read_text()

    def killed(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_report, "render", killed)
    assert run.main([*command, "--policy", "masked", "--overwrite"]) == 130
    assert files(tmp_path / "out") == {"results.json"}
    assert (tmp_path / "out" / "results.json").read_text() != old


@pytest.mark.integration  # compiles a whole network
def test_a_model_is_evaluated_with_both_poolings(command, tmp_path, capsys):
    """Two rows and other vectors; a warning as long as no untrained model stands beside."""
    tiny_model("ae_c").save_pretrained(tmp_path / "dogs")
    models = ["--model", str(tmp_path / "dogs")]
    record = evaluated([*command, *models, "--pooling", "mean", "layers"], tmp_path)
    names = ["MFCC", "MFCC released", "dogs, mean", "dogs, layers"]
    assert [one["name"] for one in record["models"]] == names
    assert [one["pooling"] for one in record["models"]] == ["", "", "mean", "layers"]
    assert [one["model"] for one in record["outcomes"]] == names
    text = (tmp_path / "out" / "report.md").read_text()
    assert '"dogs, layers" is of the pooling `layers`' in text and "**Warning**" in text
    models += [f"untrained:{tmp_path / 'dogs'}"]
    capsys.readouterr()
    assert run.main([*command, *models, "--pooling", "layers"]) == 1
    assert "model dogs is absent" in capsys.readouterr().err
    record = evaluated([*command, *models, "--pooling", "layers", "--overwrite"], tmp_path)
    assert [one["name"] for one in record["models"]] == [*names[:2], "dogs", "untrained dogs"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert 'same pooling, "untrained dogs".' in text and "**Warning**" not in text


def evaluated(command, tmp_path):
    assert run.main(command) == 0
    return json.loads((tmp_path / "out" / "results.json").read_text())


def test_clips_that_are_not_there(command, task, tmp_path, capsys):
    (task / "audio" / "0004.wav").unlink()
    (task / "audio" / "0005.wav").write_bytes(b"no sound")
    assert run.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("coala evaluate: ")
    assert "audio/0004.wav" in error
    assert not (tmp_path / "out" / "results.json").exists()
    assert run.main([*command, "--allow_missing"]) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["tasks"][0]["left_out"] == {"fold 1": ["audio/0004.wav", "audio/0005.wav"]}
    assert np.sum(record["outcomes"][0]["confusion"]) == 16 * 2


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("", "--task"),
        ("--data d", "--audio"),
        ("--task t --audio a", "--data"),
        ("--task t --seeds 0", "--seeds"),
        ("--task t --head tree", "'tree'"),
        ("--task t --pooling max", "'max'"),
    ],
)
def test_flags_that_make_no_sense(flags, named, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(["--model", "mfcc", *flags.split(), "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_two_tasks_of_one_name_and_what_the_flags_offer(command, task, tmp_path, capsys):
    shutil.copytree(task, tmp_path / "other" / "saws")
    assert run.main([*command, "--task", str(tmp_path / "other" / "saws")]) == 1
    assert "'saws'" in capsys.readouterr().err
    assert comparison.HEADS.keys() == set(run.HEADS)
    assert (run.POLICIES, run.POOLINGS) == (POLICIES, POOLINGS)
