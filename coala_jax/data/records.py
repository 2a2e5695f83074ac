"""The dataset on disk: what writes it, what reads it, and the command that checks and mends it.

    python -m coala_jax.data.records verify DATASET
    python -m coala_jax.data.records repair DATASET

A dataset is a folder that `tfds.builder_from_directory` can load and that this room reads and
writes without TensorFlow: shards of serialised `tf.train.Example`, `features.json`,
`dataset_info.json`, and our `manifest.json` with what training and embedding need besides them.

`verify` reads every byte and lists all that is wrong. `repair` makes the dataset anew from what is
whole in it; the damaged one stays beside it as DATASET.damaged. Both exit with 0 if the dataset is
whole in the end, else with 1.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from coala_jax.data.example import Example, parse_example, serializer, shard_name, write_schema
from coala_jax.data.integrity import verify
from coala_jax.data.manifest import (
    MANIFEST,
    SHARD_MARK,
    SPLITS,
    Manifest,
    digest_side_files,
)
from coala_jax.data.repair import repair
from coala_jax.data.tfrecord import DatasetError, Shard, write_shard

RECORDS_PER_SHARD = 2048  # 75 MB: small enough to send, large enough for one read of a disk


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
        return example


def write_dataset(
    folder: Path,
    *,
    name: str,
    source: str,
    front_end: dict[str, Any],
    scaler: dict[str, Any],
    vocabulary: Sequence[str],
    splits: dict[str, Sequence[Example]],
    settings: dict[str, Any] | None = None,
    tag_processing: str = "paper",
) -> Manifest:
    """Writes shards, schema and manifest into an existing folder, each through to the disk.

    Files that lie there already, such as reports, become part of the dataset.

    Args:
        splits: the examples of each of SPLITS, in the order in which they shall lie on disk; each
            is asked for once.
        settings: what the preparation was told, to be kept with its result.

    Raises:
        ValueError: an example is not what the schema promises, or comes twice.
        DatasetError: the folder holds a dataset already, or parts of one.
    """
    for path in folder.iterdir():
        if path.name == MANIFEST or SHARD_MARK in path.name or path.is_dir():
            raise DatasetError(f"{path}: it is in the way of a new dataset; choose another folder")
    writer = _Writer(folder, vocabulary, sum(len(splits[split]) for split in SPLITS))
    with writer.progress:
        shards = {split: writer.write(split, splits[split]) for split in SPLITS}
    write_schema(folder, vocabulary, shards)
    manifest = Manifest(
        name=name,
        source=source,
        settings=settings or {},
        front_end=front_end,
        scaler=scaler,
        tag_processing=tag_processing,
        vocabulary=list(vocabulary),
        tag_counts=writer.tag_counts["train"].tolist(),
        counts={split: len(splits[split]) for split in SPLITS},
        shards=shards,
        side_files=digest_side_files(folder),
    )
    manifest.save(folder)
    return Manifest.load(folder)


class _Writer:
    """Turns examples into shards and counts what passes; holds one example at a time."""

    def __init__(self, folder: Path, vocabulary: Sequence[str], total: int) -> None:
        self.tag_counts = {split: np.zeros(len(vocabulary), np.int64) for split in SPLITS}
        self.progress = tqdm(total=total, unit="example", desc="examples to shards")
        self._folder, self._serialize = folder, serializer(vocabulary)
        self._keys: set[tuple[str, int]] = set()

    def write(self, split: str, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """Writes a split and returns the entries of its shards."""
        shards = -(-len(examples) // RECORDS_PER_SHARD)
        records = self._records(split, examples)
        return [
            write_shard(
                self._folder / shard_name(split, number, shards),
                itertools.islice(records, RECORDS_PER_SHARD),
            )
            for number in range(shards)
        ]

    def _records(self, split: str, examples: Sequence[Example]) -> Iterator[bytes]:
        counts = self.tag_counts[split]
        for number in range(len(examples)):
            example = examples[number]
            try:
                example.check(len(counts))
                if example.key in self._keys:
                    raise ValueError("it comes twice")
            except ValueError as error:
                raise ValueError(f"{example.id}, frame {example.frame}: {error}") from error
            self._keys.add(example.key)
            counts[example.tags] += 1
            yield self._serialize(example)
            self.progress.update()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="coala_jax.data.records", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=("verify", "repair"))
    parser.add_argument("dataset", type=Path, help="the folder of the dataset")
    flags = parser.parse_args(argv)
    try:
        if flags.command == "verify":
            report = verify(flags.dataset, show_progress=True)
            print(report)
            return 1 if report.problems else 0
        print(repair(flags.dataset, show_progress=True))
    except (DatasetError, OSError) as error:
        print(f"records: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("records: interrupted; run it again")
