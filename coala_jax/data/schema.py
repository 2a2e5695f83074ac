"""What a dataset is: its records, the schema of these, and the manifest of the whole (format 3).

A record is a serialised `tf.train.Example`: a log-mel patch that is not scaled, the tags of its
sound, and where it comes from. The manifest says what the shards hold and what made them, the
scaler that brings the patches to [0, 1], and the digests by which damage is found.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from coala_jax import storage
from coala_jax.data.tfrecord import DatasetError, hint
from coala_jax.storage import PathLike

FORMAT = 3
MANIFEST = "manifest.json"
SPLITS = ("train", "validation")
MINIMUM_EXAMPLES = 2  # of each split: a single pair has no negatives
NEEDED_SETTINGS = {"level", "resampler", "scaling"}  # what use must do alike, or has to know
SHARD_MARK = ".tfrecord-"  # in the name of every shard
_HINT = (
    f"copy {MANIFEST} again from where the dataset came from, or delete the dataset's folder and "
    "prepare it again"
)

PATCH_SHAPE = (96, 96)  # mel bands, frames
NAME, VERSION = "coala", "1.0.0"  # as TensorFlow Datasets wants them
FEATURES, DATASET_INFO = "features.json", "dataset_info.json"


@dataclasses.dataclass(frozen=True)
class Example:
    """A patch, the vocabulary indices of its sound's tags, and where it comes from.

    In the shards a patch holds natural logarithms of mel energies. `SplitReader` scales it: to
    [0, 1], which the released scaling may pass on validation sounds.
    """

    patch: Float32[np.ndarray, "mel time"]
    tags: Int64[np.ndarray, " tag"]
    id: str  # the sound's file name
    frame: int = 0  # of the sound, the first of the patch
    source: str = ""  # the collection that the sound is from
    group: str = ""  # sounds of one group lie on one side of the split

    @property
    def key(self) -> tuple[str, int]:
        """What no other example of the dataset has."""
        return self.id, self.frame

    def check(self, vocabulary_size: int) -> None:
        """Raises ValueError when it is not what the schema promises."""
        if self.patch.shape != PATCH_SHAPE:
            raise ValueError(f"its patch is {self.patch.shape}, not {PATCH_SHAPE}")
        if not np.isfinite(self.patch).all():
            raise ValueError("its patch has values that are NaN or infinite")
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
        (patch,), (frame,) = feature["patch"].bytes_list.value, feature["frame"].int64_list.value
        texts = {}
        for name in ("id", "source", "group"):
            (text,) = feature[name].bytes_list.value
            texts[name] = text.decode()
        return Example(
            patch=np.frombuffer(patch, "<f4").reshape(PATCH_SHAPE),
            tags=np.array(feature["tags"].int64_list.value, np.int64),
            frame=frame,
            **texts,
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
    folder: PathLike, vocabulary: Sequence[str], shards: dict[str, list[dict[str, Any]]]
) -> None:
    """Writes what TensorFlow Datasets wants to know; its own writer would load TensorFlow.

    Args:
        shards: the manifest's entries of the shards of each split.
    """
    _features(vocabulary).save_config(storage.path(folder))
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
    storage.write_json(storage.path(folder) / DATASET_INFO, info)


def _features(vocabulary: Sequence[str]) -> Any:
    # Preparation alone pays for the import of TensorFlow Datasets (which loads no TensorFlow).
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "patch": tfds.features.Tensor(shape=PATCH_SHAPE, dtype=np.float32, encoding="bytes"),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=list(vocabulary))),
            "id": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int64),
            "source": tfds.features.Text(),
            "group": tfds.features.Text(),
        }
    )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the shards hold."""

    name: str  # of the corpus
    fingerprint: str  # of what it was made from
    settings: dict[str, Any]  # of the preparation, NEEDED_SETTINGS among them
    front_end: dict[str, Any]
    scaler: dict[str, Any]
    tag_processing: str
    vocabulary: list[str]
    tag_counts: list[int]  # training examples that have each tag of the vocabulary
    counts: dict[str, int]  # examples of each split
    shards: dict[str, list[dict[str, Any]]]  # of each split: file, records, bytes, crc32c, sha256
    side_files: dict[str, str]  # file -> sha256

    @classmethod
    def load(cls, dataset: PathLike) -> "Manifest":
        """Raises DatasetError if the folder holds no dataset, another format, or a damaged file."""
        path = storage.path(dataset) / MANIFEST
        if not path.exists():
            raise DatasetError(
                f"{dataset}: this folder is no dataset (it has no {MANIFEST}); "
                "make one with python -m coala_jax.data_prep.from_folder"
            )
        try:
            text = storage.read_bytes(path).decode()
            content = json.loads(text)
            found, digest = content.pop("format"), content.pop("digest", None)
            content.pop("dataset_digest", None)  # for people; it follows from the rest
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DatasetError(f"{path}: this is no manifest ({error!r}); {_HINT}") from error
        if found != FORMAT:
            raise DatasetError(
                f"{path}: it says format {found!r}, this version reads format {FORMAT}; "
                "prepare the dataset again, or use the version that wrote it"
            )
        if not storage.is_sealed(text, digest):
            raise DatasetError(
                f"{path}: its digest is not that of its content, so it is damaged or was edited; "
                f"{_HINT}"
            )
        if content.keys() != (fields := {field.name for field in dataclasses.fields(cls)}):
            odd = ", ".join(sorted(content.keys() ^ fields))
            raise DatasetError(f"{path}: missing or unknown: {odd}; {_HINT}")
        manifest = cls(**content)
        try:
            manifest._check_structure()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path}: this is no manifest ({error!r}); {_HINT}") from error
        return manifest

    def _check_structure(self) -> None:
        """It may come from a stranger, and must name no file outside its folder."""
        if not set(self.shards) == set(self.counts) == set(SPLITS):
            raise ValueError(f"its splits are not {' and '.join(SPLITS)}")
        if not self.settings.keys() >= NEEDED_SETTINGS:
            raise ValueError(f"its settings lack one of {', '.join(sorted(NEEDED_SETTINGS))}")
        entries = list(itertools.chain(*self.shards.values()))
        if len({entry["file"] for entry in entries}) < len(entries):
            raise ValueError("a shard comes twice")
        for entry in entries:
            if entry.keys() != {"file", "records", "bytes", "crc32c", "sha256"}:
                raise ValueError(f"a shard is described by {', '.join(entry)}")
        for name in self.digests():
            if name in (MANIFEST, "", "..") or PurePosixPath(name).name != name:
                raise ValueError(f"{name!r} is no file of a dataset")

    @property
    def digest(self) -> str:
        """Of all that a model learns from or is measured on: records, tags, front end, scaler.

        The JSON has it as `dataset_digest`, as the models have that it trains. Reports beside the
        shards, names and the words of settings do not count: the same sounds, prepared alike, give
        the same digest.
        """
        records = {
            split: [entry["sha256"] for entry in entries] for split, entries in self.shards.items()
        }
        learned = [self.front_end, self.scaler, self.tag_processing, self.vocabulary, records]
        return storage.fingerprint(learned)

    def save(self, dataset: PathLike) -> None:
        """Writes the manifest into the dataset's folder, its own digest in it."""
        text, _ = storage.seal(FORMAT, {"dataset_digest": self.digest} | dataclasses.asdict(self))
        storage.write_text(storage.path(dataset) / MANIFEST, text)

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file of the dataset but the manifest."""
        entries = [entry for split in self.shards.values() for entry in split]
        return {entry["file"]: entry["sha256"] for entry in entries} | self.side_files

    def check_files(self, dataset: PathLike) -> None:
        """Raises DatasetError when a shard or side file is missing or not as it was written."""
        for name, digest in self.digests().items():
            path = storage.path(dataset) / name
            if not path.exists():
                raise DatasetError(f"{path}: the file is missing; {hint(dataset)}")
            if storage.file_sha256(path) != digest:
                raise DatasetError(f"{path}: the file has changed since; {hint(dataset)}")


def digest_side_files(folder: PathLike) -> dict[str, str]:
    """The SHA-256 of every file in the folder but the shards, once it is on the disk."""
    digests = {}
    for path in sorted(storage.path(folder).iterdir()):
        if SHARD_MARK not in path.name:
            storage.sync(path)
            digests[path.name] = storage.file_sha256(path)
    return digests
