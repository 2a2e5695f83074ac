"""Batches from a split: shuffled globally, padded and masked, as tables of example numbers.

Where a run stands in its data is one number, the step: the order of an epoch depends on the seed
and the epoch alone, so nothing else needs saving.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped, UInt8
from tqdm import tqdm

from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import PATCH_SHAPE, Example

PADDING = -1  # the number of no example, of a row that fills up a batch
SKIP_STEP = -2  # of the rows of a step that is not taken
UINT8_STEPS = 255  # of a patch's values from 0 to 1, where they are kept as uint8


class Examples(TypedDict):
    """Examples from which batches are made, by number."""

    patches: Shaped[np.ndarray, "example 96 96"]  # floats in [0, 1], or uint8 of UINT8_STEPS
    tags: UInt8[np.ndarray, "example tag"]  # multi-hot


class Batch(TypedDict):
    """Rows of one batch. Rows that only fill it up are zeros and not valid."""

    patches: Float32[np.ndarray, "row 96 96"]  # in [0, 1]
    tags: UInt8[np.ndarray, "row tag"]  # multi-hot
    valid: Bool[np.ndarray, " row"]


def steps_per_epoch(examples: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches in an epoch; without `drop_last` the last partial one is one of them."""
    return examples // batch_size if drop_last else -(-examples // batch_size)


def epoch_batches(
    examples: int, batch_size: int, seed: int | None, epoch: int, drop_last: bool = False
) -> list[Int[np.ndarray, " row"]]:
    """The example numbers of each batch of an epoch: all of them, none twice.

    Shuffled by `seed` and `epoch`; in order when the seed is None. A last batch of a single example
    takes one more from the batch before, since the contrastive loss of a single pair has no
    negatives and batch norm no variance. With `drop_last` a partial batch is left out, as in the
    released code; other examples each epoch.

    Raises:
        ValueError: fewer than two examples, or a batch size under three (which cannot give one up),
            or not one whole batch where partial ones are left out.
    """
    if examples < 2:
        raise ValueError(f"{examples} examples cannot make a batch; at least 2 are needed")
    if batch_size < 3:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 3")
    order = np.arange(examples)
    if seed is not None:
        order = np.random.default_rng((seed, epoch)).permutation(order)
    if drop_last:
        whole = steps_per_epoch(examples, batch_size, drop_last)
        if not whole:
            raise ValueError(
                f"{examples} examples make no batch of {batch_size}; lower the batch size, or keep "
                "the last batch (config.train.last_batch=keep)"
            )
        return np.split(order[: whole * batch_size], whole)
    starts = list(range(batch_size, examples, batch_size))
    if examples % batch_size == 1 and starts:
        starts[-1] -= 1
    return np.split(order, starts)


def epoch_indices(
    examples: int, batch_size: int, seed: int | None, epoch: int, drop_last: bool = False
) -> Int32[np.ndarray, "step row"]:
    """The batches of an epoch as one table; a batch that is not full ends in PADDING."""
    batches = epoch_batches(examples, batch_size, seed, epoch, drop_last)
    table = np.full((len(batches), batch_size), PADDING, np.int32)
    for step, numbers in enumerate(batches):
        table[step, : len(numbers)] = numbers
    return table


def load(
    split: SplitReader,
    numbers: Int[np.ndarray, " example"],
    patch_dtype: np.dtype,
    show_progress: bool = False,
) -> Examples:
    """The examples of these numbers; zeros for PADDING and SKIP_STEP.

    Raises:
        DatasetError: an example is damaged.
        ValueError: it cannot be kept as `patch_dtype`.
    """
    loaded = Examples(
        patches=np.zeros((len(numbers), *PATCH_SHAPE), patch_dtype),
        tags=np.zeros((len(numbers), split.vocabulary_size), np.uint8),
    )
    progress = tqdm(numbers.tolist(), "reading patches", unit="", disable=not show_progress)
    for row, number in enumerate(progress):
        if number >= 0:
            example = split[number]
            loaded["patches"][row] = _to_be_kept(example, patch_dtype)
            loaded["tags"][row, example.tags] = 1
    return loaded


def _to_be_kept(example: Example, patch_dtype: np.dtype) -> Float32[np.ndarray, "mel time"]:
    """The patch, of which NumPy keeps the nearest float; of uint8 it would cut the fraction."""
    if patch_dtype != np.uint8:
        return example.patch
    largest = example.patch.max()
    if largest > 1:
        raise ValueError(
            f"{example.id}, frame {example.frame}: its patch goes up to {largest}, and uint8 "
            "keeps values from 0 to 1; choose another config.data.patch_dtype, such as float16"
        )
    return np.rint(example.patch * np.float32(UINT8_STEPS))


def assemble(examples: Sequence[Example], rows: int, vocabulary_size: int) -> Batch:
    """The examples as the first rows of a batch of `rows` rows."""
    batch = Batch(
        patches=np.zeros((rows, *PATCH_SHAPE), np.float32),
        tags=np.zeros((rows, vocabulary_size), np.uint8),
        valid=np.arange(rows) < len(examples),
    )
    for row, example in enumerate(examples):
        batch["patches"][row] = example.patch
        batch["tags"][row, example.tags] = 1
    return batch
