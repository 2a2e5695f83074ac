"""The validation sounds of a training run, and what they say of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from coala_jax import storage
from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Example, Manifest
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import halves, retrieval
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.scores import cosine
from coala_jax.evaluation.vote import Banks
from coala_jax.evaluation.work_shard import WHOLE, WorkShard
from coala_jax.models.bank import Bank

_MEASURES = ("macro_auc", "mrr", "map", "recall_at_10")


@dataclass(frozen=True)
class Part:
    """Some of the validation sounds.

    places: of all of them in the split, ascending.
    patches: of this process's share of them, in memory, values in [0, 1].
    """

    places: Int64[np.ndarray, " place"]
    patches: Float32[np.ndarray, "own_sound 96 96"]


class ValidationSounds:
    """The validation split.

    Attributes:
        tags: of all sounds.
        shard: this process's share of the work.
        selection: the sounds that choose the epoch.
        reported: those of the results; of two halves the other, else all sounds are both.
    """

    def __init__(
        self,
        dataset: storage.PathLike,
        shard: WorkShard = WHOLE,
        manifest: Manifest | None = None,
        in_halves: bool = False,
    ) -> None:
        """
        Args:
            manifest: of the dataset, with the scaler to use; by default as it is on disk.
        """
        self.manifest = manifest or Manifest.load(dataset)
        self._split, self.shard = SplitReader(dataset, "validation", self.manifest), shard
        count = len(self._split)
        if in_halves:
            own = range(*shard.of(count).indices(count))
            found = np.zeros((len(own), 2, 32), np.uint8)
            for row, place in enumerate(own):
                found[row] = halves.digests(self._split[place])
            places = halves.halve(shard.all_gather(found))
        else:
            places = (np.arange(count),)
        self.tags: UInt8[np.ndarray, "sound tag"] = np.zeros(
            (count, len(self.manifest.vocabulary)), np.uint8
        )
        self._parts = [self._load(part) for part in places]
        self.selection, self.reported = self._parts[0], self._parts[-1]

    def _load(self, places: Int64[np.ndarray, " place"]) -> Part:
        """Reads this process's share of these sounds, and gathers the tags of all of them."""
        own = places[self.shard.of(len(places))]
        examples = input_pipeline.load(self._split, own, np.dtype(np.float32))
        self.tags[places] = self.shard.all_gather(examples["tags"])
        return Part(places, examples["patches"])

    def tag_names(self, places: Int64[np.ndarray, " place"]) -> list[list[str]]:
        """The tags of these sounds, in the order of the vocabulary."""
        words = self.manifest.vocabulary
        return [[words[tag] for tag in np.flatnonzero(row)] for row in self.tags[places]]

    def spread(self, count: int) -> Int64[np.ndarray, " place"]:
        """At most `count` places, spread evenly over the split."""
        return np.linspace(0, len(self.tags) - 1, min(count, len(self.tags))).astype(np.int64)

    def read(self, places: Int64[np.ndarray, " place"]) -> list[Example]:
        """These sounds from disk, also those of other processes' shares."""
        return [self._split[place] for place in places.tolist()]

    def samples(
        self, embedder: Embedder, count: int
    ) -> tuple[list[dict[str, Any]], Float32[np.ndarray, "row column"] | None]:
        """A few sounds with the tags that a model gives them, and an image.

        heard: the nearest tags in the aligned space (AE-C, E-C) or those predicted (CNN).
        decoded: the output of the tag autoencoder (AE-C). Both have as many tags as the sound.
        The image has the patches above their reconstructions, values in [0, 1] (AE-C).
        """
        places, words = self.spread(count), self.manifest.vocabulary
        examples, tags = self.read(places), self.tags[places]
        patches = np.stack([example.patch for example in examples])
        scores = {}
        if embedder.case == "cnn":
            scores["heard"] = embedder.tag_logits(patches)
        else:
            single = embedder.project_tags(np.eye(len(words), dtype=np.uint8))
            scores["heard"] = cosine(embedder.project_audio(patches), single)
        if embedder.case == "ae_c":
            scores["decoded"] = embedder.reconstruct_tags(tags)
        rows = [
            {"id": example.id, "tags": own}
            | {name: _best(found[row], len(own), words) for name, found in scores.items()}
            for row, (example, own) in enumerate(zip(examples, self.tag_names(places), strict=True))
        ]
        if embedder.case != "ae_c":
            return rows, None
        # Low bands at the bottom, as spectrograms are read. The released scaling may pass 1.
        pairs = [np.clip(p, 0, 1)[:, ::-1] for p in (patches, embedder.reconstruct(patches))]
        return rows, np.concatenate(list(np.concatenate(pairs, axis=1)), axis=1)

    def measure(
        self, evaluator: ModelEvaluator, part: Part, bank: Bank | None = None
    ) -> retrieval.Metrics:
        """How well a part's sounds find their tags, computed by all processes together.

        By the vote of a bank if there is one, else as the case scores tags.
        """
        return retrieval.evaluate_retrieval(
            evaluator.embedder, part.patches, self.tags[part.places], self.shard, bank
        )

    def evaluate(self, evaluator: ModelEvaluator) -> dict[str, float]:
        """The retrieval measures of a model while it trains, of the sounds that choose."""
        found = self.measure(evaluator, self.selection)
        return {name: found[name] for name in _MEASURES if found[name] is not None}

    def embed(self, evaluator: ModelEvaluator) -> Float32[np.ndarray, "sound latent"]:
        """The embeddings of all sounds, computed by all processes together."""
        embed, shard = evaluator.embedder.embed_patches, self.shard
        rows = np.concatenate([shard.map_rows(embed, part.patches) for part in self._parts])
        return rows[np.argsort(np.concatenate([part.places for part in self._parts]))]


def measure(
    evaluators: Sequence[ModelEvaluator], sounds: ValidationSounds, banks: Banks | None = None
) -> dict[str, retrieval.Metrics]:
    """Tag retrieval of the reported sounds by each evaluator's name, of "chance" and "popularity".

    With banks, "vote" is the first evaluator's by the bank that lacks near-duplicates of the
    sounds. All processes must call it.
    """
    tags = sounds.tags[sounds.reported.places]
    training_sounds = sounds.manifest.counts["train"]
    frequency = np.array(sounds.manifest.tag_counts) / training_sounds
    first, *others = evaluators
    found = {first.name: sounds.measure(first, sounds.reported)}
    if banks is not None:
        found["vote"] = sounds.measure(first, sounds.reported, banks.measured)
    return {
        **found,
        **{evaluator.name: sounds.measure(evaluator, sounds.reported) for evaluator in others},
        "chance": retrieval.chance(tags),
        "popularity": retrieval.popularity(frequency, tags, training_sounds),
    }


def _best(scores: Float[np.ndarray, " tag"], count: int, words: Sequence[str]) -> list[str]:
    """The tags of the highest scores, the highest first."""
    return [words[tag] for tag in np.argsort(-scores, kind="stable")[:count]]
