"""Writes the shards of a plan: the map from its sounds to records, resumable after a kill."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from absl import logging
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from coala_jax.data.dataset import RECORDS_PER_SHARD, DatasetWriter
from coala_jax.data.schema import SPLITS, Example
from coala_jax.prefetch import prefetch
from coala_jax.preparation.extract import ExtractionResult, extract
from coala_jax.preparation.plan import Plan, PlannedShard
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.staging import Journal, Written
from coala_jax.preparation.summary import COPY, Results
from coala_jax.preparation.table import Sound


def write_shards(
    plan: Plan, audio: Path, settings: Settings, folder: Path, writer: DatasetWriter, workers: int
) -> dict[str, Results]:
    """Writes all shards into the folder, or the rest of those that a killed run has begun.

    Returns:
        The planned sounds of each split with their results, without the patches.
    """
    # Decoding, resampling, FFT and products all release the GIL: threads are enough. Each product
    # runs on one thread, since `workers` of them run at a time.
    with (
        tqdm(total=sum(map(len, plan.sounds.values())), unit="sound", desc="sounds") as progress,
        threadpool_limits(1),
        ThreadPoolExecutor(workers) as pool,
    ):
        return _ShardMap(plan, audio, settings, folder, writer, pool, workers, progress).write()


@dataclass
class _ShardMap:
    """The map from planned sounds to the records of shards."""

    plan: Plan
    audio: Path
    settings: Settings
    folder: Path
    writer: DatasetWriter
    pool: ThreadPoolExecutor
    workers: int
    progress: tqdm
    training: dict[str, str] = field(default_factory=dict)  # digest of a training waveform -> file

    def write(self) -> dict[str, Results]:
        results: dict[str, Results] = {}
        for split in SPLITS:  # validation last: it must hold no copy of a training sound
            shards = self.plan.shards(split, RECORDS_PER_SHARD, self.settings.patches_per_sound)
            results[split] = list(chain(*(self._write_shard(split, shard) for shard in shards)))
            if split == "train":
                self.training = {r.digest: s.file for s, r in results[split] if not r.error}
        return results

    def _write_shard(self, split: str, shard: PlannedShard) -> Results:
        """Writes one shard, or the rest of one that a killed run has begun."""
        journal = Journal(self.folder.with_name(f"{shard.name}.jsonl"))
        done = journal.recover(shard.sounds, self.folder / shard.name)
        done = self._still_valid(shard.sounds, done)
        self.progress.update(len(done))
        if done:
            logging.info("%s: resuming after %d sounds of an earlier run", shard.name, len(done))
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

    def _still_valid(self, sounds: Sequence[Sound], done: list[Written]) -> list[Written]:
        """The results before the first that may differ now from the run that was killed.

        A sound that failed may be readable now, and if it is a training sound, a validation sound
        may turn out to be its copy.
        """
        for index, (sound, (result, _)) in enumerate(zip(sounds, done, strict=False)):
            is_mended = bool(result.error) and not self._extract(sound).error
            if is_mended or result.digest in self.training:
                return done[:index]
        return done

    def _extract(self, sound: Sound) -> ExtractionResult:
        result = extract(self.audio / sound.file, self.settings)
        if (original := self.training.get(result.digest)) is None:
            return result
        return ExtractionResult(error=COPY, cause=f"same samples as the training sound {original}")

    def _extract_all(self, sounds: Sequence[Sound]) -> Iterator[ExtractionResult]:
        """The results in order, a few of them computed ahead."""
        return prefetch(self.pool, self._extract, sounds, 2 * self.workers)

    def _examples(self, sound: Sound, result: ExtractionResult) -> list[Example]:
        tags = self.plan.vocabulary.indices(sound.tags)
        source = sound.source or self.settings.name
        return [
            Example(patch, tags, sound.file, frame, source, sound.group)
            for patch, frame in zip(result.patches, result.frames, strict=True)
        ]
