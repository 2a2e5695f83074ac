"""The rows of an index: a LanceDB table in a folder. Nothing else imports lancedb.

A row is a sound: `path` relative to the folder of sounds, with `/` (a name that is not UTF-8 is in
`raw_path`, and `path` only shows it), size, time of change and SHA-256 of the file, its length, the
times at which its patches begin, the tags that were given, the digest of the model, and the vectors
`projection` (in the case CNN `logits`), `votes` (where a model matches by vote) and `embedding`.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32, Float64, Int64

from coala_jax.embedding import index_checksums

EXACT_SOUNDS = 100_000  # up to so many every vector is compared; beyond, those a vector index finds
# Of the vector index (IVF, RaBitQ: a bit a value, and no codebooks, whose training takes product
# quantisation minutes): the lists that a search reads, and how many times the vectors asked for are
# compared exactly. Recall and time: benchmarks/search.py.
_PROBES, _REFINED = 40, 20
_IDS_AT_ONCE = 5000
_KEEP_VERSIONS = timedelta(days=36_500)  # no version of a table is older than that
_BATCH_ROWS = 1024  # 4 MB of vectors at the paper's width

Vector = Float32[np.ndarray, " value"]


class File(NamedTuple):
    """What is known of a file in the index."""

    id: int
    size_bytes: int
    modified_ns: int
    sha256: str
    tags: tuple[str, ...]


def lancedb() -> ModuleType:
    """The database. Raises ValueError where the extra `search` is not installed."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every table that it makes
    try:
        import lancedb
        import lancedb.index  # which the package itself does not import
    except ImportError as error:
        raise ValueError(
            f"an index needs LanceDB ({error}). Fix: pip install 'coala_jax[search]'"
        ) from error
    return lancedb


def schema(vectors: Mapping[str, int]) -> pa.Schema:
    """Of the table; `vectors` has the number of values by column."""
    return pa.schema(
        {
            "id": pa.int64(),
            "path": pa.string(),
            "raw_path": pa.binary(),
            "size_bytes": pa.int64(),
            "modified_ns": pa.int64(),
            "sha256": pa.string(),
            "seconds": pa.float64(),
            "times": pa.list_(pa.float32()),
            "tags": pa.list_(pa.string()),
            "model": pa.string(),
            **{name: pa.list_(pa.float32(), size) for name, size in vectors.items()},
        }
    )


def path_columns(path: str) -> dict[str, Any]:
    """A path as the table has it: a name that is not UTF-8 as text that shows it, and as bytes."""
    raw = os.fsencode(path)
    try:
        return {"path": raw.decode(), "raw_path": None}
    except UnicodeDecodeError:
        return {"path": raw.decode(errors="backslashreplace"), "raw_path": raw}


def paths_of(rows: pa.RecordBatch | pa.Table) -> list[str]:
    """The paths of rows, as the operating system takes them."""
    pairs = zip(rows["path"].to_pylist(), rows["raw_path"].to_pylist(), strict=True)
    return [path if raw is None else os.fsdecode(raw) for path, raw in pairs]


def vectors_of(rows: pa.RecordBatch | pa.Table, column: str) -> Float32[np.ndarray, "row value"]:
    """The vectors of rows."""
    values = rows[column]
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.flatten().to_numpy().reshape(len(values), values.type.list_size)


def vector_array(vectors: Float[np.ndarray, "row value"]) -> pa.FixedSizeListArray:
    """Vectors as a column; the inverse of `vectors_of`."""
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])


