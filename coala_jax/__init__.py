"""COALA in JAX and Flax: co-aligned autoencoders for audio and tags (Favory et al., 2020).

>>> import coala_jax
>>> model = coala_jax.load()  # the built-in model, or load("runs/mine/model")
>>> vectors = model.embed(["dog.wav", "cat.flac"])  # [2, model.embedding_size]
>>> model.tags("dog.wav", top=3)

What is listed here is imported when it is first used: neither JAX nor librosa is loaded before.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors; the same names as below
    from coala_jax.audio.frontend import FrontEnd as FrontEnd
    from coala_jax.data.dataset import SplitReader as SplitReader
    from coala_jax.data.schema import Manifest as Manifest
    from coala_jax.default_config import get_config as get_config
    from coala_jax.embedding.embedder import Embedder as Embedder
    from coala_jax.embedding.embedder import load as load
    from coala_jax.embedding.index import Index as Index
    from coala_jax.models.pretrained import PretrainedModel as PretrainedModel
    from coala_jax.preparation.run import prepare as prepare
    from coala_jax.preparation.settings import Settings as Settings
    from coala_jax.tags.normalize import normalize_tags as normalize_tags
    from coala_jax.tags.vocabulary import Vocabulary as Vocabulary
    from coala_jax.training_run import train as train

__version__ = "0.1.0"

_MODULES = {
    "Embedder": "embedding.embedder",
    "FrontEnd": "audio.frontend",
    "Index": "embedding.index",
    "Manifest": "data.schema",
    "PretrainedModel": "models.pretrained",
    "Settings": "preparation.settings",
    "SplitReader": "data.dataset",
    "Vocabulary": "tags.vocabulary",
    "get_config": "default_config",
    "load": "embedding.embedder",
    "normalize_tags": "tags.normalize",
    "prepare": "preparation.run",
    "train": "training_run",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _MODULES.keys())
