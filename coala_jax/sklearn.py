"""A pretrained model as a transformer of scikit-learn: sounds in, vectors out.

classifier = make_pipeline(Embedder(), StandardScaler(), LogisticRegression())
classifier.fit(files, labels).predict(["new.wav"])
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from sklearn.base import BaseEstimator, TransformerMixin

from coala_jax import storage
from coala_jax.embedding import embedder as embedding
from coala_jax.embedding.sounds import Sound


class Embedder(TransformerMixin, BaseEstimator):
    """Turns sounds into their vectors; there is nothing to fit.

    Args:
        model: the folder of a pretrained model, or an `embedder.Embedder` that is loaded already;
            None for the built-in model.
        sample_rate_hz: of the sounds that are arrays, not files.
        policy: of sounds that do not fill their patches; see `coala_jax.embedding.pooling`.
        pooling: what a sound's vector is, mean or layers; None for what the model names. A model
            that is loaded already keeps its own.
    """

    def __init__(
        self,
        model: storage.PathLike | embedding.Embedder | None = None,
        sample_rate_hz: int | None = None,
        policy: str = "paper",
        pooling: str | None = None,
    ) -> None:
        self.model, self.sample_rate_hz = model, sample_rate_hz
        self.policy, self.pooling = policy, pooling

    def fit(self, X: Sequence[Sound] | np.ndarray, y: Any = None) -> "Embedder":
        """Loads the model, once for all later calls.

        Raises:
            ModelError: the folder holds no model.
            ValueError: there is no such pooling, or the loaded model has another one.
        """
        if not isinstance(self.model, embedding.Embedder):
            self.embedder_ = embedding.load(self.model, self.pooling)
            return self
        if self.pooling not in (None, self.model.pooling):
            raise ValueError(
                f"pooling is {self.pooling}, and the loaded model's is {self.model.pooling}. "
                "Fix: load the model with that pooling, or pass its folder"
            )
        self.embedder_ = self.model
        return self

    def transform(self, X: Sequence[Sound] | np.ndarray) -> Float32[np.ndarray, "sound value"]:
        """One vector a sound; sounds as in `embedder.Embedder.embed`, whose errors it raises."""
        model = self.embedder_ if hasattr(self, "embedder_") else self.fit(X).embedder_
        # Of file names scikit-learn may make an array, of which one axis would be one sound.
        sounds = X.tolist() if isinstance(X, np.ndarray) and X.dtype.kind in "UO" else list(X)
        return model.embed(sounds, self.sample_rate_hz, policy=self.policy)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`coala0`, `coala1`, ...: the vector's values in their order, see `embedding.pooling`."""
        size = self.embedder_.embedding_size
        return np.array([f"coala{place}" for place in range(size)], object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "embedder_")
