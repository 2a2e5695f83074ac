"""The dataset on disk: what writes it and what reads it.

A dataset is a folder that `tfds.builder_from_directory` can load and that this room reads and
writes without TensorFlow: shards of serialised `tf.train.Example`, `features.json`,
`dataset_info.json`, and our `manifest.json` with what training and embedding need besides them.
The patches in the shards are log-mel; `SplitReader` scales them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from coala_jax import storage
from coala_jax.data.scaler import MinMax, Scaler
from coala_jax.data.schema import (
    MANIFEST,
    SHARD_MARK,
    SPLITS,
    Example,
    Manifest,
    digest_side_files,
    parse_example,
    serializer,
    shard_name,
    write_schema,
)
from coala_jax.data.tfrecord import DatasetError, Shard, ShardWriter, walk
from coala_jax.storage import OpenFiles, PathLike

RECORDS_PER_SHARD = 2048  # 75 MB: small enough to send, large enough for one read of a disk


class SplitReader:
    """The examples of one split, by number, read from disk when asked for, their patches scaled.

    It holds 8 bytes an example, and few files open however many shards there are.

    Raises:
        DatasetError: the folder holds no dataset, or a shard is missing or damaged.
    """

    def __init__(self, dataset: PathLike, split: str, manifest: Manifest | None = None) -> None:
        manifest = manifest or Manifest.load(dataset)
        self.vocabulary_size = len(manifest.vocabulary)
        self._scaler = Scaler.from_dict(manifest.scaler)
        folder, files = storage.path(dataset), OpenFiles()
        entries = manifest.shards[split]
        self._shards = [Shard(folder / entry["file"], entry["records"], files) for entry in entries]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        place = int(np.searchsorted(self._ends, number, side="right"))
        shard, record = self._shards[place], number
        if place:
            record -= int(self._ends[place - 1])
        data = shard.read(record)
        try:
            example = parse_example(data)
            example.check(self.vocabulary_size)
        except ValueError as error:
            raise shard.damaged(record, str(error)) from error
        return dataclasses.replace(example, patch=self._scaler.scale(example.patch))


class DatasetWriter:
    """Writes a dataset into an existing folder, shard by shard, in order, and then its manifest.

    Files that lie in the folder already, such as reports, become part of the dataset.

    Raises:
        ValueError: there is no such scaling.
    """

    def __init__(self, folder: PathLike, vocabulary: Sequence[str], scaling: str) -> None:
        self._tag_counts = np.zeros(len(vocabulary), np.int64)  # of the training examples
        self._folder, self._vocabulary = storage.path(folder), list(vocabulary)
        self._serialize, self._range = serializer(vocabulary), MinMax(scaling)
        self._entries: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self._keys: set[tuple[str, int]] = set()

    @contextmanager
    def shard(
        self, split: str, name: str, keep: int = 0
    ) -> Iterator[Callable[[Iterable[Example]], int]]:
        """The next shard of a split, a file of which the first `keep` bytes are written.

        Yields what appends examples, hands them to the system, so that a killed process does not
        lose them, and returns the shard's size in bytes.

        Raises:
            ValueError: an example is not what the schema promises, or comes twice.
        """
        path = self._folder / name
        kept = storage.read_bytes(path)[:keep] if keep else b""
        for span in walk(kept, check_data=False):
            self._count_in(split, parse_example(kept[span.data]))
        with ShardWriter(path, kept) as shard:

            def write(examples: Iterable[Example]) -> int:
                for example in examples:
                    self._check(example)
                    self._count_in(split, example)
                    shard.write(self._serialize(example))
                shard.flush()
                return shard.size

            yield write
            self._entries[split].append(shard.close())

    def finish(
        self,
        *,
        name: str,
        fingerprint: str,
        settings: dict[str, Any],
        front_end: dict[str, Any],
        tag_processing: str,
    ) -> Manifest:
        """Writes schema and manifest, the scaler of the training patches in it.

        Raises:
            ValueError: there are no training patches, or they hold one value only.
        """
        write_schema(self._folder, self._vocabulary, self._entries)
        Manifest(
            name=name,
            fingerprint=fingerprint,
            settings=settings,
            front_end=front_end,
            scaler=self.scaler().to_dict(),
            tag_processing=tag_processing,
            vocabulary=self._vocabulary,
            tag_counts=self._tag_counts.tolist(),
            counts={
                split: sum(entry["records"] for entry in entries)
                for split, entries in self._entries.items()
            },
            shards=self._entries,
            side_files=digest_side_files(self._folder),
        ).save(self._folder)
        return Manifest.load(self._folder)

    def scaler(self) -> Scaler:
        """Of the training patches so far. Raises ValueError as `finish`."""
        return self._range.scaler()

    def _check(self, example: Example) -> None:
        try:
            example.check(len(self._vocabulary))
            if example.key in self._keys:
                raise ValueError("it comes twice")
        except ValueError as error:
            raise ValueError(f"{example.id}, frame {example.frame}: {error}") from error

    def _count_in(self, split: str, example: Example) -> None:
        self._keys.add(example.key)
        if split == "train":
            self._range.partial_fit(example.patch)
            self._tag_counts[example.tags] += 1


def write_dataset(
    folder: PathLike,
    *,
    name: str,
    fingerprint: str,
    front_end: dict[str, Any],
    vocabulary: Sequence[str],
    splits: dict[str, Sequence[Example]],
    scaling: str = "none",
    settings: dict[str, Any] | None = None,
    tag_processing: str = "paper",
) -> Manifest:
    """Writes examples that are at hand into an existing folder as a dataset.

    Args:
        splits: the examples of each of SPLITS, in the order in which they shall lie on disk; each
            is asked for once.
        scaling: of SCALINGS; `none` where the patches come scaled.
        settings: what made the examples, to be kept with them; where it does not say, at the level
            of the recording, resampled by nobody knows what.

    Raises:
        ValueError: an example is not what the schema promises, or comes twice.
        DatasetError: the folder holds a dataset already, or parts of one.
    """
    for path in storage.path(folder).iterdir():
        if path.name == MANIFEST or SHARD_MARK in path.name or path.is_dir():
            raise DatasetError(f"{path}: it is in the way of a new dataset; choose another folder")
    writer = DatasetWriter(folder, vocabulary, scaling)
    total = sum(len(splits[split]) for split in SPLITS)
    with tqdm(total=total, unit="example", desc="examples to shards") as progress:
        for split in SPLITS:
            shards = -(-len(splits[split]) // RECORDS_PER_SHARD)
            numbers = iter(range(len(splits[split])))
            for shard in range(shards):
                with writer.shard(split, shard_name(split, shard, shards)) as write:
                    for number in itertools.islice(numbers, RECORDS_PER_SHARD):
                        write([splits[split][number]])
                        progress.update()
    return writer.finish(
        name=name,
        fingerprint=fingerprint,
        settings={"level": "recorded", "resampler": "unknown", "scaling": scaling}
        | (settings or {}),
        front_end=front_end,
        tag_processing=tag_processing,
    )
