"""What is compared: frozen models, untrained ones, MFCCs, each under a name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coala_jax.embedding.embedder import Embedder, load_model, load_untrained
from coala_jax.evaluation.baselines import Mfcc
from coala_jax.evaluation.features import Feature

SPECS = "FOLDER of a frozen model, untrained:FOLDER[:SEED], mfcc or mfcc:released"


@dataclass(frozen=True, eq=False)
class Contender:
    """Something that turns clips into vectors.

    Attributes:
        spec: how the command named it.
        case: the row of the paper's Table 1 that it stands beside; "" for an untrained model.
        feature: its name in tables and pictures, and what it computes.
        embedder: None for MFCCs.
    """

    spec: str
    case: str
    feature: Feature
    embedder: Embedder | None

    @property
    def name(self) -> str:
        return self.feature.name


def load_contenders(specs: Sequence[str]) -> list[Contender]:
    """From `[NAME=]SPEC` each.

    Raises:
        ModelError: a folder holds no frozen model.
        ValueError: a spec that says nothing, or two contenders of one name.
    """
    contenders = [_load(spec) for spec in specs]
    names = [contender.name for contender in contenders]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(
            f"two models are called {twice[0]!r}; name them yourself: --model 'NAME=FOLDER'"
        )
    return contenders


def _load(spec: str) -> Contender:
    name, equals, what = spec.partition("=")
    if not equals or Path(spec).exists():
        name, what = "", spec
    if not what.removeprefix("untrained:"):
        raise ValueError(f"--model {spec!r} names no model; it is [NAME=]SPEC, SPEC a {SPECS}")
    if what in ("mfcc", "mfcc:paper", "mfcc:released"):
        mode = what.partition(":")[2] or "paper"
        name = name or ("MFCC" if mode == "paper" else "MFCC released")
        return Contender(spec, "mfcc", Feature(name, Mfcc(mode)), None)
    case = ""
    if what.startswith("untrained:"):
        folder, seed = _folder_and_seed(what.removeprefix("untrained:"))
        embedder = load_untrained(folder, seed)
        name = name or f"untrained {_called(folder)}" + (f" {seed}" if seed else "")
    else:
        folder = Path(what)
        if not folder.is_dir():
            raise ValueError(f"--model {spec!r}: there is no such folder; a model is a {SPECS}")
        weights = "*.safetensors"
        if not any(folder.glob(weights)) and any((folder / "model").glob(weights)):
            raise ValueError(f"{folder}: this is a run; its model is {folder / 'model'}")
        embedder = load_model(folder)
        case = embedder.case
        name = name or _called(folder)
    return Contender(spec, case, Feature(name, embedder), embedder)


def _folder_and_seed(text: str) -> tuple[Path, int]:
    if found := re.fullmatch(r"(.+):(\d+)", text):
        return Path(found[1]), int(found[2])
    return Path(text), 0


def _called(folder: Path) -> str:
    """The run's name: its folder's, where the model lies in RUN/model."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name
