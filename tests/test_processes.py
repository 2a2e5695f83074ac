"""Two processes that train together compute what one process computes."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from coala_jax.models.frozen import FrozenModel
from coala_jax.training import journal
from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parent.parent
ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}
FIGURES = ("macro_auc", "mrr", "map", "recall_at_10")

# coala_jax.main, which says how many sounds, and tags, it ranked by itself.
MAIN = """
from absl import app
from coala_jax import main
from coala_jax.evaluation import ranking

def saying(measure):
    def measured(scores, *arguments):
        print("ranked", measure.__name__, len(scores))
        return measure(scores, *arguments)
    return measured

for name in ("precision_and_recall", "reciprocal_ranks", "auc"):
    setattr(ranking, name, saying(getattr(ranking, name)))
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
    return run_python("-c", MAIN, *flags, **environment)


def run_python(*arguments, **environment):
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


def told_of_two():
    """What is told to each of two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    told = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [told | {"JAX_PROCESS_ID": str(number)} for number in range(2)]


def start_two(dataset, workdir, epochs, *changes):
    return [start(dataset, workdir, epochs, changes, **told) for told in told_of_two()]


def ranked(output):
    """How many rankings of each measure an evaluation took; the same in each of them."""
    counts = re.findall(r"ranked (\w+) (\d+)", output)
    # Popularity is ranked by each process alone.
    return {name: int(number) for name, number in counts[:3]}


def test_two_processes_compute_what_one_computes_and_go_on(tmp_path):
    """First each holds all sounds, then each reads its own rows, two steps a call."""
    dataset = tmp_path / "dataset"
    write_random_dataset(dataset, train=19, validation=13, tags=3)
    (alone,) = finish([start(dataset, tmp_path / "one", epochs=2, **ONE_DEVICE)])
    finish(start_two(dataset, tmp_path / "two", epochs=1))
    streamed = ("--config.data.placement=host", "--config.train.steps_per_call=2")
    lead, other = finish(start_two(dataset, tmp_path / "two", 2, *streamed))
    assert "on 4 x cpu in 2 processes" in lead
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
    # Of one, the evaluation of the last epoch; of two, those of both: they stopped after the first.
    for name in FIGURES:
        assert two[3][name] == pytest.approx(one[3][name], abs=1e-6)
        assert name in two[1] and name not in one[1]
    reports = [json.loads((tmp_path / n / "report.json").read_text()) for n in ("one", "two")]
    for who, figures in reports[0]["retrieval"].items():
        assert reports[1]["retrieval"][who] == pytest.approx(figures, abs=1e-6)
    assert ranked(alone) == {"precision_and_recall": 13, "reciprocal_ranks": 13, "auc": 3}
    assert ranked(lead) == {"precision_and_recall": 6, "reciprocal_ranks": 6, "auc": 1}
    assert ranked(other) == {"precision_and_recall": 7, "reciprocal_ranks": 7, "auc": 2}
    models = [FrozenModel.load(tmp_path / name / "model").variables for name in ("one", "two")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-7), *models)


GATHER = """
import jax
import numpy as np
from coala_jax.training import parallel

parallel.start("cpu")
process, processes = parallel.process_place()
assert (len(jax.devices()), processes) == (4, 2)
exact = np.random.default_rng(0).standard_normal((5, 2, 3))

def check():
    for kept in range(6):
        own = exact[:kept] if process == 0 else exact[kept:]
        np.testing.assert_array_equal(parallel.gather_rows(own), exact)
    own = np.array([[process, 7]], np.uint8)
    assert parallel.gather_rows(own).tolist() == [[0, 7], [1, 7]]

check()
devices = jax.devices()
interleaved = [devices[place] for place in (2, 0, 3, 1)]
jax.devices = lambda *backend: interleaved  # as some platforms have them
check()
print("gathered")
"""


def test_rows_are_gathered_in_the_order_of_processes_bit_for_bit():
    """All splits of five rows, those too where one process has none."""
    outputs = finish([run_python("-c", GATHER, **told) for told in told_of_two()])
    assert all("gathered" in output for output in outputs)
