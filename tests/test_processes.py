"""Two processes that train together compute what one process computes."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from coala_jax.data.pipeline import epoch_numbers
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import journal
from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parent.parent


def start(dataset, workdir, epochs, changes=(), program=("-m", "coala_jax.main"), **environment):
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
    return start_python([*program, *flags], **environment)


def start_python(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
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


def of_two():
    """What tells each of two processes of the other."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    told = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [{**told, "JAX_PROCESS_ID": str(number)} for number in range(2)]


def start_two(dataset, workdir, epochs, *changes, **how):
    return [start(dataset, workdir, epochs, changes, **how, **told) for told in of_two()]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A dataset, and the folder of a run of two epochs on it in one process."""
    folder = tmp_path_factory.mktemp("one")
    write_random_dataset(folder / "dataset", train=19, validation=5, tags=3)
    finish([start(folder / "dataset", folder / "run", epochs=2)])
    return folder / "dataset", folder / "run"


def test_two_processes_compute_what_one_computes_and_go_on(one, tmp_path):
    """First each holds all sounds, then each reads its own rows, two steps a call."""
    dataset, run = one
    finish(start_two(dataset, tmp_path / "two", epochs=1))
    streamed = ("--config.data.placement=host", "--config.train.steps_per_call=2")
    lead, other = finish(start_two(dataset, tmp_path / "two", 2, *streamed))
    assert "on 2 x cpu in 2 processes" in lead
    assert "from disk ahead of use" in lead
    assert "going on after step 3" in lead
    assert "report.json" in lead
    assert "report.json" not in other
    assert_same_training(run, tmp_path / "two")


def assert_same_training(*workdirs):
    one, two = (
        [entry for entry in journal.read(workdir) if entry["kind"] != "samples"]
        for workdir in workdirs
    )
    assert len(one) == len(two) == 4
    for wanted, got in zip(one, two, strict=True):
        for name in ("epoch", "step", "loss", "signed_contrastive_loss"):
            assert got[name] == pytest.approx(wanted[name], rel=1e-9)
    models = [PretrainedModel.load(workdir / "model").variables for workdir in workdirs]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-7), *models)


# The program, given its devices process by process in turn; tells which examples each call reads.
INTERLEAVED = """
import jax
from absl import app

from coala_jax import main
from coala_jax.data import pipeline
from coala_jax.training import loop

load, train_and_evaluate = pipeline.load, loop.train_and_evaluate

def load_and_tell(split, numbers, *rest):
    print("read", len(split), *numbers, flush=True)
    return load(split, numbers, *rest)

def train_interleaved(*arguments):
    devices = sorted(jax.devices(), key=lambda device: (device.id % 2, device.process_index))
    assert [device.process_index for device in devices] == [0, 1, 0, 1]
    return train_and_evaluate(*arguments, devices=devices)

pipeline.load, loop.train_and_evaluate = load_and_tell, train_interleaved
app.run(main.main, flags_parser=main.parse)
"""


def test_processes_whose_devices_are_interleaved_share_the_batch(one, tmp_path):
    dataset, run = one
    flags = ("--config.data.placement=host", "--config.train.steps_per_call=1")
    how = {"program": ("-c", INTERLEAVED), "JAX_NUM_CPU_DEVICES": "2"}
    outputs = finish(start_two(dataset, tmp_path / "two", 2, *flags, **how))
    assert "on 4 x cpu in 2 processes" in outputs[0]
    # Of the training sounds, by process and call; each step is a call.
    read = [
        [list(map(int, found.split())) for found in re.findall(r"read 19 ([-\d ]+)$", output, re.M)]
        for output in outputs
    ]
    batches = [numbers for epoch in range(2) for numbers in epoch_numbers(19, 8, 0, epoch)]
    for lead, other, batch in zip(*read, batches, strict=True):
        assert len(lead) == len(other) == 4
        assert lead + other == batch.tolist()
    assert_same_training(run, tmp_path / "two")


# Prints a line for each folder that it comes to.
CONFIGS = """
import sys
from pathlib import Path

import jax

from coala_jax import storage
from coala_jax.training import checkpoint, parallel
from tests.synthetic import tiny_config

def told(name, digest="digest", **changes):
    try:
        checkpoint.check_or_write_config(root / name, tiny_config(**changes), digest)
        print("agreed")
    except ValueError as error:
        print("refused:", error)

def no_space(*_):
    raise OSError(28, "No space left on device")

root = Path(sys.argv[1])
parallel.start("")
process = jax.process_index()
told("new")
told("new")
told("new", seed=3)
told("seeds", seed=process)
told("data", digest=f"digest {process}")
told("damaged")
storage.write_json = no_space
told("full")
"""


def test_processes_agree_on_the_config_or_refuse_it_together(tmp_path):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text('{"data_digest": "dig')
    outputs = finish([start_python(["-c", CONFIGS, str(tmp_path)], **told) for told in of_two()])
    lead, other = (re.findall("^(?:agreed|refused.*)$", output, re.M) for output in outputs)
    assert lead == other
    assert lead[:2] == ["agreed", "agreed"]
    assert "has seed = 0, and this one 3. Fix: choose another --workdir" in lead[2]
    assert re.search("process 1: .* has seed = 0, and this one 1. Fix: choose another", lead[3])
    assert re.search("process 1: .* was trained on another dataset. Fix:", lead[4])
    assert f"{tmp_path / 'damaged' / 'config.json'}: not valid JSON" in lead[5]
    assert "No space left on device" in lead[6]
    assert len(lead) == 7
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["config.json"]