@contextlib.contextmanager
def _named(folder: Path, what: str = "the index cannot be read") -> Iterator[None]:
    """Errors of the database as ValueErrors that name the folder.

    It raises what its Rust code does, of many classes; a panic is no Exception.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"{folder}: {what}, it may be damaged ({said:.200}). Fix: delete the folder, and index "
            "the sounds again"
        ) from error


class Store:
    """One table of the database in a folder, as its checksums say: see `index_checksums`.

    Args:
        writes: whether it is to be changed; what was written after the checksums is undone.

    Raises:
        ValueError: LanceDB is not installed, or the table is not there or damaged.
    """

    def __init__(self, folder: Path, name: str, *, writes: bool = False) -> None:
        self._folder, self.name = folder, name
        self._checksums = index_checksums.read(folder, name)
        with _named(folder, f"the table {name} cannot be opened"):
            self._database = lancedb().connect(os.fspath(folder))
            self._table = self._database.open_table(name)
            if self.has_checksums and self._table.version != self._checksums.version:
                self._table.checkout(self._checksums.version)
                if writes:
                    self._table.restore()
            self.schema = self._table.schema
        if writes:
            self._write_checksums()

    @classmethod
    def create(cls, folder: Path, name: str, of: pa.Schema, rows: Iterable[Any] = ()) -> "Store":
        """A new table of these rows, in the place of one of that name."""
        database = lancedb().connect(os.fspath(folder))
        reader = pa.RecordBatchReader.from_batches(of, rows)
        index_checksums.file_of(folder, name).unlink(missing_ok=True)
        database.create_table(name, data=reader, schema=of, mode="overwrite")
        return cls(folder, name, writes=True)

    def __len__(self) -> int:
        with _named(self._folder):
            return self._table.count_rows()

    @property
    def has_checksums(self) -> bool:
        """Whether there are any; of an index of an earlier version not."""
        return self._checksums is not None

    def _write_checksums(self) -> None:
        """After every change, which counts from then on."""
        known, version = self._checksums, self._table.version
        if known is None or known.version != version:
            self._checksums = index_checksums.write(self._folder, self.name, version, known)

    def drop(self) -> None:
        self._drop(self.name)

    def drop_others(self) -> None:
        """Deletes tables that a process left when it was killed."""
        for name in self._database.list_tables().tables:
            if name != self.name:
                self._drop(name)

    def _drop(self, name: str) -> None:
        index_checksums.file_of(self._folder, name).unlink(missing_ok=True)
        self._database.drop_table(name)

    def files(self) -> tuple[dict[str, File], list[int]]:
        """The files by path; and the rows that a later one of the same path replaces."""
        files, replaced = {}, []
        for rows in self.scan(
            ["id", "path", "raw_path", "size_bytes", "modified_ns", "sha256", "tags"]
        ):
            columns = [rows[name].to_pylist() for name in File._fields]
            for path, *values, tags in zip(paths_of(rows), *columns, strict=True):
                file = File(*values, tuple(tags or ()))
                if (other := files.get(path)) is not None:
                    replaced.append(min(file.id, other.id))
                    file = max(file, other)
                files[path] = file
        return files, replaced

    def scan(self, columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows, in no order, part by part."""
        query = self._table.search().select(list(columns))
        if where is not None:
            query = query.where(where)
        with _named(self._folder):
            batches = iter(query.to_batches(_BATCH_ROWS))
        while True:
            with _named(self._folder):  # not around the yield, where the caller's errors come
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def take(self, ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows of these ids, in their order."""
        fields = [self.schema.field(name) for name in dict.fromkeys(["id", *columns])]
        parts = [
            part
            for start in range(0, len(ids), _IDS_AT_ONCE)
            for part in self.scan(
                [field.name for field in fields], _among(ids[start : start + _IDS_AT_ONCE])
            )
        ]
        found = pa.Table.from_batches(parts, pa.schema(fields))
        places = {row: place for place, row in enumerate(found["id"].to_pylist())}
        return found.take(pa.array([places[row] for row in ids if row in places], pa.int64()))

    def add(self, rows: pa.Table) -> None:
        self._table.add(rows)
        self._write_checksums()

    def delete(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            self._table.delete(_among(ids[start : start + _IDS_AT_ONCE]))
        self._write_checksums()

    def nearest(
        self,
        column: str,
        vector: Float[np.ndarray, " value"],
        count: int,
        where: str | None = None,
        *,
        exact: bool = False,
        probes: int = _PROBES,
        refined: int = _REFINED,
    ) -> tuple[Int64[np.ndarray, " row"], Float64[np.ndarray, " row"]]:
        """The ids of the nearest rows and their cosines, best first.

        Every row is compared up to `EXACT_SOUNDS`, where the column has no vector index, and with
        `exact`. A vector of zeros is near to nothing.

        Args:
            probes: lists of the vector index that are read; LanceDB makes one of some 8,000 rows.
            refined: how many times `count` vectors are compared exactly.
        """
        query = self._table.search(np.asarray(vector, np.float32), vector_column_name=column)
        query = query.distance_type("cosine").select(["id", "_distance"])
        if where is not None:
            query = query.where(where, prefilter=True)
        if exact or len(self) <= EXACT_SOUNDS:
            query = query.bypass_vector_index()
        else:
            query = query.nprobes(probes).refine_factor(refined)
        with _named(self._folder):
            found = query.limit(max(count, 1)).to_arrow()
        distances = found["_distance"].to_numpy().astype(np.float64)
        return found["id"].to_numpy(), 1 - distances

    def make_fast(self, columns: Iterable[str]) -> None:
        """Merges small files; beyond `EXACT_SOUNDS` the columns get their vector index."""
        indexed = {name for one in self._table.list_indices() for name in one.columns}
        if len(self) > EXACT_SOUNDS:
            for column in set(columns) - indexed:
                kind = lancedb().index.IvfRq(distance_type="cosine")
                self._table.create_index(column, config=kind)
        self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)
        self._write_checksums()
        self._table.optimize()  # deletes old versions, of which that of the checksums is none now
        self._write_checksums()


def _among(ids: Sequence[int]) -> str:
    return f"id IN ({', '.join(map(str, map(int, ids)))})"
