"""A pretrained model in use: from sounds and tags to vectors.

embedder = load("runs/quickstart/model")
vector = embedder.embed_file("dog.wav")  # 9 values per filter: 288 here, 1152 at the paper's width
"""

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float32, Num, PyTree, UInt8

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.embedding import pooling
from coala_jax.models.autoencoders import LATENT_SIZE, PATCH_SIZE
from coala_jax.models.pretrained import DESCRIPTION, ModelError, PretrainedModel
from coala_jax.tags.vocabulary import Vocabulary

# Rows per call and device, always the same, so that each function compiles at most twice: for one
# device, and for all of this process. An accelerator gets 512: 32 take it less time than the call,
# and the feature maps of 512 take 2 GB of its memory.
_ROWS = 32
_ROWS_OF_ACCELERATOR = 512

# What a model needs for each method, and the cases that have it.
_NEEDS = {
    "encode_audio": ("encoder to embed with", ("ae_c", "e_c", "cnn")),
    "project_audio": ("space that sounds and tags share", ("ae_c", "e_c")),
    "project_tags": ("space that sounds and tags share", ("ae_c", "e_c")),
    "reconstruct": ("decoder to reconstruct with", ("ae_c",)),
    "reconstruct_tags": ("decoder to reconstruct with", ("ae_c",)),
    "predict_tags": ("classifier to predict tags with", ("cnn",)),
}

Patches = Float32[np.ndarray, "patch 96 96"]
Vectors = Float32[np.ndarray, "row latent"]


class Embedder:
    """A pretrained model ready for use; it batches and pads by itself.

    Attributes:
        case: ae_c, e_c or cnn. `project_audio` and `project_tags` need one of the first two,
            `reconstruct` and `reconstruct_tags` ae_c, `tag_logits` cnn.
        vocabulary: the tags that the model knows.
        digest: of weights and description, SHA-256 in hex; the same for equal models.
        dataset_digest: of the dataset that trained it, `Manifest.digest`; an untrained model keeps
            that of the model it was made from.
        level: one of `decode.LEVELS`, applied to every waveform.
        front_end, scaler: how its patches are made; with `Scaler.none()` (the model was trained on
            patches that were scaled already) it takes patches only.
        sample_rate_hz: of the waveforms that `embed_clips` takes.

    `policy` (paper, released or masked) says how a clip that does not fill its patches is padded,
    and what the padding weighs; see `pooling`. A method that takes patches, tag sets or clips
    raises ValueError where the case lacks what it needs, or the rows are none or of a wrong shape.
    """

    def __init__(self, model: PretrainedModel) -> None:
        self.case = model.case
        self.vocabulary = Vocabulary(tuple(model.vocabulary), model.tag_processing)
        self.digest = model.digest
        self.dataset_digest = model.dataset_digest
        self.level = model.level
        self.front_end = FrontEnd.from_dict(model.front_end)
        self.sample_rate_hz = self.front_end.sample_rate_hz
        self.scaler = Scaler.from_dict(model.scaler)
        self._variables = jax.device_put(
            jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), model.variables)
        )
        self._module = model.module()

    def embed_file(self, path: str | Path, policy: str = "paper") -> Float32[np.ndarray, " latent"]:
        """The embedding of a sound file of any length: the mean over its patches.

        Raises:
            DecodeError: the file cannot be decoded; the message says why.
            ValueError: there is no such policy.
        """
        pooling.check_policy(policy)  # before the file is decoded
        rate_hz = self.sample_rate_hz
        waveform = decode.load(Path(path), rate_hz, allow_silence=True)
        return self.embed_waveform(waveform, rate_hz, policy)

    def embed_waveform(
        self,
        waveform: Num[np.ndarray, "*channel sample"],
        sample_rate_hz: int,
        policy: str = "paper",
    ) -> Float32[np.ndarray, " latent"]:
        """The embedding of samples in [-1, 1], of one channel or of several (averaged).

        Raises:
            ValueError: the samples are integers, not finite or none, or the axes are not
                [sample] or [channel, sample]; or there is no such policy.
        """
        mono = decode.resample(_mono(waveform), sample_rate_hz, self.sample_rate_hz)
        return self.embed_clips([mono], policy)[0]

    def embed_clips(
        self, waveforms: Iterable[Float32[np.ndarray, " _"]], policy: str = "paper"
    ) -> Float32[np.ndarray, "clip latent"]:
        """The embeddings of many clips, one channel each at the model's sample rate.

        Much faster for short clips than one by one, since batches of patches span clips. Clips are
        taken as they are needed; no more than a batch of patches and one clip are in memory.

        Raises:
            ValueError: as `embed_waveform`.
        """
        pooling.check_policy(policy)
        if self.scaler == Scaler.none():
            raise ValueError(
                "this model cannot take waveforms: it was trained on scaled patches, whose scaling "
                "is not known. Fix: pass patches scaled likewise to embed_patches"
            )
        begun = deque()  # (patches, counted frames) of the clips that wait for their latents

        def cut() -> Iterator[Patches]:
            for waveform in waveforms:
                heard = pooling.at_level(_mono(waveform), self.level)
                clip = pooling.cut(self.front_end, heard, policy)
                begun.append((len(clip.patches), clip.counted_frames))
                yield self.scaler.scale(clip.patches)

        size = self._module.filters * LATENT_SIZE**2
        pooled, latents = [], np.empty((0, size), np.float32)
        for batch in _batches(cut(), _ROWS):
            latents = np.concatenate([latents, self.embed_patches(batch)])
            while begun and begun[0][0] <= len(latents):
                patches, counted_frames = begun.popleft()
                maps = latents[:patches].reshape(patches, -1, LATENT_SIZE)
                pooled.append(pooling.pool(maps, counted_frames, PATCH_SIZE).reshape(-1))
                latents = latents[patches:]
        return np.stack(pooled) if pooled else latents

    def embed_patches(self, patches: Patches) -> Vectors:
        """The latent vector of each patch (values in [0, 1]), in channel, mel, time order."""
        return self._apply("encode_audio", patches)

    def project_audio(self, patches: Patches) -> Vectors:
        """Patches (values in [0, 1]) in the space they share with tags, not normalised.

        Their cosine with `project_tags` says how well a sound and a tag set match.
        """
        return self._apply("project_audio", patches)

    def project_tags(self, multi_hot: UInt8[np.ndarray, "row tag"]) -> Vectors:
        """Tag sets, as `vocabulary.encode` gives each, in the space they share with sounds."""
        return self._apply("project_tags", multi_hot)

    def reconstruct(self, patches: Patches) -> Patches:
        """Patches as the audio autoencoder returns them, values in (0, 1)."""
        return self._apply("reconstruct", patches)

    def reconstruct_tags(
        self, multi_hot: UInt8[np.ndarray, "row tag"]
    ) -> Float32[np.ndarray, "row tag"]:
        """How strongly the tag autoencoder returns each tag of a tag set, before the sigmoid."""
        return self._apply("reconstruct_tags", multi_hot)

    def tag_logits(self, patches: Patches) -> Float32[np.ndarray, "patch tag"]:
        """How strongly the classifier predicts each tag for each patch, before the sigmoid."""
        return self._apply("predict_tags", patches)

    def _apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        needed, cases = _NEEDS[method]
        if self.case not in cases:
            raise ValueError(
                f"case {self.case} has no {needed}. Fix: load a model of case {' or '.join(cases)}"
            )
        of_tags = method in ("project_tags", "reconstruct_tags")
        row = [len(self.vocabulary)] if of_tags else [PATCH_SIZE, PATCH_SIZE]
        if list(rows.shape[1:]) != row:
            wanted = ", ".join(map(str, row))
            raise ValueError(f"the array has shape {list(rows.shape)}; it must be [row, {wanted}]")
        if len(rows) == 0:
            raise ValueError("the array has zero rows. Fix: pass at least 1")
        many, parts = len(rows) > _ROWS, []
        mesh = _devices(many)
        on_cpu = mesh.devices[0].platform == "cpu"
        size = mesh.size * (_ROWS if on_cpu or not many else _ROWS_OF_ACCELERATOR)
        variables = self._variables_everywhere if many else self._variables
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
            padded[: len(part)] = part
            result = _call(self._module, method, mesh, variables, padded)
            parts.append(np.asarray(result)[: len(part)])
        return np.concatenate(parts)

    @functools.cached_property
    def _variables_everywhere(self) -> PyTree:
        return jax.device_put(self._variables, NamedSharding(_devices(True), PartitionSpec()))


