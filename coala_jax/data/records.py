"""The dataset on disk: TFRecord shards, their schema, and the manifest that says what they hold.

A dataset is a folder that `tfds.builder_from_directory` can load and that this file reads and
writes without TensorFlow: shards of serialised `tf.train.Example`, `features.json`,
`dataset_info.json`, and our `manifest.json` with what training and embedding need besides them.
"""

import dataclasses
import hashlib
import json
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from jaxtyping import Float32, Int64

FORMAT = 1
PATCH_SHAPE = (96, 96)  # mel bands, frames
MANIFEST = "manifest.json"
SPLITS = ("train", "validation")
RECORDS_PER_SHARD = 2048  # 75 MB: small enough to send, large enough for one read of a disk
NAME, VERSION = "coala", "1.0.0"  # as TensorFlow Datasets wants them

# A record is: length (8 bytes), masked CRC of the length (4), data, masked CRC of the data (4).
_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")


_WAY_OUT = "delete the dataset's folder and prepare it again"


class DatasetError(ValueError):
    """A folder that is no dataset, or is damaged; the message names file, place and cause."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One sound: its scaled patch in [0, 1], the vocabulary indices of its tags, its file name."""

    patch: Float32[np.ndarray, "mel time"]
    tags: Int64[np.ndarray, " tag"]
    id: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the shards hold."""

    name: str  # of the corpus
    source: str  # digest of what it was made from
    front_end: dict[str, Any]
    scaler: dict[str, float]
    vocabulary: list[str]
    tag_counts: list[int]  # training sounds that have each tag of the vocabulary
    counts: dict[str, int]  # examples of each split
    shards: dict[str, list[dict[str, Any]]]  # of each split: file, records, bytes, crc32c, sha256
    side_files: dict[str, str]  # file -> sha256
    format: int = FORMAT

    @classmethod
    def load(cls, dataset: Path) -> "Manifest":
        """Raises DatasetError when the folder holds no dataset, or one of another format."""
        path = dataset / MANIFEST
        if not path.is_file():
            raise DatasetError(
                f"{dataset}: this folder is no dataset (it has no {MANIFEST}); "
                "make one with python -m data_prep.from_folder"
            )
        try:
            content = json.loads(path.read_text())
            found = content["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{path}: this is no manifest ({error!r}); {_WAY_OUT}") from error
        if found != FORMAT:
            raise DatasetError(
                f"{path}: format {found!r} is not format {FORMAT}, the one this version reads; "
                f"{_WAY_OUT}, or use the version that wrote it"
            )
        fields = {field.name for field in dataclasses.fields(cls)}
        if content.keys() != fields:
            odd = ", ".join(sorted(content.keys() ^ fields))
            raise DatasetError(f"{path}: missing or unknown: {odd}; {_WAY_OUT}")
        return cls(**content)

    def check_files(self, dataset: Path) -> None:
        """Raises DatasetError when a shard or side file is missing or not as it was written."""
        digests = {
            entry["file"]: entry["sha256"] for split in self.shards.values() for entry in split
        }
        for name, digest in (digests | self.side_files).items():
            path = dataset / name
            if not path.is_file():
                raise DatasetError(f"{path}: the file is missing; {_WAY_OUT}")
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise DatasetError(f"{path}: the file has changed since; {_WAY_OUT}")


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as the TFRecord format asks."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_shard(path: Path, records: Iterable[bytes]) -> dict[str, Any]:
    """Writes one shard and returns its entry in the manifest."""
    digest, crc, count = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            framed = b"".join(
                [length, _FOOTER.pack(masked_crc(length)), data, _FOOTER.pack(masked_crc(data))]
            )
            file.write(framed)
            digest.update(framed)
            crc = google_crc32c.extend(crc, framed)
            count += 1
        size = file.tell()
    return {
        "file": path.name,
        "records": count,
        "bytes": size,
        "crc32c": crc,
        "sha256": digest.hexdigest(),
    }


class Shard:
    """Random access to the records of one shard; every CRC that is passed is verified."""

    def __init__(self, path: Path, expected_records: int) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: it cannot be read ({error}); {_WAY_OUT}") from error
        self._starts = list(self._walk())
        if len(self._starts) != expected_records:
            raise DatasetError(
                f"{path}: {len(self._starts)} records where the manifest says {expected_records}; "
                f"the file was cut or replaced; {_WAY_OUT}"
            )

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, record: int) -> bytes:
        start, length = self._starts[record]
        data = self._map[start : start + length]
        if _FOOTER.unpack_from(self._map, start + length)[0] != masked_crc(data):
            raise self._damaged(record, start, "its checksum does not match its data")
        return data

    def _walk(self) -> Iterator[tuple[int, int]]:
        offset, record = 0, 0
        while offset < len(self._map):
            if offset + _HEADER.size > len(self._map):
                raise self._damaged(record, offset, "the file ends within its header")
            length, crc = _HEADER.unpack_from(self._map, offset)
            if masked_crc(self._map[offset : offset + 8]) != crc:
                raise self._damaged(record, offset, "the checksum of its length does not match")
            start = offset + _HEADER.size
            offset = start + length + _FOOTER.size
            if offset > len(self._map):
                raise self._damaged(record, start, "the file ends within its data")
            yield start, length
            record += 1

    def _damaged(self, record: int, offset: int, cause: str) -> DatasetError:
        return DatasetError(f"{self.path}: record {record} at byte {offset}: {cause}; {_WAY_OUT}")


class SplitReader:
    """The examples of one split, by number, read from disk when asked for."""

    def __init__(self, dataset: Path, split: str, manifest: Manifest | None = None) -> None:
        manifest = manifest or Manifest.load(dataset)
        self.vocabulary_size = len(manifest.vocabulary)
        self._shards = [Shard(dataset / s["file"], s["records"]) for s in manifest.shards[split]]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        shard = int(np.searchsorted(self._ends, number, side="right"))
        first = int(self._ends[shard - 1]) if shard else 0
        return parse_example(self._shards[shard].read(number - first))


def parse_example(data: bytes) -> Example:
    """A serialised `tf.train.Example` as TensorFlow Datasets writes it."""
    # TensorFlow Datasets carries the message without TensorFlow; half a second to import.
    from tensorflow_datasets.proto import tf_example_generated_pb2

    feature = tf_example_generated_pb2.Example.FromString(data).features.feature
    patch = np.frombuffer(feature["patch"].bytes_list.value[0], "<f4")
    return Example(
        patch=patch.reshape(PATCH_SHAPE),
        tags=np.array(feature["tags"].int64_list.value, np.int64),
        id=feature["id"].bytes_list.value[0].decode(),
    )


def write_dataset(
    folder: Path,
    *,
    name: str,
    source: str,
    front_end: dict[str, Any],
    scaler: dict[str, float],
    vocabulary: Sequence[str],
    splits: dict[str, Sequence[Example]],
) -> Manifest:
    """Writes shards, schema and manifest into an existing, empty folder.

    `splits` maps each of SPLITS to its examples, in the order in which they shall lie on disk.
    """
    # Preparation alone pays for the import of TensorFlow Datasets (which loads no TensorFlow).
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "patch": tfds.features.Tensor(shape=PATCH_SHAPE, dtype=np.float32, encoding="bytes"),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=list(vocabulary))),
            "id": tfds.features.Text(),
        }
    )
    counts = np.zeros(len(vocabulary), np.int64)
    for example in splits["train"]:
        counts[example.tags] += 1
    shards = {
        split: _write_split(folder, split, splits[split], features.serialize_example)
        for split in SPLITS
    }
    features.save_config(folder)
    _write_json(folder / "dataset_info.json", _dataset_info(shards))
    side_files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if ".tfrecord" not in path.name
    }
    manifest = Manifest(
        name=name,
        source=source,
        front_end=front_end,
        scaler=scaler,
        vocabulary=list(vocabulary),
        tag_counts=counts.tolist(),
        counts={split: len(splits[split]) for split in SPLITS},
        shards=shards,
        side_files=side_files,
    )
    _write_json(folder / MANIFEST, dataclasses.asdict(manifest))
    return manifest


def _write_split(
    folder: Path,
    split: str,
    examples: Sequence[Example],
    serialize: Callable[[dict[str, Any]], bytes],
) -> list[dict[str, Any]]:
    shard_count = -(-len(examples) // RECORDS_PER_SHARD)
    entries = []
    for shard in range(shard_count):
        path = folder / f"{NAME}-{split}.tfrecord-{shard:05d}-of-{shard_count:05d}"
        numbers = range(
            shard * RECORDS_PER_SHARD, min(len(examples), (shard + 1) * RECORDS_PER_SHARD)
        )
        fields = (dataclasses.asdict(examples[number]) for number in numbers)
        entries.append(write_shard(path, (serialize(field) for field in fields)))
    return entries


def _dataset_info(shards: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What TensorFlow Datasets wants to know; its own writer would load TensorFlow."""
    return {
        "name": NAME,
        "version": VERSION,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(sum(entry["bytes"] for entry in entries)),
                "shardLengths": [str(entry["records"]) for entry in entries],
            }
            for split, entries in shards.items()
        ],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
