"""What the arms of `benchmarks.train_step` train: a case, its config and its batches."""

import importlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from ml_collections import ConfigDict

_TAGS_OF_A_SOUND = 7


@dataclass(frozen=True)
class Sizes:
    """The paper's, unless told otherwise."""

    batch: int = 128
    filters: int = 128
    tag_hidden: int = 512
    tags: int = 1000


NARROW = Sizes(batch=8, filters=8, tag_hidden=16, tags=24)  # seconds; its figures mean nothing


@dataclass(frozen=True)
class Workload:
    """A case and the examples it is trained on.

    Each batch is `sizes.batch` examples in a row; the batches are taken in turn, over and over.
    """

    config: ConfigDict
    sizes: Sizes
    patches: Float32[np.ndarray, "example 96 96"]
    tags: UInt8[np.ndarray, "example tag"]

    @property
    def batches(self) -> int:
        return len(self.patches) // self.sizes.batch


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
