"""The models: Coala (cases AE-C and E-C) and TagClassifier (case CNN). Paper, section 3.1.

All have `encode_audio`: COALA's embedding of a patch, 1152 values; `encode_layers`: the same of all
blocks of the audio encoder; and `match_and_encode`: what tags are matched with, and the embedding,
of one pass. Coala also has the two projections into the aligned space, and AE-C the two decoders.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from coala_jax.models.autoencoders import (
    LATENT_SIZE,
    PATCH_SIZE,
    AudioDecoder,
    AudioEncoder,
    Patches,
    TagDecoder,
    TagEncoder,
    Vectors,
    flatten_layers,
    flatten_maps,
)
from coala_jax.models.layers import BatchInfo, Dense, Dropout

CASES = ("ae_c", "e_c", "cnn")

Tags = Num[Array, "batch tag"]


@struct.dataclass
class Outputs:
    """The inputs of the losses; None where the case has no such output.

    audio_aligned, tag_aligned: the aligned vectors (Eq. 8 and 9), not normalised.
    audio_logits, tag_logits: reconstruction or prediction before its sigmoid.
    """

    audio_aligned: Float[Array, "batch latent"] | None
    tag_aligned: Float[Array, "batch latent"] | None
    audio_logits: Float[Array, "batch 96 96"] | None
    tag_logits: Float[Array, "batch tag"] | None


class Coala(nn.Module):
    """Two encoders and the transforms that align them; with `decoders` AE-C, without them E-C.

    transform: affine (paper), or linear: no bias, and dropout after it (released).
    dropout_placement: of the decoders, paper or released.
    """

    tags: int
    filters: int = 128
    tag_hidden: int = 512
    dropout_rate: float = 0.25
    dropout_placement: str = "paper"
    transform: str = "affine"
    decoders: bool = True
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    def setup(self) -> None:
        shared = {
            "dropout_rate": self.dropout_rate,
            "axis_name": self.axis_name,
            "param_dtype": self.param_dtype,
            "product_dtype": self.product_dtype,
        }
        latent = LATENT_SIZE * LATENT_SIZE * self.filters
        self.audio_encoder = AudioEncoder(self.filters, **shared)
        self.tag_encoder = TagEncoder(self.tag_hidden, latent, **shared)
        affine, dtypes = self.transform == "affine", (self.param_dtype, self.product_dtype)
        self.audio_transform = Dense(latent, affine, *dtypes)
        self.tag_transform = Dense(latent, affine, *dtypes)
        self.audio_transform_dropout = Dropout(0.0 if affine else self.dropout_rate)
        self.tag_transform_dropout = Dropout(0.0 if affine else self.dropout_rate)
        if self.decoders:
            shared["dropout_placement"] = self.dropout_placement
            self.audio_decoder = AudioDecoder(self.filters, **shared)
            self.tag_decoder = TagDecoder(self.tags, self.tag_hidden, **shared)

    def __call__(self, patches: Patches, tags: Tags, info: BatchInfo | None = None) -> Outputs:
        maps = self.audio_encoder(patches, info)
        tag_latent = self.tag_encoder(self._as_float(tags), info)
        audio_aligned = self.audio_transform(flatten_maps(maps))
        tag_aligned = self.tag_transform(tag_latent)
        return Outputs(
            audio_aligned=self.audio_transform_dropout(audio_aligned, info),
            tag_aligned=self.tag_transform_dropout(tag_aligned, info),
            audio_logits=self.audio_decoder(maps, info) if self.decoders else None,
            tag_logits=self.tag_decoder(tag_latent, info) if self.decoders else None,
        )

    def encode_audio(self, patches: Patches) -> Vectors:
        """The embedding of each patch, in channel, mel, time order."""
        return flatten_maps(self.audio_encoder(patches))

    def encode_layers(self, patches: Patches) -> Vectors:
        """What all blocks of the encoder make of each patch, as `flatten_layers` orders it."""
        return flatten_layers(self.audio_encoder.layers(patches))

    def project_audio(self, patches: Patches) -> Vectors:
        """Sounds in the space they share with tags, where their cosine is how well they match."""
        return self.audio_transform(self.encode_audio(patches))

    def match_and_encode(self, patches: Patches) -> Vectors:
        """`project_audio` and, after it in each row, `encode_audio`."""
        latent = self.encode_audio(patches)
        return jnp.concatenate([self.audio_transform(latent), latent], axis=1)

    def match_and_encode_layers(self, patches: Patches) -> Vectors:
        """`project_audio` and, after it in each row, `encode_layers`."""
        layers = self.audio_encoder.layers(patches)
        projected = self.audio_transform(flatten_maps(layers[-1]))
        return jnp.concatenate([projected, flatten_layers(layers)], axis=1)

    def project_tags(self, tags: Tags) -> Vectors:
        """Tag sets in the space they share with sounds."""
        return self.tag_transform(self.tag_encoder(self._as_float(tags)))

    def reconstruct(self, patches: Patches) -> Patches:
        """The patches as the audio autoencoder returns them, in (0, 1); AE-C only."""
        return nn.sigmoid(self.audio_decoder(self.audio_encoder(patches)))

    def reconstruct_tags(self, tags: Tags) -> Float[Array, "batch tag"]:
        """Logits of the tag sets as the tag autoencoder returns them; AE-C only."""
        return self.tag_decoder(self.tag_encoder(self._as_float(tags)))

    def _as_float(self, tags: Tags) -> Float[Array, "batch tag"]:
        return tags.astype(self.param_dtype)


class TagClassifier(nn.Module):
    """The CNN case: the audio encoder and two dense layers that predict the tags."""

    tags: int
    filters: int = 128
    dropout_rate: float = 0.25
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    def setup(self) -> None:
        latent = LATENT_SIZE * LATENT_SIZE * self.filters
        dtypes = (self.param_dtype, self.product_dtype)
        self.audio_encoder = AudioEncoder(self.filters, self.dropout_rate, self.axis_name, *dtypes)
        self.hidden_layer = Dense(latent, True, *dtypes)
        self.output_layer = Dense(self.tags, True, *dtypes)

    def __call__(self, patches: Patches, tags: Tags, info: BatchInfo | None = None) -> Outputs:
        del tags  # predicted from the patches; both models have the same signature
        return Outputs(
            audio_aligned=None,
            tag_aligned=None,
            audio_logits=None,
            tag_logits=self._classify(flatten_maps(self.audio_encoder(patches, info))),
        )

    def encode_audio(self, patches: Patches) -> Vectors:
        """The embedding of each patch, in channel, mel, time order."""
        return flatten_maps(self.audio_encoder(patches))

    def encode_layers(self, patches: Patches) -> Vectors:
        """What all blocks of the encoder make of each patch, as `flatten_layers` orders it."""
        return flatten_layers(self.audio_encoder.layers(patches))

    def predict_tags(self, patches: Patches) -> Float[Array, "batch tag"]:
        """Logits of the tags."""
        return self._classify(self.encode_audio(patches))

    def match_and_encode(self, patches: Patches) -> Vectors:
        """`predict_tags` and, after it in each row, `encode_audio`."""
        latent = self.encode_audio(patches)
        return jnp.concatenate([self._classify(latent), latent], axis=1)

    def match_and_encode_layers(self, patches: Patches) -> Vectors:
        """`predict_tags` and, after it in each row, `encode_layers`."""
        layers = self.audio_encoder.layers(patches)
        logits = self._classify(flatten_maps(layers[-1]))
        return jnp.concatenate([logits, flatten_layers(layers)], axis=1)

    def _classify(self, latent: Vectors) -> Float[Array, "batch tag"]:
        return self.output_layer(nn.relu(self.hidden_layer(latent)))


def build_model(
    case: str,
    settings: ConfigDict,
    tags: int,
    axis_name: str | None = None,
    param_dtype: DTypeLike = jnp.float32,
    product_dtype: DTypeLike | None = None,
    decoders: bool = True,
) -> Coala | TagClassifier:
    """The model of a case from the `model` part of a config.

    Args:
        case: ae_c, e_c or cnn.
        settings: `config.model`.
        tags: size of the vocabulary.
        axis_name: of the devices that share a batch; None where one device has all of it.
        param_dtype: of parameters, statistics and all that is between the products.
        product_dtype: of matrix products and convolutions; None for the same.
        decoders: False for AE-C without its own, as one uses it.

    Raises:
        ValueError: the case is not one of CASES.
    """
    shared = {
        "tags": tags,
        "filters": settings.filters,
        "dropout_rate": settings.dropout_rate,
        "axis_name": axis_name,
        "param_dtype": param_dtype,
        "product_dtype": product_dtype,
    }
    if case == "cnn":
        return TagClassifier(**shared)
    if case in CASES:
        return Coala(
            tag_hidden=settings.tag_hidden,
            dropout_placement=settings.dropout_placement,
            transform=settings.transform,
            decoders=decoders and case == "ae_c",
            **shared,
        )
    raise ValueError(f"case is {case!r}; it must be one of {', '.join(CASES)}")


def initial_variables(
    model: Coala | TagClassifier, key: PRNGKeyArray
) -> dict[str, PyTree[Float[Array, "..."]]]:
    """Fresh `params` and `batch_stats`, as PyTorch starts them: uniform, 1 / sqrt(fan in)."""
    # The axis is bound inside the mapped step only, and has no part in the weights.
    return _initialize(model.clone(axis_name=None), key)


@functools.partial(jax.jit, static_argnums=0)
def _initialize(model: Coala | TagClassifier, key: PRNGKeyArray) -> dict[str, PyTree]:
    """Compiled once for all models of one shape."""
    patches = jnp.zeros((1, PATCH_SIZE, PATCH_SIZE), model.param_dtype)
    return model.init(key, patches, jnp.zeros((1, model.tags), jnp.uint8))
