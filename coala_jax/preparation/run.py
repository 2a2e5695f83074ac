"""From a folder of sounds and a table of tags to a dataset: plan, extract, write (paper, 3.1).

The plan is made before a sound is decoded (`plan.py`). A pool of workers makes patches of each
sound (`extract.py`), which are appended to their shard in the plan's order, so that the bytes
depend neither on the number of workers nor on the order of the table. A run that was killed goes on
after the last sound that is whole on disk (`staging.py`). The dataset appears under its name when
it is whole.
"""

import csv
import importlib.metadata
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import StringIO
from itertools import chain
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from coala_jax import storage
from coala_jax.data.dataset import RECORDS_PER_SHARD, DatasetWriter
from coala_jax.data.schema import MANIFEST, SHARD_MARK, SPLITS, Example, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.preparation.equal_files import file_keys, file_size
from coala_jax.preparation.extract import ExtractionResult, extract
from coala_jax.preparation.plan import Plan, PlannedShard, check_enough, exclude_ids, make_plan
from coala_jax.preparation.report import write_report
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.staging import Journal, Written, discard_staging, staging_directory
from coala_jax.preparation.summary import COPY, FAILURES, UNTAGGED, Results, in_a_line, summarize
from coala_jax.preparation.table import Sound, TableError, read_table

_NAMED = 5  # failures on the terminal; the file lists them all
# What the bytes of a shard depend on besides sounds and settings.
_LIBRARIES = ("numpy", "scipy", "soundfile", "soxr")
_MODULES = ("coala_jax.preparation.extract", "coala_jax.preparation.plan")


