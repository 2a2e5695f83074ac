"""TensorFlow reads our event files, and TensorFlow Datasets our datasets.

In a process of its own: this one, as all that we write with, must not load it.
"""

import io
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.image import imread

from coala_jax.data import dataset as dataset_module
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Example
from coala_jax.training.metric_writer import MetricWriter, Samples
from tests.synthetic import write_random_dataset

# A name with everything that could end a line or a cell.
TOLD = [
    {"id": "a|b-é\u2028\x85.wav", "tags": ["dog", "bark"], "heard": ["dog", "cat"]},
    {"id": "c.wav", "tags": ["cat"], "heard": ["bird"]},
]


def write(workdir: Path) -> None:
    """That this loads no TensorFlow is shown by test_main.py, of a whole run."""
    picture = np.array([[0, 0.5, 1], [0.25, 0.75, 1]], np.float32)
    with closing(MetricWriter(workdir, 300)) as writer:
        writer.write("train", 1, 301, {"loss": 2.5, "tag_loss": -0.5})
        writer.write_samples(1, 301, Samples(TOLD, picture))
        writer.write_samples(2, 70_000, Samples([]))
        writer.write("validation", 2, 70_000, {"loss": 1e-30})


READ = """
import json, sys
import tensorflow as tf
import tensorflow_datasets as tfds

events = []
for event in tf.compat.v1.train.summary_iterator(sys.argv[1]):
    told = {"step": event.step, "time": event.wall_time, "version": event.file_version}
    told["starts"] = event.session_log.status == event.session_log.START
    for value in event.summary.value:
        told["tag"], told["plugin"] = value.tag, value.metadata.plugin_data.plugin_name
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            told["value"] = value.simple_value
        elif kind == "tensor":
            told["value"] = tf.make_ndarray(value.tensor).tolist()[0].decode()
        else:
            image = value.image
            told["value"] = [image.height, image.width, image.colorspace]
            told["png"] = image.encoded_image_string.hex()
    events.append(told)

def examples(split):
    for example in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
        patch, tags = example["patch"], [names[tag] for tag in example["tags"]]
        yield example["id"].decode(), int(example["frame"]), patch.tobytes().hex(), tags

builder = tfds.builder_from_directory(sys.argv[2])
names = builder.info.features["tags"].feature.names
splits = {split: list(examples(split)) for split in builder.info.splits}
print(json.dumps({"events": events, "splits": splits}))
"""


class Read(NamedTuple):
    """What TensorFlow read: the events in their order, and the examples of each split."""

    events: list[dict]
    splits: dict[str, list[list]]


def run(program, *arguments):
    process = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Of several shards."""
    folder = tmp_path_factory.mktemp("tensorflow") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_module, "RECORDS_PER_SHARD", 2)
        write_random_dataset(folder, 7, 3)
    return folder


@pytest.fixture(scope="module")
def read(dataset) -> Read:
    write(dataset.parent)
    (file,) = (dataset.parent / "tensorboard").glob("events.out.tfevents.*")
    return Read(**json.loads(run(READ, file, dataset)))


def test_tensorflow_datasets_reads_the_same(read, dataset):
    assert {split: len(examples) for split, examples in read.splits.items()} == {
        "train": 7,
        "validation": 3,
    }
    for split, examples in read.splits.items():
        reader = SplitReader(dataset, split)
        assert examples == [as_text(reader[number]) for number in range(len(reader))], split


def as_text(example: Example) -> list:
    patch, tags = example.patch.tobytes().hex(), [f"tag{tag}" for tag in example.tags]
    return [example.id, example.frame, patch, tags]


def test_a_resumed_run_hides_what_came_after_its_checkpoint(read):
    events = read.events
    assert events[0]["version"] == "brain.Event:2"
    assert [(e["step"], e["starts"]) for e in events[:2]] == [(0, False), (301, True)]
    assert all(1.7e9 < event["time"] < 1e11 for event in events)


def test_scalars_text_and_image_arrive(read):
    found = {(event["tag"], event["step"]): event for event in read.events[2:]}
    assert len(found) == len(read.events) - 2 == 5
    values = {key: event["value"] for key, event in found.items()}
    picture, text = ("samples/spectrograms", 301), ("samples/tags", 301)
    assert values == {
        ("train/loss", 301): 2.5,
        ("train/tag_loss", 301): -0.5,
        ("validation/loss", 70_000): float(np.float32(1e-30)),
        picture: [2, 3, 4],
        text: "| id | tags | heard |\n|---|---|---|\n"
        "| a\\|b-é\u2028\x85.wav | dog, bark | dog, cat |\n"
        "| c.wav | cat | bird |",
    }
    assert found[text]["plugin"] == "text"
    shown = imread(io.BytesIO(bytes.fromhex(found[picture]["png"])))
    for channel in range(3):
        np.testing.assert_allclose(
            shown[..., channel], [[0, 0.5, 1], [0.25, 0.75, 1]], rtol=0, atol=1 / 255
        )
