"""The map of an index: its sounds in two dimensions, in groups with names.

It is made once, in seconds to minutes, and kept in the index's folder until the sounds change.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float, Int64, UInt8, UInt16

from coala_jax import storage
from coala_jax.embedding.index_groups import all_units, groups_of
from coala_jax.embedding.index_settings import Settings, shown
from coala_jax.embedding.index_store import Store

FILE = "map.npz"
_FORMAT = 1  # of the file, and of the way that maps are made
_SIDE = 65_535  # of the square that the points lie in
_MOST_GROUPS = 12  # which can be told apart by colour and name


class Map(NamedTuple):
    """Sounds in a square of side 65,535; near is alike, far means little.

    Attributes:
        ids: of the rows, ascending.
        points: x to the right, y up.
        groups: the place of each sound's group in `names`.
        names: of the groups, the largest first; see `Index.clusters`.
    """

    ids: Int64[np.ndarray, " sound"]
    points: UInt16[np.ndarray, "sound 2"]
    groups: UInt8[np.ndarray, " sound"]
    names: tuple[str, ...]


def map_of(store: Store, folder: Path, settings: Settings, version: str) -> Map:
    """The map of the sounds of a version: the one that is kept, or a new one."""
    key = f"{_FORMAT} {version}"
    if (found := _read(folder, key)) is None:
        found = _make(store, folder, settings)
        try:
            arrays = found._asdict() | {"names": np.array(found.names), "key": np.array(key)}
            storage.write_arrays(folder / FILE, arrays)
        except OSError as error:
            logging.warning(
                "%s: the map is not kept (%s), and is made again next time",
                *(shown(folder), error.strerror),
            )
    return found


def _read(folder: Path, key: str) -> Map | None:
    arrays = storage.read_arrays(folder / FILE)
    if arrays is None or str(arrays.get("key")) != key:
        return None
    names = tuple(arrays["names"].tolist())
    return Map(arrays["ids"], arrays["points"], arrays["groups"], names)


def _make(store: Store, folder: Path, settings: Settings) -> Map:
    from coala_jax.embedding.map_projection import project_all  # takes a second to import

    ids, units = all_units(store)
    order = np.argsort(ids)
    ids, points = ids[order], _in_square(project_all(units[order], seed=0))
    count = max(1, min(round((len(ids) / 2) ** 0.5), _MOST_GROUPS))
    groups, labels = groups_of(store, folder, settings, count, 0), np.zeros(len(ids), np.uint8)
    for place, (_, rows) in enumerate(groups):
        labels[np.searchsorted(ids, rows)] = place
    return Map(ids, points, labels, tuple(name for name, _ in groups))


def _in_square(points: Float[np.ndarray, "sound 2"]) -> UInt16[np.ndarray, "sound 2"]:
    """Points moved and scaled into the square, both axes alike, in its middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    widest = (high - low).max() or 1.0
    placed = 0.5 + (points - (low + high) / 2) / widest
    return np.round(placed * _SIDE).astype(np.uint16)
