"""The pretrained model: what a user shares. Arrays as safetensors, everything else as one JSON.

No pickle and no dates: equal runs give equal bytes, and reading a stranger's model runs no code.
Each file is covered by a digest in the JSON, so that no damage goes unseen.
"""

import dataclasses
import functools
import json
import re
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.models import arrays
from coala_jax.models.autoencoders import LATENT_SIZE
from coala_jax.models.bank import Bank
from coala_jax.models.coala import build_model, initial_variables
from coala_jax.models.description import DESCRIPTION as DESCRIPTION
from coala_jax.models.description import DTYPES as DTYPES
from coala_jax.models.description import FORMAT as FORMAT
from coala_jax.models.description import KNOWN as KNOWN
from coala_jax.models.description import ModelError as ModelError
from coala_jax.models.description import read_description

WEIGHTS, BANK = "model.safetensors", "bank.safetensors"
DECODERS = ("audio_decoder", "tag_decoder")  # of AE-C; what uses a model needs none


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
        named = {
            ".".join(path): np.asarray(value, "float16" if value.dtype == "float16" else "float32")
            for path, value in sorted(flatten_dict(self.variables).items())
        }
        weights = safetensors.numpy.save(named)
        files = {WEIGHTS: weights}
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["variables"] = {
            "sha256": storage.sha256(weights),
            "dtypes": {name: str(value.dtype) for name, value in named.items()},
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
        """Reads a folder, a stranger's too: nothing is allocated before its size is checked.

        Raises:
            ModelError: the folder is missing, damaged, of another format, or no valid model.
        """
        folder = storage.path(folder)
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder. Fix: name the folder of a model")
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder}: not a pretrained model: it has no {name}. Fix: name the folder "
                    "that a training run leaves in WORKDIR/model"
                )
        try:
            return cls._of_files(folder, read_description(folder / DESCRIPTION))
        except ModelError:
            raise
        except Exception as error:  # whatever a stranger's description makes a model raise
            raise ModelError(
                f"{folder}: invalid pretrained model ({error!r:.300}). Fix: copy it again"
            ) from error

    @classmethod
    def _of_files(cls, folder: storage.PathLike, fields: dict[str, Any]) -> "PretrainedModel":
        """The model of a checked description, with the arrays that it names."""
        weights, stored, bank = folder / WEIGHTS, fields.pop("variables"), fields["bank"]
        # A model without arrays says what arrays it must have, whatever their names in the file.
        found = arrays.read_header(weights)
        parts = {name.split(".")[1]: {} for name in found if name.startswith("params.")}
        empty = cls(**fields | {"bank": None}, variables={"params": parts})
        wanted = {
            name: arrays.describe(stored["dtypes"].get(name), shape)
            for name, shape in _shapes(empty.module()).items()
        }
        arrays.check_header(weights, found, wanted, "the two files")
        if bank is not None:
            fields["bank"] = _read_bank(folder / BANK, fields, bank)
        flat = arrays.read_arrays(weights, stored["sha256"])
        return cls(**fields, variables=unflatten_dict(flat, sep="."))


@functools.lru_cache(maxsize=16)
def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each of its arrays, by dotted name; nothing is allocated or compiled."""
    shapes = jax.eval_shape(lambda: initial_variables(module, jax.random.key(0)))
    return {name: leaf.shape for name, leaf in flatten_dict(shapes, sep=".").items()}


def _read_bank(file: storage.PathLike, fields: dict[str, Any], settings: dict[str, Any]) -> Bank:
    """Raises ModelError where the file is missing or damaged, or not the bank of `settings`."""
    tags = len(fields["vocabulary"])
    latent = LATENT_SIZE**2 * fields["config"]["model"]["filters"]
    found = arrays.read_header(file)
    entries, values = _lengths(found, "sounds", "int32"), _lengths(found, "shares", "float16")
    shapes = {
        "vectors": ("float16", [entries, latent]),
        "sounds": ("int32", [entries]),
        "tag_ends": ("int32", [entries + 1]),
        "tags": ("int32", [values]),
        "shares": ("float16", [values]),
    }
    wanted = {name: arrays.describe(*shape) for name, shape in shapes.items()}
    arrays.check_header(file, found, wanted, "all files")
    try:
        settings = {name: value for name, value in settings.items() if name != "sha256"}
        return Bank.from_arrays(arrays.read_arrays(file, fields["bank"]["sha256"]), tags, settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{file}: invalid bank ({error!r:.300}). Fix: copy the model again"
        ) from error


def _lengths(found: arrays.Header, name: str, dtype: str) -> int:
    """How long an array of one axis is; 0 where it is none."""
    match = re.fullmatch(rf"{dtype}\[(\d+)\]", found.get(name, ""))
    return int(match[1]) if match else 0
