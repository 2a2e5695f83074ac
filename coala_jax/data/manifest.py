"""The manifest: what a dataset holds, what made it, and the digests by which damage is found."""

import dataclasses
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

from coala_jax import storage
from coala_jax.data.tfrecord import DatasetError, way_out

FORMAT = 2
MANIFEST = "manifest.json"
REPAIRED = "repaired "  # before the source of a dataset that lacks some of its records
SPLITS = ("train", "validation")
MINIMUM_EXAMPLES = 2  # of each split: a single pair has no negatives
SHARD_MARK = ".tfrecord-"  # in the name of every shard
_NO_DIGEST = "0" * 64  # stands where the digest will, while the digest is computed
_WAY_OUT = (
    f"copy {MANIFEST} again from where the dataset came from, or delete the dataset's folder and "
    "prepare it again"
)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the shards hold."""

    name: str  # of the corpus
    source: str  # digest of what it was made from
    settings: dict[str, Any]  # of the preparation
    front_end: dict[str, Any]
    scaler: dict[str, Any]
    tag_processing: str
    vocabulary: list[str]
    tag_counts: list[int]  # training examples that have each tag of the vocabulary
    counts: dict[str, int]  # examples of each split
    shards: dict[str, list[dict[str, Any]]]  # of each split: file, records, bytes, crc32c, sha256
    side_files: dict[str, str]  # file -> sha256

    @classmethod
    def load(cls, dataset: Path) -> "Manifest":
        """Raises DatasetError if the folder holds no dataset, another format, or a damaged file."""
        path = dataset / MANIFEST
        if not path.is_file():
            raise DatasetError(
                f"{dataset}: this folder is no dataset (it has no {MANIFEST}); "
                "make one with python -m data_prep.from_folder"
            )
        try:
            text = path.read_bytes().decode()
            content = json.loads(text)
            found, digest = content.pop("format"), content.pop("digest", None)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DatasetError(f"{path}: this is no manifest ({error!r}); {_WAY_OUT}") from error
        if found != FORMAT:
            raise DatasetError(
                f"{path}: it says format {found!r}, this version reads format {FORMAT}; "
                "prepare the dataset again, or use the version that wrote it"
            )
        if not isinstance(digest, str) or digest != _digest(text.replace(digest, _NO_DIGEST)):
            raise DatasetError(
                f"{path}: its digest is not that of its content, so it is damaged or was edited; "
                f"{_WAY_OUT}"
            )
        if content.keys() != (fields := {field.name for field in dataclasses.fields(cls)}):
            odd = ", ".join(sorted(content.keys() ^ fields))
            raise DatasetError(f"{path}: missing or unknown: {odd}; {_WAY_OUT}")
        manifest = cls(**content)
        try:
            manifest._check_structure()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path}: this is no manifest ({error!r}); {_WAY_OUT}") from error
        return manifest

    def _check_structure(self) -> None:
        """It may come from a stranger, and must name no file outside its folder."""
        if not set(self.shards) == set(self.counts) == set(SPLITS):
            raise ValueError(f"its splits are not {' and '.join(SPLITS)}")
        entries = list(itertools.chain(*self.shards.values()))
        if len({entry["file"] for entry in entries}) < len(entries):
            raise ValueError("a shard comes twice")
        for entry in entries:
            if entry.keys() != {"file", "records", "bytes", "crc32c", "sha256"}:
                raise ValueError(f"a shard is described by {', '.join(entry)}")
        for name in self.digests():
            if name in (MANIFEST, "", "..") or Path(name).name != name:
                raise ValueError(f"{name!r} is no file of a dataset")

    @property
    def digest(self) -> str:
        """Of all that a model learns from or is measured on: records, tags, front end, scaler.

        Reports beside the shards, names and the words of settings do not count: the same sounds,
        prepared alike, give the same digest.
        """
        records = {
            split: [entry["sha256"] for entry in entries] for split, entries in self.shards.items()
        }
        learned = [self.front_end, self.scaler, self.tag_processing, self.vocabulary, records]
        return storage.fingerprint(learned)

    def save(self, dataset: Path) -> None:
        """Writes the manifest into the dataset's folder, its own digest in it."""
        fields = {"format": FORMAT, "digest": _NO_DIGEST} | dataclasses.asdict(self)
        text = _to_json(fields)
        write_text(dataset / MANIFEST, text.replace(_NO_DIGEST, _digest(text), 1))

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file of the dataset but the manifest."""
        entries = [entry for split in self.shards.values() for entry in split]
        return {entry["file"]: entry["sha256"] for entry in entries} | self.side_files

    def check_files(self, dataset: Path) -> None:
        """Raises DatasetError when a shard or side file is missing or not as it was written."""
        for name, digest in self.digests().items():
            path = dataset / name
            if not path.is_file():
                raise DatasetError(f"{path}: the file is missing; {way_out(dataset)}")
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise DatasetError(f"{path}: the file has changed since; {way_out(dataset)}")


def digest_side_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in the folder but the shards, once it is on the disk."""
    digests = {}
    for path in sorted(folder.iterdir()):
        if SHARD_MARK not in path.name:
            sync(path)
            digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    write_text(path, _to_json(content))


def write_text(path: Path, text: str) -> None:
    """Writes the file whole or not at all, through to the disk."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(text.encode())
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
