"""The record of a finished training run, which its report is rendered from."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.embedding import map_projection
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import retrieval
from coala_jax.evaluation.validation import ValidationSounds
from coala_jax.evaluation.vote import Banks

RECORD = "results.json"
ARRAYS = "reconstructions.npz"  # beside the record
FORMAT = 2


@dataclass(frozen=True)
class KeptEpoch:
    """Which epoch's model a training run keeps.

    epochs: that were trained.
    epoch: after which the model is kept, from 1.
    macro_auc: by which it was chosen; None where the last is kept.
    """

    epochs: int
    epoch: int
    macro_auc: float | None


def write_record(
    workdir: Path,
    config: ConfigDict,
    command: str,
    trained: Embedder,
    kept: KeptEpoch,
    sounds: ValidationSounds,
    figures: dict[str, retrieval.Metrics],
    embeddings: Float[np.ndarray, "sound latent"],
    banks: Banks | None = None,
) -> dict[str, Any]:
    """Writes the record of a finished training run, WORKDIR/results.json, and returns it.

    Args:
        config: of the run.
        command: that does the same.
        trained: the model that is kept.
        figures: from `measure`.
        embeddings: of all validation sounds, by the trained model.
        banks: of the trained model; None in the case cnn.
    """
    manifest, reconstructions = sounds.manifest, None
    if trained.case == "ae_c" and config.report.reconstructions:
        reconstructions = _reconstruct(workdir, trained, sounds, config.report.reconstructions)
    record = {
        "kind": "training",
        "format": FORMAT,
        "corpus": manifest.name,
        "case": trained.case,
        "sounds": manifest.counts,
        "source_weights": config.data.source_weights,
        "tags": len(manifest.vocabulary),
        "epochs": kept.epochs,
        "stopped_early": kept.epochs < config.train.epochs,
        "kept": {
            "rule": config.train.keep_epoch,
            "epoch": kept.epoch,
            "macro_auc": kept.macro_auc,
            "selection_sounds": _selecting(config, sounds),
            "reported_sounds": len(sounds.reported.places),
            "patience": config.train.patience,
        },
        "command": command,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("jax", "flax", "optax", "numpy")},
        "retrieval": figures,
        "bank": banks
        and {
            "entries": len(banks.whole),
            "temperature": banks.whole.temperature,
            "best_for_search": banks.whole.best_for_search,
            "near_duplicates": banks.near_duplicates,
        },
        "reconstructions": reconstructions,
        "map": _map(embeddings, sounds) if len(embeddings) >= 3 else None,
    }
    storage.write_record(workdir / RECORD, record)
    return record


def _selecting(config: ConfigDict, sounds: ValidationSounds) -> int:
    """How many sounds the epoch is chosen on."""
    return len(sounds.selection.places) if config.train.keep_epoch == "best" else 0


def _map(
    embeddings: Float[np.ndarray, "sound latent"], sounds: ValidationSounds, seed: int = 0
) -> dict[str, Any]:
    chosen = map_projection.choose(len(embeddings), seed)
    points = map_projection.project(embeddings[chosen], seed)
    return {"points": points.round(4).tolist(), "tags": sounds.tag_names(chosen)}


def _reconstruct(
    workdir: Path, embedder: Embedder, sounds: ValidationSounds, count: int
) -> dict[str, Any]:
    places, front_end = sounds.spread(count), sounds.manifest.front_end
    examples = sounds.read(places)
    patches = np.stack([example.patch for example in examples])
    arrays = {"patches": patches, "reconstructed": embedder.reconstruct(patches)}
    storage.write_arrays(workdir / ARRAYS, arrays)
    return {
        "arrays": ARRAYS,
        "frame_seconds": front_end["hop_samples"] / front_end["sample_rate_hz"],
        "ids": [example.id for example in examples],
        "tags": sounds.tag_names(places),
    }
