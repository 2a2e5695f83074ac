"""A pretrained model in use: from sounds and tags to vectors.

model = load()  # the built-in model, or load("runs/mine/model")
vectors = model.embed(["dog.wav", "cat.flac"])  # [2, model.embedding_size]
model.tags("dog.wav", top=3)  # [("dog", 0.61), ("animal", 0.4), ("bark", 0.3)]
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from absl import logging
from jaxtyping import Float32, Float64, UInt8

from coala_jax import storage
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.embedding import pooling
from coala_jax.embedding.encoder import Encoder, Event, Patches
from coala_jax.embedding.pools import POSITIONS, Pooled, new_pool, pool_sounds
from coala_jax.embedding.sounds import Heard, Reader, Sound, Windows, as_list
from coala_jax.models.autoencoders import BLOCK_POSITIONS, LATENT_SIZE, PATCH_SIZE
from coala_jax.models.default import default_model_folder
from coala_jax.models.pretrained import DESCRIPTION, ModelError, PretrainedModel
from coala_jax.tags.vocabulary import Vocabulary

Vectors = Float32[np.ndarray, "row latent"]


class Embedding(NamedTuple):
    """The result for one sound: its vector, or None and the error that says why."""

    vector: Float32[np.ndarray, " value"] | None
    seconds: float  # of sound that were read
    error: ValueError | None


class Description(NamedTuple):
    """What an index holds of a sound; of one that cannot be read the vectors are None.

    Attributes:
        matched: what tags are matched with: the projection, in the case CNN the logits.
        embedding: as `embed` gives it.
        seconds: of sound that were read.
        patches: of which the vectors are pooled.
        error: that says why there are no vectors.
    """

    matched: Float32[np.ndarray, " value"] | None
    embedding: Float32[np.ndarray, " value"] | None
    seconds: float
    patches: int
    error: ValueError | None


class Embedder:
    """A pretrained model ready for use; it decodes, batches and pads by itself.

    Attributes:
        case: ae_c, e_c or cnn. `project`, `tags` and `embed_tags` need one of the first two (`tags`
            works with cnn, too), `reconstruct` and `reconstruct_tags` ae_c, `tag_logits` cnn.
        vocabulary: the tags that the model knows.
        bank: of training sounds, whose tags vote; None in the case cnn.
        digest: of weights and description, SHA-256 in hex; the same for equal models.
        dataset_digest: of the dataset that trained it, `Manifest.digest`; an untrained model keeps
            that of the model it was made from.
        level: one of `decode.LEVELS`, applied to every sound.
        front_end, scaler: how its patches are made; with `Scaler.none()` (the model was trained on
            patches that were scaled already) it takes patches only.
        sample_rate_hz: of the waveforms that `embed_clips` takes.
        pooling: what a sound's vector is, of `pooling.POOLINGS`: mean, or layers.
        embedding_size: values of a sound's vector, 9 times the filters, or with `layers` 30 times.
        latent_size: values of a patch's latent and of a projection, 9 times the filters.
        matched_size: values that tags are matched with: of a projection, in the case CNN the tags.

    A sound is a file, or an array [sample] or [channel, sample] of floats in [-1, 1], of any rate,
    number of channels (averaged) and length; see `pooling` for those that fill no patch. A file is
    decoded as it is needed, so that a day of sound takes no more memory than a minute. No result
    depends on the sounds beside it, nor on how many workers read them.

    `policy` (paper, released or masked) says how a sound that does not fill its patches is padded,
    and what the padding weighs; see `pooling`. A method raises ValueError where the case lacks what
    it needs, or the arrays are none or of a wrong shape.
    """

    def __init__(self, model: PretrainedModel) -> None:
        self.case = model.case
        self.vocabulary = Vocabulary(tuple(model.vocabulary), model.tag_processing)
        self.bank = model.bank
        self.digest = model.digest
        self.dataset_digest = model.dataset_digest
        self.level = model.level
        self.front_end = FrontEnd.from_dict(model.front_end)
        self.sample_rate_hz = self.front_end.sample_rate_hz
        self.scaler = Scaler.from_dict(model.scaler)
        pooling.check_pooling(model.pooling)
        self.pooling = model.pooling
        self._encoder = Encoder(model)
        filters = self._encoder.module.filters
        self.latent_size = filters * LATENT_SIZE**2
        self.matched_size = len(self.vocabulary) if self.case == "cnn" else self.latent_size
        statistics = 2 * len(BLOCK_POSITIONS) * LATENT_SIZE  # of each block's bands
        self.embedding_size = filters * statistics if self._is_layers else self.latent_size

    def __repr__(self) -> str:
        bank = f", bank of {len(self.bank)}" if self.bank else ""
        return (
            f"<Embedder {self.case}: sound at {self.sample_rate_hz} Hz -> "
            f"{self.embedding_size} values ({self.pooling}); {len(self.vocabulary)} tags{bank}; "
            f"digest {self.digest[:12]}>"
        )

    def embed(
        self,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None = None,
        *,
        policy: str = "paper",
        on_error: str = "raise",
        workers: int | None = None,
    ) -> Float32[np.ndarray, "clip value"]:
        """One vector a sound, in their order: the mean over its patches, or as `pooling` says.

            model.embed(["dog.wav", "cat.flac"])  # [2, model.embedding_size]
            model.embed(samples, sample_rate_hz=16_000)  # [1, model.embedding_size]

        Args:
            sounds: one sound, or any number of them.
            sample_rate_hz: of the sounds that are arrays.
            on_error: raise, or skip: the row of a sound that cannot be read is NaN, so that rows
                and sounds stay in step, and a warning says which and why.
            workers: that read sounds; as many as there are cores, at most 16.

        Raises:
            DecodeError: a file cannot be decoded; the message says which and why.
            ValueError: an array is no waveform, its rate is missing, or an argument is invalid.
        """
        found = self.embed_each(sounds, sample_rate_hz, policy=policy, workers=workers)
        return self._rows(found, self.embedding_size, on_error)

    def embed_each(
        self,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None = None,
        *,
        policy: str = "paper",
        workers: int | None = None,
    ) -> Iterator[Embedding]:
        """As `embed`, sound by sound as they are done, with the error of each that failed."""
        return self._pooled(self._encode_method, sounds, sample_rate_hz, policy, workers)

    def describe_each(
        self,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None = None,
        *,
        policy: str = "paper",
        workers: int | None = None,
    ) -> Iterator[Description]:
        """`project` (in the case CNN the logits) and `embed` of each sound as they are done.

        Each sound is read, and goes through the encoder, once.
        """
        parts = (self._match_method, self._encode_method)
        method = "match_and_encode_layers" if self._is_layers else "match_and_encode"
        for found in self._pooled_parts(method, parts, sounds, sample_rate_hz, policy, workers):
            matched, embedding = found.vectors or (None, None)
            yield Description(matched, embedding, found.seconds, found.patches, found.error)

    def embed_clips(
        self, waveforms: Iterable[Float32[np.ndarray, " _"]], policy: str = "paper"
    ) -> Float32[np.ndarray, "clip value"]:
        """`embed` of waveforms of one channel at the model's sample rate.

        They are taken as they are needed; a few wait in memory, with a batch of patches.
        """
        return self.embed(waveforms, self.sample_rate_hz, policy=policy)

    def embed_timestamps(
        self, sound: Sound, hop_seconds: float = 0.5, sample_rate_hz: int | None = None
    ) -> tuple[Float32[np.ndarray, "time value"], Float64[np.ndarray, " time"]]:
        """A vector every `hop_seconds`, and the times in seconds.

        Each is of the 2.2 s around its time, one patch, with silence before and after the sound.
        The first time is 0, the last lies within the sound; times are rounded to a frame (23 ms).

        Raises:
            DecodeError, ValueError: as `embed`; or the hop is shorter than a frame.
        """
        (parts,) = map(list, self.timestamps_each([sound], hop_seconds, sample_rate_hz))
        vectors, seconds = zip(*parts, strict=True)
        return np.concatenate(vectors), np.concatenate(seconds)

    def timestamps_each(
        self,
        sounds: Iterable[Sound],
        hop_seconds: float = 0.5,
        sample_rate_hz: int | None = None,
        *,
        workers: int | None = None,
    ) -> Iterator[Iterator[tuple[Float32[np.ndarray, "time value"], Float64[np.ndarray, " time"]]]]:
        """`embed_timestamps` of each sound, in parts as it is read; its errors come out there.

        A day of sound takes no more memory than a minute. Whoever asks for the next sound has done
        with the one before.
        """

        def cut(sound: Sound, heard: Heard) -> Iterator[Windows]:
            return self._reader.windows(sound, sample_rate_hz, hop_seconds, heard)

        def parts(events: Iterable[Event]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for heard, part, rows in events:
                if part is not None:
                    yield self._of_windows(rows), part.seconds
                elif heard.error is not None:
                    raise heard.error

        self._check_takes_sounds(self._encode_method)
        encoded = self._encoder.encode_sounds(self._encode_method, sounds, cut, workers)
        for _, events in itertools.groupby(encoded, key=lambda event: id(event[0])):
            yield parts(events)

    def project(
        self,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None = None,
        *,
        policy: str = "paper",
        on_error: str = "raise",
        workers: int | None = None,
    ) -> Float32[np.ndarray, "clip latent"]:
        """Sounds in the space they share with tags, not normalised; else as `embed`.

        Their cosine with `embed_tags` says how well a sound and a tag match.
        """
        found = self._pooled("project_audio", sounds, sample_rate_hz, policy, workers)
        return self._rows(found, self.latent_size, on_error)

    def embed_tags(self, tags: Sequence[str]) -> Float32[np.ndarray, "tag latent"]:
        """Single tags in the space they share with sounds, one row each.

        Raises:
            ValueError: the vocabulary lacks a tag; the message names the nearest that it has.
        """
        if isinstance(tags, str):
            raise ValueError(f"tags is {tags!r}, not a list. Fix: pass [{tags!r}]")
        places = [self.vocabulary.place(tag) for tag in tags]
        return self.project_tags(np.eye(len(self.vocabulary), dtype=np.uint8)[places])

    def tags(
        self, sound: Sound, top: int = 5, sample_rate_hz: int | None = None
    ) -> list[tuple[str, float]]:
        """The tags of one sound and their scores in [0, 1], the highest first; see `tag_scores`."""
        return self._best(self.tag_scores([sound], sample_rate_hz)[0], top)

    def tags_of(
        self, matched: Float32[np.ndarray, " value"], top: int = 5
    ) -> list[tuple[str, float]]:
        """`tags` of a sound by what `describe_each` found to be matched with tags.

        Of no model without a bank, unless it is of case cnn.
        """
        return self._best(self._scores_of(matched), top)

    def tags_each(
        self, sounds: Iterable[Sound], top: int = 5, sample_rate_hz: int | None = None
    ) -> Iterator[list[tuple[str, float]] | ValueError]:
        """`tags` of each sound as they are done; of one that cannot be read, the error."""
        for scores, _, error in self._tag_scores(sounds, sample_rate_hz, None):
            yield error or self._best(scores, top)

    def tag_scores(
        self,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None = None,
        *,
        on_error: str = "raise",
        workers: int | None = None,
    ) -> Float32[np.ndarray, "clip tag"]:
        """How much each tag of the vocabulary fits each sound, in [0, 1]; sounds as in `embed`.

        AE-C and E-C: the share of the vote of the training sounds near it (`models.bank`). CNN: the
        probability that the classifier gives, by the mean of the patches' logits.

        Raises:
            ValueError: the model has no bank, or as `embed`.
        """
        found = self._tag_scores(sounds, sample_rate_hz, workers)
        return self._rows(found, len(self.vocabulary), on_error)

    def _tag_scores(
        self, sounds: Sound | Iterable[Sound], sample_rate_hz: int | None, workers: int | None
    ) -> Iterator[Embedding]:
        if self.case != "cnn" and self.bank is None:
            raise ValueError(
                "this model has no bank of training sounds, whose tags would vote. Fix: load a "
                "model as training leaves it; an untrained one has none"
            )
        for found in self._pooled(self._match_method, sounds, sample_rate_hz, "paper", workers):
            if found.vector is None:
                yield found
            else:
                yield found._replace(vector=self._scores_of(found.vector))

    def _scores_of(self, matched: Float32[np.ndarray, " value"]) -> Float32[np.ndarray, " tag"]:
        if self.case == "cnn":
            return scipy.special.expit(matched)
        return self.bank.vote(matched[None])[0]

    def _best(self, scores: Float32[np.ndarray, " tag"], top: int) -> list[tuple[str, float]]:
        best = np.argsort(-scores, kind="stable")[:top]
        return [(self.vocabulary.readable(tag), float(scores[tag])) for tag in best]

    def embed_patches(self, patches: Patches) -> Vectors:
        """The latent vector of each patch (values in [0, 1]), in channel, mel, time order."""
        return self._encoder.apply("encode_audio", patches)

    def project_audio(self, patches: Patches) -> Vectors:
        """Patches (values in [0, 1]) in the space they share with tags, not normalised.

        Their cosine with `project_tags` says how well a sound and a tag set match.
        """
        return self._encoder.apply("project_audio", patches)

    def project_tags(self, multi_hot: UInt8[np.ndarray, "row tag"]) -> Vectors:
        """Tag sets, as `vocabulary.encode` gives each, in the space they share with sounds."""
        return self._encoder.apply("project_tags", multi_hot)

    def reconstruct(self, patches: Patches) -> Patches:
        """Patches as the audio autoencoder returns them, values in (0, 1)."""
        return self._encoder.apply("reconstruct", patches)

    def reconstruct_tags(
        self, multi_hot: UInt8[np.ndarray, "row tag"]
    ) -> Float32[np.ndarray, "row tag"]:
        """How strongly the tag autoencoder returns each tag of a tag set, before the sigmoid."""
        return self._encoder.apply("reconstruct_tags", multi_hot)

    def tag_logits(self, patches: Patches) -> Float32[np.ndarray, "patch tag"]:
        """How strongly the classifier predicts each tag for each patch, before the sigmoid."""
        return self._encoder.apply("predict_tags", patches)

    def _pooled(
        self,
        method: str,
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None,
        policy: str,
        workers: int | None,
    ) -> Iterator[Embedding]:
        """What a method makes of each sound's patches, pooled: the mean, or of layers more."""
        found = self._pooled_parts(method, (method,), sounds, sample_rate_hz, policy, workers)
        for vectors, seconds, _, error in found:
            yield Embedding(vectors[0] if vectors else None, seconds, error)

    def _pooled_parts(
        self,
        method: str,
        parts: tuple[str, ...],
        sounds: Sound | Iterable[Sound],
        sample_rate_hz: int | None,
        policy: str,
        workers: int | None,
    ) -> Iterator[Pooled]:
        """The same of a method that gives what several do, side by side; the first is a match."""
        pooling.check_policy(policy)
        self._check_takes_sounds(method)

        def cut(sound: Sound, heard: Heard) -> Iterator[pooling.Clip]:
            return self._reader.clip(sound, sample_rate_hz, policy, heard)

        encoded = self._encoder.encode_sounds(method, as_list(sounds), cut, workers)
        sizes = [self.matched_size] * (len(parts) - 1)
        return pool_sounds(encoded, parts, sizes, self.sample_rate_hz)

    def _of_windows(self, rows: Float32[np.ndarray, "time _"]) -> Float32[np.ndarray, "time value"]:
        """The vector of each patch by itself, of what the encoder makes of it."""
        if not self._is_layers:
            return rows
        vectors = []
        for row in rows:
            pool = new_pool("encode_layers")
            pool.add(row.reshape(1, -1, POSITIONS["encode_layers"]), PATCH_SIZE)
            vectors.append(pool.result())
        return np.stack(vectors)

    def _rows(self, found: Iterable[Embedding], size: int, on_error: str) -> Vectors:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be raise or skip, got {on_error}")
        rows = []
        for place, (vector, _, error) in enumerate(found):
            if error is not None:
                if on_error == "raise":
                    raise error
                logging.warning("skipped sound %d: %s", place, error)
                vector = np.full(size, np.nan, np.float32)
            rows.append(vector)
        return np.stack(rows) if rows else np.empty((0, size), np.float32)

    def _check_takes_sounds(self, method: str) -> None:
        self._encoder.check_case(method)
        if self.scaler == Scaler.none():
            raise ValueError(
                "this model cannot take waveforms: it was trained on scaled patches, whose scaling "
                "is not known. Fix: pass patches scaled likewise to embed_patches"
            )

    @property
    def _is_layers(self) -> bool:
        return self.pooling == "layers"

    @property
    def _encode_method(self) -> str:
        return "encode_layers" if self._is_layers else "encode_audio"

    @property
    def _match_method(self) -> str:
        return "predict_tags" if self.case == "cnn" else "project_audio"

    @functools.cached_property
    def _reader(self) -> Reader:
        return Reader(self.front_end, self.level, self.scaler)


