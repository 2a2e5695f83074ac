"""A real sweep of two tiny points, one of which diverges; and the program's command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments import sweep
from tests.synthetic import tiny_config, write_random_dataset

ROOT = Path(__file__).parents[2]
RATES = "optimizer.learning_rate=0.005,1e30"
FINISHED, DIVERGED = "learning_rate=0.005", "learning_rate=1e+30"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "dataset"
    write_random_dataset(folder, train=19, validation=8, tags=4)
    return folder


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A sweep that was interrupted in the second epoch of its first point, and then resumed."""
    workdir = tmp_path_factory.mktemp("real") / "w"
    changes = {"case": "e_c", "model__filters": 2, "report__samples": 0}
    config = tiny_config(data__path=str(dataset), **changes)
    make_evaluate_fn, evaluations = sweep.training_program.make_evaluate_fn, []

    def interrupted(config, sounds):
        evaluate_fn = make_evaluate_fn(config, sounds)

        def counted(model):
            evaluations.append(len(evaluations) + 1)
            if len(evaluations) == 2:
                raise KeyboardInterrupt
            return evaluate_fn(model)

        return counted

    one = jax.devices()[:1]  # of the eight: it compiles in half the time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: one)
        patch.setattr(sweep.training_program, "make_evaluate_fn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.run(config, RATES, workdir)
        assert not (workdir / "results.json").exists()
        sweep.run(config, RATES, workdir)
    assert evaluations == [1, 2, 3]  # of three epochs begun, none was trained from the start again
    return workdir, config


def test_the_table_holds_what_the_runs_recorded(finished):
    workdir, _ = finished
    point, diverged, *baselines = json.loads((workdir / "results.json").read_text())["rows"]
    folder = workdir / "points" / FINISHED
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        (kind, epoch) for epoch in (1, 2) for kind in ("train", "validation")
    ]
    retrieval = json.loads((folder / "results.json").read_text())["retrieval"]
    assert (point["point"], point["status"], point["epoch"]) == (FINISHED, "finished", 2)
    assert point["optimizer.learning_rate"] == 0.005 and point["audio_loss"] is None
    for name in ("loss", "signed_contrastive_loss", *sweep.RETRIEVAL):
        assert point[name] == lines[-1][name]
    for name in sweep.RETRIEVAL:
        assert point[name] == retrieval["trained"][name]
        assert [row[name] for row in baselines] == [
            retrieval[row["point"]][name] for row in baselines
        ]
    assert point["untrained_mrr"] == retrieval["untrained"]["mrr"]
    assert point["best_mrr"] == max(lines[1]["mrr"], lines[3]["mrr"])
    assert point["seconds"] == pytest.approx(lines[0]["seconds"] + lines[2]["seconds"])
    cause = json.loads((workdir / "points" / DIVERGED / "diverged.json").read_text())
    assert diverged["status"] == f"diverged at step {cause['step']}" and cause["epoch"] == 1
    assert (workdir / "results.png").exists()


def test_what_is_done_is_not_trained_again(finished, monkeypatch):
    workdir, config = finished
    before = {path: path.read_bytes() for path in workdir.rglob("*.json*")}
    monkeypatch.setattr(sweep.training_program, "run", None)
    sweep.run(config, RATES, workdir)
    assert {path: path.read_bytes() for path in workdir.rglob("*.json*")} == before


@pytest.mark.parametrize(
    ("flags", "token"),
    [
        (["--grid=loss.temprature=1"], "config.loss.temperature"),
        (["--grid=seed=1", "stray"], "stray"),
        ([], "--grid"),
    ],
)
def test_wrong_flags_end_with_a_line_before_the_first_training(dataset, tmp_path, flags, token):
    command = [sys.executable, "-m", "experiments.sweep", "--config=configs/e_c.py"]
    places = [f"--workdir={tmp_path / 'w'}", f"--config.data.path={dataset}"]
    process = subprocess.run(
        [*command, *places, *flags],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert token in process.stderr and "Traceback" not in process.stderr
    assert not (tmp_path / "w").exists()
