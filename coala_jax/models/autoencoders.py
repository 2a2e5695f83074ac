"""The four networks of COALA: an encoder and a decoder for sounds, and both for tags.

Paper, section 2.1 and supplement. Decoders return logits; their sigmoid is applied where a value in
[0, 1] is wanted, since every loss is more exact on the logits.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from coala_jax.models.layers import (
    BatchInfo,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    TransposedConvolution,
)

BLOCKS = 5
PATCH_SIZE = 96  # mel bands and frames: five halvings leave 3 x 3
LATENT_SIZE = PATCH_SIZE // 2**BLOCKS
# Positions in time of the maps that each block of the audio encoder makes: 48, 24, 12, 6, 3.
BLOCK_POSITIONS = tuple(PATCH_SIZE // 2**block for block in range(1, BLOCKS + 1))

Patches = Float[Array, "batch 96 96"]
Maps = Float[Array, "batch 3 3 filter"]
BlockMaps = Float[Array, "batch _ _ filter"]  # of any block
Vectors = Float[Array, "batch latent"]


def flatten_maps(maps: Float[Array, "batch 3 time filter"]) -> Vectors:
    """Latent maps as vectors in channel, mel, time order, as in the released COALA weights."""
    return maps.transpose(0, 3, 1, 2).reshape(maps.shape[0], -1)


def flatten_layers(layers: Sequence[BlockMaps]) -> Vectors:
    """The maps of all blocks as vectors in channel, mel, time order, 279 values a filter.

    The bands of each map are averaged to the 3 of the latent; time are the positions of one block
    after the other, `BLOCK_POSITIONS`.
    """
    bands = []
    for maps in layers:
        batch, mel, time, filters = maps.shape
        groups = maps.reshape(batch, LATENT_SIZE, mel // LATENT_SIZE, time, filters)
        bands.append(groups.mean(axis=2))
    return flatten_maps(jnp.concatenate(bands, axis=2))


class AudioEncoder(nn.Module):
    """Log-mel patches in [0, 1] -> non-negative latent maps (Eq. 1 and 3)."""

    filters: int
    dropout_rate: float
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    def __call__(self, patches: Patches, info: BatchInfo | None = None) -> Maps:
        return self.layers(patches, info)[-1]

    @nn.compact
    def layers(self, patches: Patches, info: BatchInfo | None = None) -> list[BlockMaps]:
        """The maps after each block, with its norm and ReLU; the last are the latent maps."""
        x, layers = patches.astype(self.param_dtype)[..., None], []
        dtypes = {"param_dtype": self.param_dtype, "product_dtype": self.product_dtype}
        for block in range(BLOCKS):
            convolution = Convolution(self.filters, **dtypes, name=f"convolution_{block}")
            x, bias = convolution.product_and_bias(x)
            norm = BatchNorm(
                self.axis_name, True, self.dropout_rate, **dtypes, name=f"norm_{block}"
            )
            x = norm(x, info, bias)
            layers.append(x)
        return layers


class AudioDecoder(nn.Module):
    """Latent maps -> logits of the reconstructed patches (Eq. 2).

    dropout_placement: paper: after every ReLU; released: on the input, and not after the last ReLU.
    """

    filters: int
    dropout_rate: float
    dropout_placement: str = "paper"
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, maps: Maps, info: BatchInfo | None = None) -> Patches:
        released = self.dropout_placement == "released"
        x = Dropout(self.dropout_rate, name="dropout_input")(maps, info) if released else maps
        dtypes = {"param_dtype": self.param_dtype, "product_dtype": self.product_dtype}
        for block in range(BLOCKS):
            last = block == BLOCKS - 1
            filters = 1 if last else self.filters
            convolution = TransposedConvolution(filters, **dtypes, name=f"convolution_{block}")
            x, bias = convolution.product_and_bias(x)
            drops = block < BLOCKS - (2 if released else 1)
            norm = BatchNorm(
                self.axis_name,
                rectify=not last,
                dropout_rate=self.dropout_rate if drops else 0.0,
                **dtypes,
                name=f"norm_{block}",
            )
            x = norm(x, info, bias)
        return x[..., 0]


class TagEncoder(nn.Module):
    """Multi-hot tags -> non-negative latent vectors (Eq. 5 and 7)."""

    hidden: int
    latent: int
    dropout_rate: float
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, tags: Float[Array, "batch tag"], info: BatchInfo | None = None) -> Vectors:
        x = tags.astype(self.param_dtype)
        dtypes = {"param_dtype": self.param_dtype, "product_dtype": self.product_dtype}
        for layer, features in enumerate((self.hidden, self.hidden, self.latent)):
            x, bias = Dense(features, **dtypes, name=f"dense_{layer}").product_and_bias(x)
            norm = BatchNorm(
                self.axis_name, True, self.dropout_rate, **dtypes, name=f"norm_{layer}"
            )
            x = norm(x, info, bias)
        return x


class TagDecoder(nn.Module):
    """Latent vectors -> logits of the tags (Eq. 6).

    dropout_placement: paper: after both ReLUs; released: after the first alone.
    """

    tags: int
    hidden: int
    dropout_rate: float
    dropout_placement: str = "paper"
    axis_name: str | None = None
    param_dtype: DTypeLike = jnp.float32
    product_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, latent: Vectors, info: BatchInfo | None = None) -> Float[Array, "batch tag"]:
        released = self.dropout_placement == "released"
        x = latent
        dtypes = {"param_dtype": self.param_dtype, "product_dtype": self.product_dtype}
        for layer, features in enumerate((self.hidden, self.hidden, self.tags)):
            x, bias = Dense(features, **dtypes, name=f"dense_{layer}").product_and_bias(x)
            drops = layer < (1 if released else 2)
            norm = BatchNorm(
                self.axis_name,
                rectify=layer < 2,
                dropout_rate=self.dropout_rate if drops else 0.0,
                **dtypes,
                name=f"norm_{layer}",
            )
            x = norm(x, info, bias)
        return x
