"""Vectors read from a file: whose each is, and files and clips that are errors."""

import hashlib
import re

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.embedding.table import TableWriter
from coala_jax.evaluation.comparison import EvaluationSettings, evaluate_task
from coala_jax.evaluation.features import extract
from coala_jax.evaluation.tasks import load_task
from coala_jax.evaluation.vector_table import load_vectors
from tests.tiny_task import LABELS, Deaf, write_task

VECTORS = np.array([[1, 0], [2, 0.5], [3, -1]], np.float32)


@pytest.fixture
def root(tmp_path):
    """Three clips, which are not sounds."""
    folder = tmp_path / "task"
    (folder / "audio").mkdir(parents=True)
    for place, file in enumerate(FILES):
        (folder / file).write_bytes(bytes(place + 1))
    return folder


FILES = ["audio/c.wav", "audio/a.wav", "audio/é.wav"]


def digests(root, files=FILES) -> list[str]:
    return [hashlib.sha256((root / file).read_bytes()).hexdigest() for file in files]


def embedded(root, out, files=FILES):
    """The table that `coala embed` leaves."""
    writer = TableWriter(out, "0" * 16, 2)
    states = {f: ((root / f).stat().st_size, (root / f).stat().st_mtime_ns) for f in files}
    for file, vector in zip(files, VECTORS, strict=False):
        writer.write(file, states[file], vector[None], np.array([1.0]))
        writer.end()
    writer.finish(states)
    return out


@pytest.mark.parametrize("name", ["table.parquet", "table.npz"])
def test_a_table_of_coala_embed_is_read_by_path(root, tmp_path, name):
    table = load_vectors(embedded(root, tmp_path / name), "peer")
    assert (table.name, table.key, table.sizes) == ("peer", "path", [2, 1, 3])
    found = extract(root, [FILES[2], FILES[0]], [table], "paper", tmp_path / "cache")
    assert found.failures == {}
    np.testing.assert_array_equal(found.vectors["peer"], VECTORS[[2, 0]])
    assert not (tmp_path / "cache").exists()


def test_a_digest_finds_a_clip_whatever_it_is_called(root, tmp_path):
    # The paths are wrong: where there are digests they do not count.
    np.savez(file := tmp_path / "d.npz", sha256=digests(root), path=FILES[::-1], vectors=VECTORS)
    (root / FILES[1]).rename(root / "moved.wav")
    table = load_vectors(file)
    found = extract(root, ["moved.wav", FILES[0]], [table], "paper", tmp_path)
    np.testing.assert_array_equal(found.vectors["d"], VECTORS[[1, 0]])
    assert table.digest == storage.file_sha256(file)


@pytest.mark.parametrize("key", ["path", "sha256"])
def test_the_first_clip_without_a_vector_is_named(root, tmp_path, key):
    keys = {"path": FILES, "sha256": digests(root)}[key][:1]
    np.savez(tmp_path / "d.npz", **{key: keys}, vectors=VECTORS[:1])
    table = load_vectors(tmp_path / "d.npz")
    with pytest.raises(ValueError, match=r"no vector of audio/a\.wav.* 1 other clips of 3"):
        extract(root, FILES, [table], "paper", tmp_path)


def test_a_clip_that_changed_since_is_an_error(root, tmp_path):
    table = load_vectors(embedded(root, tmp_path / "t.parquet"))
    (root / FILES[2]).write_bytes(bytes(9))
    with pytest.raises(ValueError, match=r"audio/é\.wav had another size"):
        extract(root, FILES, [table], "paper", tmp_path)


ROWS = {"path": ["a.wav", "b.wav"], "vectors": VECTORS[:2]}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        pytest.param({"vectors": VECTORS}, "no table of vectors", id="whose"),
        pytest.param({"path": ["a.wav"]}, "no table of vectors", id="vectors"),
        pytest.param(ROWS | {"path": ["a.wav"]}, r"1 rows, vectors \[2, 2\]", id="rows"),
        pytest.param(ROWS | {"vectors": np.ones(2)}, r"vectors \[2\]", id="axes"),
        pytest.param(ROWS | {"vectors": [["x"], ["y"]]}, "no table of vectors", id="text"),
        pytest.param(ROWS | {"path": ["b.wav"] * 2}, "more than one row of b.wav", id="twice"),
        pytest.param(ROWS | {"vectors": [[1.0], [np.nan]]}, "of b.wav is not finite", id="nan"),
        pytest.param(ROWS | {"path": np.array([{}, {}])}, "no table of vectors", id="pickle"),
    ],
)
def test_what_is_no_table_of_vectors(tmp_path, arrays, said):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=rf"t\.npz: .*{said}"):
        load_vectors(tmp_path / "t.npz")


def test_a_file_that_is_missing_damaged_or_of_another_kind(tmp_path):
    for name, content in (("t.npz", b"PK"), ("t.parquet", b"PAR1"), ("t.csv", b"path,v0\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(name)):
            load_vectors(tmp_path / name)
    with pytest.raises(ValueError, match="no such file"):
        load_vectors(tmp_path / "none.npz")


def test_it_stands_beside_what_hears_and_gets_the_same_classifiers(tmp_path):
    task = load_task(str(write_task(tmp_path / "levels", clips=36)))
    files = [clip.file for clip in task.clips]
    known = np.eye(len(LABELS), dtype=np.float32)[task.classes]
    np.savez(tmp_path / "known.npz", sha256=digests(task.root, files), vectors=known)
    table = load_vectors(tmp_path / "known.npz")
    settings = EvaluationSettings(heads=("logistic_regression",))
    result = evaluate_task(task, [Deaf(), table], settings, tmp_path / "work")
    scores = {outcome.model: outcome.mean for outcome in result.outcomes}
    assert scores["known"] == 1 > scores["deaf"]
