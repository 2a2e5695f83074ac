"""What each of the two processes of distributed/test_processes.py does, and prints.

    python -m tests.two_processes FOLDER

FOLDER holds `dataset` and `damaged`. JAX's environment variables make this one of two processes
with two devices each. The audio encoder has one convolution in place of five: what processes share
is the same.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from coala_jax import storage, training_run
from coala_jax.data import input_pipeline
from coala_jax.evaluation import ranking
from coala_jax.models import coala
from coala_jax.reporting import training_report
from coala_jax.training import interruption, loop, parallel, run_config
from configs import e_c
from tests.synthetic import ShallowEncoder, tiny_config

MEASURES = ("precision_and_recall", "reciprocal_ranks", "auc")
RESUMED = "--- resumed ---"


def config_for(dataset: Path, **changes: Any) -> ConfigDict:
    """Narrow E-C in float64; `changes` by dotted key."""
    config = e_c.get_config()
    with config.unlocked():
        config.precision, config.data.path = "float64", str(dataset)
        config.model.update(filters=2, tag_hidden=8)
        config.train.update(batch_size=8, epochs=2)
        config.update_from_flattened_dict(
            {key.replace("__", "."): value for key, value in changes.items()}
        )
    return config


def interleaved() -> list[jax.Device]:
    """The devices of the two processes in turn, as some platforms list them."""
    devices = sorted(jax.devices(), key=lambda device: (device.id % 2, device.process_index))
    assert [device.process_index for device in devices] == [0, 1, 0, 1]
    return devices


def check_gathered_rows() -> None:
    """All splits of five rows, also those where one process has none."""
    process, _ = parallel.process_place()
    exact = np.random.default_rng(0).standard_normal((5, 2, 3))
    for kept in range(6):
        own = exact[:kept] if process == 0 else exact[kept:]
        np.testing.assert_array_equal(parallel.gather_rows(own), exact)
    own = np.array([[process, 7]], np.uint8)
    assert parallel.gather_rows(own).tolist() == [[0, 7], [1, 7]]


def check_interruption() -> None:
    """A signal to one process stops both before the same block; prints what a question costs."""
    process, _ = parallel.process_place()
    with interruption.Interruption() as caught:
        caught.defer()
        answers = []
        for block in range(6):
            if (process, block) == (1, 2):
                os.kill(os.getpid(), signal.SIGTERM)
            answers.append(caught.due())
        print("stopped", answers)
    began = time.perf_counter()
    for _ in range(100):
        parallel.start_max(process)()
    print(f"a question takes {10 * (time.perf_counter() - began):.2f} ms")


def try_configs(root: Path) -> None:
    """Prints a line for each folder: whether both processes agree on its config."""
    process, _ = parallel.process_place()

    def attempt(name: str, digest: str = "digest", **changes: Any) -> None:
        try:
            run_config.check_or_write_config(root / name, tiny_config(**changes), digest)
            print("agreed")
        except ValueError as error:
            print("refused:", error)

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    attempt("new")
    attempt("new")
    attempt("new", seed=3)
    attempt("seeds", seed=process)
    attempt("data", digest=f"digest {process}")
    attempt("damaged")
    write_json, storage.write_json = storage.write_json, no_space
    attempt("full")
    storage.write_json = write_json


def train_and_resume(root: Path) -> None:
    """An epoch with all sounds on each device; one from disk, with interleaved devices.

    Prints which examples the second reads, and how many sounds and tags this process ranks.
    """
    config = config_for(root / "dataset", train__epochs=1)
    loop.train_and_evaluate(config, root / "two")

    load, train = input_pipeline.load, loop.train

    def load_and_print(split: Any, indices: Any, *rest: Any) -> Any:
        print("read", len(split), *indices, flush=True)
        return load(split, indices, *rest)

    def printing(name: str, measure: Any) -> Any:
        def measured(scores: Any, *arguments: Any) -> Any:
            print("ranked", name, len(scores))
            return measure(scores, *arguments)

        return measured

    input_pipeline.load = load_and_print
    for name in MEASURES:
        setattr(ranking, name, printing(name, getattr(ranking, name)))
    loop.train = lambda *given: train(*given, devices=interleaved())
    print(RESUMED, flush=True)
    training_report.render = lambda workdir: []  # no plots: the lead draws them, from its files
    streamed = {"data__placement": "host", "train__steps_per_call": 1}
    training_run.train(config_for(root / "dataset", **streamed), root / "two", [])


def start(root: Path) -> None:
    coala.AudioEncoder = ShallowEncoder
    parallel.start("cpu")
    assert (len(jax.devices()), parallel.process_place()[1]) == (4, 2)
    check_gathered_rows()
    list_devices, devices = jax.devices, interleaved()
    jax.devices = lambda *_: devices
    check_gathered_rows()
    jax.devices = list_devices
    check_interruption()
    try_configs(root)
    train_and_resume(root)


if __name__ == "__main__":
    start(Path(sys.argv[1]))
