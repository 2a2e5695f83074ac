"""Reads every byte of a dataset and lists all that is wrong with it.

`coala verify` is the command; `python -m coala_jax.data.verify` is another name of it.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from coala_jax import storage
from coala_jax.data.schema import (
    DATASET_INFO,
    FEATURES,
    MANIFEST,
    SHARD_MARK,
    Example,
    Manifest,
    parse_example,
)
from coala_jax.data.tfrecord import walk


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where.

    record: index in its shard.
    offset: in bytes, in the file.
    sound: id in the damaged record, as far as it can be read.
    """

    file: str
    cause: str
    record: int | None = None
    offset: int | None = None
    sound: str = ""

    def __str__(self) -> str:
        record = "" if self.record is None else f": record {self.record}"
        offset = "" if self.offset is None else f" at byte {self.offset}"
        sound = f" (probably of {self.sound})" if self.sound else ""
        return f"{self.file}{record}{offset}: {self.cause}{sound}"


class ValidRecord(NamedTuple):
    """A record that fits the schema: its place in the shard, its key and its tags."""

    record: int
    offset: int
    key: tuple[str, int]
    tags: Int64[np.ndarray, " tag"]


@dataclass
class CheckedShard:
    """What one shard holds."""

    records: list[ValidRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Report:
    """What `verify` found."""

    dataset: Path
    bytes_read: int
    shards: int = 0
    records: int = 0  # valid ones
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        found = f"{self.records} valid records in {self.shards} shards, {self.bytes_read} bytes"
        count = len(lines)
        verdict = (
            f"{count} problem{'s' * (count > 1)}. Fix: copy these files again, or delete the "
            "dataset and prepare it again"
        )
        return "\n".join([*lines, f"{self.dataset}: {found}: {verdict if lines else 'valid'}"])


def verify(dataset: Path, *, show_progress: bool = False) -> Report:
    """Reads every byte of the dataset and lists all problems.

    Raises:
        DatasetError: the manifest, by which the files are checked, is missing or invalid.
    """
    manifest = Manifest.load(dataset)
    sizes = {path.name: path.stat().st_size for path in dataset.iterdir() if path.is_file()}
    report = Report(dataset, sum(sizes.get(name, 0) for name in [MANIFEST, *manifest.digests()]))
    shards = {split: [] for split in manifest.shards}
    with tqdm(
        total=report.bytes_read,
        unit="B",
        unit_scale=True,
        desc="reading",
        disable=not show_progress,
    ) as progress:
        progress.update(sizes[MANIFEST])
        for split, entries in manifest.shards.items():
            for entry in entries:
                shard = check_shard(dataset / entry["file"], entry, len(manifest.vocabulary))
                shards[split].append((entry["file"], shard))
                report.problems += shard.problems
                progress.update(sizes.get(entry["file"], 0))
        for name, digest in manifest.side_files.items():
            report.problems += check_side_file(dataset / name, digest)
            progress.update(sizes.get(name, 0))
    everything = list(itertools.chain(*shards.values()))
    report.shards, report.records = len(everything), sum(len(s.records) for _, s in everything)
    report.problems += [
        Problem(name, f"a shard that {MANIFEST} does not list")
        for name in sorted(sizes.keys() - manifest.digests().keys())
        if SHARD_MARK in name
    ]
    report.problems += _duplicates(everything)
    report.problems += _check_counts(manifest, [shard for _, shard in shards["train"]])
    return report


def check_shard(path: Path, entry: dict[str, Any], vocabulary_size: int) -> CheckedShard:
    """Checks a shard record by record and against its entry in the manifest."""
    shard = CheckedShard()
    try:
        content = storage.read_bytes(path)
    except OSError as error:
        shard.problems.append(_unreadable(path, error))
        return shard
    size = entry["bytes"]
    if len(content) != size:
        cause = f"{len(content)} bytes where the manifest says {size}"
        shard.problems.append(Problem(path.name, cause, offset=min(len(content), size)))
        content = content[:size]
    spans = 0
    for span in walk(content):
        spans += 1
        example, cause = _read(content[span.data], span.cause, vocabulary_size)
        if cause:
            sound = example.id if example else ""
            shard.problems.append(Problem(path.name, cause, span.record, span.offset, sound))
        elif example:
            shard.records.append(ValidRecord(span.record, span.offset, example.key, example.tags))
    if spans != entry["records"]:
        cause = f"{spans} records where the manifest says {entry['records']}"
        shard.problems.append(Problem(path.name, cause))
    if storage.sha256(content) != entry["sha256"]:
        if not shard.problems:
            cause = "the records are valid but not those of the manifest (SHA-256 differs)"
            shard.problems.append(Problem(path.name, cause))
    elif google_crc32c.value(content) != entry["crc32c"]:
        shard.problems.append(Problem(path.name, "the CRC-32C in the manifest is wrong"))
    return shard


def _read(data: bytes, cause: str, vocabulary_size: int) -> tuple[Example | None, str]:
    """The example of a record, as far as it can be read, and what is wrong with it."""
    example = None
    try:
        example = parse_example(data)
        example.check(vocabulary_size)
    except ValueError as error:
        cause = cause or str(error)
    return example, cause


def check_side_file(path: Path, digest: str) -> list[Problem]:
    """Compares a file that is not a shard with its digest in the manifest."""
    try:
        found = storage.file_sha256(path)
    except OSError as error:
        return [_unreadable(path, error)]
    return [] if found == digest else [Problem(path.name, "damaged or edited")]


def _unreadable(path: Path, error: OSError) -> Problem:
    missing = isinstance(error, FileNotFoundError)
    return Problem(path.name, "missing" if missing else f"cannot be read ({error})")


def _duplicates(shards: Sequence[tuple[str, CheckedShard]]) -> Iterator[Problem]:
    """Examples that occur twice, in one shard or two."""
    first: dict[tuple[str, int], str] = {}
    for file, shard in shards:
        for record, offset, key, _ in shard.records:
            place = f"record {record} of {file}"
            if first.setdefault(key, place) != place:
                cause = f"frame {key[1]} of {key[0]} is also {first[key]}"
                yield Problem(file, cause, record, offset)


def _check_counts(manifest: Manifest, train: Sequence[CheckedShard]) -> Iterator[Problem]:
    """Contradictions within the manifest, and between its counts and the records."""
    for split, entries in manifest.shards.items():
        records = sum(entry["records"] for entry in entries)
        if records != manifest.counts[split]:
            cause = f"{manifest.counts[split]} examples in {split}, but {records} in its shards"
            yield Problem(MANIFEST, cause)
    for name in (FEATURES, DATASET_INFO):
        if name not in manifest.side_files:
            yield Problem(MANIFEST, f"{name} is not listed")
    if any(shard.problems for shard in train):
        return  # lost records would be reported twice
    counts = np.zeros(len(manifest.vocabulary), np.int64)
    for record in itertools.chain(*(shard.records for shard in train)):
        counts[record.tags] += 1
    if counts.tolist() != manifest.tag_counts:
        yield Problem(MANIFEST, "tag_counts are not those of the training examples")


if __name__ == "__main__":
    from coala_jax.cli.verify import main

    sys.exit(main())
