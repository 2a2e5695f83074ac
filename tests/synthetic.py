"""Small inputs made by formula, shared by the tests."""

from pathlib import Path

import jax
import numpy as np

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.input_pipeline import Batch
from coala_jax.data.schema import Example, Manifest
from coala_jax.default_config import get_config
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


def random_state(model, optimizer, seed: int = 0) -> steps.TrainState:
    """As `steps.initial_state`, drawn by NumPy: what that compiles costs as much as a step."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = getattr(path[-1], "key", None)
        if name == "kernel" or (name == "bias" and "norm" not in path[-2].key):
            bound = np.prod(leaf.shape[:-1]) ** -0.5 if name == "kernel" else 0.2
            return rng.uniform(-bound, bound, leaf.shape).astype(leaf.dtype)
        return np.full(leaf.shape, name in ("scale", "var"), leaf.dtype)

    shapes = jax.eval_shape(lambda: steps.initial_state(model, optimizer, seed))
    return jax.tree_util.tree_map_with_path(draw, shapes)


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


def write_random_dataset(folder: Path, train: int, validation: int, tags: int = 6) -> Manifest:
    folder.mkdir(parents=True)
    examples = random_examples(train + validation, tags)
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
