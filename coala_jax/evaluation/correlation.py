"""The paper's Table 2: embeddings and acoustic descriptors of validation sounds, correlated."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Float32
from tqdm import tqdm

from coala_jax import storage
from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Manifest
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import cca, descriptors
from coala_jax.evaluation.evaluators import Evaluator, ModelEvaluator
from coala_jax.evaluation.vector_table import VectorTable

_TRAINING_SOUNDS = 10_000  # that principal components are learned from; spread over the split
_BLOCK = 512  # patches in memory at once


def correlate(
    evaluators: Sequence[Evaluator | VectorTable],
    folders: Sequence[Path],
    audio: Path,
    work: storage.PathLike,
    seed: int,
) -> dict[str, cca.CcaTable]:
    """Table 2 of each model, by its name, on the validation sounds of the dataset that trained it.

    On another dataset the model may have been trained on some of the validation sounds.

    Args:
        folders: of datasets.
        audio: folder of their sounds.
        work: folder in which descriptors are cached.
        seed: of the permutations.

    Raises:
        ValueError: a model was trained on none of the datasets, or there is no model.
        DatasetError, DescriptorError: a dataset or its sounds cannot be read.
    """
    manifests = {folder: Manifest.load(folder) for folder in folders}
    if not any(isinstance(one, ModelEvaluator) for one in evaluators):
        raise ValueError(
            "--data: Table 2 correlates models with acoustic descriptors, and there is no model "
            "among --model. Fix: name one, or leave out --data"
        )
    found, tables = {}, {}
    for evaluator in evaluators:
        name = evaluator.name
        if not isinstance(evaluator, ModelEvaluator):
            logging.info("%s: not in Table 2, which correlates models with descriptors", name)
            continue
        embedder = evaluator.embedder
        folder = _dataset_of(name, embedder, manifests)
        if folder not in tables:
            cache = storage.path(work) / "descriptors"
            tables[folder] = descriptors.validation_descriptors(folder, audio, cache)
        validation = _embed(embedder, folder, manifests[folder], "validation", name)
        training = None
        if cca.components(*validation.shape) is not None:
            training = _embed(embedder, folder, manifests[folder], "train", name)
        found[name] = cca.table2(validation, training, tables[folder], seed)
    return found


def _dataset_of(name: str, embedder: Embedder, manifests: Mapping[Path, Manifest]) -> Path:
    for folder, manifest in manifests.items():
        if manifest.digest == embedder.dataset_digest:
            return folder
    given = ", ".join(f"{folder} ({found.digest[:12]})" for folder, found in manifests.items())
    raise ValueError(
        f"{name} was trained on the dataset {embedder.dataset_digest[:12]}, not on {given}: "
        "their validation sounds may be among its training sounds. Fix: give --data the one "
        "that trained it"
    )


def _embed(
    embedder: Embedder, folder: Path, manifest: Manifest, split: str, name: str
) -> Float32[np.ndarray, "patch latent"]:
    # The model's scaler is not the dataset's where its training went on from another model.
    scaled = dataclasses.replace(manifest, scaler=embedder.scaler.to_dict())
    reader = SplitReader(folder, split, scaled)
    count = len(reader)
    if split == "train":
        count = min(count, _TRAINING_SOUNDS)
    places = np.linspace(0, len(reader) - 1, count).astype(np.int64)
    blocks = np.split(places, range(_BLOCK, count, _BLOCK))
    vectors = []
    for block in tqdm(blocks, desc=f"{name}: {split} patches", unit="block", leave=False):
        examples = [reader[int(place)] for place in block]
        batch = input_pipeline.assemble(examples, len(examples), reader.vocabulary_size)
        vectors.append(embedder.embed_patches(batch["patches"]))
    return np.concatenate(vectors)
