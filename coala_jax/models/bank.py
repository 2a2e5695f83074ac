"""The bank of a pretrained model: its training sounds in the aligned space, whose tags vote.

A sound's tags are those of the training sounds near it: softmax(cosine / temperature) over the
bank, times the tags. A single tag through the tag encoder, the alternative, favours rare tags,
since nothing tells it how common a tag is.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Float16, Float32, Float64, Int64, UInt8

_LONGEST = 1.01  # of a vector: 1, in halves
_CHUNK_ROWS = 256  # sounds that vote are compared with the whole bank, so many at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """Training sounds, or clusters of them, with their tags.

    Attributes:
        vectors: unit vectors of the aligned space.
        shares: of the sounds of an entry that have each tag; 0 or 1 where an entry is one sound.
        sounds: how many an entry stands for.
        temperature: of the vote.
        best_for_search: vote or cosine, whichever had the better macro AUC when measured.

    Raises:
        ValueError: the numbers of entries differ, or the temperature is not above 0.
    """

    vectors: Float16[np.ndarray, "entry latent"]
    shares: scipy.sparse.csr_array  # [entry, tag], float32
    sounds: Int64[np.ndarray, " entry"]
    temperature: float
    best_for_search: str = "vote"

    def __post_init__(self) -> None:
        entries = {len(self.vectors), self.shares.shape[0], len(self.sounds)}
        if len(entries) != 1 or not len(self.vectors):
            raise ValueError(f"a bank's arrays must have one number of entries, got {entries}")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"the bank's temperature is {self.temperature}; it must be above 0")
        if self.best_for_search not in ("vote", "cosine"):
            raise ValueError(f"best_for_search is {self.best_for_search}, not vote or cosine")

    def __len__(self) -> int:
        return len(self.vectors)

    def vote(self, projected: Float32[np.ndarray, "row latent"]) -> Float32[np.ndarray, "row tag"]:
        """For each tag the share of the vote in [0, 1], of sounds in the aligned space."""
        scores = np.empty((len(projected), self.shares.shape[1]), np.float32)
        prior = np.log(self.sounds)
        for start in range(0, len(projected), _CHUNK_ROWS):
            rows = unit(projected[start : start + _CHUNK_ROWS].astype(np.float64))
            # Rounded far below float32, so that the rows of a collapsed encoder tie.
            logits = np.round(rows @ self._exact.T, 12) / self.temperature + prior
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            scores[start : start + len(rows)] = (self.shares.T @ weights.T).T
        return scores

    @functools.cached_property
    def _exact(self) -> Float64[np.ndarray, "entry latent"]:
        """The vectors as they are computed with: converted once, not for every sound that asks."""
        return self.vectors.astype(np.float64)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As a file holds it, with `temperature` and `best_for_search` elsewhere."""
        return {
            "vectors": self.vectors,
            "sounds": self.sounds.astype(np.int32),
            "tag_ends": self.shares.indptr.astype(np.int32),
            "tags": self.shares.indices.astype(np.int32),
            "shares": self.shares.data.astype(np.float16),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], tags: int, settings: Mapping[str, Any]
    ) -> "Bank":
        """The inverse of `to_arrays`.

        Raises:
            KeyError, ValueError: arrays are missing, or do not fit each other or the vocabulary.
        """
        vectors, sounds = arrays["vectors"], arrays["sounds"].astype(np.int64)
        parts = (arrays["shares"].astype(np.float32), arrays["tags"], arrays["tag_ends"])
        shares = scipy.sparse.csr_array(parts, shape=(len(vectors), tags))
        shares.check_format()  # ends that rise, tags of the vocabulary
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        if not (np.isfinite(vectors).all() and (norms < _LONGEST).all() and (sounds > 0).all()):
            raise ValueError(
                "a bank's vectors must be finite and of length 1, its entries of at least one sound"
            )
        summed = shares.copy()  # as it is, for its bits
        summed.sum_duplicates()
        if summed.nnz and not (summed.data.min() >= 0 and summed.data.max() <= 1):
            raise ValueError("a bank's shares must be in [0, 1], one for an entry and tag")
        return cls(vectors, shares, sounds, **settings)


def make_bank(
    projected: Float32[np.ndarray, "sound latent"],
    tags: UInt8[np.ndarray, "sound tag"],
    temperature: float,
    most_entries: int,
    seed: int = 0,
) -> Bank:
    """The bank of training sounds; where they are more than `most_entries`, of clusters of them.

    Clusters are scikit-learn's mini-batch k-means of the unit vectors. An entry's tags are the
    shares of its sounds that have each.
    """
    units, count = unit(projected), len(projected)
    shares = scipy.sparse.csr_array(tags, dtype=np.float32)
    sounds = np.ones(count, np.int64)
    if count > most_entries:
        from sklearn.cluster import MiniBatchKMeans  # takes a second to import

        kmeans = MiniBatchKMeans(most_entries, random_state=seed, n_init=1, batch_size=4096)
        _, cluster = np.unique(kmeans.fit_predict(units), return_inverse=True)  # some are empty
        sounds = np.bincount(cluster)
        member = (np.ones(count, np.float32), (cluster, np.arange(count)))
        means = scipy.sparse.csr_array(member, shape=(len(sounds), count))
        means = scipy.sparse.diags_array(np.float32(1 / sounds)) @ means
        units, shares = unit(means @ units), scipy.sparse.csr_array(means @ shares)
    return Bank(units.astype(np.float16), shares, sounds, temperature)


def unit(vectors: Float[np.ndarray, "row latent"]) -> Float[np.ndarray, "row latent"]:
    """The vectors scaled to length 1, in their own precision; zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo(np.float32).tiny)
