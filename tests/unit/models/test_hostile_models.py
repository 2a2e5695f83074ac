"""Model folders as a stranger might send them: each is refused by a sentence, and at once.

Each is a valid folder with one thing wrong, sealed with the digests that are right for it.
"""

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from coala_jax import storage
from coala_jax.models.pretrained import BANK, DESCRIPTION, WEIGHTS, ModelError, PretrainedModel
from tests.synthetic import tiny_model
from tests.unit.models.test_bank import random_bank

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid") / "model"
    tiny_model("e_c", bank=random_bank()).save_pretrained(folder)
    PretrainedModel.load(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reseal(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edits the description, and gives it the digests of itself and of both files."""
    description = json.loads((folder / DESCRIPTION).read_text())
    for name, file in (("variables", WEIGHTS), ("bank", BANK)):
        description[name]["sha256"] = storage.file_sha256(folder / file)
    edit(description)
    description.pop("digest")
    # As `storage.seal`, which refuses NaN.
    text = json.dumps({"digest": "0" * 64} | description)
    digest = storage.sha256(text.encode())
    (folder / DESCRIPTION).write_text(text.replace("0" * 64, digest, 1))


def put(path: str, value: object) -> Damage:
    """Puts a value into the description, at a dotted path."""

    def edit(description: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for parent in parents:
            description = description[parent]
        description[key] = value

    return lambda folder: reseal(folder, edit)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def arrays(file: str, **changes: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Changes arrays of a file; the first whose name ends as given."""

    def damage(folder: Path) -> None:
        found = safetensors.numpy.load((folder / file).read_bytes())
        for ending, change in changes.items():
            name = next(name for name in sorted(found) if name.endswith(ending))
            found[name] = change(found[name])
        (folder / file).write_bytes(safetensors.numpy.save(found))
        reseal(folder, lambda description: None)

    return damage


def one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """An array whose first value is another."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[0] = value
        return array

    return change


def header(file: str, edit: Callable[[dict[str, Any]], Any]) -> Damage:
    """Edits the JSON of a safetensors file; the data stay."""

    def damage(folder: Path) -> None:
        content = (folder / file).read_bytes()
        length = int.from_bytes(content[:8], "little")
        entries = json.loads(content[8 : 8 + length])
        text = json.dumps(edit(entries) or entries).encode()
        (folder / file).write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
        reseal(folder, lambda description: None)

    return damage


def content(file: str, make: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes(make((folder / file).read_bytes()))
        if file != DESCRIPTION:
            reseal(folder, lambda description: None)

    return damage


def sparse(file: str, size: int) -> Damage:
    """A file of any size, which takes no room on the disk."""

    def damage(folder: Path) -> None:
        with (folder / file).open("r+b") as opened:
            opened.truncate(size)

    return damage


def shape_of(name: str, shape: list) -> Callable[[dict[str, Any]], None]:
    def edit(entries: dict[str, Any]) -> None:
        entries[name]["shape"] = shape

    return edit


WINDOW = "front_end.window_samples"
# What is done to the folder, and what the message says.
HOSTILE: dict[str, tuple[Damage, str]] = {
    "filters-huge": (put("config.model.filters", 10**9), "filters"),
    "filters-text": (put("config.model.filters", "128"), "filters"),
    "filters-true": (put("config.model.filters", True), "filters"),
    "filters-fraction": (put("config.model.filters", 2.5), "filters"),
    "filters-negative": (put("config.model.filters", -4), "filters"),
    "filters-list": (put("config.model.filters", [2]), "filters"),
    "hidden-huge": (put("config.model.tag_hidden", 2**40), "tag_hidden"),
    "dropout": (put("config.model.dropout_rate", 1.0), "dropout_rate"),
    "dropout-nan": (put("config.model.dropout_rate", float("nan")), "NaN"),
    "transform": (put("config.model.transform", "exec"), "transform"),
    "placement": (put("config.model.dropout_placement", 3), "dropout_placement"),
    "config-deep": (put("config.more", nested(500)), "within tables"),
    "config-list": (put("config", [1]), "config"),
    "case-list": (put("case", ["e_c"]), "case"),
    "cnn-with-bank": (put("case", "cnn"), "has none"),
    "processing-number": (put("tag_processing", 7), "tag_processing"),
    "digest-long": (put("dataset_digest", "5" * 10**6), "dataset_digest"),
    "rate-zero": (put("front_end.sample_rate_hz", 0), "sample_rate_hz"),
    "rate-huge": (put("front_end.sample_rate_hz", 10**12), "sample_rate_hz"),
    "window-huge": (put(WINDOW, 2**31), "window_samples"),
    "window-odd": (put(WINDOW, 1023), "window_samples"),
    "window-text": (put(WINDOW, "1024"), "window_samples"),
    "hop-zero": (put("front_end.hop_samples", 0), "hop_samples"),
    "mels-huge": (put("front_end.mel_bands", 10**8), "mel_bands"),
    "frames": (put("front_end.patch_frames", 10**8), "patch_frames"),
    "step-zero": (put("front_end.patch_step_frames", 0), "patch_step_frames"),
    "clip-endless": (put("front_end.clip_seconds", 1e12), "clip_seconds"),
    "noise": (put("front_end.noise", -1.0), "noise"),
    "offset-zero": (put("front_end.log_offset", 0), "log_offset"),
    "window-unknown": (put("front_end.window", "../hann"), "window"),
    "precision": (put("front_end.precision", "float8"), "precision"),
    "front-end-list": (put("front_end", [1, 2]), "front_end"),
    "scaler-infinite": (put("scaler.maximum", 1e999), "Infinity"),
    "scaler-reversed": (put("scaler.maximum", -20.0), "range"),
    "scaler-equal": (put("scaler.maximum", -15.0), "range"),
    "scaler-text": (put("scaler.minimum", "-15"), "minimum"),
    "scaler-frames": (put("scaler", {"minimum": [0.0] * 9, "maximum": [1.0] * 9}), "9 frames"),
    "scaler-uneven": (put("scaler", {"minimum": [0.0], "maximum": 1.0}), "scaler"),
    "clip-above": (put("scaler.clip_above", "no"), "clip_above"),
    "tags-numbers": (put("vocabulary", [1, 2, 3, 4, 5, 6]), "tag"),
    "tags-twice": (put("vocabulary", ["a", "b", "c", "d", "e", "a"]), "twice"),
    "tags-long": (put("vocabulary", ["a" * 10**6, *"bcdef"]), "tag"),
    "tags-empty": (put("vocabulary", ["", *"bcdef"]), "tag"),
    "tags-surrogate": (put("vocabulary", ["\ud800", *"bcdef"]), "surrogate"),
    "tags-none": (put("vocabulary", []), "vocabulary"),
    "tags-many": (put("vocabulary", [str(n) for n in range(100_001)]), "vocabulary"),
    "counts-text": (put("tag_counts", list("123456")), "count"),
    "counts-negative": (put("tag_counts", [-1, 1, 1, 1, 1, 1]), "count"),
    "level-list": (put("level", nested(900)), "level"),
    "dtypes-list": (put("variables.dtypes", [1]), "dtypes"),
    "dtypes-object": (put("variables.dtypes", {"a": "object"}), "object"),
    "sha-number": (put("variables.sha256", 5), "sha256"),
    "temperature": (put("bank.temperature", 0), "temperature"),
    "temperature-text": (put("bank.temperature", "0.1"), "temperature"),
    "best": (put("bank.best_for_search", "rm"), "best_for_search"),
    "json-deep": (content(DESCRIPTION, lambda _: b"[" * 10**6), DESCRIPTION),
    "json-number": (content(DESCRIPTION, lambda _: b"9" * 10**6), DESCRIPTION),
    "json-huge": (sparse(DESCRIPTION, 2**33), "MB"),
    "digest-empty": (content(DESCRIPTION, lambda _: b'{"format":3,"digest":""}'), "digest"),
    "weights-huge": (sparse(WEIGHTS, 2**40), "GB"),
    "weights-longer": (content(WEIGHTS, lambda data: data + b"\0" * 9), "bytes"),
    "weights-empty": (content(WEIGHTS, lambda data: b""), WEIGHTS),
    "weights-pickle": (content(WEIGHTS, lambda data: b"\x80\x04cos\nsystem\n"), WEIGHTS),
    "header-huge": (content(WEIGHTS, lambda data: b"\xff" * 8 + data[8:]), "header"),
    "header-deep": (content(WEIGHTS, lambda _: struct.pack("<Q", 9000) + b"[" * 9000), WEIGHTS),
    "shape-huge": (header(BANK, shape_of("vectors", [2**39, 2**39, 2**39])), "bytes"),
    "shape-negative": (header(BANK, shape_of("vectors", [-40, -18])), "shape"),
    "offsets": (
        header(BANK, lambda entries: entries["tags"].update(data_offsets=[0, 4])),
        BANK,
    ),
    "header-list": (header(WEIGHTS, lambda entries: [1, 2]), WEIGHTS),
    "weight-nan": (arrays(WEIGHTS, kernel=one(np.nan)), "kernel"),
    "weight-infinite": (arrays(WEIGHTS, bias=one(-np.inf)), "not finite"),
    "variance": (arrays(WEIGHTS, var=one(-1.0)), "variance"),
    "bank-infinite": (arrays(BANK, vectors=one(np.inf)), "not finite"),
    "bank-long": (arrays(BANK, vectors=lambda a: a * np.float16(100)), "length 1"),
    "bank-shares": (arrays(BANK, shares=one(7.0)), "shares"),
    "bank-shares-nan": (arrays(BANK, shares=one(np.nan)), "not finite"),
    "bank-tags": (arrays(BANK, tags=one(10**6)), "tags|ind"),
    "bank-tags-negative": (arrays(BANK, tags=one(-1)), "tags|ind"),
    "bank-twice": (arrays(BANK, tags=lambda a: a * 0), "one for an entry and tag"),
    "bank-ends": (arrays(BANK, tag_ends=lambda a: a[::-1].copy()), "ind"),
    "bank-sounds": (arrays(BANK, sounds=one(0)), "at least one sound"),
    "bank-floats": (arrays(BANK, sounds=lambda a: a.astype(np.float32)), "sounds"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_refused_at_once_by_a_sentence(
    valid: dict[str, bytes], tmp_path: Path, case: str
) -> None:
    folder, (damage, token) = tmp_path / "model", HOSTILE[case]
    folder.mkdir()
    for name, data in valid.items():
        (folder / name).write_bytes(data)
    damage(folder)
    began = time.process_time()
    with pytest.raises(ModelError, match=token) as error:
        PretrainedModel.load(folder)
    assert time.process_time() - began < 1
    message = str(error.value)
    assert str(folder) in message and "Fix: " in message
    assert len(message) < 1_000 and "\n" not in message


def test_nothing_is_allocated_for_what_a_description_claims(
    valid: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in valid.items():
        (tmp_path / name).write_bytes(data)
    put("config.model.filters", 1_024)(tmp_path)
    put("config.model.tag_hidden", 2**16)(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"float32\[1024\]"):
            PretrainedModel.load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
