"""Two processes that train together compute what one process computes."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from coala_jax import storage
from coala_jax.data.input_pipeline import epoch_indices
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import metric_writer
from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parents[2]
ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}
FIGURES = ("macro_auc", "mrr", "map", "recall_at_10")

# coala_jax.main, which prints how many sounds, and tags, it ranked by itself and which examples it
# read; with INTERLEAVED=1 it is given its devices process by process in turn.
MAIN = """
import os

import jax
from absl import app

from coala_jax import main
from coala_jax.data import input_pipeline
from coala_jax.evaluation import ranking
from coala_jax.training import loop

load, train_and_evaluate = input_pipeline.load, loop.train_and_evaluate

def printing(measure):
    def measured(scores, *arguments):
        print("ranked", measure.__name__, len(scores))
        return measure(scores, *arguments)
    return measured

def load_and_print(split, indices, *rest):
    print("read", len(split), *indices, flush=True)
    return load(split, indices, *rest)

def train_interleaved(*arguments):
    devices = sorted(jax.devices(), key=lambda device: (device.id % 2, device.process_index))
    assert [device.process_index for device in devices] == [0, 1, 0, 1]
    return train_and_evaluate(*arguments, devices=devices)

for name in ("precision_and_recall", "reciprocal_ranks", "auc"):
    setattr(ranking, name, printing(getattr(ranking, name)))
input_pipeline.load = load_and_print
if "INTERLEAVED" in os.environ:
    loop.train_and_evaluate = train_interleaved
app.run(main.main, flags_parser=main.parse)
"""


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
    return start_python(["-c", MAIN, *flags], **environment)


def start_python(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "2",
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
    """The environment of each of two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [{**shared, "JAX_PROCESS_ID": str(number)} for number in range(2)]


def ranked(output):
    """How many rankings of each measure an evaluation took; the same in each of them."""
    counts = re.findall(r"ranked (\w+) (\d+)", output)
    # Popularity is ranked by each process alone.
    return {name: int(number) for name, number in counts[:3]}


def start_two(dataset, workdir, epochs, *changes, **environment):
    return [start(dataset, workdir, epochs, changes, **environment, **own) for own in of_two()]


class Alone(NamedTuple):
    """A run of two epochs in one process on one device."""

    dataset: Path
    workdir: Path
    output: str


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    write_random_dataset(folder / "dataset", train=19, validation=13, tags=3)
    (output,) = finish([start(folder / "dataset", folder / "run", epochs=2, **ONE_DEVICE)])
    return Alone(folder / "dataset", folder / "run", output)


def test_two_processes_compute_what_one_computes_and_resume(alone, tmp_path):
    """In the first epoch each holds all sounds. In the second each reads its own rows from disk,
    and JAX lists the devices of the two processes in turn."""
    finish(start_two(alone.dataset, tmp_path / "two", epochs=1))
    streamed = ("--config.data.placement=host", "--config.train.steps_per_call=1")
    outputs = finish(start_two(alone.dataset, tmp_path / "two", 2, *streamed, INTERLEAVED="1"))
    lead, other = outputs
    assert "on 4 x cpu in 2 processes" in lead and "on 4 x cpu" not in other
    assert "from disk" in lead and "after step 3" in lead
    assert "results.json" in lead
    assert "results.json" not in other
    # Of the training sounds, by process and call; each step is a call.
    read = [
        [list(map(int, found.split())) for found in re.findall(r"read 19 ([-\d ]+)$", output, re.M)]
        for output in outputs
    ]
    for of_lead, of_other, batch in zip(*read, epoch_indices(19, 8, 0, 1), strict=True):
        assert len(of_lead) == len(of_other) == 4
        assert of_lead + of_other == batch.tolist()
    one, two = assert_same_training(alone.workdir, tmp_path / "two")
    # Of one, the evaluation of the last epoch; of two, those of both: they stopped after the first.
    for name in FIGURES:
        assert two[3][name] == pytest.approx(one[3][name], abs=1e-6)
        assert name in two[1] and name not in one[1]
    records = [storage.read_json(w / "results.json") for w in (alone.workdir, tmp_path / "two")]
    for who, figures in records[0]["retrieval"].items():
        assert records[1]["retrieval"][who] == pytest.approx(figures, abs=1e-6)
    assert ranked(alone.output) == {"precision_and_recall": 13, "reciprocal_ranks": 13, "auc": 3}
    assert ranked(lead) == {"precision_and_recall": 6, "reciprocal_ranks": 6, "auc": 1}
    assert ranked(other) == {"precision_and_recall": 7, "reciprocal_ranks": 7, "auc": 2}


def assert_same_training(*workdirs):
    """Compares two runs; returns what each of them logged."""
    one, two = (
        [entry for entry in metric_writer.read(workdir) if entry["kind"] != "samples"]
        for workdir in workdirs
    )
    assert len(one) == len(two) == 4
    for wanted, got in zip(one, two, strict=True):
        for name in ("epoch", "step", "loss", "signed_contrastive_loss"):
            assert got[name] == pytest.approx(wanted[name], rel=1e-9)
    models = [PretrainedModel.load(workdir / "model").variables for workdir in workdirs]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-7), *models)
    return one, two


# Gathers rows, then prints a line for each folder.
AGREE = """
import sys
from pathlib import Path

import jax
import numpy as np

from coala_jax import storage
from coala_jax.training import checkpoint, parallel
from tests.synthetic import tiny_config

parallel.start("cpu")
process, processes = parallel.process_place()
assert (len(jax.devices()), processes) == (4, 2)
exact = np.random.default_rng(0).standard_normal((5, 2, 3))

def check_rows():
    for kept in range(6):
        own = exact[:kept] if process == 0 else exact[kept:]
        np.testing.assert_array_equal(parallel.gather_rows(own), exact)
    own = np.array([[process, 7]], np.uint8)
    assert parallel.gather_rows(own).tolist() == [[0, 7], [1, 7]]

check_rows()
devices, list_devices = jax.devices(), jax.devices
interleaved = [devices[place] for place in (2, 0, 3, 1)]
jax.devices = lambda *backend: interleaved  # as some platforms have them
check_rows()
jax.devices = list_devices
print("gathered")

def try_folder(name, digest="digest", **changes):
    try:
        checkpoint.check_or_write_config(root / name, tiny_config(**changes), digest)
        print("agreed")
    except ValueError as error:
        print("refused:", error)

def no_space(*_):
    raise OSError(28, "No space left on device")

root = Path(sys.argv[1])
try_folder("new")
try_folder("new")
try_folder("new", seed=3)
try_folder("seeds", seed=process)
try_folder("data", digest=f"digest {process}")
try_folder("damaged")
storage.write_json = no_space
try_folder("full")
"""


def test_processes_gather_rows_and_agree_on_the_config_or_fail_together(tmp_path):
    """All splits of five rows, also those where one process has none."""
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text('{"data_digest": "dig')
    outputs = finish([start_python(["-c", AGREE, str(tmp_path)], **own) for own in of_two()])
    assert all("gathered" in output for output in outputs)
    lead, other = (re.findall("^(?:agreed|refused.*)$", output, re.M) for output in outputs)
    assert lead == other
    assert lead[:2] == ["agreed", "agreed"]
    wanted = [
        r"new: .*seed = 0, .* 3\b",
        r"process 1: .*seeds: .*seed = 0, .* 1\b",
        r"process 1: .*data: .*another dataset",
        re.escape(str(tmp_path / "damaged" / "config.json")),
        "No space left on device",
    ]
    for pattern, message in zip(wanted, lead[2:], strict=True):
        assert re.search(pattern, message)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["config.json"]
