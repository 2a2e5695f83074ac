"""Checksums of the files of an index's table: LanceDB keeps none, and would believe a flipped bit.

`TABLE.files.json` is written after every change of the table: its version, and the size and CRC-32C
of the files that this version reads. What it says counts: whoever opens the table gets that
version, so that a process that is killed between a change and its checksums has changed nothing.
"""

from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from coala_jax import storage

SUFFIX = ".files.json"
_AGAIN = "Fix: delete the folder, and index the sounds again"
_BLOCK_BYTES = 2**18  # which stays in a core's cache
_MANIFEST_END = b"LANC"


class Checksums(NamedTuple):
    """Of a version of a table: the size and the CRC-32C of each file, by path from its folder."""

    version: int
    files: dict[str, tuple[int, int]]


def file_of(folder: Path, table: str) -> Path:
    """Where the checksums of a table are."""
    return folder / f"{table}{SUFFIX}"


def write(folder: Path, table: str, version: int, known: Checksums | None) -> Checksums:
    """Writes the checksums of a version of the table; files of `known` are not read again.

    Raises:
        OSError: a file cannot be read or written.
    """
    root, files = folder / f"{table}.lance", {}
    for name in _files(root, version):
        old = None if known is None else known.files.get(name)
        files[name] = old or _measure(root / name)
    storage.write_record(file_of(folder, table), {"version": version, "files": files})
    return Checksums(version, files)


def read(folder: Path, table: str) -> Checksums | None:
    """The checksums, after every file is found to be as they say; None where there are none.

    Raises:
        ValueError: a file is not as it was written; the message names it.
    """
    file, root = file_of(folder, table), folder / f"{table}.lance"
    if not file.exists():
        return None
    try:
        content: Any = storage.read_json(file)
        files = {name: (size, crc) for name, (size, crc) in content["files"].items()}
        found = Checksums(content["version"], files)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: no checksums of an index ({error}). {_AGAIN}") from error
    for name, wanted in found.files.items():
        try:
            measured = _measure(root / name)
        except FileNotFoundError:
            if name.startswith(("data/", "_versions/")):
                raise ValueError(f"{root / name}: missing. {_AGAIN}") from None
            continue  # cleaned up with older versions; where it is read, the database says so
        except OSError as error:
            raise ValueError(f"{root / name}: cannot be read ({error}). {_AGAIN}") from error
        if measured != wanted:
            what = "its size is another" if measured[0] != wanted[0] else "its CRC-32C differs"
            raise ValueError(f"{root / name}: not as it was written: {what}. {_AGAIN}")
    return found


def _files(root: Path, version: int) -> list[str]:
    """What a version of a table reads, and a little of older ones: only data is large."""
    manifest = root / "_versions" / f"{2**64 - 1 - version:020}.manifest"
    content = storage.read_bytes(manifest)
    # The manifest itself begins where its last bytes say; before it are names of replaced files.
    begin = int.from_bytes(content[-16:-8], "little") if content.endswith(_MANIFEST_END) else 0
    data = sorted((root / "data").rglob("*"))
    live = [path for path in data if path.name.encode() in content[begin:]] or data
    others = [path for name in ("_deletions", "_indices") for path in (root / name).rglob("*")]
    return [
        path.relative_to(root).as_posix()
        for path in (manifest, *live, *sorted(others))
        if path.is_file()
    ]


def _measure(file: Path) -> tuple[int, int]:
    """The size and the CRC-32C of a file."""
    block, size, crc = np.empty(_BLOCK_BYTES, np.uint8), 0, 0
    shown = block.view()
    shown.flags.writeable = False  # as the library wants it
    with storage.open_binary(file) as content:
        while count := content.readinto(block):
            size, crc = size + count, google_crc32c.extend(crc, shown[:count])
    return size, crc
