"""The schema of a dataset: its records and its manifest (format 4).

A record is a serialised `tf.train.Example`: an unscaled log-mel patch, the tags of its sound, and
where it comes from. The manifest says what the shards hold and how they were made, the scaler that
maps the patches to [0, 1], and the digests that reveal damage.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from coala_jax import storage
from coala_jax.data.structure import check_structure
from coala_jax.data.tfrecord import DatasetError, hint
from coala_jax.storage import PathLike

FORMAT = 4
MANIFEST = "manifest.json"
SPLITS = ("train", "validation")
MINIMUM_EXAMPLES = 2  # per split: a single pair has no negatives
NEEDED_SETTINGS = {"level", "resampler", "scaling"}  # what a model needs to treat new sounds alike
SHARD_MARK = ".tfrecord-"  # in the name of every shard
_HINT = f"Fix: copy {MANIFEST} again from its source, or delete the dataset and prepare it again"

PATCH_SHAPE = (96, 96)  # mel bands, frames
NAME, VERSION = "coala", "1.0.0"  # required by TensorFlow Datasets
FEATURES, DATASET_INFO = "features.json", "dataset_info.json"


@dataclasses.dataclass(frozen=True)
class Example:
    """A patch, the vocabulary indices of its sound's tags, and where it comes from.

    In the shards a patch holds natural logarithms of mel energies. `SplitReader` scales it to
    [0, 1]; with the released scaling, validation patches may exceed 1.

    id: file name of the sound.
    frame: index of the patch's first frame in the sound.
    source: the collection that the sound is from.
    group: sounds of one group are in one split.
    """

    patch: Float32[np.ndarray, "mel time"]
    tags: Int64[np.ndarray, " tag"]
    id: str
    frame: int = 0
    source: str = ""
    group: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Unique within a dataset."""
        return self.id, self.frame

    def check(self, vocabulary_size: int) -> None:
        """Raises ValueError if the example does not fit the schema."""
        if self.patch.shape != PATCH_SHAPE:
            raise ValueError(f"the patch has shape {self.patch.shape}, not {PATCH_SHAPE}")
        if not np.isfinite(self.patch).all():
            raise ValueError("the patch has NaN or infinite values")
        tags = self.tags.tolist()
        if tags and not 0 <= min(tags) <= max(tags) < vocabulary_size:
            raise ValueError(f"the tags {tags} are not all in the vocabulary of {vocabulary_size}")
        if len(set(tags)) < len(tags):
            raise ValueError(f"duplicate tag in {tags}")
        if self.frame < 0:
            raise ValueError(f"the first frame is {self.frame}")


def parse_example(data: bytes) -> Example:
    """Parses a serialised `tf.train.Example` as TensorFlow Datasets writes it.

    Raises:
        ValueError: the bytes are not such a message, or it has other features.
    """
    # TensorFlow Datasets carries the message without TensorFlow; half a second to import.
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_generated_pb2

    try:
        feature = tf_example_generated_pb2.Example.FromString(data).features.feature
    except DecodeError as error:
        raise ValueError("not a tf.train.Example") from error
    if set(feature) != {field.name for field in dataclasses.fields(Example)}:
        raise ValueError(f"unexpected features: {', '.join(sorted(feature)) or 'none'}")
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
        raise ValueError(f"the features do not fit the schema ({error})") from error


def serializer(vocabulary: Sequence[str]) -> Callable[[Example], bytes]:
    """The function that serialises a dataset's examples; equal examples give equal bytes."""
    from tensorflow_datasets.proto import tf_example_generated_pb2

    features, parse = _features(vocabulary), tf_example_generated_pb2.Example.FromString

    def serialize(example: Example) -> bytes:
        # Otherwise the order of the features differs from process to process.
        message = parse(features.serialize_example(vars(example)))
        return message.SerializeToString(deterministic=True)

    return serialize


def shard_name(split: str, number: int, count: int) -> str:
    """File name of shard `number` of `count`."""
    return f"{NAME}-{split}{SHARD_MARK}{number:05d}-of-{count:05d}"


