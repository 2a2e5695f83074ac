"""How the rows of an index are ranked: by tags, by a vector, or by both."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Float32, Float64, Int64

from coala_jax.embedding import index_settings, index_store
from coala_jax.embedding.index_settings import Settings
from coala_jax.embedding.index_store import Store
from coala_jax.embedding.index_words import Words
from coala_jax.models.bank import unit

# A question of two parts ranks the best of each by reciprocal rank fusion (Cormack et al., 2009,
# section 2, with its constant): the sum of 1 / (60 + rank), which no scale of scores can tip.
_RANKED = 1000
_RANK_OFFSET = 60
_KEPT_BYTES = 2**30  # the most of a column that is kept in memory

Ranking = tuple[Int64[np.ndarray, " hit"], Float64[np.ndarray, " hit"]]  # ids, scores; best first
Range = tuple[float, float] | tuple[int, int]


class Like(NamedTuple):
    """A sound that results are like.

    row: its own, which is not among the results; None for a sound that is not in the index.
    vector: its embedding, in the index's scale.
    """

    row: int | None
    vector: Float32[np.ndarray, " value"]


class Limits(NamedTuple):
    """The rows that a question is about.

    seconds: the least and the greatest length; ends may be infinite.
    without: a row that is left out.

    Raises:
        ValueError: the range is empty.
    """

    seconds: tuple[float, float]
    without: int | None

    @classmethod
    def of(cls, seconds: Range | None, like: Like | None) -> "Limits":
        low, high = (0.0, math.inf) if seconds is None else map(float, seconds)
        if not low <= high:
            raise ValueError(
                f"the range of seconds {low:g} to {high:g} is empty. Fix: swap its ends"
            )
        return cls((low, high), None if like is None else like.row)

    def sql(self) -> str | None:
        """The condition for the database; None where all rows are meant."""
        low, high = self.seconds
        parts = [f"seconds >= {low!r}"] if low > 0 else []
        parts += [f"seconds <= {high!r}"] if high < math.inf else []
        parts += [] if self.without is None else [f"id != {self.without}"]
        return " AND ".join(parts) or None

    def mask(
        self, ids: Int64[np.ndarray, " row"], seconds: Float64[np.ndarray, " row"]
    ) -> Bool[np.ndarray, " row"]:
        """Whether each row is meant."""
        low, high = self.seconds
        return (low <= seconds) & (seconds <= high) & (ids != self.without)


class _Kept(NamedTuple):
    """A column in memory.

    values: of votes or logits [tag, row], so that a tag's lie together; of projections and
        embeddings [row, value] of length 1.
    """

    ids: Int64[np.ndarray, " row"]
    seconds: Float64[np.ndarray, " row"]
    values: Float32[np.ndarray, "_ _"]


class Ranker:
    """Ranks the rows of an index."""

    def __init__(self, folder: Path, settings: Settings, store: Store) -> None:
        self._folder, self._settings, self._store = folder, settings, store
        self._kept: dict[str, _Kept] = {}

    def keep(self) -> list[str]:
        """Reads what is compared into memory, so that later questions read no disk.

        Returns:
            The columns that were too large: above 1 GiB, some 300,000 sounds at 900 tags or
            140,000 at 1,920 values of an embedding.
        """
        columns = self._settings.match_column, "embedding"
        self._kept = {name: kept for name in columns if (kept := self._read(name)) is not None}
        return [name for name in columns if name not in self._kept]

    def _read(self, column: str) -> _Kept | None:
        rows, size = len(self._store), self._store.schema.field(column).type.list_size
        if 4 * rows * size > _KEPT_BYTES:
            return None
        is_cosine = column in ("projection", "embedding")
        values = np.empty((rows, size) if is_cosine else (size, rows), np.float32)
        ids, seconds, start = np.empty(rows, np.int64), np.empty(rows), 0
        for batch in self._store.scan(["id", "seconds", column]):
            part = slice(start, start + len(batch))
            ids[part], seconds[part] = batch["id"].to_numpy(), batch["seconds"].to_numpy()
            vectors = index_store.vectors_of(batch, column)
            if is_cosine:
                values[part] = unit(vectors)
            else:
                values[:, part] = vectors.T
            start += len(batch)
        return _Kept(ids, seconds, values)

    def rank(
        self, words: Words | None, like: Like | None, seconds: Range | None, top: int
    ) -> Ranking:
        """The best rows by tags, by a sound that they are like, or by both.

        Raises:
            ValueError: the range of seconds is empty, or there is neither.
        """
        if words is None and like is None:
            raise ValueError("nothing to search for. Fix: give words, a sound or both")
        limits, rankings = Limits.of(seconds, like), []
        count = top if words is None or like is None else max(top, _RANKED)
        if words is not None:
            rankings.append(self._by_words(words, count, limits))
        if like is not None:
            rankings.append(self._nearest("embedding", like.vector, count, limits))
        ids, scores = rankings[0] if len(rankings) == 1 else _fuse(rankings)
        return ids[:top], scores[:top]

    def _by_words(self, words: Words, count: int, limits: Limits) -> Ranking:
        if self._settings.match != "cosine":
            return self._by_chance(words, count, limits)
        query = words.weights(len(self._settings.tags)) @ index_settings.read_tags(self._folder)
        ids, cosines = self._nearest("projection", query, count, limits)
        # The cosine with each tag, by its weight.
        return ids, cosines * float(np.linalg.norm(query.astype(np.float64)))

    def _nearest(
        self, column: str, vector: Float32[np.ndarray, " value"], count: int, limits: Limits
    ) -> Ranking:
        if (kept := self._kept.get(column)) is None:
            return self._store.nearest(column, vector, count, limits.sql())
        (direction,) = unit(vector[None])
        ids, cosines = _best(kept, (kept.values @ direction).astype(np.float64), count, limits)
        return ids[cosines != 0], cosines[cosines != 0]  # zeros are near to nothing

    def _by_chance(self, words: Words, count: int, limits: Limits) -> Ranking:
        """Of votes or logits, every row is read: there is no vector to be near to."""
        column = self._settings.match_column
        if (kept := self._kept.get(column)) is not None:
            asked, few = words.renumbered()
            return _best(kept, few.chances(self._shares(kept.values[asked].T)), count, limits)
        ids, scores = [], []
        for rows in self._store.scan(["id", column], limits.sql()):
            ids.append(rows["id"].to_numpy())
            scores.append(words.chances(self._shares(index_store.vectors_of(rows, column))))
        if not ids:
            return np.empty(0, np.int64), np.empty(0)
        return _first(np.concatenate(ids), np.concatenate(scores), count)

    def _shares(self, values: Float32[np.ndarray, "row tag"]) -> Float64[np.ndarray, "row tag"]:
        shares = values.astype(np.float64)
        return scipy.special.expit(shares) if self._settings.match == "logits" else shares


def _best(kept: _Kept, scores: Float64[np.ndarray, " row"], count: int, limits: Limits) -> Ranking:
    mask = limits.mask(kept.ids, kept.seconds)
    return _first(kept.ids[mask], scores[mask], count)


def _first(
    rows: Int64[np.ndarray, " row"], scores: Float64[np.ndarray, " row"], count: int
) -> Ranking:
    """The rows of the highest scores, of equal ones those of the lowest ids."""
    if count < len(rows):  # a sort of very many takes longer than all the rest
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        rows, scores = rows[scores >= least], scores[scores >= least]
    best = np.lexsort((rows, -scores))[:count]
    return rows[best], scores[best]


def _fuse(rankings: Sequence[Ranking]) -> Ranking:
    """The rows of several rankings by their ranks, 1 for the first of all."""
    scores: dict[int, float] = {}
    for ids, _ in rankings:
        for rank, row in enumerate(ids.tolist()):
            share = (_RANK_OFFSET + 1) / (_RANK_OFFSET + 1 + rank) / len(rankings)
            scores[row] = scores.get(row, 0.0) + share
    best = sorted(scores, key=lambda row: (-scores[row], row))
    return np.array(best, np.int64), np.array([scores[row] for row in best], np.float64)
