"""Two processes that train together compute what one process computes, and fail together."""

import functools
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

from coala_jax import storage, training_run
from coala_jax.data.input_pipeline import epoch_indices
from coala_jax.models import coala
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.reporting import training_report
from coala_jax.training import loop, metric_writer
from tests.synthetic import ShallowEncoder, write_random_dataset
from tests.two_processes import MEASURES, RESUMED, config_for

FIGURES = ("macro_auc", "mrr", "map", "recall_at_10")


class Trained(NamedTuple):
    """One run of two epochs in two processes (`two`), and in this one on one device (`one`)."""

    root: Path
    outputs: list[str]  # of the two, before they resumed and after
    resumed: list[str]


@pytest.fixture(scope="module", autouse=True)
def one_convolution():
    """In place of five, as in the two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coala, "AudioEncoder", ShallowEncoder)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("processes")
    write_random_dataset(root / "dataset", train=19, validation=13, tags=3)
    (root / "damaged").mkdir()
    (root / "damaged" / "config.json").write_text('{"data_digest": "dig')
    processes = start_two(root)
    try:
        train_alone(root)
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:  # when one fails the other would wait for it
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    first, resumed = zip(*(output.split(RESUMED) for output in outputs), strict=True)
    return Trained(root, list(first), list(resumed))


def start_two(root):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    shared = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", str(root)],
            cwd=Path(__file__).parents[2],
            env=os.environ | shared | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]


def train_alone(root):
    before, train = jax.config.jax_enable_x64, loop.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run.logs, "start", lambda *_: None)
        patch.setattr(training_report, "render", lambda _: [])  # as in the two
        one_device = tuple(jax.devices()[:1])
        patch.setattr(loop, "train", functools.partial(train, devices=one_device))
        try:
            training_run.train(config_for(root / "dataset"), root / "one", [])
        finally:
            jax.config.update("jax_enable_x64", before)


def test_two_processes_compute_what_one_computes_and_resume(trained):
    workdirs = (trained.root / "one", trained.root / "two")
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
    for name in FIGURES:
        assert two[3][name] == pytest.approx(one[3][name], abs=1e-6)
    records = [storage.read_json(workdir / "results.json") for workdir in workdirs]
    kept = [record["kept"] for record in records]
    assert kept[1] == pytest.approx(kept[0], abs=1e-6)
    assert (kept[0]["rule"], kept[0]["selection_sounds"], kept[0]["reported_sounds"]) == (
        "best",
        7,
        6,
    )
    assert two[2 * kept[0]["epoch"] - 1]["macro_auc"] == pytest.approx(kept[0]["macro_auc"])
    for who, figures in records[0]["retrieval"].items():
        assert records[1]["retrieval"][who] == pytest.approx(figures, abs=1e-6)


def test_they_share_the_work_and_the_lead_writes(trained):
    lead, other = trained.resumed
    assert "on 4 x cpu in 2 processes" in lead and "on 4 x cpu" not in other
    assert "from disk" in lead and "after step 3" in lead
    assert "results.json" in lead and "results.json" not in other
    # Of the training sounds, by process and call; each step is a call, and the bank is the last.
    read = [
        [list(map(int, found.split())) for found in re.findall(r"read 19 ([-\d ]+)$", output, re.M)]
        for output in trained.resumed
    ]
    assert [reads.pop() for reads in read] == [list(range(9)), list(range(9, 19))]
    for of_lead, of_other, batch in zip(*read, epoch_indices(19, 8, 0, 1), strict=True):
        assert len(of_lead) == len(of_other) == 4
        assert of_lead + of_other == batch.tolist()
    # Of the 7 sounds that choose the epoch and three tags; each process ranks popularity alone.
    ranked = [re.findall(r"ranked (\w+) (\d+)", output)[:3] for output in trained.resumed]
    assert dict(ranked[0]) == dict(zip(MEASURES, "331", strict=True))
    assert dict(ranked[1]) == dict(zip(MEASURES, "442", strict=True))


def test_a_signal_to_one_stops_both_before_the_same_block(trained):
    for output in trained.outputs:
        assert "stopped [0, 0, 0, 15, 15, 15]" in output


def test_they_agree_on_the_config_or_fail_together(trained):
    lead, other = (re.findall("^(?:agreed|refused.*)$", output, re.M) for output in trained.outputs)
    assert lead == other
    assert lead[:2] == ["agreed", "agreed"]
    wanted = [
        r"new: .*seed = 0, .* 3\b",
        r"process 1: .*seeds: .*seed = 0, .* 1\b",
        r"process 1: .*data: .*another dataset",
        re.escape(str(trained.root / "damaged" / "config.json")),
        "No space left on device",
    ]
    for pattern, message in zip(wanted, lead[2:], strict=True):
        assert re.search(pattern, message)
    assert [path.name for path in (trained.root / "new").iterdir()] == ["config.json"]
