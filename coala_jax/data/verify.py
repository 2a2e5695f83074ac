"""Finds all that is wrong in a dataset, reading every byte of it.

    python -m coala_jax.data.verify DATASET

Exits with 0 if the dataset is whole, else with 1.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
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
from coala_jax.data.tfrecord import DatasetError, Span, walk


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where."""

    file: str  # in the dataset
    cause: str
    record: int | None = None  # in its shard
    offset: int | None = None  # in bytes, in the file
    sound: str = ""  # id of the damaged record, as far as that can be read

    def __str__(self) -> str:
        record = "" if self.record is None else f": record {self.record}"
        offset = "" if self.offset is None else f" at byte {self.offset}"
        sound = f" (it seems to be of {self.sound})" if self.sound else ""
        return f"{self.file}{record}{offset}: {self.cause}{sound}"


class Found(NamedTuple):
    """A whole record of a shard."""

    span: Span
    key: tuple[str, int]  # of its example; file and record where no manifest tells the schema
    tags: Int64[np.ndarray, " tag"]  # of its example


@dataclass
class CheckedShard:
    """What one shard holds."""

    file: str
    found: list[Found] = field(default_factory=list)  # and worth keeping
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Report:
    """What `verify` found."""

    dataset: Path
    manifest: Manifest | None = None  # none if it cannot be used
    shards: dict[str, CheckedShard] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    bytes_read: int = 0

    def __str__(self) -> str:
        lines = [*map(str, self.problems), *(f"remark: {remark}" for remark in self.remarks)]
        records = sum(len(shard.found) for shard in self.shards.values())
        if not self.problems:
            shards = len(self.shards)
            state = f"{records} records in {shards} shards, {self.bytes_read} bytes, all whole"
        else:
            plural = "s" * (len(self.problems) > 1)
            state = f"{len(self.problems)} problem{plural}; {records} records are whole"
            state += (
                ". Fix: copy the damaged files again, or delete the dataset and prepare it again"
            )
        return "\n".join([*lines, f"{self.dataset}: {state}"])


def verify(dataset: Path, *, show_progress: bool = False) -> Report:
    """Lists all that is wrong with the dataset, after reading every byte of it.

    Where the manifest cannot be used, the checksums in the shards that lie there are looked at.

    Raises:
        DatasetError: there is no such folder.
    """
    if not dataset.is_dir():
        raise DatasetError(f"{dataset}: there is no such folder; correct the path")
    report = Report(dataset)
    try:
        manifest = report.manifest = Manifest.load(dataset)
    except DatasetError as error:
        manifest = None
        cause = str(error).removeprefix(f"{dataset / MANIFEST}: ")
        report.problems.append(Problem(MANIFEST, cause))
    there = {path.name: path.stat().st_size for path in sorted(dataset.iterdir()) if path.exists()}
    if manifest is None:
        entries = {name: None for name in there if SHARD_MARK in name}
        side_files, vocabulary_size, stranger = {}, 0, "it cannot be checked"
    else:
        entries = {entry["file"]: entry for entry in itertools.chain(*manifest.shards.values())}
        side_files, vocabulary_size = manifest.side_files, len(manifest.vocabulary)
        stranger = f"{MANIFEST} does not name it"
    known = [MANIFEST, *entries, *side_files]
    report.remarks = [f"{name}: {stranger}" for name in there if name not in known]
    report.bytes_read = sum(there.get(name, 0) for name in known)
    with _progress(report.bytes_read, show_progress) as progress:
        progress.update(there.get(MANIFEST, 0))
        for name, entry in entries.items():
            report.shards[name] = check_shard(dataset / name, entry, vocabulary_size)
            progress.update(there.get(name, 0))
        _drop_repeated(report.shards.values())
        for shard in report.shards.values():
            report.problems += shard.problems
        for name, digest in side_files.items():
            report.problems += check_side_file(dataset / name, digest)
            progress.update(there.get(name, 0))
    if manifest is not None:
        report.problems += _check_counts(manifest, report.shards)
    return report


def _progress(size: int, show: bool) -> tqdm:
    return tqdm(total=size, unit="B", unit_scale=True, desc="reading", disable=not show)