def prepare(
    audio: Path,
    table: Path,
    out: Path,
    settings: Settings,
    *,
    exclude: frozenset[str] = frozenset(),
    workers: int = 2,
    allow_missing: bool = False,
) -> Manifest:
    """Makes the dataset `out`, or returns the one that is there if it was made from the same.

    The same means the same table, settings, and names and sizes of the sounds.

    Sounds that `exclude` names are left out (see `exclusion.names_of`). A sound that cannot be
    decoded is skipped and listed in `out/failures.csv`; it moves neither vocabulary nor split. With
    `allow_missing` that holds for files that are not there, too. Stopped at any moment and started
    again, it goes on with what lies in `OUT.work`, and ends with the same bytes.

    Raises:
        TableError: the table cannot be used, or names sounds that are not in `audio`.
        DatasetError: `out` is something else, or no sound, no tag or no validation sound is left.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    listed = read_table(table, settings.columns, settings.processing)
    sounds = _without_excluded(listed, exclude, table)
    sizes = {sound.file: file_size(audio / sound.file) for sound in sounds}
    _check_missing(sizes, audio, table, allow_missing)
    rows = [[s.file, sizes[s.file], s.tags, s.group, s.source] for s in sounds]
    fingerprint = storage.fingerprint([settings.to_dict(), settings.front_end.to_dict(), rows])
    if out.exists() and any(out.iterdir()):
        manifest = _reuse(out, fingerprint, settings)
        discard_staging(out)
        return manifest
    try:
        plan = make_plan(len(listed), sounds, settings, file_keys(audio, sizes, workers))
        _check_disk(out, plan, settings)
        versions = [importlib.metadata.version(name) for name in _LIBRARIES]
        begun = storage.fingerprint([fingerprint, versions, storage.source_digests(_MODULES)])
        with staging_directory(out, begun) as staging:
            manifest = _write(plan, audio, settings, staging, workers, fingerprint)
            (staging / "dataset").rename(out)
            shutil.rmtree(staging)
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{table}: {error}") from error
    return manifest


def _write(
    plan: Plan, audio: Path, settings: Settings, staging: Path, workers: int, fingerprint: str
) -> Manifest:
    """Writes the dataset, or what is missing of it, into a folder of the staging directory."""
    folder = staging / "dataset"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if SHARD_MARK not in path.name:
            path.unlink()  # a run that was killed had begun to write it
    writer = DatasetWriter(folder, plan.vocabulary.tags, settings.scaling)
    # Decoding, resampling, FFT and products all release Python's lock: threads are enough. One
    # thread a product, since the workers are as many as shall run.
    with (
        tqdm(total=sum(map(len, plan.sounds.values())), unit="sound", desc="sounds") as progress,
        threadpool_limits(1),
        ThreadPoolExecutor(workers) as pool,
    ):
        results = _Shards(plan, audio, settings, folder, writer, pool, workers, progress).write()
    _write_failures(folder, audio, results)
    _write_untagged(folder, plan.untagged)
    check_enough({s: sum(not r.error for _, r in some) for s, some in results.items()})
    summary = summarize(plan, settings, results, writer.scaler())
    write_report(folder, summary)
    print(in_a_line(summary))
    return writer.finish(
        name=settings.name,
        fingerprint=fingerprint,
        settings=settings.to_dict(),
        front_end=settings.front_end.to_dict(),
        tag_processing=settings.processing,
    )


@dataclass
class _Shards:
    """The map from planned sounds to the records of shards."""

    plan: Plan
    audio: Path
    settings: Settings
    folder: Path
    writer: DatasetWriter
    pool: ThreadPoolExecutor
    workers: int
    progress: tqdm
    heard: dict[str, str] = field(default_factory=dict)  # digest of a training waveform -> its file

    def write(self) -> dict[str, Results]:
        """All shards; of each split its sounds with their results, without the patches."""
        results: dict[str, Results] = {}
        for split in SPLITS:  # validation last: it may hold no copy of a training sound
            shards = self.plan.shards(split, RECORDS_PER_SHARD, self.settings.patches_per_sound)
            results[split] = list(chain(*(self._write_shard(split, shard) for shard in shards)))
            if split == "train":
                self.heard = {r.digest: sound.file for sound, r in results[split] if not r.error}
        return results

    def _write_shard(self, split: str, shard: PlannedShard) -> Results:
        """One shard, or what a killed run left to do of it."""
        journal = Journal(self.folder.with_name(f"{shard.name}.jsonl"))
        done = journal.recover(shard.sounds, self.folder / shard.name)
        done = self._still_right(shard.sounds, done)
        self.progress.update(len(done))
        if done:
            tqdm.write(f"{shard.name}: going on after {len(done)} sounds of an earlier run")
        results, rest = [written.result for written in done], shard.sounds[len(done) :]
        with (
            journal.append_after(shard.sounds, done),
            self.writer.shard(split, shard.name, done[-1].shard_bytes if done else 0) as write,
        ):
            for sound, result in zip(rest, self._extract_all(rest), strict=True):
                size = write(self._examples(sound, result))
                results.append(replace(result, patches=()))
                journal.append(sound, Written(results[-1], size))
                self.progress.update()
        return list(zip(shard.sounds, results, strict=True))

    def _still_right(self, sounds: Sequence[Sound], done: list[Written]) -> list[Written]:
        """Those before the first that would come out otherwise than in the run that was killed.

        A sound that failed may be readable now, and if it is to train on, equal one of validation.
        """
        for place, (sound, (result, _)) in enumerate(zip(sounds, done, strict=False)):
            is_mended = bool(result.error) and not self._extract(sound).error
            if is_mended or result.digest in self.heard:
                return done[:place]
        return done

    def _extract(self, sound: Sound) -> ExtractionResult:
        result = extract(self.audio / sound.file, self.settings)
        if (training := self.heard.get(result.digest)) is None:
            return result
        cause = f"it equals the training sound {training}, sample for sample"
        return ExtractionResult(error=COPY, cause=cause)

    def _extract_all(self, sounds: Sequence[Sound]) -> Iterator[ExtractionResult]:
        """The results in order, with a few of them waiting in memory."""
        waiting = deque()
        try:
            for sound in sounds:
                waiting.append(self.pool.submit(self._extract, sound))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _examples(self, sound: Sound, result: ExtractionResult) -> list[Example]:
        tags = self.plan.vocabulary.indices(sound.tags)
        source = sound.source or self.settings.name
        return [
            Example(patch, tags, sound.file, frame, source, sound.group)
            for patch, frame in zip(result.patches, result.frames, strict=True)
        ]


def _without_excluded(listed: Sequence[Sound], ids: frozenset[str], table: Path) -> Sequence[Sound]:
    """The sounds that no id names; says how many ids name one, for a list that is meant for others
    protects nothing."""
    if not ids:
        return listed
    sounds, matched = exclude_ids(listed, ids)
    print(
        f"{len(listed) - len(sounds)} of {len(listed)} sounds are excluded by "
        f"{matched} of {len(ids)} ids"
    )
    if not sounds:
        raise TableError(f"{table}: all its {len(listed)} sounds are excluded; look at --exclude")
    return sounds


def _check_missing(sizes: dict[str, int], audio: Path, table: Path, allow_missing: bool) -> None:
    if not audio.is_dir():
        raise TableError(f"{audio}: there is no such folder; correct --audio")
    missing = [file for file, size in sizes.items() if size < 0]
    if missing and not allow_missing:
        named = ", ".join(missing[:_NAMED]) + (" ..." if len(missing) > _NAMED else "")
        raise TableError(
            f"{table}: {len(missing)} of its {len(sizes)} sounds are not in {audio}: {named}; "
            "correct --audio or the table, or leave them out with --allow_missing"
        )


def _check_disk(out: Path, plan: Plan, settings: Settings) -> None:
    """Refuses before hours of work."""
    front_end = settings.front_end
    sounds = sum(map(len, plan.sounds.values()))
    patch_bytes = 4 * front_end.mel_bands * front_end.patch_frames
    needed = patch_bytes * sounds * max(1, settings.patches_per_sound)
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatasetError(
            f"{out}: {sounds} sounds need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "choose another --out"
        )


def _write_failures(folder: Path, audio: Path, results: dict[str, Results]) -> None:
    """Names what was skipped. Raises DatasetError when that is every sound."""
    pairs = sorted(chain(*results.values()), key=lambda pair: pair[0].file)
    failures = [(sound.file, result) for sound, result in pairs if result.error]
    _write_csv(
        folder / FAILURES,
        ("file", "error", "cause"),
        [(file, result.error, result.cause) for file, result in failures],
    )
    if len(failures) == len(pairs):
        causes = Counter(result.error for _, result in failures).most_common()
        counted = ", ".join(f"{count} {error}" for error, count in causes)
        raise DatasetError(
            f"{audio}: not one of {len(pairs)} sounds could be read ({counted}); "
            f"each has its cause in {folder / FAILURES}"
        )
    if failures:
        print(f"{len(failures)} of {len(pairs)} sounds are left out (all in {FAILURES}):")
        for file, result in failures[:_NAMED]:
            print(f"  {file}: {result.cause}")


def _write_untagged(folder: Path, sounds: Sequence[Sound]) -> None:
    rows = [(sound.file, " ".join(sound.tags)) for sound in sounds]
    _write_csv(folder / UNTAGGED, ("file", "tags"), rows)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes the table, or no file where it has no rows."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    storage.write_text(path, text.getvalue())


def _reuse(out: Path, fingerprint: str, settings: Settings) -> Manifest:
    if not (out / MANIFEST).is_file():
        raise DatasetError(f"{out}: it exists and is no dataset; choose another --out")
    try:
        manifest = Manifest.load(out)
    except DatasetError as error:
        raise DatasetError(f"{error}. Fix: delete {out}, or choose another --out") from error
    if manifest.fingerprint != fingerprint:
        wanted = settings.to_dict() | settings.front_end.to_dict()
        found = manifest.settings | manifest.front_end
        differing = [name for name, value in wanted.items() if found.get(name) != value]
        what = f"with another {', '.join(differing)}" if differing else "from other sounds or tags"
        raise DatasetError(
            f"{out}: it holds a dataset made {what}; choose another --out, or delete it"
        )
    manifest.check_files(out)
    print(f"{out}: the dataset is there already, made from the same table, settings and file sizes")
    if (out / FAILURES).exists():
        print(f"  {FAILURES} names the sounds it lacks; to try them again, delete the dataset")
    return manifest
