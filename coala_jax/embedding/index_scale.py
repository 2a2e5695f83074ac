"""The scale of an index: each value of the embeddings by its mean and spread over the sounds.

Without it the values that vary most decide alone what is similar. The scale is that of the sounds
at some time: it is made again, with the table, when the sounds are twice as many.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from coala_jax.embedding.index_settings import Settings, read_scale, write_scale
from coala_jax.embedding.index_store import Store, vector_array, vectors_of

FEWEST_SOUNDS = 16  # with fewer, embeddings are as they come
# The least spread of a value, as a share of their mean: one that hardly varies stays unimportant.
_LEAST_SPREAD = 0.01

Values = Float32[np.ndarray, " value"]


def identity(size: int) -> tuple[Values, Values]:
    """The scale that leaves embeddings as they are: mean and spread."""
    return np.zeros(size, np.float32), np.ones(size, np.float32)


def rescale(folder: Path, settings: Settings, store: Store) -> tuple[Settings, Store]:
    """The same, with a new scale and table where the sounds have become twice as many.

    The old table counts until the new one is whole.
    """
    count = len(store)
    if count < max(FEWEST_SOUNDS, 2 * settings.scaled_by):
        return settings, store
    mean, spread = _statistics(store)

    def rows() -> Iterator[pa.RecordBatch]:
        place = store.schema.get_field_index("embedding")
        for batch in store.scan(store.schema.names):
            embeddings = (vectors_of(batch, "embedding") - mean) / spread
            batch = batch.set_column(place, store.schema.field(place), vector_array(embeddings))
            yield batch.cast(store.schema)

    table = _next(settings.table)
    new = Store.create(folder, table, store.schema, rows())
    old_mean, old_spread = read_scale(folder, settings.table)
    write_scale(folder, table, old_mean + old_spread * mean, old_spread * spread)
    after = dataclasses.replace(settings, table=table, scaled_by=count)
    after.write(folder)
    store.drop()
    (folder / f"{settings.table}.npz").unlink()
    return after, new


def _statistics(store: Store) -> tuple[Values, Values]:
    """Mean and spread of the embeddings, as they are in the table."""
    count, sums, squares = 0, 0.0, 0.0
    for batch in store.scan(["embedding"]):
        values = vectors_of(batch, "embedding").astype(np.float64)
        count, sums = count + len(values), sums + values.sum(axis=0)
        squares = squares + np.square(values).sum(axis=0)
    mean = sums / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    least = max(_LEAST_SPREAD * float(spread.mean()), np.finfo(np.float32).tiny)
    return mean.astype(np.float32), np.maximum(spread, least).astype(np.float32)


def _next(table: str) -> str:
    number = re.fullmatch(r"sounds-(\d+)", table)
    return f"sounds-{int(number[1]) + 1 if number else 1}"
