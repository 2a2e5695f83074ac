"""Batches of a split as tables of example indices: shuffled globally, padded and masked.

The order of an epoch depends on the seed and the epoch alone, so the step is all that a run must
save to resume in the middle of an epoch.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped, UInt8
from tqdm import tqdm

from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import PATCH_SHAPE, Example

PADDING = -1  # index of a row that holds no example
SKIP_STEP = -2  # index of all rows of a step that is skipped
UINT8_STEPS = 255  # patches stored as uint8 map [0, 1] to 0 ... 255


class Examples(TypedDict):
    """Loaded examples, from which batches are taken by index."""

    patches: Shaped[np.ndarray, "example 96 96"]  # floats in [0, 1], or uint8 of UINT8_STEPS
    tags: UInt8[np.ndarray, "example tag"]  # multi-hot


class Batch(TypedDict):
    """One batch. Padding rows are zeros and not valid."""

    patches: Float32[np.ndarray, "row 96 96"]  # in [0, 1]
    tags: UInt8[np.ndarray, "row tag"]  # multi-hot
    valid: Bool[np.ndarray, " row"]


def steps_per_epoch(examples: int, batch_size: int, drop_last: bool = False) -> int:
    """Number of batches in an epoch, including the partial last one unless `drop_last`."""
    return examples // batch_size if drop_last else -(-examples // batch_size)


def epoch_batches(
    examples: int, batch_size: int, seed: int | None, epoch: int, drop_last: bool = False
) -> list[Int[np.ndarray, " row"]]:
    """The example indices of each batch of an epoch: every example exactly once.

    Shuffled by `seed` and `epoch`; in order if the seed is None. A last batch of one example takes
    a second one from the batch before it: a single pair has no negatives for the contrastive loss
    and no variance for batch norm. With `drop_last` a partial batch is dropped, as in the released
    code; which examples are in it changes from epoch to epoch.

    Raises:
        ValueError: fewer than 2 examples, a batch size under 3 (which cannot give one up), or, with
            `drop_last`, fewer examples than one batch.
    """
    if examples < 2:
        raise ValueError(f"{examples} examples: a batch needs at least 2. Fix: add sounds")
    if batch_size < 3:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 3")
    order = np.arange(examples)
    if seed is not None:
        order = np.random.default_rng((seed, epoch)).permutation(order)
    if drop_last:
        whole = steps_per_epoch(examples, batch_size, drop_last)
        if not whole:
            raise ValueError(
                f"{examples} examples: fewer than one batch of {batch_size}. Fix: lower "
                "config.train.batch_size, or keep the last batch (config.train.last_batch=keep)"
            )
        return np.split(order[: whole * batch_size], whole)
    starts = list(range(batch_size, examples, batch_size))
    if examples % batch_size == 1 and starts:
        starts[-1] -= 1
    return np.split(order, starts)


def epoch_indices(
    examples: int, batch_size: int, seed: int | None, epoch: int, drop_last: bool = False
) -> Int32[np.ndarray, "step row"]:
    """The batches of an epoch as one table; a partial batch ends in PADDING."""
    batches = epoch_batches(examples, batch_size, seed, epoch, drop_last)
    table = np.full((len(batches), batch_size), PADDING, np.int32)
    for step, indices in enumerate(batches):
        table[step, : len(indices)] = indices
    return table


def load(
    split: SplitReader,
    indices: Int[np.ndarray, " example"],
    patch_dtype: np.dtype,
    show_progress: bool = False,
) -> Examples:
    """Loads the examples of these indices; zeros for PADDING and SKIP_STEP.

    Raises:
        DatasetError: an example is damaged.
        ValueError: a patch cannot be stored as `patch_dtype`.
    """
    loaded = Examples(
        patches=np.zeros((len(indices), *PATCH_SHAPE), patch_dtype),
        tags=np.zeros((len(indices), split.vocabulary_size), np.uint8),
    )
    progress = tqdm(indices.tolist(), "reading patches", unit="", disable=not show_progress)
    for row, index in enumerate(progress):
        if index >= 0:
            example = split[index]
            loaded["patches"][row] = _quantized(example, patch_dtype)
            loaded["tags"][row, example.tags] = 1
    return loaded


def _quantized(example: Example, patch_dtype: np.dtype) -> Float32[np.ndarray, "mel time"]:
    """The patch, rounded for uint8, where NumPy would truncate; it rounds floats to the nearest."""
    if patch_dtype != np.uint8:
        return example.patch
    largest = example.patch.max()
    if largest > 1:
        raise ValueError(
            f"{example.id}, frame {example.frame}: the patch has a value of {largest}, and uint8 "
            "stores values from 0 to 1. Fix: choose config.data.patch_dtype=float16"
        )
    return np.rint(example.patch * np.float32(UINT8_STEPS))


def assemble(examples: Sequence[Example], rows: int, vocabulary_size: int) -> Batch:
    """A batch of `rows` rows that begins with the examples; the rest is padding."""
    batch = Batch(
        patches=np.zeros((rows, *PATCH_SHAPE), np.float32),
        tags=np.zeros((rows, vocabulary_size), np.uint8),
        valid=np.arange(rows) < len(examples),
    )
    for row, example in enumerate(examples):
        batch["patches"][row] = example.patch
        batch["tags"][row, example.tags] = 1
    return batch
