"""The folder of an index: made once, written by one process at a time."""

import contextlib
import dataclasses
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coala_jax import storage
from coala_jax.embedding import index_settings, index_store
from coala_jax.embedding.index_scale import identity
from coala_jax.embedding.index_settings import Settings, shown
from coala_jax.embedding.index_store import Store

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

# What a process that is killed while it makes an index may leave.
_BEGINNING = ("lock", "sounds-0.lance", "sounds-0.files.json", "sounds-0.npz", "tags.npz")


def check_free(folder: Path) -> None:
    """Raises ValueError where a folder holds something else than an index."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{shown(folder)}: a file. Fix: name a folder with --out")
    if (folder / index_settings.SETTINGS).exists() or not folder.exists():
        return
    names = [path.name for path in folder.iterdir()]
    if any(not (name in _BEGINNING or storage.is_temporary(name)) for name in names):
        raise ValueError(
            f"{shown(folder)} holds something else than an index. Fix: name another --out"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else writes the index meanwhile.

    Raises:
        ValueError: the folder cannot be written, or another process writes it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = storage.path(folder / "lock").open("wb")
    except OSError as error:
        raise ValueError(
            f"{shown(folder)}: the index cannot be written ({error.strerror}). Fix: name an --out "
            "that can be, or ask for the right to write there"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{shown(folder)}: another process is writing it. Fix: wait for it"
            ) from error
        storage.sweep_temporary(folder)
        yield


def open_or_create(
    folder: Path, root: Path, embedder: "Embedder", model: Path | None
) -> tuple[Settings, Store]:
    """The index in a folder; a new one where there is none."""
    fresh = Settings.of(embedder, model, root)
    if (folder / index_settings.SETTINGS).exists():
        settings = index_settings.read_settings(folder)
        settings.check_model(embedder, model, folder)
        followed = Path(settings.sounds)  # which may have moved as a whole, and is then elsewhere
        if followed.is_dir() and not followed.samefile(root):
            raise ValueError(
                f"{shown(folder)} follows {shown(followed)}, not {shown(root)}. Fix: name another "
                "--out"
            )
        places = {"sounds": fresh.sounds, "model": fresh.model}
        settings = dataclasses.replace(settings, **places)
        settings.write(folder)
        store = Store(folder, settings.table, writes=True)
        store.drop_others()
        return settings, store
    vectors = {"embedding": embedder.embedding_size}
    if embedder.case != "cnn":
        vectors = {"projection": embedder.latent_size} | vectors
        tags = embedder.embed_tags(embedder.vocabulary.tags)
        norms = np.linalg.norm(tags, axis=1, keepdims=True)
        index_settings.write_tags(folder, tags / np.maximum(norms, np.finfo(np.float32).tiny))
    if fresh.match != "cosine":
        vectors = {fresh.match_column: len(embedder.vocabulary)} | vectors
    store = Store.create(folder, fresh.table, index_store.schema(vectors))
    index_settings.write_scale(folder, fresh.table, *identity(embedder.embedding_size))
    fresh.write(folder)
    return fresh, store
