"""One record: an example as a serialised `tf.train.Example`, and the schema that describes it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from coala_jax.data.manifest import SHARD_MARK, SPLITS, write_json

PATCH_SHAPE = (96, 96)  # mel bands, frames
NAME, VERSION = "coala", "1.0.0"  # as TensorFlow Datasets wants them
FEATURES, DATASET_INFO = "features.json", "dataset_info.json"


@dataclasses.dataclass(frozen=True)
class Example:
    """A scaled patch, the vocabulary indices of its sound's tags, and where it was cut out."""

    patch: Float32[np.ndarray, "mel time"]  # in [0, 1]
    tags: Int64[np.ndarray, " tag"]
    id: str  # the sound's file name
    frame: int = 0  # of the sound, the first of the patch

    @property
    def key(self) -> tuple[str, int]:
        """What no other example of the dataset has."""
        return self.id, self.frame

    def check(self, vocabulary_size: int) -> None:
        """Raises ValueError when it is not what the schema promises."""
        if self.patch.shape != PATCH_SHAPE:
            raise ValueError(f"its patch is {self.patch.shape}, not {PATCH_SHAPE}")
        low, high = self.patch.min(), self.patch.max()
        if not (low >= 0 and high < np.inf):  # NaN is in no range
            raise ValueError(f"its patch has values from {low} to {high}")
        tags = self.tags.tolist()
        if tags and not 0 <= min(tags) <= max(tags) < vocabulary_size:
            raise ValueError(f"its tags {tags} are not all in the vocabulary of {vocabulary_size}")
        if len(set(tags)) < len(tags):
            raise ValueError(f"a tag comes twice among {tags}")
        if self.frame < 0:
            raise ValueError(f"its first frame is {self.frame}")


def parse_example(data: bytes) -> Example:
    """A serialised `tf.train.Example` as TensorFlow Datasets writes it.

    Raises:
        ValueError: the bytes are no such message, or one with other features.
    """
    # TensorFlow Datasets carries the message without TensorFlow; half a second to import.
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_generated_pb2

    try:
        feature = tf_example_generated_pb2.Example.FromString(data).features.feature
    except DecodeError as error:
        raise ValueError("it is no tf.train.Example") from error
    if set(feature) != {field.name for field in dataclasses.fields(Example)}:
        raise ValueError(f"its features are {', '.join(sorted(feature)) or 'none'}")
    try:
        (patch,), (id_,), (frame,) = (
            feature["patch"].bytes_list.value,
            feature["id"].bytes_list.value,
            feature["frame"].int64_list.value,
        )
        return Example(
            patch=np.frombuffer(patch, "<f4").reshape(PATCH_SHAPE),
            tags=np.array(feature["tags"].int64_list.value, np.int64),
            id=id_.decode(),
            frame=frame,
        )
    except ValueError as error:
        raise ValueError(f"its features are not of this schema ({error})") from error


def serializer(vocabulary: Sequence[str]) -> Callable[[Example], bytes]:
    """What turns the examples of a dataset into records; equal examples into equal bytes."""
    from tensorflow_datasets.proto import tf_example_generated_pb2

    features, parse = _features(vocabulary), tf_example_generated_pb2.Example.FromString

    def serialize(example: Example) -> bytes:
        # As they come, a message's features lie in another order in every process.
        message = parse(features.serialize_example(vars(example)))
        return message.SerializeToString(deterministic=True)

    return serialize


def shard_name(split: str, number: int, count: int) -> str:
    """The file name of one of the `count` shards of a split."""
    return f"{NAME}-{split}{SHARD_MARK}{number:05d}-of-{count:05d}"


def write_schema(
    folder: Path, vocabulary: Sequence[str], shards: dict[str, list[dict[str, Any]]]
) -> None:
    """Writes what TensorFlow Datasets wants to know; its own writer would load TensorFlow.

    Args:
        shards: the manifest's entries of the shards of each split.
    """
    _features(vocabulary).save_config(folder)
    splits = [
        {
            "name": split,
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(sum(entry["bytes"] for entry in shards[split])),
            "shardLengths": [str(entry["records"]) for entry in shards[split]],
        }
        for split in SPLITS
    ]
    info = {"name": NAME, "version": VERSION, "fileFormat": "tfrecord", "splits": splits}
    write_json(folder / DATASET_INFO, info)


def _features(vocabulary: Sequence[str]) -> Any:
    # Preparation alone pays for the import of TensorFlow Datasets (which loads no TensorFlow).
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "patch": tfds.features.Tensor(shape=PATCH_SHAPE, dtype=np.float32, encoding="bytes"),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=list(vocabulary))),
            "id": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int64),
        }
    )