def check_shard(
    path: Path, entry: dict[str, Any] | None = None, vocabulary_size: int = 0
) -> CheckedShard:
    """Walks a shard record by record and compares it with its entry in the manifest.

    Without an entry the checksums alone are looked at: the records may be of another schema.
    """
    shard = CheckedShard(path.name)
    try:
        content = storage.read_bytes(path)
    except OSError as error:
        shard.problems.append(_unreadable(path, error))
        return shard
    is_own = False
    if entry is not None:
        size = entry["bytes"]
        if len(content) != size:
            cause = f"it has {len(content)} bytes where the manifest says {size}"
            shard.problems.append(Problem(path.name, cause, offset=min(len(content), size)))
        is_own = storage.sha256(content[:size]) == entry["sha256"]
        content = content[:size] if is_own else content  # without what follows its own end
    spans = 0
    for span in walk(content):
        spans += 1
        if entry is None and not span.cause:
            shard.found.append(Found(span, (path.name, span.record), np.array([], np.int64)))
            continue
        example, cause = _read(content[span.data], span.cause, vocabulary_size)
        if cause:
            sound = example.id if example else ""
            shard.problems.append(Problem(path.name, cause, span.record, span.offset, sound))
        elif example:
            shard.found.append(Found(span, example.key, example.tags))
    if entry is not None:
        causes = _compare(shard, spans, content, entry, is_own)
        shard.problems += [Problem(path.name, cause) for cause in causes]
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


def _compare(
    shard: CheckedShard, spans: int, content: bytes, entry: dict[str, Any], is_own: bool
) -> list[str]:
    """What is wrong with a shard as a whole; takes off the records of another dataset."""
    causes = []
    if spans != entry["records"]:
        causes.append(f"{spans} records where the manifest says {entry['records']}")
    if is_own and google_crc32c.value(content) != entry["crc32c"]:
        causes.append("its CRC-32C is not the manifest's, though its SHA-256 is")
    if not is_own and len(shard.found) == spans >= entry["records"]:
        # Damage would show in a checksum or a lack, so this is no damage.
        shard.found.clear()
        causes.append(
            "its records are whole but its SHA-256 is not the manifest's: it is of another dataset"
        )
    return causes


def check_side_file(path: Path, digest: str) -> list[Problem]:
    """Compares a file that is no shard with its digest in the manifest."""
    try:
        found = storage.file_sha256(path)
    except OSError as error:
        return [_unreadable(path, error)]
    return [] if found == digest else [Problem(path.name, "it is not as it was written")]


def _unreadable(path: Path, error: OSError) -> Problem:
    missing = isinstance(error, FileNotFoundError)
    return Problem(path.name, "the file is missing" if missing else f"it cannot be read ({error})")


def _drop_repeated(shards: Iterable[CheckedShard]) -> None:
    """Leaves every example in one shard: of two, the one in a shard that has no other problem."""
    first: dict[tuple[str, int], str] = {}
    for shard in sorted(shards, key=lambda shard: bool(shard.problems)):
        kept = []
        for found in shard.found:
            if found.key in first:
                sound, frame = found.key
                cause = f"frame {frame} of {sound} comes a second time, after {first[found.key]}"
                place = found.span.record, found.span.offset
                shard.problems.append(Problem(shard.file, cause, *place))
                continue
            first[found.key] = f"record {found.span.record} of {shard.file}"
            kept.append(found)
        shard.found[:] = kept


def count_tags(found: Iterable[Found], vocabulary_size: int) -> list[int]:
    """How many of these records have each tag."""
    counts = np.zeros(vocabulary_size, np.int64)
    for record in found:
        counts[record.tags] += 1
    return counts.tolist()


def _check_counts(manifest: Manifest, shards: dict[str, CheckedShard]) -> Iterator[Problem]:
    """What the manifest says twice, or says of all records together."""
    for split, entries in manifest.shards.items():
        records = sum(entry["records"] for entry in entries)
        if records != manifest.counts[split]:
            cause = f"it counts {manifest.counts[split]} examples in {split}, its shards {records}"
            yield Problem(MANIFEST, cause)
    for name in (FEATURES, DATASET_INFO):
        if name not in manifest.side_files:
            yield Problem(MANIFEST, f"it does not name {name}")
    train = [shards[entry["file"]] for entry in manifest.shards["train"]]
    if any(shard.problems for shard in train):
        return  # what is missing there would be reported twice
    found = itertools.chain(*(shard.found for shard in train))
    if count_tags(found, len(manifest.vocabulary)) != manifest.tag_counts:
        yield Problem(MANIFEST, "its tag_counts are not those of the training examples")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="coala_jax.data.verify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", type=Path, help="the folder of the dataset")
    flags = parser.parse_args(argv)
    try:
        report = verify(flags.dataset, show_progress=True)
    except (DatasetError, OSError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("verify: interrupted; run it again")
