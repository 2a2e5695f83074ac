"""A table of vectors on disk: one row per sound, or one per time within a sound.

Its columns are `path`; `seconds` (the length of the sound) or `time` (of the row in the sound);
`size_bytes` and `modified_ns` of the file; `made_by` (a digest of the model and of what it was
asked); and the vector: a list `vector` in Parquet, an array `vectors` [row, latent] in npz, columns
`v0`, `v1`, ... in CSV.

While it is being made it lies in parts in `OUT.work`, each whole or not there, so that a kill costs
no more than a part. At the end the parts become the one file, in the order of the paths.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from jaxtyping import Float32, Float64

from coala_jax import storage
from coala_jax.embedding.folder import State

FORMATS = (".parquet", ".npz", ".csv")
_GROUP_ROWS = 4096  # of one sound that are in memory at a time: 19 MB at the paper's width


class TableWriter:
    """Writes a table, and knows which sounds are in it already.

    Args:
        out: the file to make.
        made_by: a digest of all that vectors depend on beside the sound.
        vector_size: values of a vector.
        timed: whether a sound has a row for each of its times.

    Attributes:
        done: the state of the file of each sound that is in a part, or in a finished table.

    Raises:
        ValueError: the name of `out` has no known ending, or it holds something else.
    """

    def __init__(self, out: Path, made_by: str, vector_size: int, timed: bool = False) -> None:
        if out.suffix not in FORMATS:
            raise ValueError(f"{out}: the name must end in one of {', '.join(FORMATS)}")
        self._out, self._made_by, self._vector_size = out, made_by, vector_size
        self._measure = "time" if timed else "seconds"
        self._schema = pa.schema(
            {
                "path": pa.string(),
                self._measure: pa.float64(),
                "size_bytes": pa.int64(),
                "modified_ns": pa.int64(),
                "made_by": pa.string(),
                "vector": pa.list_(pa.float32(), vector_size),
            }
        )
        self._folder = out.with_name(out.name + ".work")
        self._sources = [*([out] if out.exists() else []), *sorted(self._folder.glob("*.parquet"))]
        self.done: dict[str, State] = {}
        for batch in self._mine():
            self.done |= dict(zip(batch["path"].to_pylist(), _states(batch), strict=True))
        self._finished: list[pa.RecordBatch] = []  # of whole sounds
        self._current: list[pa.RecordBatch] = []  # of the sound that is being written
        self._writer: pq.ParquetWriter | None = None  # of the part of a sound with very many rows

    def write(
        self,
        path: str,
        state: State,
        vectors: Float32[np.ndarray, "row latent"],
        measures: Float64[np.ndarray, " row"],
    ) -> None:
        """Adds rows of a sound, which `end` or `fail` completes.

        measures: the times, or the length of the sound.
        """
        values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        columns = [
            pa.array([path] * len(vectors)),
            pa.array(measures),
            *(pa.array([part] * len(vectors)) for part in state),
            pa.array([self._made_by] * len(vectors)),
            pa.FixedSizeListArray.from_arrays(values, self._vector_size),
        ]
        self._current.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(batch.num_rows for batch in self._current) >= _GROUP_ROWS:
            if self._writer is None:
                self.save()  # the sounds before: this one may still fail
                self._writer = self._begin_part()
            self._writer.write_table(pa.Table.from_batches(self._current))
            self._current = []

    def end(self) -> None:
        """The sound is whole."""
        if self._writer is None:
            self._finished += self._current
        else:
            if self._current:
                self._writer.write_table(pa.Table.from_batches(self._current))
            self._close_part(self._writer)
            self._writer = None
        self._current = []

    def fail(self) -> None:
        """Takes back what was written of the sound."""
        self._current = []
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._temporary.unlink()

    def save(self) -> None:
        """Makes a part of the whole sounds since the last one."""
        if self._finished:
            writer = self._begin_part()
            writer.write_table(pa.Table.from_batches(self._finished))
            self._close_part(writer)
            self._finished = []

    def finish(self, states: Mapping[str, State]) -> int:
        """Makes the one file of these sounds, and returns its number of rows.

        A sound whose file has changed since, or is not among them, is left out.
        """
        self.save()
        batches = (_filter(batch, states) for batch in self._mine())
        batches = (batch for batch in batches if batch.num_rows)
        if not self._is_sorted(states):
            table = pa.Table.from_batches(batches, self._schema)
            order = np.argsort(table["path"].to_numpy(), kind="stable")  # in order of time
            batches = table.take(order).to_batches()
        rows, new = 0, self._out.with_name(self._out.name + ".tmp")
        with _writer(new, self._out.suffix, self._schema) as write:
            for batch in batches:
                rows += batch.num_rows
                write(batch)
        storage.sync(new)
        new.replace(self._out)
        storage.path(self._folder).rmtree(missing_ok=True)
        return rows

    def _is_sorted(self, states: Mapping[str, State]) -> bool:
        last = ""
        for batch in self._mine():
            for path in _filter(batch, states)["path"].to_pylist():
                if path < last:
                    return False
                last = path
        return True

    def _mine(self) -> Iterator[pa.RecordBatch]:
        """The rows that this model made, in any source."""
        for source in self._sources:
            for batch in _read(source, self._schema):
                yield batch.filter(pc.equal(batch["made_by"], self._made_by))

    def _begin_part(self) -> pq.ParquetWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._part = self._folder / f"{len(self._sources):06d}.parquet"
        self._temporary = self._part.with_suffix(".tmp")
        return pq.ParquetWriter(self._temporary, self._schema)

    def _close_part(self, writer: pq.ParquetWriter) -> None:
        writer.close()
        storage.sync(self._temporary)
        self._temporary.replace(self._part)
        self._sources.append(self._part)


def _states(batch: pa.RecordBatch) -> list[State]:
    sizes, times = (batch[name].to_pylist() for name in ("size_bytes", "modified_ns"))
    return list(zip(sizes, times, strict=True))


def _filter(batch: pa.RecordBatch, states: Mapping[str, State]) -> pa.RecordBatch:
    """The rows whose file is as it was when they were made."""
    rows = zip(batch["path"].to_pylist(), _states(batch), strict=True)
    return batch.filter(pa.array([states.get(path) == state for path, state in rows], pa.bool_()))


def _flat(schema: pa.Schema) -> pa.Schema:
    """With a column for each value of the vector, as CSV has it."""
    size = schema.field("vector").type.list_size
    values = [pa.field(f"v{place}", pa.float32()) for place in range(size)]
    return pa.schema([*list(schema)[:-1], *values])


def _read(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a table in any format.

    Raises:
        ValueError: it cannot be read, or is no table of this kind.
    """
    try:
        for batch in _READERS[file.suffix](file, schema):
            yield pa.RecordBatch.from_arrays(
                [batch[name].cast(schema.field(name).type) for name in schema.names], schema=schema
            )
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ValueError(
            f"{file}: no table of vectors like the one to be made ({error!s:.200}). Fix: move it "
            "aside, or name another --out"
        ) from error


