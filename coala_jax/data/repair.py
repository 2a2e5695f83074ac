"""Makes a damaged dataset anew from what is whole in it; nothing of the damaged one is lost."""

import dataclasses
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

from coala_jax import storage
from coala_jax.data.integrity import CheckedShard, Report, count_tags, verify
from coala_jax.data.schema import (
    MANIFEST,
    MINIMUM_EXAMPLES,
    REPAIRED,
    SHARD_MARK,
    SPLITS,
    Manifest,
    digest_side_files,
    shard_name,
    write_schema,
)
from coala_jax.data.tfrecord import DatasetError, write_shard

_OUTDATED = ("report.md", "report.png")  # tell of the dataset as it was made


def repair(dataset: Path, *, show_progress: bool = False) -> str:
    """Puts what is whole of the dataset in its place, and the damaged one aside.

    Whole shards stay as they are, damaged ones are written again without what is damaged in them,
    all in the same order; what the counts of records appear in is made anew. Damaged files of other
    kinds, such as reports, are left out. The damaged dataset becomes DATASET.damaged.

    Returns:
        What was done and what is lost, in lines.

    Raises:
        DatasetError: the manifest is damaged, too little is whole, or DATASET.damaged exists.
    """
    dataset = dataset.resolve()
    aside = dataset.with_name(dataset.name + ".damaged")
    if aside.exists() and not dataset.exists():
        raise DatasetError(
            f"{dataset}: an earlier repair was interrupted; rename {aside} to it and repair again"
        )
    report = verify(dataset, show_progress=show_progress)
    if report.manifest is None:
        raise DatasetError(
            f"{report.problems[0]}. This cannot be repaired, since the scaler and the front end "
            "stand in the manifest alone"
        )
    if not report.problems:
        return f"{report}; nothing to repair"
    if aside.exists():
        raise DatasetError(f"{aside}: it is there from an earlier repair; move it away first")
    kept = _kept(report)
    temporary = dataset.with_name(dataset.name + ".repaired.tmp")
    _clear(temporary, report.manifest)
    _write(temporary, report, kept)
    remaining = verify(temporary, show_progress=show_progress)
    if remaining.problems:
        raise DatasetError(f"{temporary}: the repair did not succeed:\n{remaining}")
    dataset.rename(aside)
    temporary.rename(dataset)
    storage.sync(dataset.parent)
    return "\n".join(_say(report, kept, set(remaining.manifest.side_files)))


def _clear(temporary: Path, manifest: Manifest) -> None:
    """Makes the folder, or empties it of what a repair that was stopped left there."""
    temporary.mkdir(exist_ok=True)
    for path in temporary.iterdir():
        if path.name.split(".tmp")[0] not in {MANIFEST, *manifest.side_files} and (
            SHARD_MARK not in path.name
        ):
            raise DatasetError(f"{path}: it is in the way of the repair; move it away")
    shutil.rmtree(temporary)
    temporary.mkdir()


def _kept(report: Report) -> dict[str, list[CheckedShard]]:
    """The shards of each split with whole records in them."""
    kept = {}
    for split, entries in report.manifest.shards.items():
        shards = [report.shards[entry["file"]] for entry in entries]
        kept[split] = [shard for shard in shards if shard.found]
        records = sum(len(shard.found) for shard in shards)
        if records < min(MINIMUM_EXAMPLES, report.manifest.counts[split]):
            raise DatasetError(
                f"{report.dataset}: only {records} of {report.manifest.counts[split]} records of "
                f"{split} are whole, {MINIMUM_EXAMPLES} are needed; copy the dataset again from "
                "where it came from, or prepare it again"
            )
    return kept


def _write(folder: Path, report: Report, kept: dict[str, list[CheckedShard]]) -> None:
    """Makes the repaired dataset in an empty folder."""
    old = report.manifest
    entries = {entry["file"]: entry for split in old.shards.values() for entry in split}
    shards = {
        split: [
            _take(
                report.dataset / shard.file,
                folder / shard_name(split, number, len(kept[split])),
                shard,
                entries[shard.file],
            )
            for number, shard in enumerate(kept[split])
        ]
        for split in SPLITS
    }
    write_schema(folder, old.vocabulary, shards)
    left_out = {problem.file for problem in report.problems}
    lost = sum(old.counts.values()) > sum(entry["records"] for s in SPLITS for entry in shards[s])
    if lost:
        left_out.update(_OUTDATED)
    for name in old.side_files:
        if name not in left_out and not (folder / name).exists():
            _link(report.dataset / name, folder / name)
    train = itertools.chain(*(shard.found for shard in kept["train"]))
    dataclasses.replace(
        old,
        fingerprint=REPAIRED + old.fingerprint.removeprefix(REPAIRED) if lost else old.fingerprint,
        tag_counts=count_tags(train, len(old.vocabulary)),
        counts={split: sum(entry["records"] for entry in shards[split]) for split in SPLITS},
        shards=shards,
        side_files=digest_side_files(folder),
    ).save(folder)


def _take(source: Path, target: Path, shard: CheckedShard, entry: dict[str, Any]) -> dict[str, Any]:
    """Takes over the shard, or what is whole in it, and returns its entry in the manifest."""
    if not shard.problems:
        _link(source, target)
        return entry | {"file": target.name}
    content = storage.read_bytes(source)
    return write_shard(target, (content[found.span.data] for found in shard.found))


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where the file system knows no such thing."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
        storage.sync(target)


def _say(report: Report, kept: dict[str, list[CheckedShard]], side_files: set[str]) -> list[str]:
    """What is lost, file by file."""
    lines, damaged = [], {problem.file for problem in report.problems}
    for entry in itertools.chain(*report.manifest.shards.values()):
        shard = report.shards[entry["file"]]
        if lost := entry["records"] - len(shard.found):
            sounds = ", ".join(problem.sound for problem in shard.problems if problem.sound)
            named = f" (as far as can be read: {sounds})" if sounds else ""
            lines.append(f"{shard.file}: {lost} of {entry['records']} records lost{named}")
    lines += [
        f"{name}: left out, since it is {'damaged' if name in damaged else 'outdated'}"
        for name in report.manifest.side_files
        if name not in side_files
    ]
    lines += [f"{remark}; left out" for remark in report.remarks]
    records = sum(len(shard.found) for shards in kept.values() for shard in shards)
    total = sum(report.manifest.counts.values())
    aside = f"{report.dataset}.damaged"
    lines.append(f"{report.dataset}: {records} of {total} records kept; as it was, it is {aside}")
    return lines
