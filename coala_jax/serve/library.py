"""What the page may ask of an index, from plain values to plain values: nothing of HTTP is here."""

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from coala_jax.embedding import index_checksums
from coala_jax.embedding.index import Index
from coala_jax.embedding.index_map import Map
from coala_jax.embedding.index_ranking import Like
from coala_jax.embedding.index_settings import SETTINGS, shown
from coala_jax.embedding.index_words import Words
from coala_jax.serve.catalogue import Catalogue, Sound, key_of
from coala_jax.serve.errors import ChangedError, RequestError
from coala_jax.serve.uploads import Uploads

MOST_HITS = 200
MOST_CHARACTERS = 200  # of a question: an unknown word is compared with every tag
_LOOK_SECONDS = 2.0  # between looks whether the index has changed


class Question(NamedTuple):
    """What is searched for.

    words: tags, as `Index.search` takes them; may be empty.
    like: the key of a sound, or of an upload, that results are like; may be empty.
    seconds: the least and the greatest length.
    top: the most results.
    """

    words: str
    like: str
    seconds: tuple[float, float]
    top: int


class _Opened(NamedTuple):
    index: Index
    catalogue: Catalogue
    stamp: tuple[int, ...]


class Library:
    """An index that is open to be asked, and follows what is written to it; threads may share it.

    Raises:
        ValueError: the folder holds no index, or a damaged one.
    """

    def __init__(self, folder: Path, uploads: Uploads) -> None:
        self._folder, self._uploads = folder, uploads
        self._lock = threading.Lock()
        self._opened, self._looked = _open(folder), time.monotonic()
        self._map: tuple[str, Future[Map]] | None = None

    def __len__(self) -> int:
        return len(self._opened.catalogue)

    def warm(self) -> None:
        """Asks once, so that the first person to ask does not wait while modules are loaded."""
        index = self._current().index
        vocabulary = index.settings.vocabulary
        index.rank(index.words(vocabulary.readable(0)), None, top=1)
        vocabulary.find("an unknown word")

    def about(self) -> dict[str, Any]:
        """What the page has to know before anything is asked."""
        index = self._current().index
        vocabulary = index.settings.vocabulary
        return {
            "name": shown(index.sounds.name),
            "folder": key_of(str(index.sounds)),  # by which the page keeps favourites apart
            "sounds": len(self),
            "tags": [vocabulary.readable(place) for place in range(len(vocabulary))],
            "version": index.version,
            "model": self._uploads.state(),
            "most": {"hits": MOST_HITS, "characters": MOST_CHARACTERS},
        }

    def search(self, question: Question) -> dict[str, Any]:
        """The sounds that fit tags, are like a sound, or both.

        Raises:
            RequestError: the question is not one that can be asked.
            ValueError: no tag is like a word, or a range is empty.
        """
        index, catalogue, _ = self._current()
        words, texts = None, []
        if len(question.words) > MOST_CHARACTERS:
            raise RequestError(
                f"the tags have {len(question.words)} characters; at most {MOST_CHARACTERS} are "
                "taken. Fix: write fewer"
            )
        if question.words.strip():
            words = index.words(question.words)
            texts.append(words.text(index.settings.vocabulary))
        like, name = self._like(index, catalogue, question.like)
        texts += [f"like {name}"] if name else []
        if words is None and like is None:
            raise RequestError("nothing to search for. Fix: write tags, give a sound or both")
        top = max(1, min(question.top, MOST_HITS))
        rows, scores = index.rank(words, like, seconds=question.seconds, top=top)
        hits = [
            catalogue.by_row(row).record() | {"score": round(score, 4)}
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        return {
            "title": ", ".join(texts),
            "notes": _notes(words),
            "hits": hits,
            "sounds": len(catalogue),
            "version": index.version,
        }

    def sound(self, key: str) -> Sound:
        """A sound by its key. Raises NotFoundError."""
        return self._current().catalogue.by_key(key)

    def sound_at(self, row: int, version: str) -> Sound:
        """A sound of the map by the id of its row. Raises ChangedError and NotFoundError."""
        index, catalogue, _ = self._current()
        if version != index.version:
            raise ChangedError("the index has changed. Fix: load the page again")
        return catalogue.by_row(row)

    def file(self, key: str) -> Path:
        """The file of a sound. Raises NotFoundError and ForbiddenError."""
        catalogue = self._current().catalogue
        return catalogue.file(catalogue.by_key(key))

    def map(self) -> tuple[str, Map] | None:
        """The index's version and its map; None while it is made, which the first call begins.

        Raises:
            ValueError: it cannot be made.
        """
        index = self._current().index
        with self._lock:
            if self._map is None or self._map[0] != index.version:
                self._map = index.version, Future()
                # A daemon: nobody who ends the program waits minutes for a map.
                made = threading.Thread(target=_make_map, args=(index, self._map[1]), daemon=True)
                made.start()
            version, found = self._map
        return (version, found.result()) if found.done() else None

    def _like(self, index: Index, catalogue: Catalogue, key: str) -> tuple[Like | None, str]:
        if not key:
            return None, ""
        if self._uploads.knows(key):
            name, embedding = self._uploads.get(key)
            return index.like_embedding(embedding), name
        sound = catalogue.by_key(key)
        return index.like_row(sound.row), shown(Path(sound.path).name)

    def _current(self) -> _Opened:
        """The index as it is on the disk, or was two seconds ago."""
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._looked = time.monotonic()
                try:
                    if _stamp(self._folder) != self._opened.stamp:
                        self._opened = _open(self._folder)
                        logging.info("%s: %d sounds now", shown(self._folder), len(self))
                except (OSError, ValueError) as error:
                    # It is being written, or has gone: what is open serves as long as it can.
                    logging.warning("%s", error)
            return self._opened


def _open(folder: Path) -> _Opened:
    stamp = _stamp(folder)  # before it is opened, or what is written meanwhile would be missed
    index = Index(folder)
    for column in index.keep():
        logging.info("%s: %s: over 1 GiB; each search reads it from disk", shown(folder), column)
    index.version  # noqa: B018 computed here, not when the first page asks
    return _Opened(index, Catalogue(index.entries(), index.sounds), stamp)


def _make_map(index: Index, found: "Future[Map]") -> None:
    try:
        found.set_result(index.map())
    except Exception as error:
        found.set_exception(error)


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the index is written."""
    places = (folder / SETTINGS, *sorted(folder.glob(f"*{index_checksums.SUFFIX}")))
    return tuple(place.stat().st_mtime_ns if place.exists() else 0 for place in places)


def _notes(words: Words | None) -> list[str]:
    return [] if words is None else list(map(shown, words.notes))


def packed(found: Map) -> bytes:
    """A map as bytes: of all sounds the ids (uint32), then x and y (uint16), then the groups.

    All little-endian, 9 bytes a sound.
    """
    parts = found.ids.astype("<u4"), found.points.astype("<u2"), found.groups.astype(np.uint8)
    return b"".join(part.tobytes() for part in parts)
