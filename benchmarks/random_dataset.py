"""A dataset of random patches, for timing at a size that no corpus at hand has."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.schema import PATCH_SHAPE, Example

_COARSE = 12  # a tag's pattern is so many squares high and wide
_TAGS_DRAWN = 5


class RandomSounds(Sequence[Example]):
    """Noise over the mean of a pattern for each tag, so that there is something to learn.

    Made when asked for. Tags are as uneven as people's: the first are on most sounds.
    """

    def __init__(self, count: int, tags: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._patterns = np.random.default_rng(tags).random((tags, _COARSE, _COARSE), np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Example:
        rng = np.random.default_rng((self._seed, number))
        tags = np.unique((len(self._patterns) * rng.random(_TAGS_DRAWN) ** 3).astype(np.int64))
        height, width = (size // _COARSE for size in PATCH_SHAPE)
        pattern = self._patterns[tags].mean(axis=0).repeat(height, 0).repeat(width, 1)
        patch = 0.75 * pattern + 0.25 * rng.random(PATCH_SHAPE, np.float32)
        return Example(patch=patch, tags=tags, id=f"random-{self._seed}-{number}.wav")


def write_random_dataset(folder: Path, train: int, validation: int, tags: int) -> None:
    """Writes it whole: until then the folder has another name."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write_dataset(
        unfinished,
        name="random",
        fingerprint="random numbers",
        front_end=FrontEnd().to_dict(),
        vocabulary=[f"tag{number}" for number in range(tags)],
        splits={
            "train": RandomSounds(train, tags, seed=0),
            "validation": RandomSounds(validation, tags, seed=1),
        },
    )
    unfinished.rename(folder)
