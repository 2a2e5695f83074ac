"""What both sides of `benchmarks.train_step` train: a case, its config and its batches."""

import importlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from ml_collections import ConfigDict

_TAGS_OF_A_SOUND = 7


@dataclass(frozen=True)
class Sizes:
    """The paper's by default."""

    batch: int = 128
    filters: int = 128
    tag_hidden: int = 512
    tags: int = 1000


NARROW = Sizes(batch=8, filters=8, tag_hidden=16, tags=24)  # takes seconds; no figure means much


@dataclass(frozen=True)
class Workload:
    """A case, and the examples of its batches: `sizes.batch` in a row, taken over and over."""

    config: ConfigDict
    sizes: Sizes
    patches: Float32[np.ndarray, "example 96 96"]
    tags: UInt8[np.ndarray, "example tag"]


def make_workload(case: str, sizes: Sizes, batches: int = 4, **model: float) -> Workload:
    """Smooth random patches and random tag sets; `model` changes keys of `config.model`."""
    config = importlib.import_module(f"configs.{case}").get_config()
    with config.unlocked():
        config.model.update(filters=sizes.filters, tag_hidden=sizes.tag_hidden, **model)
        config.train.batch_size = sizes.batch
    rng = np.random.default_rng(0)
    examples = batches * sizes.batch
    coarse = rng.random((examples, 12, 12), np.float32)
    return Workload(
        config=config,
        sizes=sizes,
        patches=coarse.repeat(8, axis=1).repeat(8, axis=2),
        tags=(rng.random((examples, sizes.tags)) < _TAGS_OF_A_SOUND / sizes.tags).astype(np.uint8),
    )


def step_flop(config: ConfigDict, tags: int) -> int:
    """Of all matrix products and convolutions of one example: forward and both gradients.

    Products with padding do not count, nor the gradients of patches and tags, which nobody needs.
    """
    filters, hidden = config.model.filters, config.model.tag_hidden
    latent = 9 * filters
    # Of a side of n outputs, 4 n - 2 taps of the 4x4 kernel of stride 2 are not on padding.
    taps = [(4 * side - 2) ** 2 for side in (48, 24, 12, 6, 3)]
    first = taps[0] * filters  # from the patch, one channel
    convolutions = first + sum(taps[1:]) * filters**2
    tag_network = tags * hidden + hidden**2 + hidden * latent
    products = 3 * convolutions - first
    if config.case == "cnn":
        products += 3 * (latent**2 + latent * tags)
    else:
        products += 3 * (tag_network + 2 * latent**2) - tags * hidden
    if config.case == "ae_c":
        products += 3 * (convolutions + tag_network)  # the decoders
    return 2 * products
