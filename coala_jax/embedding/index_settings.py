"""What an index is of: its folder of sounds, its model, and the tags that it can be asked for."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.models.default import is_default, name_of
from coala_jax.tags.vocabulary import Vocabulary

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

FORMAT = 1
SETTINGS = "index.json"
# Padding weighs nothing in the vectors of an index, or short sounds would be alike by their length:
# of the ten nearest to a proxy task's events .34 are of the same class, by "paper" .31.
POLICY = "masked"
_TAGS = "tags.npz"

Values = Float32[np.ndarray, " value"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `index.json` holds.

    Attributes:
        sounds: the folder of sounds.
        model: the model's folder; None for the built-in model, wherever that is installed.
        digest, case, pooling: the model's.
        match: how sounds are matched with tags: cosine (with the projection), vote or logits.
        tags, processing: the model's vocabulary.
        table: of the database, with the rows; its scale is in the file of its name.
        scaled_by: how many sounds the table's scale is of; 0 where embeddings are as they come.
    """

    sounds: str
    model: str | None
    digest: str
    case: str
    pooling: str
    match: str
    tags: tuple[str, ...]
    processing: str
    table: str = "sounds-0"
    scaled_by: int = 0

    @classmethod
    def of(cls, embedder: "Embedder", model: Path | None, sounds: Path) -> "Settings":
        match = "logits" if embedder.case == "cnn" else "cosine"
        if embedder.bank is not None:
            match = embedder.bank.best_for_search
        return cls(
            os.fspath(sounds.absolute()),
            None if model is None or is_default(model) else os.fspath(model.absolute()),
            embedder.digest,
            embedder.case,
            embedder.pooling,
            match,
            embedder.vocabulary.tags,
            embedder.vocabulary.processing,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tags, self.processing)

    @property
    def match_column(self) -> str:
        """The column of what tags are matched with."""
        return {"cosine": "projection", "vote": "votes", "logits": "logits"}[self.match]

    def check_model(self, embedder: "Embedder", model: Path | None, folder: Path) -> None:
        """Raises ValueError where a model is not the one that made the vectors."""
        if embedder.digest == self.digest:
            return
        other = name_of(model)
        way_back = "leave out --model" if self.model is None else f"--model={self.model}"
        if self.model is None and (model is None or is_default(model)):
            other = "the one of this version of coala_jax"
            way_back = "install the version that made it"
        raise ValueError(
            f"{shown(folder)} holds vectors of {shown(name_of(self.model))} (digest "
            f"{self.digest[:12]}, pooling {self.pooling}), not of {shown(other)} (digest "
            f"{embedder.digest[:12]}, pooling {embedder.pooling}). Fix: {shown(way_back)}, or name "
            "another --out, or delete the index to make it anew"
        )

    def write(self, folder: Path) -> None:
        content = {"format": FORMAT} | dataclasses.asdict(self)
        storage.write_record(folder / SETTINGS, content, escaped=True)  # of names that are no UTF-8


def read_settings(folder: Path) -> Settings:
    """The settings of an index.

    Raises:
        ValueError: the folder holds no index, a damaged one, or one of another format.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise ValueError(
            f"{shown(folder)}: no index of sounds. Fix: make one with coala index FOLDER "
            f"--out={shown(folder)}"
        )
    content: Any = storage.read_json(file)
    try:
        form = content.pop("format")
        if form != FORMAT:
            raise ValueError(f"format {form!r}; this version reads format {FORMAT}")
        settings = Settings(**content | {"tags": tuple(content["tags"])})
        settings.match_column  # noqa: B018 raises KeyError where there is no such match
        return settings
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: no settings of an index ({error}). Fix: delete the folder, and index the "
            "sounds again"
        ) from error


def write_tags(folder: Path, vectors: Float32[np.ndarray, "tag latent"]) -> None:
    """Keeps the tags in the space that they share with sounds."""
    storage.write_arrays(folder / _TAGS, {"vectors": vectors})


def read_tags(folder: Path) -> Float32[np.ndarray, "tag latent"]:
    """What `write_tags` kept."""
    return _read(folder / _TAGS)["vectors"]


def write_scale(folder: Path, table: str, mean: Values, spread: Values) -> None:
    """Keeps what a table's embeddings were standardised by."""
    storage.write_arrays(folder / f"{table}.npz", {"mean": mean, "spread": spread})


def read_scale(folder: Path, table: str) -> tuple[Values, Values]:
    """What `write_scale` kept: mean and spread."""
    arrays = _read(folder / f"{table}.npz")
    return arrays["mean"], arrays["spread"]


def _read(file: Path) -> dict[str, np.ndarray]:
    arrays = storage.read_arrays(file)
    if arrays is None:
        raise ValueError(
            f"{file}: missing or damaged. Fix: delete the folder, and index the sounds again"
        )
    return arrays


def shown(path: str | os.PathLike[str]) -> str:
    """A path as one line of text that any terminal and file takes."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
