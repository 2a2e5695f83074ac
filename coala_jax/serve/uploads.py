"""Sounds that are not in the index: one at a time through the model, in a thread of its own."""

import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.audio.errors import DecodeError
from coala_jax.embedding.index_settings import POLICY, shown
from coala_jax.serve.errors import BusyError, NotFoundError, UnreadableSoundError

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

SECONDS = 60  # of a sound that go through the model
_DECODE_SECONDS = 20.0  # after which decoding is given up
_PLACES = 4  # sounds that are taken at a time
_MOST_KEPT = 32
_TAGS = 5
_WAVPACK = b"wvpk"

Waveform = Float32[np.ndarray, " sample"]


class _Kept(NamedTuple):
    name: str
    embedding: Float32[np.ndarray, " value"]


class Uploads:
    """The last 32 sounds that were given, as embeddings.

    Args:
        load: the index's model, or ValueError that says why there is none. It is called once, in
            the thread that all sounds go through, after `start` or with the first sound.
    """

    def __init__(self, load: Callable[[], "Embedder"]) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._lock, self._places = threading.Lock(), _PLACES
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._embedder: Embedder | None = None
        self._error = ""

    def start(self) -> None:
        """Begins to load the model, so that it is there when the first sound comes."""
        self._thread.submit(self._prepare)

    def close(self) -> None:
        """Ends the thread after what it is doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def state(self) -> dict[str, str]:
        """Whether the model is loading, ready or missing, and why."""
        if self._error:
            return {"state": "missing", "error": self._error}
        return {"state": "loading" if self._embedder is None else "ready", "error": ""}

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place among the few sounds that are taken at a time, from their first byte on.

        Raises:
            BusyError: all are taken, or there is no model.
        """
        with self._lock:
            if self._error:
                raise BusyError(self._error)
            if self._places == 0:
                raise BusyError(f"{_PLACES} sounds are being read. Fix: try again in a moment")
            self._places -= 1
        try:
            yield
        finally:
            with self._lock:
                self._places += 1

    def submit(self, file: Path, name: str) -> "Future[dict[str, Any]]":
        """`add` in the thread of the model, once it is loaded."""
        return self._thread.submit(self.add, file, name)

    def add(self, file: Path, name: str) -> dict[str, Any]:
        """Embeds a file, and keeps the embedding under a new key.

        Raises:
            UnreadableSoundError: it cannot become a waveform.
            BusyError: there is no model.
        """
        self._prepare()
        if self._embedder is None:
            raise BusyError(self._error)
        waveform = _heard(file, name, self._embedder.sample_rate_hz)
        (found,) = self._embedder.describe_each(
            [waveform], self._embedder.sample_rate_hz, policy=POLICY
        )
        if found.error is not None:
            raise UnreadableSoundError(f"{name}: {found.error}")
        key = f"upload-{secrets.token_hex(8)}"
        with self._lock:
            self._kept[key] = _Kept(name, found.embedding)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        seconds = waveform.size / self._embedder.sample_rate_hz
        tags = _tags(self._embedder, found.matched)
        return {"key": key, "path": name, "seconds": round(seconds, 3), "tags": tags}

    def knows(self, key: str) -> bool:
        """Whether a key is one of an upload, be it kept or not."""
        return key.startswith("upload-")

    def get(self, key: str) -> _Kept:
        """Name and embedding of an upload. Raises NotFoundError."""
        with self._lock:
            if key not in self._kept:
                raise NotFoundError("that sound is no longer kept here. Fix: drop it once more")
            self._kept.move_to_end(key)
            return self._kept[key]

    def _prepare(self) -> None:
        """Loads the model, if that has not been tried."""
        if self._embedder is not None or self._error:
            return
        try:
            embedder = self._load()
            # The first sound would wait for the compiler otherwise.
            second = np.zeros(embedder.sample_rate_hz, np.float32)
            list(embedder.describe_each([second], embedder.sample_rate_hz, policy=POLICY))
            self._embedder = embedder
        except Exception as error:
            self._error = shown(str(error))
            logging.warning("sounds cannot be given, only searched for: %s", self._error)


def _heard(file: Path, name: str, sample_rate_hz: int) -> Waveform:
    """The first minute of a file, decoded block by block.

    Raises:
        UnreadableSoundError: it is not a sound, or decoding takes too long.
    """
    with storage.open_binary(file) as opened:
        if opened.read(4) == _WAVPACK:  # another program would unpack it, to any size
            raise UnreadableSoundError(
                f"{name}: WavPack is not taken here. Fix: convert it to flac"
            )
    blocks, samples = [], 0
    until = time.monotonic() + _DECODE_SECONDS
    try:
        for block in decode.stream(file, sample_rate_hz):
            blocks.append(block)
            samples += block.size
            if samples >= SECONDS * sample_rate_hz:
                break
            if time.monotonic() > until:
                raise UnreadableSoundError(
                    f"{name}: decoding takes longer than {_DECODE_SECONDS:g} s. Fix: convert it to "
                    "wav"
                )
    except DecodeError as error:
        # The message names the file as it is called here, which says nothing to who gave it.
        raise UnreadableSoundError(str(error).replace(str(file), name)) from error
    return np.concatenate(blocks)[: SECONDS * sample_rate_hz]


def _tags(embedder: "Embedder", matched: Float32[np.ndarray, " value"]) -> list[tuple[str, float]]:
    """The best tags and their scores; none of a model without a bank."""
    if embedder.case != "cnn" and embedder.bank is None:
        return []
    return [(tag, round(score, 4)) for tag, score in embedder.tags_of(matched, _TAGS)]
