"""Sound files to vectors: each file is decoded once for all evaluators, the vectors are cached.

extracted = extract(root, files, load_evaluators(["runs/a/model", "mfcc"]), "paper", cache)
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from coala_jax import storage
from coala_jax.audio.decode import DecodeError, load
from coala_jax.audio.frontend import Waveform
from coala_jax.embedding.pooling import check_policy
from coala_jax.evaluation.evaluators import Evaluator, Vectors
from coala_jax.evaluation.vector_cache import VectorCache
from coala_jax.evaluation.vector_table import VectorTable
from coala_jax.prefetch import prefetch

# A block is cached when either is reached; so much sound takes 256 MiB.
_BLOCK_CLIPS = 256
_BLOCK_SAMPLES = 2**26


@dataclass(frozen=True)
class Extracted:
    """The vectors of all files that could be read.

    files: those files in the order given, which is that of the vectors' rows.
    vectors: by the evaluator's name.
    digests: by file, the SHA-256 of its bytes in hex; only those in `files`.
    failures: the other files, and why each failed.
    """

    files: tuple[str, ...]
    vectors: dict[str, Vectors]
    digests: dict[str, str]
    failures: dict[str, str]


def extract(
    root: Path,
    files: Sequence[str],
    evaluators: Sequence[Evaluator | VectorTable],
    policy: str,
    cache: storage.PathLike,
    *,
    workers: int | None = None,
) -> Extracted:
    """The vectors of `files`, from the cache where they are known.

    Equal files are decoded and embedded once. Failures are not cached: the cause may be gone.
    Files are not decoded for a table of vectors, which must have one of each.

    Args:
        root: what `files` are relative to.
        policy: for clips that fill no patch, of `embedding.pooling`.
        workers: threads that decode, by default one per core.

    Raises:
        ValueError: two evaluators have the same name, the policy is unknown, or a table lacks the
            vector of a file that could be read.
    """
    check_policy(policy)
    names = [evaluator.name for evaluator in evaluators]
    if len(set(names)) < len(names):
        raise ValueError(f"evaluators must have different names, got {', '.join(names)}")
    workers = workers or os.cpu_count() or 1
    digests, failures = _digests(root, files, workers)
    paths = {digest: root / file for file, digest in digests.items()}
    caches = {
        evaluator.digest: VectorCache(evaluator, policy, cache, paths.keys())
        for evaluator in evaluators
        if not isinstance(evaluator, VectorTable)
    }
    failed = _fill(list(caches.values()), paths, workers)
    failures |= {file: failed[digest] for file, digest in digests.items() if digest in failed}
    good = {file: digests[file] for file in files if file not in failures}
    found = [file for file in files if file in good]
    rows = [digests[file] for file in found]
    return Extracted(
        files=tuple(found),
        vectors={
            one.name: one.vectors_of(root, found, good)
            if isinstance(one, VectorTable)
            else caches[one.digest].rows(rows)
            for one in evaluators
        },
        digests=good,
        failures={file: failures[file] for file in files if file in failures},
    )


def _digests(
    root: Path, files: Sequence[str], workers: int
) -> tuple[dict[str, str], dict[str, str]]:
    """The SHA-256 of each readable file in hex, and why the others cannot be read."""

    def digest(file: str) -> tuple[str, str]:
        try:
            return storage.file_sha256(root / file), ""
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            cause = getattr(error, "strerror", None) or error
            return "", f"cannot be read ({cause}). Fix: correct the path, or leave it out"

    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(digest, files)
        shown = tqdm(found, total=len(files), unit="file", desc="hashing files", leave=False)
        results = dict(zip(files, shown, strict=True))
    digests = {file: digest for file, (digest, _) in results.items() if digest}
    return digests, {file: cause for file, (digest, cause) in results.items() if not digest}


def _fill(caches: Sequence[VectorCache], paths: dict[str, Path], workers: int) -> dict[str, str]:
    """Computes what the caches lack; returns digest -> cause of the files that failed."""
    failed = {}
    for rate_hz in dict.fromkeys(cache.evaluator.sample_rate_hz for cache in caches):
        mine = [cache for cache in caches if cache.evaluator.sample_rate_hz == rate_hz]
        lacking = {
            digest: path
            for digest, path in paths.items()
            if any(digest not in cache.known for cache in mine)
        }
        with (
            tqdm(
                total=len(paths),
                initial=len(paths) - len(lacking),
                unit="sound",
                desc="embedding sounds",
            ) as progress,
            ThreadPoolExecutor(workers) as pool,  # decoding releases Python's lock
        ):
            for block, causes in _blocks(_decoded(lacking, rate_hz, pool, 2 * workers)):
                failed |= causes
                for cache in mine:
                    failed |= cache.make(block)
                progress.update(len(block) + len(causes))
    return failed


def _decoded(
    paths: dict[str, Path], rate_hz: int, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[str, Waveform | str]]:
    """Each digest with its waveform, or why it failed; at most `ahead` wait in memory."""

    def one(item: tuple[str, Path]) -> tuple[str, Waveform | str]:
        digest, path = item
        try:
            return digest, load(path, rate_hz, allow_silence=True)
        except DecodeError as error:
            return digest, str(error).removeprefix(f"{path}: ")

    return prefetch(pool, one, paths.items(), ahead)


def _blocks(
    decoded: Iterable[tuple[str, Waveform | str]],
) -> Iterator[tuple[dict[str, Waveform], dict[str, str]]]:
    """Waveforms by digest, as many as make a block, and the failures among them."""
    block, causes, samples = {}, {}, 0
    for digest, result in decoded:
        if isinstance(result, str):
            causes[digest] = result
        else:
            block[digest] = result
            samples += result.size
        if len(block) == _BLOCK_CLIPS or samples >= _BLOCK_SAMPLES:
            yield block, causes
            block, causes, samples = {}, {}, 0
    if block or causes:
        yield block, causes
