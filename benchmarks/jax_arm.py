"""Our training step as `coala_jax.training.loop` runs it, with the data on the device."""

import functools
import os

# PyTorch needs memory of the same GPU; JAX, which reads this when it starts, would take most of it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.workload import Workload
from coala_jax.data.input_pipeline import SKIP_STEP
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps


class JaxArm:
    """A training run on one device, some steps at a time, `steps_per_call` in one program.

    Attributes:
        initial_variables: its first weights and running statistics, in NumPy.
    """

    def __init__(self, workload: Workload, precision: str, steps_per_call: int) -> None:
        config, sizes = workload.config, workload.sizes
        self._devices = tuple(jax.devices()[:1])
        self._steps_per_call = steps_per_call
        dtype = jnp.dtype(precision)
        model = build_model(
            config.case, config.model, sizes.tags, parallel.AXIS, product_dtype=dtype
        )
        optimizer = steps.make_optimizer(config.optimizer, planned_steps=1)
        state = steps.initial_state(model, optimizer, config.seed)
        variables: PyTree = {"params": state.params, "batch_stats": state.batch_stats}
        self.initial_variables = jax.tree.map(np.array, variables)
        self._state = parallel.place_state(state, self._devices)
        data = {"patches": workload.patches, "tags": workload.tags}
        self._data = parallel.place_data(data, self._devices, shared=True)
        step = functools.partial(
            steps.train_steps, model=model, optimizer=optimizer, loss=config.loss
        )
        self._run = parallel.map_steps(step, self._devices, shared_data=True)
        self._batch, self._batches = sizes.batch, len(workload.patches) // sizes.batch
        self._taken = 0

    def take(self, count: int) -> dict[str, float]:
        """Takes `count` steps and waits for them; the losses of the last one."""
        for first in range(0, count, self._steps_per_call):
            steps_taken = min(self._steps_per_call, count - first)
            indices = np.full((self._steps_per_call, self._batch), SKIP_STEP, np.int32)
            places = np.arange(self._taken, self._taken + steps_taken) % self._batches
            indices[:steps_taken] = places[:, None] * self._batch + np.arange(self._batch)
            split = parallel.split_steps(indices, self._devices)
            self._state, curves = self._run(self._state, self._data, split)
            self._taken += steps_taken
        jax.block_until_ready((self._state, curves))
        last = steps_taken - 1
        return {
            name.removeprefix("signed_"): float(total[last]) / float(weight[last])
            for name, (total, weight) in curves.items()
            if name != "gradient_norm"
        }

    def device_peak_mb(self) -> float | None:
        """Of the accelerator's memory; None on a CPU, where it is the process's."""
        statistics = self._devices[0].memory_stats()
        return statistics["peak_bytes_in_use"] / 1e6 if statistics else None
