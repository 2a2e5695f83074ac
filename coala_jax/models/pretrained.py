"""The pretrained model: what a user shares. Arrays as safetensors, everything else as one JSON.

No pickle and no dates: equal runs give equal bytes, and reading a stranger's model runs no code.
Each file is covered by a digest in the JSON, so that no damage goes unseen.
"""

import dataclasses
import json
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.models.autoencoders import LATENT_SIZE
from coala_jax.models.bank import Bank
from coala_jax.models.coala import build_model, initial_variables

FORMAT = 3
WEIGHTS, BANK, DESCRIPTION = "model.safetensors", "bank.safetensors", "model.json"
DECODERS = ("audio_decoder", "tag_decoder")  # of AE-C; what uses a model needs none
DTYPES = ("float32", "float16")  # of arrays in the file; computation is in float32
KNOWN = {"pooling": ("mean", "layers"), "level": ("recorded", "peak")}


class ModelError(ValueError):
    """A folder has no pretrained model, or an invalid one; the message names file and cause."""


@dataclasses.dataclass(frozen=True)
class PretrainedModel:
    """A trained model with everything needed to use it.

    variables: `params` and `batch_stats`, as nested dictionaries of NumPy arrays; float16 stays
        float16 in the file, all else becomes float32.

    Raises:
        ValueError: there are more or fewer counts than tags, or the bank is of another model.
    """

    case: str  # ae_c, e_c or cnn
    vocabulary: list[str]
    tag_counts: list[int]  # training sounds that have each tag of the vocabulary
    tag_processing: str  # how the vocabulary was made: paper or released
    front_end: dict[str, Any]
    level: str  # of the waveforms: recorded, or peak (scaled to a peak of 1)
    scaler: dict[str, Any]
    pooling: str  # of a clip's patches to its embedding: mean (paper) or layers
    config: dict[str, Any]  # the settings that trained it
    dataset_digest: str  # `Manifest.digest` of the training dataset
    variables: PyTree
    bank: Bank | None = None  # of projected training sounds, whose tags vote; not of case cnn

    def __post_init__(self) -> None:
        if len(self.tag_counts) != len(self.vocabulary):
            raise ValueError(f"{len(self.tag_counts)} tag_counts for {len(self.vocabulary)} tags")
        if self.bank is not None:
            found = (self.bank.vectors.shape[1], self.bank.shares.shape[1])
            wanted = (LATENT_SIZE**2 * self.config["model"]["filters"], len(self.vocabulary))
            if self.case == "cnn" or found != wanted:
                raise ValueError(f"a bank of {found} values and tags for a model of {wanted}")

    def module(self) -> nn.Module:
        """The Flax module that takes `variables`: `Coala` or `TagClassifier`."""
        settings, tags = ConfigDict(self.config["model"]), len(self.vocabulary)
        has_decoders = any(name in self.variables["params"] for name in DECODERS)
        return build_model(self.case, settings, tags, decoders=has_decoders)

    def slim(self) -> "PretrainedModel":
        """The model as it is used: without decoders, in float16, a quarter of the size of an AE-C.

        It cannot reconstruct; vectors and tags are the same up to the rounding of weights.

        Raises:
            ValueError: a weight is not finite in float16.
        """
        kept = {
            collection: {name: part for name, part in modules.items() if name not in DECODERS}
            for collection, modules in self.variables.items()
        }
        with np.errstate(over="ignore"):
            halved = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), kept)
        for path, leaf in flatten_dict(halved, sep=".").items():
            if not np.isfinite(leaf).all():
                raise ValueError(f"{path} has values beyond float16. Fix: keep the model as it is")
        return dataclasses.replace(self, variables=halved)

    def untrained(self, seed: int) -> "PretrainedModel":
        """The same model with fresh weights: the baseline of a trained one."""
        variables = initial_variables(self.module(), jax.random.key(seed))
        return dataclasses.replace(self, variables=jax.tree.map(np.asarray, variables), bank=None)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of everything that is saved: the same for equal models, saved or not."""
        return self._files()[1]

    def save_pretrained(self, folder: storage.PathLike) -> None:
        """Writes the folder, or replaces it as a whole once the new one is read back as written.

        Its files are `model.safetensors`, `model.json` and, where there is a bank,
        `bank.safetensors`.

        Raises:
            ModelError: a value is not finite, or the disk does not give back what was written; the
                old model stays.
        """
        self._check_finite(folder)
        files, _ = self._files()
        target = storage.path(folder)
        new = target.with_name(target.name + ".tmp")
        new.rmtree(missing_ok=True)  # what a killed run left
        new.mkdir(parents=True)
        for name, content in files.items():
            storage.write_bytes(new / name, content)
        for name, content in files.items():
            if storage.file_sha256(new / name) != storage.sha256(content):
                raise ModelError(
                    f"{new / name}: not as it was written: its SHA-256 differs. Fix: check that "
                    "disk, then run it again"
                )
        storage.replace_folder(new, target)

    def _check_finite(self, folder: storage.PathLike) -> None:
        arrays = flatten_dict(self.variables, sep=".")
        arrays |= (
            {} if self.bank is None else {f"bank.{k}": v for k, v in self.bank.to_arrays().items()}
        )
        for name, value in arrays.items():
            if not np.isfinite(value).all():
                raise ModelError(
                    f"{folder}: the model is not saved: {name} has values that are not finite. "
                    "Fix: train again with a lower config.optimizer.learning_rate, or check the "
                    "data"
                )

    def _files(self) -> tuple[dict[str, bytes], str]:
        """The files by name, and the digest that the description names as its own."""
        arrays = {
            ".".join(path): np.asarray(value, "float16" if value.dtype == "float16" else "float32")
            for path, value in sorted(flatten_dict(self.variables).items())
        }
        weights = safetensors.numpy.save(arrays)
        files = {WEIGHTS: weights}
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["variables"] = {
            "sha256": storage.sha256(weights),
            "dtypes": {name: str(value.dtype) for name, value in arrays.items()},
        }
        if self.bank is not None:
            files[BANK] = safetensors.numpy.save(self.bank.to_arrays())
            fields["bank"] = {
                "sha256": storage.sha256(files[BANK]),
                "temperature": self.bank.temperature,
                "best_for_search": self.bank.best_for_search,
            }
        # Sorted, so that equal models give equal bytes whatever the order of their settings.
        fields = json.loads(json.dumps(fields, sort_keys=True))
        description, digest = storage.seal(FORMAT, fields)
        return files | {DESCRIPTION: description.encode()}, digest

    @classmethod
    def load(cls, folder: storage.PathLike) -> "PretrainedModel":
        """Reads a folder. Raises ModelError if it is missing, damaged, or of another format."""
        folder = storage.path(folder)
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder. Fix: name the folder of a model")
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder}: not a pretrained model: it has no {name}. Fix: name the folder "
                    "that a training run leaves in WORKDIR/model"
                )
        description = _read_description(folder / DESCRIPTION)
        try:
            stored = description.pop("variables")
            arrays = _read_arrays(folder / WEIGHTS, stored["sha256"])
            flat = {tuple(name.split(".")): value for name, value in arrays.items()}
            if (settings := description["bank"]) is not None:
                tags = len(description["vocabulary"])
                description["bank"] = _read_bank(folder / BANK, settings, tags)
            model = cls(**description, variables=unflatten_dict(flat))
            shapes = jax.eval_shape(lambda: initial_variables(model.module(), jax.random.key(0)))
            model._check_arrays(shapes, stored["dtypes"], folder / WEIGHTS)
        except ModelError:
            raise
        except Exception as error:  # whatever a stranger's description makes a model raise
            raise ModelError(
                f"{folder}: invalid pretrained model ({error!r}). Fix: copy it again"
            ) from error
        return model

    def _check_arrays(self, shapes: PyTree, dtypes: dict[str, str], file: storage.PathLike) -> None:
        if unknown := set(dtypes.values()) - set(DTYPES):
            raise ValueError(f"arrays of {', '.join(sorted(unknown))}, not {' or '.join(DTYPES)}")
        wanted = {".".join(k): list(v.shape) for k, v in flatten_dict(shapes).items()}
        wanted = {name: f"{dtypes.get(name)}{shape}" for name, shape in wanted.items()}
        arrays = {".".join(k): v for k, v in flatten_dict(self.variables).items()}
        found = {name: f"{value.dtype}{list(value.shape)}" for name, value in arrays.items()}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise ModelError(
                    f"{file}: {name} is {found.get(name, 'missing')} where the model of "
                    f"{DESCRIPTION} has {wanted.get(name, 'none')}. Fix: copy the two files from "
                    "one model"
                )


def _read_arrays(file: storage.PathLike, digest: str) -> dict[str, np.ndarray]:
    """The arrays of a file, once its digest is checked."""
    if not file.is_file():
        raise ModelError(
            f"{file}: missing, though {DESCRIPTION} names it. Fix: copy all files of the model"
        )
    content = storage.read_bytes(file)
    if storage.sha256(content) != digest:
        raise ModelError(
            f"{file}: damaged: its digest is not the one in {DESCRIPTION}. Fix: copy all files of "
            "the model again"
        )
    return safetensors.numpy.load(content)


def _read_bank(file: storage.PathLike, settings: dict[str, Any], tags: int) -> Bank:
    """Raises ModelError where the file is missing or damaged, or not the bank of `settings`."""
    try:
        arrays = _read_arrays(file, settings.pop("sha256"))
        return Bank.from_arrays(arrays, tags, settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file}: invalid bank ({error!r}). Fix: copy the model again") from error


def _read_description(file: storage.PathLike) -> dict[str, Any]:
    """The JSON without its format and its digest, once both are checked."""
    try:
        text = storage.read_bytes(file).decode()
        description = json.loads(text)
        found, digest = description.pop("format", None), description.pop("digest", None)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file}: invalid description of a model ({error}). Fix: copy it again"
        ) from error
    if found != FORMAT:
        raise ModelError(
            f"{file}: format {found!r}: this version reads format {FORMAT}. Fix: use the "
            "version of coala_jax that wrote it, or train again"
        )
    if not storage.is_sealed(text, digest):
        raise ModelError(
            f"{file}: damaged or edited: its digest is not that of its content. Fix: copy it again"
        )
    for name, known in KNOWN.items():
        if (value := description.get(name, known[0])) not in known:
            raise ModelError(
                f"{file}: unknown {name} {value!s:.50}: a newer version wrote this model. "
                "Fix: update coala_jax"
            )
    return description
