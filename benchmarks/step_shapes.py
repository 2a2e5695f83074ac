"""The layers of a case by their shapes: what a training step computes and moves at least."""

from dataclasses import dataclass

from ml_collections import ConfigDict

BLOCKS = 5  # convolutions of the encoder, and transposed ones of the decoder
SMALLEST = 3  # height and width of the latent maps
LATENT_MAPS = SMALLEST * SMALLEST

# How often a step passes over each value that a convolution gives, if nothing is kept in a cache
# and all between two products is one pass: forward, it is written by the product, read for the
# moments, read and written when normalised, read by the next product; backward, the gradient is
# written by a product, read with the value for batch norm's sums, again with it when it is
# normalised and then written, and read by two products, for one of which the value is read too.
_PASSES_FORWARD = 5
_PASSES_BACKWARD = 9


@dataclass(frozen=True)
class Convolution:
    """A 4x4 convolution of stride 2 between maps of `2 side` and `side`, or its transpose.

    Attributes:
        side: height and width of the smaller maps.
        large, small: channels of the larger and of the smaller maps.
        transposed: from the smaller maps to the larger.
        first: it reads the patches, of which nobody wants the gradient.
    """

    side: int
    large: int
    small: int
    transposed: bool = False
    first: bool = False

    @property
    def flop(self) -> int:
        """Of one product for one example; multiplications with padding do not count."""
        taps = (4 * self.side - 2) ** 2  # along a side, the first and the last lose one of four
        return 2 * taps * self.large * self.small

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self._small_shape if self.transposed else self._large_shape

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return self._large_shape if self.transposed else self._small_shape

    @property
    def _large_shape(self) -> tuple[int, int, int]:
        return 2 * self.side, 2 * self.side, self.large

    @property
    def _small_shape(self) -> tuple[int, int, int]:
        return self.side, self.side, self.small


@dataclass(frozen=True)
class Dense:
    inputs: int
    outputs: int
    first: bool = False

    @property
    def flop(self) -> int:
        return 2 * self.inputs * self.outputs


def convolutions(config: ConfigDict) -> list[Convolution]:
    """In the order in which they compute."""
    filters = config.model.filters
    layers = [
        Convolution(SMALLEST * 2**block, 1 if block == BLOCKS - 1 else filters, filters)
        for block in range(BLOCKS)
    ]
    encoder = [
        Convolution(layer.side, layer.large, layer.small, first=layer.large == 1)
        for layer in reversed(layers)
    ]
    decoder = [Convolution(layer.side, layer.large, layer.small, True) for layer in layers]
    return encoder + (decoder if config.case == "ae_c" else [])


def dense_layers(config: ConfigDict, tags: int) -> list[Dense]:
    latent, hidden = LATENT_MAPS * config.model.filters, config.model.tag_hidden
    if config.case == "cnn":
        return [Dense(latent, latent), Dense(latent, tags)]
    encoder = [Dense(tags, hidden, first=True), Dense(hidden, hidden), Dense(hidden, latent)]
    decoder = [Dense(latent, hidden), Dense(hidden, hidden), Dense(hidden, tags)]
    transforms = [Dense(latent, latent)] * 2
    return encoder + transforms + (decoder if config.case == "ae_c" else [])


def step_flop(config: ConfigDict, tags: int) -> int:
    """Of all matrix products and convolutions for one example: forward and both gradients."""
    layers = [*convolutions(config), *dense_layers(config, tags)]
    return sum(layer.flop * (2 if layer.first else 3) for layer in layers)


def step_bytes(config: ConfigDict, value_bytes: int) -> int:
    """The least that the convolutions' outputs make a step move for one example."""
    values = sum(height * width * channels for height, width, channels in _outputs(config))
    return (_PASSES_FORWARD + _PASSES_BACKWARD) * values * value_bytes


def _outputs(config: ConfigDict) -> list[tuple[int, int, int]]:
    return [layer.output_shape for layer in convolutions(config)]
