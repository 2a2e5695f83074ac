"""The examples of each block of steps: resident on the devices, or read from disk ahead of use.

Either way the same rows come in the same order and are rounded alike, so that a run may resume with
the other.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32
from ml_collections import ConfigDict

from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import PATCH_SHAPE
from coala_jax.data.source_weights import SourceSampling, make_sampling
from coala_jax.prefetch import prefetch
from coala_jax.training import parallel

# Where the config leaves it open. A CPU allocates memory anew for each call, a sixth of a step at
# the paper's sizes; an accelerator would wait for the host at each.
STEPS_PER_CALL = {True: 4, False: 64}  # on a CPU, elsewhere
_BLOCKS_AHEAD = 2

T, U = TypeVar("T"), TypeVar("U")


class StepBlock(NamedTuple):
    """What one call of `parallel.map_steps` reads besides the state.

    data: examples, whole on every device, or each device's own along axis 0.
    indices: which of them make each step; SKIP_STEP pads every block to the same number of steps.
    """

    data: dict[str, jax.Array]
    indices: Int32[np.ndarray, "device step row"]

    @property
    def steps(self) -> int:
        """The number of steps taken, without the padding."""
        return int((self.indices[0, :, 0] != input_pipeline.SKIP_STEP).sum())


@dataclasses.dataclass(frozen=True)
class InputPipeline:
    """One split and how it is read: where it lies, in which order and how many rows at a time.

    sampling: which of the examples an epoch has; None: each once.
    """

    split: SplitReader
    devices: Sequence[jax.Device]
    batch_size: int
    steps_per_call: int
    resident: bool  # whole on every device; else read from disk ahead of use
    patch_dtype: np.dtype
    seed: int | None  # of the shuffled order; None: the order on disk
    drop_last: bool
    sampling: SourceSampling | None = None

    @property
    def examples(self) -> int:
        """Number of examples in an epoch."""
        return len(self.split) if self.sampling is None else self.sampling.examples

    @property
    def steps_per_epoch(self) -> int:
        return input_pipeline.steps_per_epoch(self.examples, self.batch_size, self.drop_last)

    @property
    def size_bytes(self) -> int:
        """Size of all examples in memory, once."""
        patch = int(np.prod(PATCH_SHAPE)) * self.patch_dtype.itemsize
        return len(self.split) * (patch + self.split.vocabulary_size)

    def __str__(self) -> str:
        place = "on the device" if self.resident else "from disk ahead of use"
        return f"patches as {self.patch_dtype} {place}, {self.size_bytes / 1e9:.2g} GB"

    def blocks(self, first_step: int, epochs: int) -> Generator[StepBlock, None, None]:
        """All blocks from `first_step` to the end of the last epoch; close it when leaving early.

        No block crosses the end of an epoch. Resident examples are read at once, before the first
        block is asked for.
        """
        indices = self._indices(first_step, epochs)
        if not self.resident:
            return _prefetched(self._read, indices)
        everything = np.arange(len(self.split))
        examples = input_pipeline.load(self.split, everything, self.patch_dtype, parallel.is_lead())
        data = parallel.place_data(examples, self.devices, shared=True)
        return (StepBlock(data, own) for own in indices)

    def _indices(
        self, first_step: int, epochs: int
    ) -> Iterator[Int32[np.ndarray, "device step row"]]:
        """Which examples each block takes, on this process's devices."""
        epochs_done, start = divmod(first_step, self.steps_per_epoch)
        for epoch in range(epochs_done, epochs):
            table = input_pipeline.epoch_indices(
                self.examples, self.batch_size, self.seed, epoch, self.drop_last
            )[start:]
            if self.sampling is not None:
                drawn = self.sampling.of_epoch(epoch)
                table = np.where(table >= 0, drawn[table].astype(np.int32), table)
            length = min(self.steps_per_call, self.steps_per_epoch)
            for first in range(0, len(table), length):
                steps = table[first : first + length]
                missing = ((0, length - len(steps)), (0, 0))
                steps = np.pad(steps, missing, constant_values=input_pipeline.SKIP_STEP)
                yield parallel.split_steps(steps, self.devices)
            start = 0

    def _read(self, indices: Int32[np.ndarray, "device step row"]) -> StepBlock:
        """A block whose data are its own rows alone, one after the other."""
        devices = indices.shape[0]
        examples = input_pipeline.load(self.split, indices.ravel(), self.patch_dtype)
        own = {name: rows.reshape(devices, -1, *rows.shape[1:]) for name, rows in examples.items()}
        places = np.arange(indices[0].size, dtype=np.int32).reshape(1, *indices.shape[1:])
        data = parallel.place_data(own, self.devices, shared=False)
        return StepBlock(data, np.where(indices >= 0, places, indices))


def make_input_pipelines(
    config: ConfigDict, train: SplitReader, validation: SplitReader, devices: Sequence[jax.Device]
) -> tuple[InputPipeline, InputPipeline]:
    """The training split, placed as the config asks, and validation, beside it if it fits.

    Raises:
        ValueError: the config wants the training split on the devices, and it does not fit; or it
            weighs a source that there is not.
    """
    on_cpu = devices[0].platform == "cpu"
    shared = {
        "devices": devices,
        "batch_size": config.train.batch_size,
        "steps_per_call": config.train.steps_per_call or STEPS_PER_CALL[on_cpu],
        "resident": False,
    }
    training = InputPipeline(
        train,
        **shared,
        patch_dtype=jnp.dtype(config.data.patch_dtype),
        seed=config.seed,
        drop_last=config.train.last_batch == "drop",
        sampling=make_sampling(train, config.data.source_weights, config.seed, parallel.is_lead()),
    )
    validating = InputPipeline(
        validation, **shared, patch_dtype=np.dtype(np.float32), seed=None, drop_last=False
    )
    memory = parallel.memory_bytes(devices)
    room = memory // (4 if on_cpu else 2)
    if config.data.placement == "device":
        if 0 < memory < training.size_bytes:
            raise ValueError(_too_large(training, memory))
    elif config.data.placement == "host" or training.size_bytes > room:
        return training, validating
    beside = training.size_bytes + validating.size_bytes <= room
    return (
        dataclasses.replace(training, resident=True),
        dataclasses.replace(validating, resident=beside),
    )


def _too_large(training: InputPipeline, memory: int) -> str:
    fixes = ["config.data.placement=host"]
    for name in ("float16", "uint8"):
        size = dataclasses.replace(training, patch_dtype=np.dtype(name)).size_bytes
        if size <= memory:
            fixes.append(f"config.data.patch_dtype={name} ({size / 1e9:.2g} GB)")
    return (
        f"config.data.placement is 'device': the training patches take "
        f"{training.size_bytes / 1e9:.2g} GB as {training.patch_dtype}, and a device has "
        f"{memory / 1e9:.2g} GB. Fix: choose {' or '.join(fixes)}"
    )


def _prefetched(work: Callable[[T], U], items: Iterable[T]) -> Generator[U, None, None]:
    """The results of `work`, computed ahead of use in a thread that ends with the iterator."""
    with ThreadPoolExecutor(1, "prefetch") as pool:
        yield from prefetch(pool, work, items, _BLOCKS_AHEAD)
