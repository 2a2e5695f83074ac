"""The sounds of an index by keys that requests may name: a path is never taken from a request."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coala_jax.embedding.index_settings import shown
from coala_jax.embedding.index_store import paths_of
from coala_jax.serve.errors import ForbiddenError, NotFoundError

_KEY_DIGITS = 16  # 64 bits: of a million sounds, two share a key with a chance of 3e-8


class Sound(NamedTuple):
    """A sound of the index.

    key: made from the path, so that it stays the same as long as the file has its name.
    row: the id of its row, which is another one when the file has changed.
    path: relative to the folder of sounds, as the operating system takes it.
    """

    key: str
    row: int
    path: str
    seconds: float
    tags: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """What the page is told of it."""
        about = {"key": self.key, "row": self.row, "path": shown(self.path)}
        return about | {"seconds": round(self.seconds, 3), "tags": list(map(shown, self.tags))}


class Catalogue:
    """All sounds of an index, in memory.

    Args:
        entries: as `Index.entries` gives them.
        root: the folder of sounds.
    """

    def __init__(self, entries: pa.Table, root: Path) -> None:
        self._entries, self._root = entries, root
        self._rows = entries["id"].to_numpy()
        # Of two rows of one path, which an index has while it is written, the later one counts.
        self._places = {key_of(path): place for place, path in enumerate(paths_of(entries))}

    def __len__(self) -> int:
        return len(self._places)

    def by_key(self, key: str) -> Sound:
        """Raises NotFoundError."""
        if (place := self._places.get(key)) is None:
            raise NotFoundError("the index has no such sound. Fix: search again")
        return self._at(place)

    def by_row(self, row: int) -> Sound:
        """Raises NotFoundError."""
        place = int(np.searchsorted(self._rows, row))
        if place == len(self._rows) or self._rows[place] != row:
            raise NotFoundError("the index has no such sound. Fix: search again")
        return self._at(place)

    def file(self, sound: Sound) -> Path:
        """The file of a sound, with all links followed.

        Raises:
            NotFoundError: the file is gone.
            ForbiddenError: it is a link out of the folder of sounds, or no ordinary file.
        """
        name = shown(sound.path)
        try:
            root = self._root.resolve(strict=True)
            file = (root / sound.path).resolve(strict=True)
            is_file = stat.S_ISREG(file.stat().st_mode)
        except (OSError, RuntimeError) as error:  # the latter of links in a circle
            raise NotFoundError(
                f"{name}: it is no longer there. Fix: run coala index again"
            ) from error
        if not file.is_relative_to(root) or not is_file:
            raise ForbiddenError(
                f"{name}: it is a link out of the folder of sounds, or no ordinary file. Fix: put "
                "the file itself there"
            )
        return file

    def _at(self, place: int) -> Sound:
        (row,) = self._entries.slice(place, 1).to_pylist()
        (path,) = paths_of(self._entries.slice(place, 1))
        return Sound(key_of(path), row["id"], path, row["seconds"], tuple(row["tags"] or ()))


def key_of(path: str) -> str:
    """The key of a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:_KEY_DIGITS]
