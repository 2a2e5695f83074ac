"""Vectors that something else computed, read from a file in the place of a model.

The file has a row for each clip: a table of `coala embed` (Parquet or npz) by `path`, relative to
the folder of the task, or an npz of anyone's with the arrays `vectors` [row, dim] and `path` or
`sha256`, the SHA-256 of each clip's bytes in hex, whatever the clips are called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from coala_jax import storage

FORMATS = (".parquet", ".npz")
_KEYS = ("sha256", "path")  # the first that a file has says whose a vector is


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Stands in an evaluation as an `Evaluator` does, but hears nothing.

    Attributes:
        name: in tables and plots.
        digest: SHA-256 of the file in hex.
        file: that was read.
        key: what `rows` are found by, "sha256" or "path".
        rows: row of `vectors` by key.
        sizes: of the clips' files in bytes, row by row; None where the file does not say.
    """

    name: str
    digest: str
    file: Path
    key: str
    rows: Mapping[str, int]
    vectors: Float32[np.ndarray, "row dim"]
    sizes: Sequence[int] | None
    level: str = "unknown"  # of the clips that were embedded

    def vectors_of(
        self, root: Path, files: Sequence[str], digests: Mapping[str, str]
    ) -> Float32[np.ndarray, "clip dim"]:
        """The vectors of a task's clips, in the order of `files`.

        Args:
            root: what `files` are relative to.
            digests: by file, the SHA-256 of its bytes in hex.

        Raises:
            ValueError: a clip has no vector, or has another size than the file that was embedded.
        """
        keys = [digests[file] if self.key == "sha256" else file for file in files]
        lacking = [file for file, key in zip(files, keys, strict=True) if key not in self.rows]
        if lacking:
            where = "" if self.key == "sha256" else f" under its path in {root}"
            raise ValueError(
                f"{self.file}: no vector of {lacking[0]}{where}, nor of {len(lacking) - 1} other "
                f"clips of {len(files)}. Fix: embed the folder {root}"
            )
        rows = [self.rows[key] for key in keys]
        if self.sizes is not None:
            for file, row in zip(files, rows, strict=True):
                if (root / file).stat().st_size != self.sizes[row]:
                    raise ValueError(
                        f"{self.file}: {file} had another size when it was embedded. Fix: embed "
                        f"the folder {root} again"
                    )
        return self.vectors[rows]


def load_vectors(file: Path, name: str = "") -> VectorTable:
    """Reads a table of vectors; by default it is called as the file is.

    Raises:
        ValueError: the file cannot be read, has no such columns, has two rows of one clip, or
            vectors that are not finite.
    """
    if file.suffix not in FORMATS or not file.is_file():
        cause = "no such file" if file.suffix in FORMATS else "unknown kind of file"
        raise ValueError(f"{file}: {cause}. Fix: give a table of vectors, {' or '.join(FORMATS)}")
    try:
        columns = _read_parquet(file) if file.suffix == ".parquet" else _read_npz(file)
        key = next(key for key in _KEYS if key in columns)
        vectors = np.asarray(columns["vectors"], np.float32)
        keys = [str(one) for one in columns[key]]
        if vectors.ndim != 2 or len(vectors) != len(keys):
            raise ValueError(f"{len(keys)} rows, vectors {list(vectors.shape)}")
    except (OSError, ValueError, KeyError, StopIteration, BadZipFile, pa.ArrowException) as error:
        raise ValueError(
            f"{file}: no table of vectors ({error!r:.200}). Fix: give what `coala embed` wrote, or "
            "an npz of the arrays `vectors` [row, dim] and `sha256` or `path`"
        ) from error
    rows = {one: row for row, one in enumerate(keys)}
    if len(rows) < len(keys):
        twice = next(one for row, one in enumerate(keys) if rows[one] != row)
        raise ValueError(
            f"{file}: more than one row of {twice}. Fix: keep one row for each clip, as `coala "
            "embed` without --hop_seconds writes them"
        )
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ValueError(
            f"{file}: the vector of {keys[broken[0]]} is not finite. Fix: embed it again"
        )
    sizes = columns.get("size_bytes")
    return VectorTable(
        name=name or file.stem,
        digest=storage.file_sha256(file),
        file=file,
        key=key,
        rows=rows,
        vectors=vectors,
        sizes=None if sizes is None else np.asarray(sizes).tolist(),
    )


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays.items())


def _read_parquet(file: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(file)
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "vector"}
    if table.num_rows:
        columns["vectors"] = np.stack(table["vector"].to_numpy())
    return columns
