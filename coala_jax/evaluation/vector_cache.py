"""Vectors kept on disk, by the content of the sound files that they belong to."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.audio.frontend import Waveform
from coala_jax.embedding import embedder
from coala_jax.evaluation import baselines, cache
from coala_jax.evaluation.evaluators import Evaluator, Vectors

# What makes a vector of a file.
_MODULES = (decode.__name__, embedder.__name__, baselines.__name__)


class VectorCache:
    """The vectors of one evaluator, policy and level that are wanted, in memory and on disk.

    On disk it is a folder of parts: vectors, each with the SHA-256 of its sound file. What is known
    of a file does not depend on its name, or on the task. A part is there whole or not at all, so
    that a run that was stopped goes on.

    known: by the SHA-256 of the file, in hex.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        policy: str,
        level: str,
        folder: storage.PathLike,
        wanted: Collection[str],
    ) -> None:
        self.evaluator = evaluator
        self.known: dict[str, Float32[np.ndarray, " dim"]] = {}
        self._policy = policy
        name = cache.key([evaluator.digest, policy, level], *_MODULES)
        self._folder = storage.path(folder) / name
        for file in sorted(self._folder.glob("*.npz")):
            if (part := storage.read_arrays(file)) is None:
                file.unlink(missing_ok=True)  # or it would be told again and again
                continue
            rows = zip(part["files"].astype("U64").tolist(), part["vectors"], strict=True)
            self.known |= {digest: vector for digest, vector in rows if digest in wanted}

    def make(self, block: dict[str, Waveform]) -> dict[str, str]:
        """Adds the vectors of those of the block that are not known; returns what failed."""
        digests = [digest for digest in block if digest not in self.known]
        if not digests:
            return {}
        vectors = self.evaluator.embed_clips((block[digest] for digest in digests), self._policy)
        finite = np.isfinite(vectors).all(axis=1)
        good = {digest: vectors[row] for row, digest in enumerate(digests) if finite[row]}
        if good:
            part = {"files": np.array(list(good), "S64"), "vectors": vectors[finite]}
            storage.write_arrays(self._folder / f"{storage.fingerprint(list(good))}.npz", part)
        self.known |= good
        cause = "its vector is not finite: are its samples far outside [-1, 1]? leave it out"
        return {digest: cause for digest in digests if digest not in good}

    def rows(self, digests: Sequence[str]) -> Vectors:
        if not digests:
            return np.empty((0, 0), np.float32)
        return np.stack([self.known[digest] for digest in digests])
