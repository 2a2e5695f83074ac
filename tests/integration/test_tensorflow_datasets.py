"""TensorFlow Datasets reads what we write, in a process of its own: this one must not load it."""

import json
import subprocess
import sys

from coala_jax.data import dataset as module
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Example
from tests.synthetic import write_random_dataset

READ_WITH_TENSORFLOW = """
import json, sys
import tensorflow_datasets as tfds
for folder in sys.argv[1:]:
    builder = tfds.builder_from_directory(folder)
    names = builder.info.features["tags"].feature.names
    print(json.dumps({
        split: [
            [
                example["id"].decode(),
                int(example["frame"]),
                example["patch"].tobytes().hex(),
                str(example["patch"].dtype),
                [names[tag] for tag in example["tags"]],
            ]
            for example in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
        ]
        for split in builder.info.splits
    }))
assert "tensorflow" in sys.modules
"""


def test_tensorflow_datasets_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS_PER_SHARD", 2)
    dataset = tmp_path / "written"
    write_random_dataset(dataset, 7, 3)
    process = subprocess.run(
        [sys.executable, "-c", READ_WITH_TENSORFLOW, str(dataset)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    splits = json.loads(process.stdout)
    assert splits.keys() == {"train", "validation"}
    assert len(splits["train"]) == 7
    for split, examples in splits.items():
        reader = SplitReader(dataset, split)
        assert examples == [as_text(reader[number]) for number in range(len(reader))], split


def as_text(example: Example) -> list:
    tags = [f"tag{tag}" for tag in example.tags]
    return [example.id, example.frame, example.patch.tobytes().hex(), "float32", tags]
