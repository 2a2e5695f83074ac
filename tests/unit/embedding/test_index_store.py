"""The table of an index, with the real database and vectors made by formula."""

import contextlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from coala_jax.embedding import index_checksums, index_store
from coala_jax.embedding.index_store import Store, schema, vector_array, vectors_of
from tests.damage import flipped, truncated

ROWS, SIZE = 600, 16
SCHEMA = schema({"embedding": SIZE})


def table(ids, vectors) -> pa.Table:
    columns = {field.name: pa.nulls(len(ids), field.type) for field in SCHEMA}
    columns |= {"id": pa.array(ids), "path": pa.array([f"{row}.wav" for row in ids])}
    columns |= {"seconds": pa.array(np.arange(len(ids)) / 10)}
    columns |= {name: pa.array([7] * len(ids)) for name in ("size_bytes", "modified_ns")}
    columns |= {"embedding": vector_array(vectors)}
    return pa.Table.from_pydict(columns, schema=SCHEMA)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Around some twenty directions, as real ones are."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(20, SIZE))
    found = directions[rng.integers(20, size=ROWS)] + 0.3 * rng.normal(size=(ROWS, SIZE))
    return found.astype(np.float32)


@pytest.fixture
def store(tmp_path, vectors) -> Store:
    return Store.create(tmp_path, "t", SCHEMA, table(range(ROWS), vectors).to_batches())


def nearest(vectors, query, rows):
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units[rows] @ (query / np.linalg.norm(query))
    order = np.argsort(-cosines, kind="stable")
    return np.array(rows)[order], cosines[order]


def test_every_row_is_compared_without_a_vector_index(store, vectors):
    query = vectors[3] + 0.1
    for where, rows in ((None, range(ROWS)), ("seconds >= 20 AND seconds < 30", range(200, 300))):
        ids, cosines = store.nearest("embedding", query, 50, where)
        wanted_ids, wanted = nearest(vectors, query, list(rows))
        np.testing.assert_array_equal(ids, wanted_ids[:50])
        np.testing.assert_allclose(cosines, wanted[:50], atol=1e-5)


def test_beyond_some_size_a_vector_index_finds_most_and_new_rows_too(store, vectors, monkeypatch):
    store.make_fast(["embedding"])
    assert not list(store._table.list_indices())
    monkeypatch.setattr(index_store, "EXACT_SOUNDS", ROWS - 1)
    store.make_fast(["embedding"])
    assert [one.columns for one in store._table.list_indices()] == [["embedding"]]
    store.add(table([ROWS], -vectors[:1]))  # after the index was made
    assert store.nearest("embedding", -vectors[0], 1)[0].tolist() == [ROWS]
    found = [set(store.nearest("embedding", vectors[row], 10)[0].tolist()) for row in range(40)]
    exact = [
        store.nearest("embedding", vectors[row], 10, exact=True)[0].tolist() for row in range(40)
    ]
    assert exact == [
        nearest(vectors, vectors[row], list(range(ROWS)))[0][:10].tolist() for row in range(40)
    ]
    recall = np.mean([len(some & set(all_)) / 10 for some, all_ in zip(found, exact, strict=True)])
    assert recall > 0.9
    store.delete([3])
    assert 3 not in store.nearest("embedding", vectors[3], 10)[0]
    store.make_fast(["embedding"])
    assert store.nearest("embedding", -vectors[0], 1)[0].tolist() == [ROWS]


def test_rows_come_in_the_order_of_the_ids_that_ask(store, vectors, monkeypatch):
    monkeypatch.setattr(index_store, "_IDS_AT_ONCE", 2)
    rows = store.take([5, 599, 0, 12_345], ["path", "embedding"])
    assert rows["path"].to_pylist() == ["5.wav", "599.wav", "0.wav"]
    np.testing.assert_array_equal(vectors_of(rows, "embedding"), vectors[[5, 599, 0]])
    assert store.take([], ["path"]).num_rows == 0
    store.delete([5, 0, 599])
    assert len(store) == ROWS - 3


def test_the_later_of_two_rows_of_a_path_counts(store, vectors):
    again = table([700, 701], vectors[:2])
    paths = pa.array(["5.wav", "5.wav"])
    store.add(again.set_column(1, SCHEMA.field("path"), paths))
    files, replaced = store.files()
    assert (files["5.wav"].id, sorted(replaced), len(files)) == (701, [5, 700], ROWS)


