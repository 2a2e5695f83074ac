"""Vectors kept on disk, by the content of the sound files that they belong to.

The cache has a folder for each source's digest, policy and level, and in it parts: vectors, each
with the SHA-256 of its file. A part is there whole or not at all, so that a run that was stopped
goes on, and its name is its checksum. What is known of a file does not depend on its name, or on
the task.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from coala_jax import __version__
from coala_jax.audio.frontend import Waveform

Vector = Float32[np.ndarray, " dim"]
Vectors = Float32[np.ndarray, "clip dim"]


@runtime_checkable
class Source(Protocol):
    """What makes vectors of waveforms: `Embedder` and `Mfcc` do."""

    digest: str  # of all that its vectors depend on but waveform and policy
    sample_rate_hz: int

    def embed_clips(self, waveforms: Iterable[Waveform], policy: str) -> Vectors: ...


class Store:
    """The vectors of one source, policy and level that are wanted, in memory and on disk.

    known: by the SHA-256 of the file, in hex.
    """

    def __init__(
        self,
        source: Source,
        policy: str,
        level: str,
        cache: Path,
        wanted: Collection[str],
        say: Callable[[str], None],
    ) -> None:
        self.source = source
        self.known: dict[str, Vector] = {}
        # Another version of this package may cut and weigh clips in another way.
        self._folder = cache / f"{source.digest}-{policy}-{level}-{__version__}"
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.npz")):
            content = path.read_bytes()
            if _name(content) != path.name:
                say(
                    f"{path}: this part of the cache is damaged, its checksum is not its name; "
                    "what it held is made anew"
                )
                path.unlink()
                continue
            with np.load(BytesIO(content)) as part:
                rows = zip(part["files"].astype("U64").tolist(), part["vectors"], strict=True)
            self.known |= {digest: vector for digest, vector in rows if digest in wanted}

    def make(self, block: dict[str, Waveform], policy: str) -> dict[str, str]:
        """Adds the vectors of those of the block that are not known; returns what failed."""
        digests = [digest for digest in block if digest not in self.known]
        if not digests:
            return {}
        vectors = self.source.embed_clips((block[digest] for digest in digests), policy)
        finite = np.isfinite(vectors).all(axis=1)
        good = {digest: vectors[row] for row, digest in enumerate(digests) if finite[row]}
        if good:
            self._write(good)
        self.known |= good
        cause = "its vector is not finite: are its samples far outside [-1, 1]? leave it out"
        return {digest: cause for digest in digests if digest not in good}

    def rows(self, digests: Sequence[str]) -> Vectors:
        if not digests:
            return np.empty((0, 0), np.float32)
        return np.stack([self.known[digest] for digest in digests])

    def _write(self, vectors: dict[str, Vector]) -> None:
        buffer = BytesIO()
        files = np.array(list(vectors), "S64")
        np.savez(buffer, files=files, vectors=np.stack(list(vectors.values())))
        content = buffer.getvalue()
        path = self._folder / _name(content)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)


def _name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.npz"
