"""The bank of a trained model: made of its training sounds, measured on sounds unlike them."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64
from ml_collections import ConfigDict

from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.source_weights import trained_on
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.models.bank import Bank, make_bank

if TYPE_CHECKING:
    from coala_jax.evaluation.validation import ValidationSounds

# Two patches with this correlation are the same recording: as it is, louder, or encoded again.
NEAR_DUPLICATE = 0.99
_POOL = 4  # bands and frames averaged to find candidates, of which none is missed
_CHUNK = 2048  # training patches in memory: 75 MB


class Banks(NamedTuple):
    """The bank that a model carries, and the one by which it is measured.

    near_duplicates: training patches that the second lacks, since a validation sound is a copy of
        them or nearly; a vote of the sound itself would say nothing of new sounds.
    """

    whole: Bank
    measured: Bank
    near_duplicates: int


def make_banks(embedder: Embedder, config: ConfigDict, sounds: "ValidationSounds") -> Banks | None:
    """The banks of AE-C or E-C by `config.bank`; None for the CNN case. All processes call it.

    No bank has sounds of a source of weight 0 (`config.data.source_weights`), since the model was
    not trained on them.

    What a search by tags goes by, vote or cosine, is chosen on the reported sounds, since the
    others chose the epoch by cosine.

    Raises:
        DatasetError: a shard is damaged.
        ValueError: every training sound is a near-duplicate of a validation sound.
    """
    if embedder.case == "cnn":
        return None
    dataset, shard = config.data.path, sounds.shard
    train = SplitReader(dataset, "train", sounds.manifest)
    heard = SplitReader(dataset, "validation", sounds.manifest)
    known, places = (np.concatenate(part) for part in zip(*_known(sounds), strict=True))
    own = trained_on(train, config.data.source_weights)
    own = own[shard.of(len(own))]
    rows = []
    for start in range(0, len(own), _CHUNK):
        examples = input_pipeline.load(train, own[start : start + _CHUNK], np.dtype(np.float32))
        patches = examples["patches"]
        projected = embedder.project_audio(patches).astype(np.float16)
        rows.append((projected, examples["tags"], _are_copies(patches, known, places, heard)))
    if not rows:  # there are more processes than sounds
        nothing = np.zeros((0, embedder.latent_size), np.float16)
        rows = [(nothing, np.zeros((0, len(embedder.vocabulary)), np.uint8), np.zeros(0, bool))]
    parts = [np.concatenate(part) for part in zip(*rows, strict=True)]
    projected, tags, copies = (shard.all_gather(part) for part in parts)
    if copies.all():
        raise ValueError(
            f"{dataset}: every training sound is a copy of a validation sound. Fix: prepare it "
            "again without copies"
        )

    def bank(kept: Bool[np.ndarray, " patch"]) -> Bank:
        vectors = projected[kept].astype(np.float32)
        return make_bank(vectors, tags[kept], config.bank.temperature, config.bank.entries)

    whole = bank(np.ones(len(copies), bool))
    measured = bank(~copies) if copies.any() else whole
    evaluator = ModelEvaluator("trained", embedder)
    by = {
        name: sounds.measure(evaluator, sounds.reported, bank)["macro_auc"] or 0.0
        for name, bank in (("vote", measured), ("cosine", None))
    }
    best = max(by, key=by.__getitem__)  # of equals the vote
    return Banks(dataclasses.replace(whole, best_for_search=best), measured, int(copies.sum()))


def _known(
    sounds: "ValidationSounds",
) -> Iterator[tuple[Float32[np.ndarray, "sound coarse"], Int64[np.ndarray, " sound"]]]:
    """Coarse features of all validation sounds, and their places in the split, part by part."""
    for part in {id(part): part for part in (sounds.selection, sounds.reported)}.values():
        yield sounds.shard.all_gather(_features(part.patches, _POOL)), part.places


def _are_copies(
    patches: Float32[np.ndarray, "patch 96 96"],
    known: Float32[np.ndarray, "sound coarse"],
    places: Int64[np.ndarray, " sound"],
    heard: SplitReader,
) -> Bool[np.ndarray, " patch"]:
    """Whether each patch is, or nearly is, that of a validation sound."""
    copies = np.zeros(len(patches), bool)
    coarse = _features(patches, _POOL) @ known.T
    for patch, sound in np.argwhere(coarse >= NEAR_DUPLICATE):
        if not copies[patch]:
            pair = np.stack([patches[patch], heard[int(places[sound])].patch])
            one, other = _features(pair, 1)
            copies[patch] = one @ other >= NEAR_DUPLICATE
    return copies


def _features(
    patches: Float32[np.ndarray, "patch 96 96"], pool: int
) -> Float32[np.ndarray, "patch coarse"]:
    """Patches as vectors whose products are their correlations; a constant one becomes zeros."""
    count, size = len(patches), 96 // pool
    values = patches.reshape(count, size, pool, size, pool).mean(axis=(2, 4)).reshape(count, -1)
    values = values - values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, norms, out=np.zeros_like(values), where=norms > 1e-6)
