import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from coala_jax.data.schema import MANIFEST, Manifest, digest_side_files
from coala_jax.data.tfrecord import DatasetError
from tests.damage import flipped, truncated

ENTRY = {"file": "coala-train.x", "records": 3, "bytes": 9, "crc32c": 5, "sha256": "0" * 64}
WHOLE = Manifest(
    name="corpus é",
    fingerprint="0" * 64,  # looks like the place of the digest, and is not
    settings={"level": "recorded", "resampler": "soxr HQ", "scaling": "global", "a": [1, None]},
    front_end={"hop_samples": 512},
    scaler={"minimum": [0.1 + 0.2, -1e300], "clip_above": True},
    tag_processing="paper",
    vocabulary=["cat", "Δ"],
    tag_counts=[2, 1],
    counts={"train": 3, "validation": 0},
    shards={"train": [ENTRY], "validation": []},
    side_files={"features.json": "1" * 64},
    preparation={"sounds": {"listed": 4, "kept": 3}},
)


@pytest.fixture
def dataset(tmp_path):
    WHOLE.save(tmp_path)
    return tmp_path


def test_what_is_saved_is_loaded(dataset):
    assert Manifest.load(dataset) == WHOLE
    assert [path.name for path in dataset.iterdir()] == [MANIFEST]
    content = (dataset / MANIFEST).read_bytes()
    for odd in (float("nan"), float("inf")):  # which are no JSON
        with pytest.raises(ValueError):
            dataclasses.replace(WHOLE, scaler={"minimum": odd}).save(dataset)
    WHOLE.save(dataset)  # over the one that is there
    assert (dataset / MANIFEST).read_bytes() == content
    # The digest is that of the file with zeros in its place.
    found = re.search(rb'"digest": "([0-9a-f]{64})"', content)
    zeroed = content[: found.start(1)] + b"0" * 64 + content[found.end(1) :]
    assert hashlib.sha256(zeroed).hexdigest() == found[1].decode()
    assert json.loads(content)["format"] == 4


def test_every_flipped_bit_and_truncation_is_found(dataset):
    path = dataset / MANIFEST
    size = path.stat().st_size
    for damage, places in ((flipped, range(0, 8 * size, 3)), (truncated, range(size))):
        for _ in damage(path, places):
            with pytest.raises(DatasetError, match=MANIFEST):
                Manifest.load(dataset)
        assert Manifest.load(dataset) == WHOLE


def edited(**changes):
    """A manifest that a program with other ideas wrote: its digest is right."""

    def make(dataset: Path) -> None:
        content = json.loads((dataset / MANIFEST).read_text()) | changes
        content = {k: v for k, v in content.items() if v != "gone"} | {"digest": "0" * 64}
        text = json.dumps(content)
        digest = hashlib.sha256(text.encode()).hexdigest()
        text = text.replace(f'"digest": "{"0" * 64}"', f'"digest": "{digest}"')
        (dataset / MANIFEST).write_text(text)

    return make


def renamed(file: str) -> dict:
    return {"shards": {"train": [ENTRY | {"file": file}], "validation": []}}


def written(content: str):
    return lambda dataset: (dataset / MANIFEST).write_text(content)


def respaced(dataset: Path) -> None:
    """The same content in other white space: equal in every field, and not what was written."""
    content = json.loads((dataset / MANIFEST).read_text())
    (dataset / MANIFEST).write_text(json.dumps(content, indent=3))


UNSAFE = ("../x", "..", "/etc/x", "", MANIFEST)
# What is done to the folder of a dataset, and what is named.
INVALID = {
    "none": (lambda d: (d / MANIFEST).unlink(), ""),
    "no JSON": (written("{"), MANIFEST),
    "list": (written("[]"), MANIFEST),
    "nested": (written("[" * 10**6), MANIFEST),
    "no format": (written("{}"), "format"),
    "no digest": (written('{"format": 4}'), "digest"),
    # Named before the digest, which another format may compute in another way.
    "format 3": (written('{"format": 3}'), "format 3"),
    "format 99": (written('{"format": "99"}'), "format '99'"),
    "white space": (respaced, "digest"),
    "key missing": (edited(scaler="gone"), "scaler"),
    "record missing": (edited(preparation="gone"), "preparation"),
    "key unknown": (edited(colour=1), "colour"),
    "settings": (edited(settings={"seed": 0}), "resampler"),
    "splits": (edited(counts={"train": 1}), "splits"),
    "entry": (edited(shards={"train": [{"file": "x"}], "validation": []}), "file"),
    "twice": (edited(shards={"train": [ENTRY], "validation": [ENTRY]}), "shard"),
    "side file": (edited(side_files={"a/b": "0"}), "'a/b'"),
    **{
        file: (edited(**renamed(file)), repr(file))
        for file in ("../x", "..", "/etc/x", "", MANIFEST)
    },
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_manifest_is_refused_with_the_cause(dataset, name):
    make, token = INVALID[name]
    edited()(dataset)
    assert Manifest.load(dataset) == WHOLE  # so that what follows shows what it should
    make(dataset)
    with pytest.raises(DatasetError) as error:
        Manifest.load(dataset)
    assert str(dataset) in str(error.value) and token in str(error.value)


def test_side_files_are_on_the_disk_before_their_digests_count(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: (synced.append(os.fstat(f).st_ino), fsync(f)))
    (tmp_path / "report.md").write_text("abc")
    assert digest_side_files(tmp_path) == {"report.md": hashlib.sha256(b"abc").hexdigest()}
    assert synced == [(tmp_path / "report.md").stat().st_ino]


def test_the_digest_is_of_what_is_learned_and_not_of_reports_beside_it():
    other = {"name": "x", "side_files": {}, "settings": {}, "fingerprint": "y", "preparation": {}}
    same = dataclasses.replace(WHOLE, **other)
    assert same.digest == WHOLE.digest
    shards = {split: [dict(e) for e in entries] for split, entries in WHOLE.shards.items()}
    shards["train"][0]["sha256"] = "1" * 64
    for change in (
        {"shards": shards},
        {"scaler": WHOLE.scaler | {"maximum": 99.0}},
        {"vocabulary": WHOLE.vocabulary[::-1]},
        {"front_end": WHOLE.front_end | {"power": 1.0}},
    ):
        assert dataclasses.replace(WHOLE, **change).digest != WHOLE.digest, change
