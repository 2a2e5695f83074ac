"""What is evaluated: pretrained and untrained models, MFCCs, vectors that something else made."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from etils import epath
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.audio.frontend import Waveform
from coala_jax.embedding.embedder import Embedder, load, load_untrained
from coala_jax.evaluation.baselines import Mfcc
from coala_jax.evaluation.vector_table import VectorTable, load_vectors
from coala_jax.models.default import DEFAULT

SPECS = (
    "FOLDER of a pretrained model, default (the built-in model), untrained:FOLDER[:SEED], "
    "untrained:default[:SEED], vectors:FILE, or mfcc, mfcc:released, mfcc:peak"
)

MFCCS = {
    "mfcc": {},
    "mfcc:paper": {},
    "mfcc:peak": {"level": "peak"},
    "mfcc:released": {"mode": "released"},
    "mfcc:released:peak": {"mode": "released", "level": "peak"},
}

Vectors = Float32[np.ndarray, "clip dim"]


@runtime_checkable
class Evaluator(Protocol):
    """Turns each clip into a vector.

    Attributes:
        name: in tables and plots.
        digest: SHA-256 in hex of all that its vectors depend on except waveform and policy.
        sample_rate_hz: of the waveforms that it takes.
    """

    name: str
    digest: str
    sample_rate_hz: int

    def embed_clips(self, waveforms: Iterable[Waveform], policy: str) -> Vectors:
        """One vector for each clip, which has one channel at `sample_rate_hz`, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class ModelEvaluator:
    """A pretrained model, or an untrained one.

    case: the row of the paper's tables to compare it with; "" for an untrained model.
    """

    name: str
    embedder: Embedder
    case: str = ""

    @property
    def digest(self) -> str:
        return self.embedder.digest

    @property
    def sample_rate_hz(self) -> int:
        return self.embedder.sample_rate_hz

    @property
    def level(self) -> str:
        return self.embedder.level

    def embed_clips(self, waveforms: Iterable[Waveform], policy: str) -> Vectors:
        return self.embedder.embed_clips(waveforms, policy)


def load_evaluators(
    specs: Sequence[str], poolings: Sequence[str] = ()
) -> list[ModelEvaluator | Mfcc | VectorTable]:
    """One evaluator per `[NAME=]SPEC`, SPEC as in SPECS.

    Args:
        poolings: of `embedding.pooling.POOLINGS`, each of which a model is evaluated with; with two
            a model becomes two, named "NAME, mean" and "NAME, layers". Empty: each model's own.

    Raises:
        ModelError: a folder has no pretrained model.
        ValueError: a spec, a pooling or a file of vectors is invalid, or two evaluators have the
            same name.
    """
    evaluators = [one for spec in specs for one in _load(spec, poolings)]
    names = [evaluator.name for evaluator in evaluators]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(
            f"two models are named {twice[0]!r}. Fix: name them yourself, --model 'NAME=FOLDER'"
        )
    return evaluators


def _load(spec: str, poolings: Sequence[str]) -> Iterator[ModelEvaluator | Mfcc | VectorTable]:
    """MFCCs or vectors of a file, which have no pooling, or the model with each pooling."""
    name, equals, what = spec.partition("=")
    if not equals or storage.path(spec).exists():
        name, what = "", spec
    if not re.sub("^(untrained|vectors):", "", what):
        raise ValueError(f"--model {spec!r} names no model. Fix: give [NAME=]SPEC, SPEC a {SPECS}")
    if what in MFCCS:
        yield Mfcc(**MFCCS[what], name=name)
        return
    if what.startswith("vectors:"):
        yield load_vectors(Path(what.removeprefix("vectors:")), name)
        return
    for pooling in poolings or [None]:
        one = _load_model(spec, name, what, pooling)
        yield replace(one, name=f"{one.name}, {pooling}") if len(poolings) > 1 else one


def _load_model(spec: str, name: str, what: str, pooling: str | None) -> ModelEvaluator:
    if what.startswith("untrained:"):
        folder, seed = _folder_and_seed(what.removeprefix("untrained:"))
        name = name or f"untrained {_run_name(folder)}" + (f" {seed}" if seed else "")
        return ModelEvaluator(name, load_untrained(folder, seed, pooling))
    if what == DEFAULT:
        embedder = load(None, pooling)
        return ModelEvaluator(name or DEFAULT, embedder, embedder.case)
    folder = storage.path(what)
    if not folder.is_dir():
        raise ValueError(f"--model {spec!r}: no such folder. Fix: give a {SPECS}")
    weights = "*.safetensors"
    if not any(folder.glob(weights)) and any((folder / "model").glob(weights)):
        raise ValueError(f"{folder}: a run, not a model. Fix: give {folder / 'model'}")
    embedder = load(folder, pooling)
    return ModelEvaluator(name or _run_name(folder), embedder, embedder.case)


def _folder_and_seed(text: str) -> tuple[epath.Path | None, int]:
    """The folder is None for the built-in model."""
    folder, seed = text, 0
    if found := re.fullmatch(r"(.+):(\d+)", text):
        folder, seed = found[1], int(found[2])
    return None if folder == DEFAULT else storage.path(folder), seed


def _run_name(folder: epath.Path | None) -> str:
    """The folder's name; of RUN/model that of RUN."""
    if folder is None:
        return DEFAULT
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name
