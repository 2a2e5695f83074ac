"""Flips every bit and cuts at every byte of a small dataset, and counts what goes unseen.

    python -m benchmarks.flips

The damage lies on the disk when it is looked for. Damage to the small files is looked for with
`verify`, which reads the whole dataset; damage to a shard with `check_shard`, which `verify` calls
for each, since the rest of the dataset is the same every time. The last line is one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from coala_jax import __version__
from coala_jax.data import verify
from coala_jax.data.dataset import write_dataset
from coala_jax.data.schema import PATCH_SHAPE, Example, Manifest

_BYTES_PER_TASK = 512
_PACKAGES = ("google-crc32c", "numpy", "protobuf")


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


def is_found(dataset: Path, name: str, manifest: Manifest) -> bool:
    """Whether damage to this file of the dataset is found."""
    for entry in (entry for split in manifest.shards.values() for entry in split):
        if entry["file"] == name:
            size = len(manifest.vocabulary)
            return bool(verify.check_shard(dataset / name, entry, size).problems)
    return bool(verify.verify(dataset).problems)


_own: dict[Path, tuple[Path, Manifest]] = {}  # the dataset that this process may damage


def damage(root: Path, every: int, task: tuple[str, int, int]) -> tuple[int, int, list[str]]:
    """Damages some bytes of a file in all ways, and says how often and what was missed.

    Args:
        root: where each process puts a dataset of its own.
        every: 1 for all bits and cuts, n for each n-th.
        task: the file's name, the first byte and the one after the last.
    """
    if root not in _own:
        folder = root / f"{os.getpid()}"
        _own[root] = folder, write_small_dataset(folder)
    dataset, manifest = _own[root]
    name, first, last = task
    bits, sizes = range(8 * first, 8 * last, every), range(first, last, every)
    missed = [
        f"{name}: bit {bit % 8} of byte {bit // 8}"
        for bit in flipped(dataset / name, bits)
        if not is_found(dataset, name, manifest)
    ]
    missed += [
        f"{name}: cut to {size} bytes"
        for size in truncated(dataset / name, sizes)
        if not is_found(dataset, name, manifest)
    ]
    return len(bits), len(sizes), missed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.flips", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--every", type=int, default=1, help="take each n-th bit and cut only")
    flags = parser.parse_args(argv)
    began = time.monotonic()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coala-jax-flips-")))
        write_small_dataset(root / "whole")
        if problems := verify.verify(root / "whole").problems:
            sys.exit(f"flips: the dataset is not whole before anything is flipped: {problems[0]}")
        sizes = {path.name: path.stat().st_size for path in sorted((root / "whole").iterdir())}
        tasks = [
            (name, first, min(first + _BYTES_PER_TASK, size))
            for name, size in sizes.items()
            for first in range(0, size, _BYTES_PER_TASK)
        ]
        one = partial(damage, root, flags.every)
        if flags.workers > 1:
            done = stack.enter_context(ProcessPoolExecutor(flags.workers)).map(one, tasks)
        else:
            done = map(one, tasks)
        results = list(tqdm(done, total=len(tasks), unit="task", desc="flipping and cutting"))
    missed = [miss for result in results for miss in result[2]]
    print(*missed[:20], sep="\n", end="\n" if missed else "")
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    figures = {
        "bits_flipped": sum(result[0] for result in results),
        "truncations": sum(result[1] for result in results),
        "missed": len(missed),
        "seconds": round(time.monotonic() - began, 1),
        "bytes": sizes,
        "device": f"CPU, {platform.machine()}, {flags.workers} of {os.cpu_count()} cores",
        "versions": {"coala_jax": __version__, "python": platform.python_version(), **versions},
        "command": " ".join(
            ["python -m benchmarks.flips", *(sys.argv[1:] if argv is None else argv)]
        ),
    }
    print(json.dumps(figures))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
