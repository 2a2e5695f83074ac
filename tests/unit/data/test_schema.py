import dataclasses
import json

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_generated_pb2

from coala_jax.data.schema import Example, parse_example, serializer, write_schema
from tests.synthetic import random_examples

VOCABULARY = ["cat", "dog", "cow"]
EXAMPLE = dataclasses.replace(
    random_examples(1, 3)[0],
    tags=np.array([0, 2]),
    frame=2**40,
    source="field recordings",
    group="take é",
)


def message(**changes) -> bytes:
    """The record of EXAMPLE as the format of the message has it, feature by feature."""
    features = {
        "patch": [EXAMPLE.patch.tobytes()],
        "tags": [0, 2],
        "id": ["sound-0-é.wav".encode()],
        "frame": [2**40],
        "source": [b"field recordings"],
        "group": ["take é".encode()],
    } | changes
    written = tf_example_generated_pb2.Example()
    for name, values in features.items():
        if values is not None:
            feature = written.features.feature[name]
            is_text = values and isinstance(values[0], bytes)
            (feature.bytes_list if is_text else feature.int64_list).value.extend(values)
    return written.SerializeToString()


def assert_same(got: Example, wanted: Example) -> None:
    assert (got.key, got.tags.tolist()) == (wanted.key, wanted.tags.tolist())
    assert (got.source, got.group) == (wanted.source, wanted.group)
    assert (got.patch.dtype, got.tags.dtype) == (np.float32, np.int64)
    assert got.patch.shape == (96, 96)
    assert got.patch.tobytes() == wanted.patch.tobytes()


def test_a_record_is_the_message_of_its_features():
    assert_same(parse_example(message()), EXAMPLE)
    parse = tf_example_generated_pb2.Example.FromString
    written = serializer(VOCABULARY)(EXAMPLE)
    assert parse(written) == parse(message())
    assert EXAMPLE.key == ("sound-0-é.wav", 2**40)


def test_equal_examples_are_equal_bytes_in_every_process():
    """The features lie in the order of their names; left alone, in any."""
    features = tf_example_generated_pb2.Example.FromString(message()).features
    ordered = b"".join(
        type(features)(feature={name: features.feature[name]}).SerializeToString()
        for name in ("frame", "group", "id", "patch", "source", "tags")
    )
    for _ in range(5):
        assert serializer(VOCABULARY)(EXAMPLE).endswith(ordered)


@pytest.mark.parametrize("tags", [[], [1], [2, 0]], ids=str)
def test_any_tags_come_back(tags):
    example = dataclasses.replace(EXAMPLE, tags=np.array(tags, np.int64))
    assert_same(parse_example(serializer(VOCABULARY)(example)), example)


@pytest.mark.parametrize(
    "changes",
    [
        *({"patch": [bytes(size)]} for size in (36_860, 36_865, 36_868)),
        *({"patch": []}, {"id": [b"a", b"b"]}, {"id": [b"\xff"]}, {"source": []}, {"more": [1]}),
        *({"frame": [1, 2]}, {"frame": [b"1"]}, {"source": None, "group": None}),  # format 2
    ],
    ids=lambda changes: str(changes)[:20],
)
def test_a_record_of_another_schema_is_refused(changes):
    with pytest.raises(ValueError):
        parse_example(message(**changes))


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, message()[:-1]], ids=["no", "other", "cut"])
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError):
        parse_example(data)


def patch_with(value: float) -> np.ndarray:
    patch = np.full((96, 96), 0.5, np.float32)
    patch[95, 0] = value
    return patch


def test_the_schema_says_what_tensorflow_datasets_wants_to_know(tmp_path):
    shards = {
        "train": [{"bytes": 100, "records": 3}, {"bytes": 50, "records": 1}],
        "validation": [],
    }
    write_schema(tmp_path, VOCABULARY, shards)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["fileFormat"] == "tfrecord"
    train, validation = info["splits"]
    assert (train["name"], train["numBytes"], train["shardLengths"]) == ("train", "150", ["3", "1"])
    assert (validation["numBytes"], validation["shardLengths"]) == ("0", [])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"dataset_info.json", "features.json", "tags.labels.txt"}
    features = json.loads((tmp_path / "features.json").read_text())["featuresDict"]["features"]
    assert features.keys() == {"patch", "tags", "id", "frame", "source", "group"}
    assert features["frame"]["tensor"] == {"dtype": "int64", "encoding": "none", "shape": {}}
    assert (tmp_path / "tags.labels.txt").read_text().split() == VOCABULARY


def test_what_the_schema_does_not_promise_is_refused():
    fine = [{"patch": patch_with(value), "tags": np.array([], int)} for value in (-15.9, 0.0, 7.3)]
    for changes in ({}, *fine):
        dataclasses.replace(EXAMPLE, **changes).check(3)
    refused = [
        *({"patch": patch_with(np.nan)}, {"patch": patch_with(np.inf)}, {"frame": -1}),
        *({"tags": np.array(tags)} for tags in ([0, 3], [-1], [1, 1])),
        {"patch": np.zeros((96, 95), np.float32)},
    ]
    for changes in refused:
        with pytest.raises(ValueError):
            dataclasses.replace(EXAMPLE, **changes).check(3)