def test_a_vector_of_zeros_is_near_to_nothing(store):
    store.add(table([700], np.zeros((1, SIZE), np.float32)))
    ids, _ = store.nearest("embedding", np.ones(SIZE), 1000)
    assert len(ids) == ROWS and 700 not in ids


def test_a_damaged_file_of_the_database_is_a_sentence_that_names_the_index(store, tmp_path):
    """LanceDB raises errors of many classes, which name its own source files, or panics.

    Of an index of before there were checksums.
    """
    index_checksums.file_of(tmp_path, "t").unlink()
    (data,) = tmp_path.glob("t.lance/data/*.lance")
    (manifest,) = tmp_path.glob("t.lance/_versions/*.manifest")
    for file in (data, manifest):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r"may be damaged.*Fix") as error:
            list(Store(tmp_path, "t").scan(["embedding", "path"]))
        assert str(tmp_path) in str(error.value)
        file.write_bytes(whole)
    assert sum(rows.num_rows for rows in Store(tmp_path, "t").scan(["path"])) == ROWS


def content(folder: Path) -> dict[int, tuple]:
    """The rows as they are read, by id, and what is near to one of them."""
    store = Store(folder, "t")
    rows = store.take(range(ROWS + 1), SCHEMA.names)
    vectors = vectors_of(rows, "embedding")
    near = [found.tobytes() for found in store.nearest("embedding", vectors[5], 9)]
    return {-1: near} | {row["id"]: tuple(map(repr, row.values())) for row in rows.to_pylist()}


def test_no_damage_to_any_file_of_the_table_is_believed(store, vectors, tmp_path, monkeypatch):
    """With all kinds of files: of two versions, with deleted rows, and a vector index."""
    monkeypatch.setattr(index_store, "EXACT_SOUNDS", ROWS - 9)
    store.add(table([ROWS], vectors[:1]))
    store.delete([7])
    store.make_fast(["embedding"])
    whole, root = content(tmp_path), tmp_path / "t.lance"
    checked = index_checksums.read(tmp_path, "t").files
    assert {name.split("/")[0] for name in checked} == {
        *("data", "_versions", "_deletions", "_indices")
    }
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name, size = path.relative_to(root).as_posix(), path.stat().st_size
        for damages, places in ((flipped, [0, 4 * size, 8 * size - 1]), (truncated, [size - 1])):
            for _ in damages(path, places):
                if name in checked:
                    with pytest.raises(ValueError, match=r"not as it was written.*Fix") as error:
                        Store(tmp_path, "t")
                    assert str(path) in str(error.value)
                elif damages is truncated:  # as it may also be gone
                    assert content(tmp_path) == whole
    for name in checked:
        (root / name).rename(tmp_path / "away")
        with contextlib.suppress(ValueError):
            assert content(tmp_path) == whole
        (tmp_path / "away").rename(root / name)
    sums = index_checksums.file_of(tmp_path, "t")
    for _ in flipped(sums, range(0, 8 * sums.stat().st_size, 509)):
        with pytest.raises(ValueError, match=r"t\.files\.json: "):
            Store(tmp_path, "t")
    assert content(tmp_path) == whole


def test_a_kill_before_the_checksums_undoes_the_change(store, vectors, tmp_path, monkeypatch):
    whole = content(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index_checksums, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add(table([ROWS], vectors[:1]))
    assert content(tmp_path) == whole
    again = Store(tmp_path, "t", writes=True)
    again.add(table([ROWS], -vectors[:1]))
    assert len(again) == len(Store(tmp_path, "t")) == ROWS + 1
    assert again.nearest("embedding", -vectors[0], 1)[0].tolist() == [ROWS]


def test_what_a_cleaning_up_deletes_is_missed_by_nobody(store, vectors, tmp_path):
    """Even where it is killed before the checksums are written."""
    store.add(table([ROWS], vectors[:1]))
    store.delete([7])
    store._table.optimize(cleanup_older_than=timedelta(days=9))
    store._write_checksums()
    whole = content(tmp_path)
    store._table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)
    assert len(list(tmp_path.glob("t.lance/_versions/*.manifest"))) == 1
    assert content(tmp_path) == whole


def test_an_index_of_before_there_were_checksums_gets_them(store, vectors, tmp_path):
    index_checksums.file_of(tmp_path, "t").unlink()
    old = Store(tmp_path, "t")
    assert len(old) == ROWS and not old.has_checksums
    assert Store(tmp_path, "t", writes=True).has_checksums
    assert Store(tmp_path, "t").has_checksums
