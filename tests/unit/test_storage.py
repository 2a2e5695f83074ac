import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from coala_jax import storage
from tests.damage import flipped, truncated


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    storage.write_text(tmp_path / "a.txt", "one")
    storage.write_text(str(tmp_path / "a.txt"), "zwei ü")
    assert (tmp_path / "a.txt").read_bytes() == "zwei ü".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failing", ["replace", "write_bytes"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing):
    storage.write_text(tmp_path / "a.txt", "old")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(type(epath.Path(tmp_path)), failing, fail)
    with pytest.raises(OSError, match="No space"):
        storage.write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("size", [40, 4_000, 4_000_000])
def test_a_full_disk_is_a_sentence_with_what_is_needed_and_where(tmp_path, monkeypatch, size):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(epath.Path(tmp_path)), "write_bytes", no_space)
    needed = {40: "40 bytes", 4_000: "4.0 kB", 4_000_000: "4.0 MB"}[size]
    with pytest.raises(OSError) as error:
        storage.write_bytes(tmp_path / "a", b"x" * size)
    sentence = (
        rf"{tmp_path / 'a'}: no space left .* takes {needed}, and [\d.]+ .?B are free\. Fix: "
    )
    assert re.match(sentence, str(error.value))


def test_what_killed_writers_left_is_swept_and_no_other_file(tmp_path):
    for name in ("a.txt", "a.tmp", "a.txt.01abcdef.tmp"):
        (tmp_path / name).touch()
    storage.sweep_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tmp", "a.txt"]


def test_a_folder_that_was_moved_away_gets_its_name_back(tmp_path):
    (tmp_path / "model.old").mkdir()
    storage.recover_folder(tmp_path / "model")
    (tmp_path / "model.old").mkdir()
    storage.recover_folder(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: seen.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    storage.write_bytes(tmp_path / "a", b"x")
    assert seen[0].endswith(".tmp") and seen[1] == str(tmp_path)


def test_json_is_readable_and_strict(tmp_path):
    storage.write_json(tmp_path / "a.json", {"ü": [1, 2.5]})
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert storage.read_json(tmp_path / "a.json") == {"ü": [1, 2.5]}
    with pytest.raises(ValueError):
        storage.write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()
    for damaged in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.json"):
            storage.read_json(tmp_path / "a.json")


def test_digests_are_those_of_sha256sum_and_do_not_depend_on_the_order_of_keys(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert storage.sha256(b"abc") == storage.file_sha256(tmp_path / "a") == known
    assert storage.fingerprint({"a": 1, "b": 2}) == storage.fingerprint({"b": 2, "a": 1})
    assert storage.fingerprint({"a": 1}) != storage.fingerprint({"a": 2})


def test_arrays_come_back_and_damage_is_found(tmp_path, caplog):
    arrays = {"x": np.arange(500, dtype=np.float32), "names": np.array(["a", "bc"])}
    file = tmp_path / "cache" / "a.npz"
    assert storage.read_arrays(file) is None
    storage.write_arrays(file, arrays)
    found = storage.read_arrays(file)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], value) for name, value in arrays.items())
    size = file.stat().st_size
    # In the entries behind the arrays a flipped bit may hide an array, or tell of a password.
    for bit in [*range(0, 8 * size, 101), *range(8 * (size - 200), 8 * size)]:
        for _ in flipped(file, [bit]):
            assert storage.read_arrays(file) is None, bit
    assert str(file) in caplog.text
    for _ in truncated(file, [0, 31, 32, size - 1]):
        assert storage.read_arrays(file) is None
    assert storage.read_arrays(file) is not None


def test_a_pickle_in_the_cache_is_not_run(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([object()]))
    assert storage.read_arrays(tmp_path / "a.npz") is None


def test_a_folder_is_replaced_and_an_old_one_swept(tmp_path):
    for name in ("model", "model.old", "model.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    storage.replace_folder(tmp_path / "model.tmp", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "content").read_text() == "model.tmp"


def test_remote_names_are_told_from_local_ones():
    assert storage.is_local("/a/b") and storage.is_local("a://b") is False
    assert os.fspath(storage.path("gs://bucket/a") / "b") == "gs://bucket/a/b"


def test_every_damage_of_a_record_is_found(tmp_path):
    content = {"kind": "training", "score": 0.25, "tags": ["é"]}
    for escaped in (False, True):
        file = tmp_path / f"{escaped}.json"
        storage.write_record(file, content, escaped=escaped)
        assert storage.read_json(file) == content
        size = file.stat().st_size
        for change, places in ((flipped, range(8 * size)), (truncated, range(size - 1))):
            for place in change(file, places):
                with pytest.raises(ValueError, match=r"\.json: "):
                    storage.read_json(file)
                    pytest.fail(f"{change.__name__} at {place} was not seen")
    storage.write_json(tmp_path / "plain.json", content)  # of before there were seals
    assert storage.read_json(tmp_path / "plain.json") == content


def test_every_damage_of_a_line_is_found_and_names_the_line(tmp_path):
    file, entries = tmp_path / "lines.jsonl", [{"kind": "train", "loss": 0.5}, {"kind": "é"}]
    first, second = map(storage.json_line, entries)
    file.write_text(first + second)
    assert storage.read_json_lines(file, "kind") == entries
    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()] == ["train", "é"]
    for _ in flipped(file, range(8 * (len(first) - 1))):
        with pytest.raises(ValueError, match=r"lines\.jsonl, line 1: .*Fix: "):
            storage.read_json_lines(file, "kind")
    file.write_text(first + second[:-1])
    assert storage.read_json_lines(file, "kind") == entries[:1]  # is being written
    file.write_text(json.dumps(entries[0]) + "\n" + second)  # of before there were checksums
    assert storage.read_json_lines(file, "kind") == entries
