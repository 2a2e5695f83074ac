"""Damage to files on the disk, and a small dataset to damage."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from coala_jax.data.dataset import write_dataset
from coala_jax.data.schema import PATCH_SHAPE, Example, Manifest


def flipped(path: Path, bits: Iterable[int]) -> Iterator[int]:
    """Each of the bits in turn, while it is flipped on the disk."""
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            (byte,) = os.pread(file.fileno(), 1, bit // 8)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)
            try:
                yield bit
            finally:
                os.pwrite(file.fileno(), bytes([byte]), bit // 8)


def truncated(path: Path, sizes: Iterable[int]) -> Iterator[int]:
    """Each of the sizes in bytes in turn, while the file on the disk is cut to it."""
    whole = path.read_bytes()
    try:
        for size in sorted(sizes, reverse=True):
            os.truncate(path, size)
            yield size
    finally:
        path.write_bytes(whole)


def write_small_dataset(folder: Path, records: int = 2) -> Manifest:
    """A dataset with so many records in each split."""
    rng = np.random.default_rng(0)
    examples = [
        Example(rng.random(PATCH_SHAPE, np.float32), np.array([number % 2]), f"{number}.wav")
        for number in range(2 * records)
    ]
    folder.mkdir()
    (folder / "report.md").write_text("# A report\n")
    return write_dataset(
        folder,
        name="flips",
        fingerprint="none",
        settings={},
        front_end={},
        vocabulary=["cat", "dog"],
        tag_processing="paper",
        splits={"train": examples[:records], "validation": examples[records:]},
    )
