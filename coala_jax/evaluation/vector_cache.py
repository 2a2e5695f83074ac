"""Vectors cached on disk, by the content of their sound files."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.audio.decode import MAX_PEAK
from coala_jax.audio.frontend import Waveform
from coala_jax.embedding import embedder
from coala_jax.evaluation import baselines, cache
from coala_jax.evaluation.evaluators import Evaluator, Vectors

_TOO_LOUD = "its samples reach {:.4g}, where full scale is 1. Fix: export it again"
_MODULES = (decode.__name__, embedder.__name__, baselines.__name__)  # compute the vectors


class VectorCache:
    """The wanted vectors of one evaluator and policy, in memory and on disk.

    On disk it is a folder of blocks: vectors with the SHA-256 of their sound files, whatever the
    files' names and tasks. A block is written whole or not at all, so that re-running after a kill
    reuses existing blocks.

    known: vectors by the SHA-256 of the file, in hex.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        policy: str,
        folder: storage.PathLike,
        wanted: Collection[str],
    ) -> None:
        self.evaluator = evaluator
        self.known: dict[str, Float32[np.ndarray, " dim"]] = {}
        self._policy = policy
        name = cache.key([evaluator.digest, policy], *_MODULES)
        self._folder = storage.path(folder) / name
        for file in sorted(self._folder.glob("*.npz")):
            if (block := storage.read_arrays(file)) is None:
                file.unlink(missing_ok=True)  # else every run would warn of it
                continue
            rows = zip(block["files"].astype("U64").tolist(), block["vectors"], strict=True)
            self.known |= {digest: vector for digest, vector in rows if digest in wanted}

    def make(self, block: dict[str, Waveform]) -> dict[str, str]:
        """Computes and caches the unknown vectors; returns digest -> cause of failures."""
        digests = [digest for digest in block if digest not in self.known]
        failed = {}
        if getattr(self.evaluator, "level", "recorded") != "peak":  # which hears no loudness
            peaks = {digest: float(np.abs(block[digest]).max()) for digest in digests}
            failed = {d: _TOO_LOUD.format(peak) for d, peak in peaks.items() if peak > MAX_PEAK}
            digests = [digest for digest in digests if digest not in failed]
        if not digests:
            return failed
        vectors = self.evaluator.embed_clips((block[digest] for digest in digests), self._policy)
        finite = np.isfinite(vectors).all(axis=1)
        good = {digest: vectors[row] for row, digest in enumerate(digests) if finite[row]}
        if good:
            arrays = {"files": np.array(list(good), "S64"), "vectors": vectors[finite]}
            storage.write_arrays(self._folder / f"{storage.fingerprint(list(good))}.npz", arrays)
        self.known |= good
        cause = "its vector is not finite. Fix: leave it out, or scale its samples to [-1, 1]"
        return failed | {digest: cause for digest in digests if digest not in good}

    def rows(self, digests: Sequence[str]) -> Vectors:
        if not digests:
            return np.empty((0, 0), np.float32)
        return np.stack([self.known[digest] for digest in digests])
