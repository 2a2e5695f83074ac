"""Damages files on the disk in every way that a test asks for, and puts them right again."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


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
