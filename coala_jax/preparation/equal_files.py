"""Finds files of equal bytes in a folder."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from coala_jax import storage

_HEAD_BYTES = 2**16  # files of equal size almost always differ in these


def file_size(path: Path) -> int:
    """In bytes; -1 if there is no such file, or it cannot be looked at."""
    return path.stat().st_size if storage.is_file(path) else -1


def file_keys(folder: Path, sizes: Mapping[str, int], workers: int) -> dict[str, str]:
    """A key for each file; two keys are equal if and only if the files have equal bytes.

    Compares sizes first, then the beginnings of files; few are read to the end. A file that is
    missing, empty or unreadable equals no other.
    """

    def head(file: str) -> str:
        with storage.path(folder / file).open("rb") as content:
            return storage.sha256(content.read(_HEAD_BYTES))

    def whole(file: str) -> str:
        return storage.file_sha256(folder / file)

    def key(file: str, read: Callable[[str], str]) -> str:
        try:
            return read(file)
        except OSError:
            return f"unreadable {file}"  # decoding it will report the cause

    keys = {file: str(size) if size > 0 else f"nothing in {file}" for file, size in sizes.items()}
    with ThreadPoolExecutor(workers) as pool:
        for read, what in ((head, "files of equal size"), (whole, "files of equal beginning")):
            counts = Counter(keys.values())
            alike = [file for file in keys if counts[keys[file]] > 1]
            found = pool.map(functools.partial(key, read=read), alike)
            shown = tqdm(found, f"comparing {what}", len(alike), unit="file", disable=not alike)
            keys |= {file: f"{keys[file]} {more}" for file, more in zip(alike, shown, strict=True)}
    return keys
