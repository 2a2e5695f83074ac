"""Writes and reads a dataset on disk.

A dataset is a folder that `tfds.builder_from_directory` can load, read and written here without
TensorFlow: shards of serialised `tf.train.Example`, `features.json`, `dataset_info.json`, and
`manifest.json` with what else training and embedding need. The patches in the shards are log-mel;
`SplitReader` scales them.
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
    PATCH_SHAPE,
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

RECORDS_PER_SHARD = 2048  # 75 MB: small enough to copy, large enough for sequential reads


class SplitReader:
    """The examples of one split by index, read from disk on access, with scaled patches.

    Holds 8 bytes per example and keeps few files open, however many shards there are.

    Raises:
        DatasetError: the folder is not a dataset, or a shard is missing or damaged.
    """

    def __init__(self, dataset: PathLike, split: str, manifest: Manifest | None = None) -> None:
        manifest = manifest or Manifest.load(dataset)
        self.vocabulary_size = len(manifest.vocabulary)
        try:
            self._scaler = Scaler.from_dict(manifest.scaler)
            frames = np.size(manifest.scaler["minimum"])
            if frames not in (1, PATCH_SHAPE[1]):
                raise ValueError(f"the scaler has {frames} frames, a patch {PATCH_SHAPE[1]}")
        except ValueError as error:
            raise DatasetError(
                f"{storage.path(dataset) / MANIFEST}: invalid manifest ({error}). Fix: prepare the "
                "dataset again"
            ) from error
        folder, files = storage.path(dataset), OpenFiles()
        entries = manifest.shards[split]
        self._shards = [Shard(folder / entry["file"], entry["records"], files) for entry in entries]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        shard_index = int(np.searchsorted(self._ends, index, side="right"))
        shard, record = self._shards[shard_index], index
        if shard_index:
            record -= int(self._ends[shard_index - 1])
        data = shard.read(record)
        try:
            example = parse_example(data)
            example.check(self.vocabulary_size)
        except ValueError as error:
            raise shard.damaged(record, str(error)) from error
        return dataclasses.replace(example, patch=self._scaler.scale(example.patch))


class DatasetWriter:
    """Writes a dataset into an existing folder: its shards in order, then the manifest.

    Files that are in the folder already become side files of the dataset.

    Raises:
        ValueError: unknown scaling.
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
        """The next shard of a split; the first `keep` bytes of its file are kept.

        Yields a function that appends examples and returns the size of the shard in bytes. What it
        has written survives a kill of the process.

        Raises:
            ValueError: an example does not fit the schema, or is a duplicate.
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
        preparation: dict[str, Any],
    ) -> Manifest:
        """Writes the schema and the manifest with the scaler of the training patches.

        Raises:
            ValueError: there are no training patches, or all their values are equal.
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
            preparation=preparation,
        ).save(self._folder)
        return Manifest.load(self._folder)

    def scaler(self) -> Scaler:
        """The scaler of the training patches so far. Raises ValueError like `finish`."""
        return self._range.scaler()

    def _check(self, example: Example) -> None:
        try:
            example.check(len(self._vocabulary))
            if example.key in self._keys:
                raise ValueError("duplicate example")
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
    """Writes given examples as a dataset into an existing folder.

    Args:
        name: of the corpus, for reports.
        fingerprint: of what the examples were made from; any text that differs where they do.
        front_end: settings of the log-mel, `FrontEnd.to_dict`.
        vocabulary: the tags, in the order of the examples' indices.
        splits: the examples of each of SPLITS, in their order on disk; each is accessed once.
        scaling: one of SCALINGS; `none` if the patches are scaled already.
        settings: what made the examples; by default, at the level of the recording and resampled by
            an unknown resampler.

    Raises:
        ValueError: an example does not fit the schema, or is a duplicate.
        DatasetError: the folder holds a dataset already, or parts of one.
    """
    for path in storage.path(folder).iterdir():
        if path.name == MANIFEST or SHARD_MARK in path.name or path.is_dir():
            raise DatasetError(f"{path}: in the way of a new dataset. Fix: choose an empty folder")
    writer = DatasetWriter(folder, vocabulary, scaling)
    total = sum(len(splits[split]) for split in SPLITS)
    with tqdm(total=total, unit="example", desc="writing examples") as progress:
        for split in SPLITS:
            shards = -(-len(splits[split]) // RECORDS_PER_SHARD)
            indices = iter(range(len(splits[split])))
            for shard in range(shards):
                with writer.shard(split, shard_name(split, shard, shards)) as write:
                    for index in itertools.islice(indices, RECORDS_PER_SHARD):
                        write([splits[split][index]])
                        progress.update()
    return writer.finish(
        name=name,
        fingerprint=fingerprint,
        settings={"level": "recorded", "resampler": "unknown", "scaling": scaling}
        | (settings or {}),
        front_end=front_end,
        tag_processing=tag_processing,
        preparation={},
    )
