"""Two processes that train together compute what one process computes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import journal
from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parent.parent


def start(dataset, workdir, epochs, changes=(), **environment):
    flags = [
        "--config=configs/e_c.py",
        f"--workdir={workdir}",
        f"--config.data.path={dataset}",
        "--config.model.filters=2",
        "--config.model.tag_hidden=8",
        "--config.train.batch_size=8",
        f"--config.train.epochs={epochs}",
        "--config.precision=float64",
        *changes,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "coala_jax.main", *flags],
        cwd=ROOT,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    """Their outputs. When one fails the other would wait for it, so both are ended."""
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def start_two(dataset, workdir, epochs, *changes):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    told = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [
        start(dataset, workdir, epochs, changes, **told, JAX_PROCESS_ID=str(number))
        for number in range(2)
    ]


def test_two_processes_compute_what_one_computes_and_go_on(tmp_path):
    """First each holds all sounds, then each reads its own rows, two steps a call."""
    dataset = tmp_path / "dataset"
    write_random_dataset(dataset, train=19, validation=5, tags=3)
    finish([start(dataset, tmp_path / "one", epochs=2)])
    finish(start_two(dataset, tmp_path / "two", epochs=1))
    streamed = ("--config.data.placement=host", "--config.train.steps_per_call=2")
    lead, other = finish(start_two(dataset, tmp_path / "two", 2, *streamed))
    assert "on 2 x cpu in 2 processes" in lead
    assert "from disk ahead of use" in lead
    assert "going on after step 3" in lead
    assert "report.json" in lead
    assert "report.json" not in other
    one, two = (
        [entry for entry in journal.read(tmp_path / name) if entry["kind"] != "samples"]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 4
    for wanted, got in zip(one, two, strict=True):
        for name in ("epoch", "step", "loss", "signed_contrastive_loss"):
            assert got[name] == pytest.approx(wanted[name], rel=1e-9)
    models = [PretrainedModel.load(tmp_path / name / "model").variables for name in ("one", "two")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-7), *models)
