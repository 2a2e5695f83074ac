"""The benchmark of search: its mixtures, its recall, and a run at a small size."""

import json

import numpy as np
import pytest

from benchmarks import search
from coala_jax.embedding import index_store
from coala_jax.embedding.index_scale import identity
from coala_jax.embedding.index_settings import Settings, write_scale
from coala_jax.embedding.index_store import Store, schema, vector_array
from tests.unit.embedding.test_index_store import table


def test_mixtures_lie_between_the_rows_and_noise_is_a_tenth():
    real = {"embedding": np.eye(8, dtype=np.float32), "votes": np.eye(8, dtype=np.float32)}
    mixed = search.mix(real, 500, np.random.default_rng(0))
    np.testing.assert_allclose(mixed["votes"].sum(axis=1), 1, rtol=1e-6)
    assert mixed["votes"].min() >= 0 and (mixed["votes"] > 0).sum(axis=1).max() <= 4
    noise = mixed["embedding"] - mixed["votes"]
    spread = real["embedding"].std()
    assert noise.std() == pytest.approx(0.1 * spread, rel=0.05)


def test_recall_is_the_share_that_is_found():
    exact = [np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])]
    assert search.recall([np.array([1, 2, 3, 4]), np.array([9, 8, 1, 2])], exact) == 0.625


def test_it_runs_and_gives_its_figures(tmp_path, capsys):
    rng, of = np.random.default_rng(0), schema({"votes": 3, "embedding": 16})
    rows = table(range(40), rng.normal(size=(40, 16)).astype(np.float32))
    rows = rows.append_column(of.field("votes"), vector_array(rng.random((40, 3))))
    Store.create(tmp_path / "index", "sounds-0", of, rows.select(of.names).cast(of).to_batches())
    write_scale(tmp_path / "index", "sounds-0", *identity(16))
    places = str(tmp_path), "model", "0" * 64, "ae_c", "mean", "vote"
    Settings(*places, ("a", "b", "c"), "paper").write(tmp_path / "index")
    limit = index_store.EXACT_SOUNDS
    flags = [f"--index={tmp_path / 'index'}", "--sounds", "600", "--questions=5", "--probes", "9"]
    assert search.main([*flags, f"--out={tmp_path}", f"--work={tmp_path}"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    (size,) = record["sizes"]
    assert record["values"] == {"embedding": 16, "votes": 3} and size["sounds"] == 600
    assert size["vector_index"][0]["recall"] > 0.8
    assert size["in_memory_recall"] == 1 and size["in_memory_s"] > 0
    assert min(size["exact_s"], size["tags_s"], size["make_vector_index_s"]) > 0
    assert limit == index_store.EXACT_SOUNDS
