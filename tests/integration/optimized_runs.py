"""What is claimed of whole runs, of the programs that users run: XLA optimises them.

integration/test_optimized.py runs this file in a process of its own, without what `conftest.py`
turns off elsewhere.
"""

import functools
import itertools
import shutil
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_jax.models import coala
from coala_jax.models.coala import build_model, initial_variables
from coala_jax.training import best, loop, parallel, steps
from coala_jax.training.checkpoint import Checkpoints, Progress
from coala_jax.training.setup import start_run
from tests.runs import Interrupted, config_for, interrupt_after, leftovers
from tests.synthetic import (
    ShallowEncoder,
    random_batch,
    random_state,
    random_weights,
    tiny_config,
    write_random_dataset,
)

ONE = tuple(jax.devices()[:1])
NARROW = {"case": "cnn", "model__filters": 2, "train__batch_size": 4}


def test_xla_optimizes():
    """By the size of the machine code, since the flag acts on LLVM and leaves the HLO as it is."""
    lowered = jax.jit(lambda x: jnp.sin(x) * 2 + 1).lower(jnp.ones(64))

    def size(**options) -> int:
        return len(lowered.compile(options).runtime_executable().serialize())

    plain = size(xla_backend_optimization_level=0, xla_llvm_disable_expensive_passes=True)
    best = size(xla_backend_optimization_level=3, xla_llvm_disable_expensive_passes=False)
    assert best > 1.2 * plain
    assert abs(size() - best) < abs(size() - plain)


@pytest.fixture(scope="module", autouse=True)
def drawn_weights():
    """What each run starts from is drawn by NumPy: compiling `init` takes as long as a step."""

    def drawn(model, key):
        return random_weights(jax.eval_shape(lambda: initial_variables(model, key)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "initial_variables", drawn)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """26 sounds in batches of 4, a partial last one; and a run on resident ones, a step a call."""
    folder = tmp_path_factory.mktemp("seven")
    write_random_dataset(folder / "dataset", 26, 5)
    train(folder, "whole", "device", 1)
    return folder


def config_of(folder, placement, steps_per_call):
    changes = {"data__placement": placement, "train__steps_per_call": steps_per_call}
    return config_for(folder / "dataset", **NARROW, **changes)


def train(folder, name, placement, steps_per_call, evaluate_fn=None):
    """What is left of a run of two epochs of seven steps."""
    config = config_of(folder, placement, steps_per_call)
    loop.train_and_evaluate(config, folder / name, evaluate_fn, ONE)
    return leftovers(folder / name)


def test_placement_and_steps_per_call_change_no_bit(folder):
    """Calls of 3, 3 and 1 steps, read from disk. On several devices XLA may round a loop otherwise:
    to 1e-12 in float64, and see test_devices.py."""
    wanted = leftovers(folder / "whole")
    assert [entry["step"] for entry in wanted[0]] == [7, 7, 14, 14]
    assert {key for key in wanted[0][0] if "loss" in key} == {"loss", "tag_loss"}
    assert train(folder, "streamed", "host", 3) == wanted


def test_a_run_resumes_bit_for_bit_from_elsewhere_and_in_other_calls(folder):
    with pytest.raises(Interrupted):
        train(folder, "parts", "host", 3, interrupt_after(folder / "parts", 3))
    entries, *wanted = leftovers(folder / "whole")
    resumed, *got = train(folder, "parts", "device", 1)
    assert got == wanted
    assert resumed[1].pop("score") == 0.5
    assert resumed == entries


def test_a_run_resumes_from_the_middle_of_an_epoch(folder):
    """From a checkpoint after the first call of the second epoch."""
    run, state = start_run(config_of(folder, "host", 3), ONE)
    with (
        closing(run.training.blocks(0, epochs=2)) as blocks,
        closing(Checkpoints(folder / "middle", keep=1)) as checkpoints,
    ):
        for block in itertools.islice(blocks, 4):
            state, _ = run.train_steps(state, *block)
        assert int(state.step) == 10
        checkpoints.save(Progress(state, best.no_model(state)))
    shutil.copy(folder / "whole" / "config.json", folder / "middle")
    entries, *wanted = leftovers(folder / "whole")
    rest, *got = train(folder, "middle", "device", 1)
    assert got == wanted
    # Of the training entry, four steps; of the validation after it, all.
    assert [entry["step"] for entry in rest] == [14, 14]
    assert rest[1] == entries[3]


def test_devices_change_no_step(monkeypatch):
    """E-C with a convolution in place of five; in float64, to 1e-9 of each tensor's largest value.

    Whole networks on several devices are in test_devices.py, without optimisations.
    """
    monkeypatch.setattr(coala, "AudioEncoder", ShallowEncoder)
    config, optimizer = tiny_config(model__filters=2, model__tag_hidden=8), optax.sgd(0.005)
    with jax.enable_x64(True):
        model = build_model("e_c", config.model, 6, parallel.AXIS, jnp.float64)
        step = functools.partial(
            steps.train_step, model=model, optimizer=optimizer, loss=config.loss
        )
        results = []
        for count in (1, 4):
            devices = tuple(jax.devices()[:count])
            state = parallel.place_state(random_state(model, optimizer), devices)
            mapped = parallel.map_step(step, devices, outputs=2)
            for seed in range(2):
                batch = random_batch(8, 5, 6, seed)
                state, pairs = mapped(state, parallel.split_rows(batch, devices))
            results.append(jax.device_get((state.params, state.batch_stats, pairs)))
    for wanted, got in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
