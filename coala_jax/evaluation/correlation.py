"""The paper's Table 2: models' embeddings beside acoustic descriptors of validation sounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from coala_jax.data import pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Manifest
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import cca, descriptors
from coala_jax.evaluation.contenders import Contender

_TRAINING_SOUNDS = 10_000  # that principal components are learned from; spread over the split
_BLOCK = 512  # patches in memory at once


@dataclass(frozen=True)
class Dataset:
    """A dataset as `data_prep/from_folder.py` writes it, for what its models heard of it."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        return cls(folder, Manifest.load(folder))

    def fits(self, embedder: Embedder) -> bool:
        """Whether its patches and its split are those that the model was trained on."""
        manifest = self.manifest
        return (manifest.front_end, manifest.scaler, list(manifest.vocabulary)) == (
            embedder.front_end.to_dict(),
            embedder.scaler.to_dict(),
            list(embedder.vocabulary.tags),
        )


def correlate(
    contenders: Sequence[Contender], folders: Sequence[Path], audio: Path, work: Path, seed: int
) -> dict[str, cca.CcaTable]:
    """Each model that embeds, by name, beside the validation sounds of the dataset it is of.

    Raises:
        ValueError: a model is of none of the datasets, or there is no model.
        DatasetError, DescriptorError: a dataset or its sounds cannot be read.
    """
    datasets = [Dataset.load(folder) for folder in folders]
    if all(contender.embedder is None for contender in contenders):
        raise ValueError("Table 2 is of models, MFCCs are what it compares them with; give a model")
    found, tables = {}, {}
    for contender in contenders:
        if (embedder := contender.embedder) is None:
            tqdm.write(f"{contender.name}: not in Table 2, which compares models with descriptors")
            continue
        dataset = next((some for some in datasets if some.fits(embedder)), None)
        if dataset is None:
            raise ValueError(
                f"{contender.name} was trained on none of {', '.join(map(str, folders))} (other "
                "front end, scaler or tags); give its dataset with --dataset, too"
            )
        if dataset.folder not in tables:
            cache = work / "descriptors" / f"{dataset.manifest.source}.npz"
            tables[dataset.folder] = descriptors.validation_descriptors(
                dataset.folder, audio, cache
            )
        validation = _embed(embedder, dataset, "validation", contender.name)
        training = None
        if cca.components(*validation.shape) is not None:
            training = _embed(embedder, dataset, "train", contender.name)
        found[contender.name] = cca.table2(validation, training, tables[dataset.folder], seed)
    return found


def _embed(
    embedder: Embedder, dataset: Dataset, split: str, name: str
) -> Float32[np.ndarray, "patch latent"]:
    reader = SplitReader(dataset.folder, split, dataset.manifest)
    count = len(reader)
    if split == "train":
        count = min(count, _TRAINING_SOUNDS)
    places = np.linspace(0, len(reader) - 1, count).astype(np.int64)
    blocks = np.split(places, range(_BLOCK, count, _BLOCK))
    vectors = []
    for block in tqdm(blocks, desc=f"{name}: {split} patches", unit="block", leave=False):
        examples = [reader[int(place)] for place in block]
        batch = pipeline.assemble(examples, len(examples), reader.vocabulary_size)
        vectors.append(embedder.embed_patches(batch["patches"]))
    return np.concatenate(vectors)
