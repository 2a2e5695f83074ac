import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest

from coala_jax.embedding import table
from coala_jax.embedding.table import FORMATS, TableWriter


def rows(path: str, count: int = 1, latent: int = 3) -> np.ndarray:
    """Values that say whose they are; of all magnitudes, so that CSV must write all digits."""
    rng = np.random.default_rng(list(path.encode()))
    return (rng.normal(size=(count, latent)) * 10.0 ** rng.integers(-9, 9)).astype(np.float32)


def add(writer: TableWriter, path: str, count: int = 1, state=(1, 2)) -> None:
    writer.write(path, state, rows(path, count), np.arange(count) / 2)
    writer.end()


def read(out) -> dict[str, list]:
    """What a user reads, as plain columns."""
    if out.suffix == ".parquet":
        found = pq.read_table(out).to_pydict()
        return found | {"vector": [list(map(np.float32, row)) for row in found["vector"]]}
    if out.suffix == ".npz":
        with np.load(out) as arrays:
            columns = {name: arrays[name].tolist() for name in arrays.files if name != "vectors"}
            return columns | {"vector": [list(row) for row in arrays["vectors"]]}
    header, *lines = (line.replace('"', "").split(",") for line in out.read_text().splitlines())
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    vectors = zip(*(columns.pop(f"v{place}") for place in range(3)), strict=True)
    plain = {name: list(map(float, columns[name])) for name in ("seconds", "size_bytes")}
    return {
        "path": list(columns["path"]),
        **plain,
        "vector": [list(map(np.float32, v)) for v in vectors],
    }


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_come_back_in_order_of_paths_and_are_found_by_the_next_run(tmp_path, suffix):
    out = tmp_path / f"vectors{suffix}"
    writer = TableWriter(out, "model", 3)
    for path in ("b.wav", "a/1.wav", "\u00e9.wav"):
        add(writer, path)
    states = dict.fromkeys(("b.wav", "a/1.wav", "\u00e9.wav"), (1, 2))
    assert writer.finish(states) == 3
    assert sorted(tmp_path.iterdir()) == [out]
    found = read(out)
    assert found["path"] == ["a/1.wav", "b.wav", "\u00e9.wav"]
    assert found["size_bytes"] == [1, 1, 1] and found["seconds"] == [0, 0, 0]
    for path, vector in zip(found["path"], found["vector"], strict=True):
        assert vector == rows(path)[0].tolist()
    again = TableWriter(out, "model", 3)
    assert again.done == states
    before = out.read_bytes()
    assert again.finish(states) == 3
    if suffix != ".npz":  # whose zip holds the time
        assert out.read_bytes() == before
    assert read(out) == found
    # Another model's rows are not taken for its own.
    assert TableWriter(out, "other", 3).done == {}


def test_what_changed_or_is_gone_leaves_the_table(tmp_path):
    out = tmp_path / "vectors.parquet"
    writer = TableWriter(out, "model", 3)
    for path in ("a.wav", "b.wav", "c.wav"):
        add(writer, path)
    writer.finish(dict.fromkeys(("a.wav", "b.wav", "c.wav"), (1, 2)))
    writer = TableWriter(out, "model", 3)
    add(writer, "b.wav", state=(5, 6))
    assert writer.finish({"a.wav": (1, 2), "b.wav": (5, 6)}) == 2
    assert read(out)["path"] == ["a.wav", "b.wav"]
    assert TableWriter(out, "model", 3).done == {"a.wav": (1, 2), "b.wav": (5, 6)}


def test_a_kill_costs_no_more_than_the_part_that_was_being_made(tmp_path):
    out = tmp_path / "vectors.parquet"
    writer = TableWriter(out, "model", 3)
    add(writer, "a.wav")
    writer.save()
    add(writer, "b.wav")  # and then the process is gone
    left = out.with_name("vectors.parquet.work") / "000001.tmp"
    left.write_bytes(b"half a part")
    writer = TableWriter(out, "model", 3)
    assert writer.done == {"a.wav": (1, 2)} and not out.exists()
    add(writer, "b.wav")
    assert writer.finish(dict.fromkeys(("a.wav", "b.wav"), (1, 2))) == 2
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("group", [2, 1000])
def test_a_sound_that_fails_leaves_no_rows_however_many_it_had(tmp_path, monkeypatch, group):
    monkeypatch.setattr(table, "_GROUP_ROWS", group)
    out = tmp_path / "vectors.parquet"
    writer = TableWriter(out, "model", 3, timed=True)
    names = ["a.wav", "bad.wav", "c.wav"]
    for name, _ in itertools.product(names, range(3)):
        writer.write(name, (1, 2), rows(name, 2), np.arange(2) / 2)
        if _ == 2:
            writer.fail() if name == "bad.wav" else writer.end()
    assert writer.finish(dict.fromkeys(names, (1, 2))) == 12
    found = read(out)
    assert found["path"] == ["a.wav"] * 6 + ["c.wav"] * 6
    assert found["time"] == [0, 0.5] * 6


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.parquet", b"PAR1 no more"),
        ("v.csv", b"path,seconds\na.wav,1\n"),
        ("v.npz", b"PK"),
        ("v.txt", None),
    ],
)
def test_what_is_no_such_table_is_refused_by_name(tmp_path, name, content):
    out = tmp_path / name
    if content is not None:
        out.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        TableWriter(out, "model", 3)
