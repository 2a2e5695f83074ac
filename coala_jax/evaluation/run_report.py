"""What a run learned, as figures and pictures: `report.json` and PNGs in its folder."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from coala_jax import storage
from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Example, Manifest
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import pictures, retrieval, sound_map
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.scores import cosine
from coala_jax.evaluation.work_shard import WHOLE, WorkShard

REPORT = "report.json"
_MEASURES = ("macro_auc", "mrr", "map", "recall_at_10")


class ValidationSounds:
    """The validation split.

    Attributes:
        patches: of this process's share of the sounds, in memory, values in [0, 1].
        tags: of all sounds.
    """

    def __init__(self, dataset: storage.PathLike, shard: WorkShard = WHOLE) -> None:
        self.manifest = Manifest.load(dataset)
        self._split, self._shard = SplitReader(dataset, "validation", self.manifest), shard
        own = np.arange(len(self._split))[shard.of(len(self._split))]
        examples = input_pipeline.load(self._split, own, np.dtype(np.float32))
        self.patches: Float32[np.ndarray, "own_sound 96 96"] = examples["patches"]
        self.tags: UInt8[np.ndarray, "sound tag"] = shard.all_gather(examples["tags"])

    def tag_names(self) -> list[list[str]]:
        words = self.manifest.vocabulary
        return [[words[tag] for tag in np.flatnonzero(row)] for row in self.tags]

    def samples(
        self, embedder: Embedder, count: int
    ) -> tuple[list[dict[str, Any]], Float32[np.ndarray, "row column"] | None]:
        """What a model makes of a few sounds: their tags as it gives them, and a picture.

        heard: the tags that the sound is nearest to (AE-C, E-C) or that are predicted (CNN).
        decoded: those that the tag autoencoder returns (AE-C). As many as the sound's own tags.
        The picture has the patches above their reconstructions, values in [0, 1] (AE-C).
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
            {"id": example.id, "tags": [words[tag] for tag in np.flatnonzero(own)]}
            | {name: _first(found[row], int(own.sum()), words) for name, found in scores.items()}
            for row, (example, own) in enumerate(zip(examples, tags, strict=True))
        ]
        if embedder.case != "ae_c":
            return rows, None
        # Low bands at the bottom, as spectrograms are read. The released scaling may pass 1.
        pairs = [np.clip(p, 0, 1)[:, ::-1] for p in (patches, embedder.reconstruct(patches))]
        return rows, np.concatenate(list(np.concatenate(pairs, axis=1)), axis=1)

    def spread(self, count: int) -> Int64[np.ndarray, " place"]:
        """Places spread evenly over the split, so that what is shown does not depend on luck."""
        return np.linspace(0, len(self.tags) - 1, min(count, len(self.tags))).astype(np.int64)

    def read(self, places: Int64[np.ndarray, " place"]) -> list[Example]:
        """These sounds from disk, in whosever share they are."""
        return [self._split[place] for place in places.tolist()]

    def measure(self, evaluator: ModelEvaluator) -> retrieval.Metrics:
        """How well all sounds find their tags, computed by all processes together."""
        return retrieval.evaluate_retrieval(
            evaluator.embedder, self.patches, self.tags, self._shard
        )

    def evaluate(self, evaluator: ModelEvaluator) -> dict[str, float]:
        """The retrieval measures of a model, to be reported while it trains."""
        found = self.measure(evaluator)
        return {name: found[name] for name in _MEASURES if found[name] is not None}

    def embed(self, evaluator: ModelEvaluator) -> Float32[np.ndarray, "sound latent"]:
        """The embeddings of all sounds, computed by all processes together."""
        return self._shard.map_rows(evaluator.embedder.embed_patches, self.patches)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What all processes compute for the report together.

    retrieval: how well validation sounds find their tags, by the names of the evaluators and of
        what they have to beat. embeddings: the first evaluator's, of all validation sounds.
    """

    retrieval: dict[str, retrieval.Metrics]
    embeddings: Float32[np.ndarray, "sound latent"]


def measure(evaluators: Sequence[ModelEvaluator], sounds: ValidationSounds) -> Measured:
    training_sounds = sounds.manifest.counts["train"]
    frequency = np.array(sounds.manifest.tag_counts) / training_sounds
    found = {
        **{evaluator.name: sounds.measure(evaluator) for evaluator in evaluators},
        "chance": retrieval.chance(sounds.tags),
        "popularity": retrieval.popularity(frequency, sounds.tags, training_sounds),
    }
    return Measured(found, sounds.embed(evaluators[0]))


def write_report(
    trained: Embedder,
    measured: Measured,
    sounds: ValidationSounds,
    metrics: Sequence[Mapping[str, Any]],
    workdir: Path,
    reconstructions: int,
    command: str,
) -> dict[str, Any]:
    """Writes the report and the pictures of a finished run; returns the report.

    metrics: the entries of the run's metrics.jsonl.
    reconstructions: how many sounds to picture beside their reconstruction (AE-C only).
    """
    drawn = [workdir / "losses.png"]
    pictures.loss_curves(metrics, drawn[0])
    if len(sounds.tags) >= 3:  # fewer are no map
        drawn.append(workdir / "embedding_map.png")
        sound_map.embedding_map(measured.embeddings, sounds.tag_names(), drawn[-1], seed=0)
    if trained.case == "ae_c" and reconstructions:
        drawn.append(workdir / "reconstructions.png")
        _draw_reconstructions(trained, sounds, reconstructions, drawn[-1])
    report = {
        "corpus": sounds.manifest.name,
        "case": trained.case,
        "sounds": sounds.manifest.counts,
        "tags": len(sounds.manifest.vocabulary),
        "retrieval": measured.retrieval,
        "pictures": [path.name for path in drawn],
        "command": command,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("jax", "flax", "optax", "numpy")},
    }
    storage.write_json(workdir / REPORT, report)
    return report


def table(report: Mapping[str, Any]) -> str:
    """The retrieval figures as a table for a terminal."""
    lines = [" " * 12 + "".join(f"{name:>14}" for name in _MEASURES)]
    for who, figures in report["retrieval"].items():
        lines.append(f"{who:<12}" + "".join(_cell(figures[name]) for name in _MEASURES))
    if report["retrieval"]["trained"]["macro_auc"] is None:
        lines.append(
            f"macro_auc needs a tag on {retrieval.MINIMUM_SOUNDS} or more validation sounds, and "
            "there is none; prepare more sounds or a larger --validation_fraction"
        )
    return "\n".join(lines)


def _first(scores: Float[np.ndarray, " tag"], count: int, words: Sequence[str]) -> list[str]:
    """The tags of the highest scores, the highest first."""
    return [words[tag] for tag in np.argsort(-scores, kind="stable")[:count]]


def _cell(figure: float | None) -> str:
    return f"{'-':>14}" if figure is None else f"{figure:>14.3f}"


def _draw_reconstructions(
    embedder: Embedder, sounds: ValidationSounds, count: int, out: Path
) -> None:
    places, names = sounds.spread(count), sounds.tag_names()
    examples = sounds.read(places)
    patches = np.stack([example.patch for example in examples])
    titles = [
        f"{Path(example.id).stem}\n{', '.join(names[place])}"
        for place, example in zip(places, examples, strict=True)
    ]
    pictures.reconstructions(patches, embedder.reconstruct(patches), titles, out)