def write_schema(
    folder: PathLike, vocabulary: Sequence[str], shards: dict[str, list[dict[str, Any]]]
) -> None:
    """Writes the metadata of TensorFlow Datasets, whose own writer would load TensorFlow.

    Args:
        shards: the shard entries of the manifest, by split.
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
    # Slow to import, and needed only to write (it does not load TensorFlow).
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
    """What the shards hold and how they were made.

    name: of the corpus.
    fingerprint: of the inputs that the dataset was made from.
    settings: of the preparation, including NEEDED_SETTINGS.
    tag_counts: number of training examples with each tag of the vocabulary.
    counts: number of examples per split.
    shards: per split, a list of {file, records, bytes, crc32c, sha256}.
    side_files: SHA-256 of every other file of the dataset; the report is none of them.
    preparation: the record that the report is rendered from (`preparation/summary.py`); empty for
        datasets that were not prepared from sounds.
    """

    name: str
    fingerprint: str
    settings: dict[str, Any]
    front_end: dict[str, Any]
    scaler: dict[str, Any]
    tag_processing: str
    vocabulary: list[str]
    tag_counts: list[int]
    counts: dict[str, int]
    shards: dict[str, list[dict[str, Any]]]
    side_files: dict[str, str]
    preparation: dict[str, Any]

    @classmethod
    def load(cls, dataset: PathLike) -> "Manifest":
        """Raises DatasetError if there is no manifest, or it is damaged, invalid or of another
        format."""
        path = storage.path(dataset) / MANIFEST
        if not path.exists():
            raise DatasetError(
                f"{dataset}: no dataset here (no {MANIFEST}). Fix: correct the path, or make a "
                "dataset with coala prepare"
            )
        try:
            text = storage.read_bytes(path).decode()
            content = json.loads(text)
            found, digest = content.pop("format"), content.pop("digest", None)
            content.pop("dataset_digest", None)  # for people; computed from the rest
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DatasetError(f"{path}: invalid manifest ({error!r}). {_HINT}") from error
        if found != FORMAT:
            raise DatasetError(
                f"{path}: format {found!r}: this version reads format {FORMAT}. Fix: prepare the "
                "dataset again, or use the version of coala_jax that wrote it"
            )
        if not storage.is_sealed(text, digest):
            raise DatasetError(
                f"{path}: damaged or edited: the digest does not match the content. {_HINT}"
            )
        if content.keys() != (fields := {field.name for field in dataclasses.fields(cls)}):
            odd = ", ".join(sorted(content.keys() ^ fields))
            raise DatasetError(f"{path}: missing or unknown keys: {odd}. {_HINT}")
        try:
            check_structure(content, SPLITS, NEEDED_SETTINGS, MANIFEST)
            json.dumps(content)  # of tables within tables, which may be too deep to write
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path}: invalid manifest ({error}). {_HINT}") from error
        return cls(**content)

    @property
    def digest(self) -> str:
        """Digest of all that a model learns from or is measured on: records, tags, front end,
        scaler.

        Stored as `dataset_digest` in the JSON and in the models trained on the dataset. Names,
        settings, side files and the preparation's record do not count: the same sounds, prepared
        alike, give the same digest.
        """
        records = {
            split: [entry["sha256"] for entry in entries] for split, entries in self.shards.items()
        }
        learned = [self.front_end, self.scaler, self.tag_processing, self.vocabulary, records]
        return storage.fingerprint(learned)

    def save(self, dataset: PathLike) -> None:
        """Writes the manifest, with its own digest, into the dataset's folder."""
        text, _ = storage.seal(FORMAT, {"dataset_digest": self.digest} | dataclasses.asdict(self))
        storage.write_text(storage.path(dataset) / MANIFEST, text)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file of the dataset except the manifest."""
        entries = [entry for split in self.shards.values() for entry in split]
        return {entry["file"]: entry["sha256"] for entry in entries} | self.side_files

    def check_files(self, dataset: PathLike) -> None:
        """Raises DatasetError if a shard or side file is missing or has changed."""
        for name, digest in self.digests().items():
            path = storage.path(dataset) / name
            if not path.exists():
                raise DatasetError(f"{path}: missing. {hint(dataset)}")
            if storage.file_sha256(path) != digest:
                raise DatasetError(f"{path}: damaged or edited. {hint(dataset)}")


def digest_side_files(folder: PathLike) -> dict[str, str]:
    """Syncs every file of the folder except the shards; their SHA-256."""
    digests = {}
    for path in sorted(storage.path(folder).iterdir()):
        if SHARD_MARK not in path.name:
            storage.sync(path)
            digests[path.name] = storage.file_sha256(path)
    return digests
