"""Small inputs made by formula, shared by the tests."""

import copy
import dataclasses
import functools
import itertools
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import PyTree

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.input_pipeline import Batch
from coala_jax.data.schema import Example, Manifest
from coala_jax.default_config import get_config
from coala_jax.models.autoencoders import AudioEncoder, Maps, Patches
from coala_jax.models.coala import build_model, initial_variables
from coala_jax.models.layers import BatchInfo, BatchNorm, Convolution
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import steps


def tiny_config(**changes):
    """The default config at a width and a batch that a test can afford; `changes` by dotted key."""
    config = get_config()
    with config.unlocked():
        config.model.filters = 4
        config.model.tag_hidden = 16
        config.train.batch_size = 8
        config.train.epochs = 2
        config.eval.every_epochs = 1
        config.update_from_flattened_dict(
            {key.replace("__", "."): value for key, value in changes.items()}
        )
    return config


class ShallowEncoder(AudioEncoder):
    """The audio encoder's last block alone, on patches averaged to 6 x 6: a fifth to compile."""

    @nn.compact
    def __call__(self, patches: Patches, info: BatchInfo | None = None) -> Maps:
        x = patches.astype(self.param_dtype).reshape(-1, 6, 16, 6, 16).mean(axis=(2, 4))[..., None]
        dtypes = {"param_dtype": self.param_dtype, "product_dtype": self.product_dtype}
        x, bias = Convolution(self.filters, **dtypes, name="convolution_4").product_and_bias(x)
        norm = BatchNorm(self.axis_name, True, self.dropout_rate, **dtypes, name="norm_4")
        return norm(x, info, bias)


def random_batch(rows: int, valid: int, tags: int, seed: int = 0) -> Batch:
    """Smooth random patches, random tag sets, and padding rows that hold garbage on purpose."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((rows, 12, 12))
    patches = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return Batch(
        patches=patches.astype(np.float32),
        tags=(rng.random((rows, tags)) < 0.3).astype(np.uint8),
        valid=np.arange(rows) < valid,
    )


def random_weights(shapes: PyTree, seed: int = 0) -> PyTree:
    """Weights as large as PyTorch's, drawn by NumPy: compiling `init` costs as much as a step.

    All else is as it starts: batch norms do nothing, optimisers have seen nothing.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = getattr(path[-1], "key", None)
        if name == "kernel" or (name == "bias" and "norm" not in path[-2].key):
            bound = np.prod(leaf.shape[:-1]) ** -0.5 if name == "kernel" else 0.2
            return rng.uniform(-bound, bound, leaf.shape).astype(leaf.dtype)
        return np.full(leaf.shape, name in ("scale", "var"), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_state(model, optimizer, seed: int = 0) -> steps.TrainState:
    """As `steps.initial_state`, with `random_weights`."""
    return random_weights(jax.eval_shape(lambda: steps.initial_state(model, optimizer, 0)), seed)


MODEL_TAGS = 6


@functools.cache
def weights(case: str) -> PyTree:
    config = tiny_config(model__filters=2, model__tag_hidden=8)
    module = build_model(case, config.model, MODEL_TAGS)
    return random_weights(jax.eval_shape(lambda: initial_variables(module, jax.random.key(0))))


def tiny_model(case: str, **changes) -> PretrainedModel:
    """A model of two filters with random weights; `changes` of its other fields."""
    config = tiny_config(model__filters=2, model__tag_hidden=8)
    fields = {
        "vocabulary": [f"tag{number}" for number in range(MODEL_TAGS)],
        "tag_counts": [1] * MODEL_TAGS,
        "tag_processing": "paper",
        "front_end": FrontEnd().to_dict(),
        "level": "recorded",
        "scaler": {"minimum": -15.0, "maximum": 5.0},
        "pooling": "mean",
        "config": {"case": case, "seed": 0, "model": config.model.to_dict()},
        "dataset_digest": "5" * 64,
    }
    return PretrainedModel(case=case, variables=copy.deepcopy(weights(case)), **fields | changes)


def random_examples(count: int, tags: int, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            patch=rng.random((96, 96), dtype=np.float32),
            tags=np.sort(rng.choice(tags, size=rng.integers(1, 4), replace=False)),
            id=f"sound-{number}-é.wav",
            frame=12 * number,
        )
        for number in range(count)
    ]


def write_random_dataset(
    folder: Path, train: int, validation: int, tags: int = 6, sources: str = ""
) -> Manifest:
    """`sources`: a letter for each of the first examples; the others are of none."""
    folder.mkdir(parents=True)
    examples = [
        dataclasses.replace(example, source=source or "")
        for example, source in itertools.zip_longest(
            random_examples(train + validation, tags), sources
        )
    ]
    return write_dataset(
        folder,
        name="random",
        fingerprint="none",
        settings={"seed": 0},
        front_end=FrontEnd().to_dict(),
        vocabulary=[f"tag{number}" for number in range(tags)],
        tag_processing="paper",
        splits={"train": examples[:train], "validation": examples[train:]},
    )
