"""A small index, made by an embedder without a network, and a server of it.

What threads of the server would import later is imported here: the tests' import hooks call
`ast.parse`, which in Python 3.11 fails now and then when two threads do at once.
"""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import anyio._backends._asyncio  # noqa: F401
import numpy as np
import soundfile

from coala_jax.audio import decode
from coala_jax.audio.frontend import FrontEnd
from coala_jax.embedding import index_map, map_projection  # noqa: F401
from coala_jax.embedding.embedder import Description
from coala_jax.embedding.index import Index
from coala_jax.serve import server
from coala_jax.tags.vocabulary import Vocabulary

RATE_HZ = 22_000
BANDS = 6  # of the spectrum, each an octave; a tag means one of them
TAGS = ("deep", "low", "middle", "high", "bright", "hiss")


class BandBank:
    """As a model's bank: the octaves' shares of a sound are the votes for their tags."""

    best_for_search = "cosine"

    def vote(self, levels: np.ndarray) -> np.ndarray:
        return levels / np.maximum(levels.sum(axis=1, keepdims=True), 1e-9)


class BandEmbedder:
    """As an `Embedder`, but that a sound's vector is its level in six octaves from 100 Hz on."""

    case, pooling, bank, digest = "e_c", "mean", BandBank(), "b" * 64
    sample_rate_hz, embedding_size, latent_size = RATE_HZ, BANDS, BANDS
    vocabulary, front_end = Vocabulary(TAGS), FrontEnd()

    def embed_tags(self, tags) -> np.ndarray:
        return np.eye(BANDS, dtype=np.float32)[[self.vocabulary.place(tag) for tag in tags]]

    def describe_each(self, sounds, sample_rate_hz=None, *, policy, workers=None):
        for sound in sounds:
            try:
                is_array = isinstance(sound, np.ndarray)
                waveform = sound if is_array else decode.load(sound, RATE_HZ, allow_silence=True)
            except ValueError as error:
                yield Description(None, None, 0.0, 0, error)
                continue
            levels = self.levels(waveform)
            yield Description(levels, levels, waveform.size / RATE_HZ, 1, None)

    def tags_of(self, matched, top):
        shares = self.bank.vote(matched[None])[0]
        best = np.argsort(-shares, kind="stable")[:top]
        return [(self.vocabulary.readable(tag), float(shares[tag])) for tag in best]

    def levels(self, waveform: np.ndarray) -> np.ndarray:
        hertz = np.fft.rfftfreq(waveform.size, 1 / RATE_HZ)
        power = np.abs(np.fft.rfft(waveform)) ** 2
        octave = np.floor(np.log2(np.maximum(hertz, 1) / 100))
        sums = np.array([power[octave == band].sum() for band in range(BANDS)])
        return (sums / max(sums.max(), 1e-9)).astype(np.float32)


def tone(octave: float, seconds: float = 0.4) -> np.ndarray:
    """A decaying sine in the middle of an octave, with a little noise."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(int(7 * octave)).normal(size=at.size) * 1e-3
    sine = np.sin(2 * np.pi * 150 * 2**octave * at) * np.exp(-3 * at)
    return (0.5 * sine + noise).astype(np.float32)


def write_index(folder: Path) -> Path:
    """Sounds, one of each octave and two of the lowest, and the index of them; returns its folder.

    `<b>.wav` has a name that a page must not take for markup, `long.wav` is longer than a preview.
    """
    sounds = folder / "sounds"
    (sounds / "deep").mkdir(parents=True)
    for octave, name in enumerate(["deep/a.wav", "b.flac", "c.ogg", "d.wav", "<b>.wav", "f.wav"]):
        soundfile.write(sounds / name, tone(octave), RATE_HZ)
    soundfile.write(sounds / "deep" / "aa.wav", tone(0.2), RATE_HZ)
    soundfile.write(sounds / "long.wav", tone(3.1, 20), RATE_HZ)
    tags = {"deep/a.wav": ("deep", "<i>drum</i>"), "f.wav": ("hiss",)}
    Index.update(sounds, BandEmbedder(), folder / "model", folder / "sounds.index", tags)
    return folder / "sounds.index"


@contextlib.contextmanager
def serving(index: Path, load=BandEmbedder) -> Iterator[str]:
    """The address of a server of an index; `load` gives the model."""
    library, uploads = server.open_index(index)
    uploads._load = load
    running = server.make_server(server.make_app(library, uploads))
    with server.listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not running.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield server.address_of(listening)
        finally:
            running.should_exit = True
            thread.join()


class Answer:
    """Of a request: status, headers and content."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.content = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.content)


def ask(address: str, path: str, body=None, method=None, **headers: str) -> Answer:
    """Sends a request as a program that is not a browser; `_` in headers stands for `-`."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        target = quote(path, safe="/?&=%,-.:")
        connection.request(method or ("GET" if body is None else "POST"), target, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()
