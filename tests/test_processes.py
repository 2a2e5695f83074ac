"""Two processes that train together compute what one process computes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from coala_jax.models.frozen import FrozenModel
from coala_jax.training import journal
from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parent.parent


def start(dataset, workdir, **environment):
    flags = [
        "--config=configs/e_c.py",
        f"--workdir={workdir}",
        f"--config.data.path={dataset}",
        "--config.model.filters=2",
        "--config.model.tag_hidden=8",
        "--config.train.batch_size=8",
        "--config.train.epochs=2",
        "--config.precision=float64",
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


def test_two_processes_compute_what_one_computes(tmp_path):
    write_random_dataset(tmp_path / "dataset", train=19, validation=5, tags=3)
    finish([start(tmp_path / "dataset", tmp_path / "one")])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    outputs = finish(
        [
            start(
                tmp_path / "dataset",
                tmp_path / "two",
                JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(number),
            )
            for number in range(2)
        ]
    )
    assert "on 2 x cpu in 2 processes" in outputs[0]
    assert "report.json" in outputs[0]
    assert "report.json" not in outputs[1]
    one, two = (journal.read(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 4
    for wanted, got in zip(one, two, strict=True):
        for name in ("epoch", "step", "loss", "contrastive_loss"):
            assert got[name] == pytest.approx(wanted[name], rel=1e-9)
    models = [FrozenModel.load(tmp_path / name / "model") for name in ("one", "two")]
    assert models[0].case == models[1].case == "e_c"
