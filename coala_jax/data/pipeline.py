"""Batches from a split: shuffled globally, padded and masked, from any position on.

Where a run stands in its data is one number, the step: the order of an epoch depends on the seed
and the epoch alone, so nothing else needs saving. Each process of a run reads only its own rows.
"""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from coala_jax.data.example import PATCH_SHAPE, Example
from coala_jax.data.records import SplitReader


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


def load_batch(split: SplitReader, numbers: Int[np.ndarray, " row"], rows: range) -> Batch:
    """The given rows of a batch of these examples; rows beyond its last example are padding."""
    return assemble(
        [split[int(number)] for number in numbers[rows.start : rows.stop]],
        len(rows),
        split.vocabulary_size,
    )


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


def batches(
    split: SplitReader,
    batch_size: int,
    *,
    seed: int | None,
    epoch: int,
    start: int = 0,
    rows: range | None = None,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """The batches of an epoch from number `start` on; `rows` of each, all of them by default."""
    rows = range(batch_size) if rows is None else rows
    for numbers in epoch_batches(len(split), batch_size, seed, epoch, drop_last)[start:]:
        yield load_batch(split, numbers, rows)