def _devices(many: bool) -> Mesh:
    """All devices of this process, or the first."""
    devices = jax.local_devices()
    return Mesh(np.array(devices if many else devices[:1]), ("device",))


def _batches(parts: Iterable[Patches], rows: int) -> Iterator[Patches]:
    """The patches of all parts in order, `rows` at a time; the last batch may be smaller."""
    waiting = np.empty((0, PATCH_SIZE, PATCH_SIZE), np.float32)
    for part in parts:
        waiting = np.concatenate([waiting, part])
        whole = len(waiting) // rows * rows
        for start in range(0, whole, rows):
            yield waiting[start : start + rows]
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


def _mono(waveform: np.ndarray) -> Float32[np.ndarray, " sample"]:
    """The mean of the channels, in float32; raises ValueError for an invalid waveform."""
    waveform = np.asarray(waveform)
    shape = list(waveform.shape)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"the waveform holds {waveform.dtype}; it must hold floats in [-1, 1]. "
            "Fix: divide int16 by 32768"
        )
    if waveform.size == 0:
        raise ValueError(f"the waveform has shape {shape}: it holds no sound. Fix: leave it out")
    if waveform.ndim not in (1, 2) or (waveform.ndim == 2 and shape[0] > shape[1]):
        raise ValueError(
            f"the waveform has shape {shape}; it must be [sample] or [channel, sample], "
            "channels first"
        )
    with np.errstate(over="ignore"):  # too large for float32 is found by the next check
        waveform = waveform.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise ValueError("the waveform holds NaN or infinite samples. Fix: export it again")
    return waveform.mean(axis=0) if waveform.ndim == 2 else waveform


@functools.partial(jax.jit, static_argnames=("module", "method", "mesh"))
def _call(module: nn.Module, method: str, mesh: Mesh, variables: PyTree, rows: Array) -> Array:
    """Each device computes its rows on its own, by the program that one device would have.

    Compiled once for all models of one shape, and not again for each of them.
    """
    cut = PartitionSpec("device")
    apply = functools.partial(module.apply, method=method)
    return jax.shard_map(
        apply, mesh=mesh, in_specs=(PartitionSpec(), cut), out_specs=cut, check_vma=False
    )(variables, rows)


def load(folder: storage.PathLike) -> Embedder:
    """The embedder of a pretrained model's folder.

    Raises:
        ModelError: the folder holds no model, a damaged one, or one of another format.
    """
    return _embedder(PretrainedModel.load(folder), folder)


def load_untrained(folder: storage.PathLike, seed: int) -> Embedder:
    """The same model with fresh weights: what training has to beat.

    Raises:
        ModelError: as `load`.
    """
    return _embedder(PretrainedModel.load(folder).untrained(seed), folder)


def _embedder(model: PretrainedModel, folder: storage.PathLike) -> Embedder:
    try:
        return Embedder(model)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{storage.path(folder) / DESCRIPTION}: {error}") from error
