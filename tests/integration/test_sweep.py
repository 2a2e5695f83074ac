"""A real sweep of a tiny point, and the program's command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from coala_jax.models import coala
from coala_jax.reporting import training_report
from experiments import sweep
from tests.synthetic import ShallowEncoder, tiny_config, write_random_dataset

ROOT = Path(__file__).parents[2]
GRID, NAME = "seed=3", "seed=3"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "dataset"
    write_random_dataset(folder, train=19, validation=8, tags=4)
    return folder


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A sweep of one point, of two epochs, with one convolution in place of five."""
    workdir = tmp_path_factory.mktemp("real") / "w"
    changes = {"case": "e_c", "model__filters": 2, "report__samples": 0}
    config = tiny_config(data__path=str(dataset), **changes)
    one = jax.devices()[:1]  # of the eight: it compiles in half the time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: one)
        patch.setattr(coala, "AudioEncoder", ShallowEncoder)
        patch.setattr(training_report, "render", lambda _: [])  # the plots of the point's own run
        sweep.run(config, GRID, workdir)
    return workdir, config


def test_the_table_holds_what_the_runs_recorded(finished):
    workdir, _ = finished
    point, *baselines = json.loads((workdir / "results.json").read_text())["rows"]
    folder = workdir / "points" / NAME
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        (kind, epoch) for epoch in (1, 2) for kind in ("train", "validation")
    ]
    record = json.loads((folder / "results.json").read_text())
    retrieval, epoch = record["retrieval"], record["kept"]["epoch"]
    assert (point["point"], point["status"], point["epoch"]) == (NAME, "finished", epoch)
    assert point["seed"] == 3 and point["audio_loss"] is None
    for name in ("loss", "signed_contrastive_loss"):
        assert point[name] == lines[2 * epoch - 1][name]
    for name in sweep.RETRIEVAL:
        assert point[name] == retrieval["trained"][name]
        assert [row[name] for row in baselines] == [
            retrieval[row["point"]][name] for row in baselines
        ]
    assert point["untrained_mrr"] == retrieval["untrained"]["mrr"]
    assert point["best_mrr"] == max(lines[1]["mrr"], lines[3]["mrr"])
    assert point["seconds"] == pytest.approx(lines[0]["seconds"] + lines[2]["seconds"])
    assert (workdir / "results.png").exists()


def test_what_is_done_is_not_trained_again(finished, monkeypatch):
    workdir, config = finished
    before = {path: path.read_bytes() for path in workdir.rglob("*.json*")}
    monkeypatch.setattr(sweep.training_run, "train", None)
    sweep.run(config, GRID, workdir)
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
