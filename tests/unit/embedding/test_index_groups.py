"""Near-copies and groups: what is compared, what is connected, and how groups are called."""

import dataclasses

import numpy as np
import pytest

from coala_jax.embedding import index_groups, index_store
from coala_jax.embedding.index_settings import Settings, write_tags
from coala_jax.embedding.index_store import Store, schema, vector_array
from tests.unit.embedding.test_index_store import table

SETTINGS = Settings(
    *("sounds", "model", "0" * 64, "ae_c", "mean", "vote"), ("drum", "dog", "rain"), "paper"
)
SIZE = 16


def store_of(folder, vectors, votes=None, column="votes") -> Store:
    of = schema({"embedding": SIZE} | ({} if votes is None else {column: votes.shape[1]}))
    rows = table(range(len(vectors)), np.float32(vectors))
    if votes is not None:
        rows = rows.append_column(of.field(column), vector_array(votes))
    return Store.create(folder, "t", of, rows.cast(of).to_batches())


def test_the_nearest_are_candidates_with_and_without_a_vector_index(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, SIZE))
    vectors[30] = vectors[7] + 0.1 * rng.normal(size=SIZE)
    vectors[31] = 3 * vectors[8]
    store = store_of(tmp_path, vectors)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.argwhere(np.triu(units @ units.T, 1) >= 0.7).tolist()
    assert [7, 30] in near and [8, 31] in near
    monkeypatch.setattr(index_groups, "_BLOCK", 16)
    assert index_groups._candidates(store) == list(map(tuple, near))
    monkeypatch.setattr(index_store, "EXACT_SOUNDS", 10)
    assert index_groups._candidates(store) == list(map(tuple, near))


def test_rows_that_pairs_connect_are_one_group():
    pairs = {(1, 5): 0.96, (5, 9): 0.99, (2, 3): 1.0}
    assert index_groups._connected(pairs) == [
        [(1, 0.96), (5, 0.99), (9, 0.99)],
        [(2, 1.0), (3, 1.0)],
    ]
    assert index_groups._connected({}) == []


@pytest.mark.parametrize("match", ["vote", "cosine", "logits"])
def test_groups_are_called_by_the_tags_that_they_have_more_than_others(match, tmp_path):
    rng = np.random.default_rng(0)
    own = np.repeat([0, 1, 2], [30, 20, 10])
    vectors = 5 * np.eye(SIZE)[own] + rng.normal(size=(60, SIZE)) / 9
    settings = dataclasses.replace(SETTINGS, match=match)
    if match == "cosine":  # "dog" fits all, others more
        tags = np.eye(4, dtype=np.float32)[:3]
        write_tags(tmp_path, tags)
        scores = np.eye(4, dtype=np.float32)[[0, 2, 1]][own] + [[0.1, 0.5, 0.1, 0.7]]
    else:
        shares = np.array([[0.3, 0.6, 0.01], [0.01, 0.6, 0.1], [0.01, 0.9, 0.01]])[own]
        scores = np.log(shares / (1 - shares)) if match == "logits" else shares
    store = store_of(tmp_path, vectors, np.float32(scores), settings.match_column)
    groups = index_groups.groups_of(store, tmp_path, settings, 3, 0)
    assert [name.split(", ")[0] for name, _ in groups] == ["drum", "rain", "dog"]
    assert [rows for _, rows in groups] == [
        list(range(30)), list(range(30, 50)), list(range(50, 60))
    ]  # fmt: skip
    (everything,) = index_groups.groups_of(store, tmp_path, settings, 1, 0)
    assert everything[1] == list(range(60))
    assert len(index_groups.groups_of(store, tmp_path, settings, None, 0)) >= 2


def test_no_two_groups_have_one_name():
    lifts = np.array([[3, 2, 1], [3, 2, 1], [3, 2, 1], [1.0, 2, 3]])
    names = index_groups._names(lifts, SETTINGS)
    assert names == ["drum, dog", "drum, dog, rain", "drum, dog, rain (2)", "rain, dog"]