def load(folder: storage.PathLike | None = None, pooling: str | None = None) -> Embedder:
    """The embedder of a pretrained model.

    Args:
        folder: of the model; None for the built-in model.
        pooling: what a sound's vector is, mean or layers; None for what the model names. Another
            one than the model's changes `digest`.

    Raises:
        ModelError: the folder holds no model, a damaged one, or one of another format.
        ValueError: there is no such pooling, or the package lacks its model.
    """
    folder = default_model_folder() if folder is None else folder
    return _embedder(_load(folder, pooling), folder)


def load_untrained(
    folder: storage.PathLike | None = None, seed: int = 0, pooling: str | None = None
) -> Embedder:
    """The same model with fresh weights: what training has to beat.

    Raises:
        ModelError, ValueError: as `load`.
    """
    folder = default_model_folder() if folder is None else folder
    return _embedder(_load(folder, pooling).untrained(seed), folder)


def _load(folder: storage.PathLike, wanted: str | None) -> PretrainedModel:
    if wanted is not None:
        pooling.check_pooling(wanted)  # before a large file is read
    model = PretrainedModel.load(folder)
    return model if wanted is None else dataclasses.replace(model, pooling=wanted)


def _embedder(model: PretrainedModel, folder: storage.PathLike) -> Embedder:
    try:
        return Embedder(model)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{storage.path(folder) / DESCRIPTION}: {error}") from error
