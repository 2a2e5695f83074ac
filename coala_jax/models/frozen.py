"""The frozen model: what a user shares. Weights as safetensors, everything else as one JSON.

No pickle and no dates: equal runs give equal bytes, and reading a stranger's model runs no code.
"""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from coala_jax.models.coala import build_model, initial_variables

FORMAT = 2
WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


class ModelError(ValueError):
    """A folder that holds no frozen model, or a damaged one; the message names file and cause."""


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """A trained model with all it takes to use it.

    variables: `params` and `batch_stats`, as nested dictionaries of NumPy arrays.
    """

    case: str  # ae_c, e_c or cnn
    vocabulary: list[str]
    tag_processing: str  # that gave the vocabulary: paper or released
    front_end: dict[str, Any]
    scaler: dict[str, Any]
    config: dict[str, Any]  # that trained it
    variables: PyTree

    def module(self) -> nn.Module:
        return build_model(self.case, ConfigDict(self.config["model"]), len(self.vocabulary))

    def untrained(self, seed: int) -> "FrozenModel":
        """The same model with fresh weights: what training has to beat."""
        variables = initial_variables(self.module(), jax.random.key(seed))
        return dataclasses.replace(self, variables=jax.tree.map(np.asarray, variables))

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all that `save` writes: the same for equal models, saved or not."""
        description = self._description(self._weights())
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def _weights(self) -> bytes:
        return safetensors.numpy.save(
            {
                ".".join(path): np.ascontiguousarray(value, np.float32)
                for path, value in sorted(flatten_dict(self.variables).items())
            }
        )

    def _description(self, weights: bytes) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["variables"]
        digest = hashlib.sha256(weights).hexdigest()
        return {"format": FORMAT, "weights_sha256": digest, **fields}

    def save(self, folder: Path) -> None:
        """Writes the folder, or replaces it whole."""
        weights = self._weights()
        description = self._description(weights)
        temporary = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        (temporary / WEIGHTS).write_bytes(weights)
        text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
        (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)  # so that at every moment one of the two is whole on disk
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> "FrozenModel":
        """Raises ModelError when a file is missing, damaged, of another format or other shapes."""
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder}: this folder is no frozen model (it has no {name}); "
                    "a training run leaves one in WORKDIR/model"
                )
        file = folder / DESCRIPTION
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
            found = description.pop("format", None)
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"{file}: this describes no model ({error}); copy it again") from error
        if found != FORMAT:
            raise ModelError(
                f"{file}: format {found!r} is not format {FORMAT}, the one this version reads; "
                "use the version that wrote it"
            )
        data = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != description.pop("weights_sha256", None):
            raise ModelError(
                f"{folder / WEIGHTS}: its checksum is not the one in {DESCRIPTION}; copy both again"
            )
        try:
            flat = {tuple(k.split(".")): v for k, v in safetensors.numpy.load(data).items()}
            model = cls(**description, variables=unflatten_dict(flat))
            wanted = jax.eval_shape(lambda: initial_variables(model.module(), jax.random.key(0)))
        except Exception as error:  # all that a stranger's description can make a model raise
            raise ModelError(
                f"{folder}: no model can be made of what it holds ({error}); copy it again"
            ) from error
        model._check_arrays(wanted, folder / WEIGHTS)
        return model

    def _check_arrays(self, wanted: PyTree, file: Path) -> None:
        wanted, found = (
            {".".join(k): f"{v.dtype}{list(v.shape)}" for k, v in flatten_dict(tree).items()}
            for tree in (wanted, self.variables)
        )
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise ModelError(
                    f"{file}: {name} is {found.get(name, 'missing')} where the model of "
                    f"{DESCRIPTION} has {wanted.get(name, 'none')}; "
                    "the two files do not belong together"
                )