def _read_parquet(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    del schema
    with pq.ParquetFile(file) as table:
        # One group after the other: iter_batches reads them all ahead, and holds them.
        for group in range(table.num_row_groups):
            yield from table.read_row_group(group, use_threads=False).to_batches()


def _read_npz(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with np.load(file, allow_pickle=False) as arrays:
        columns = [pa.array(arrays[name]) for name in schema.names[:-1]]
        vectors = arrays["vectors"]
    if vectors.ndim != 2:
        raise ValueError(f"its vectors have shape {list(vectors.shape)}")
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    yield pa.RecordBatch.from_arrays([*columns, values], schema.names)


def _read_csv(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    flat = _flat(schema)
    types = {field.name: field.type for field in flat}
    options = pa_csv.ConvertOptions(column_types=types, include_columns=flat.names)
    with storage.open_binary(file) as opened:
        if opened.readline().count(b",") != len(flat) - 1:
            raise ValueError("it has other columns")
    with pa_csv.open_csv(file, convert_options=options) as batches:
        for batch in batches:
            values = np.stack([batch[name].to_numpy() for name in flat.names[5:]], axis=1)
            vector = pa.FixedSizeListArray.from_arrays(
                pa.array(values.reshape(-1)), values.shape[1]
            )
            yield pa.RecordBatch.from_arrays([*batch.columns[:5], vector], schema.names)


_READERS = {".parquet": _read_parquet, ".npz": _read_npz, ".csv": _read_csv}


@contextmanager
def _writer(
    file: Path, suffix: str, schema: pa.Schema
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Writes rows one batch after the other; npz holds all of them in memory first."""
    if suffix == ".parquet":
        with pq.ParquetWriter(file, schema) as writer:
            yield writer.write_batch
    elif suffix == ".csv":
        flat = _flat(schema)
        with pa_csv.CSVWriter(file, flat) as writer:

            def write(batch: pa.RecordBatch) -> None:
                columns = [*batch.columns[:-1], *map(pa.array, _vectors(batch).T)]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=flat))

            yield write
    else:
        batches: list[pa.RecordBatch] = []
        yield batches.append
        table = pa.Table.from_batches(batches, schema)
        arrays = {name: table[name].to_numpy() for name in schema.names[:-1]}
        for name in ("path", "made_by"):
            arrays[name] = arrays[name].astype(np.str_)  # of objects NumPy would make a pickle
        vectors = [np.empty((0, schema.field("vector").type.list_size), np.float32)]
        vectors += map(_vectors, batches)
        content = io.BytesIO()
        np.savez(content, **arrays, vectors=np.concatenate(vectors))
        storage.write_bytes(file, content.getvalue())


def _vectors(batch: pa.RecordBatch) -> Float32[np.ndarray, "row latent"]:
    return batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
