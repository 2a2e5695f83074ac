"""A pretrained model as a transformer of scikit-learn: sounds in, vectors out.

classifier = make_pipeline(Embedder("runs/mine/model"), StandardScaler(), LogisticRegression())
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
        model: the folder of a pretrained model, or an `Embedder` that is loaded already.
        sample_rate_hz: of the sounds that are arrays, not files.
        policy: of sounds that do not fill their patches; see `coala_jax.embedding.pooling`.
    """

    def __init__(
        self,
        model: storage.PathLike | embedding.Embedder,
        sample_rate_hz: int | None = None,
        policy: str = "paper",
    ) -> None:
        self.model, self.sample_rate_hz, self.policy = model, sample_rate_hz, policy

    def fit(self, X: Sequence[Sound] | np.ndarray, y: Any = None) -> "Embedder":
        """Loads the model, once for all later calls.

        Raises:
            ModelError: the folder holds no model.
        """
        loaded = isinstance(self.model, embedding.Embedder)
        self.embedder_ = self.model if loaded else embedding.load(self.model)
        return self

    def transform(self, X: Sequence[Sound] | np.ndarray) -> Float32[np.ndarray, "sound latent"]:
        """One vector a sound; sounds as in `embedder.Embedder.embed`, whose errors it raises."""
        model = self.embedder_ if hasattr(self, "embedder_") else self.fit(X).embedder_
        # Of file names scikit-learn may make an array, of which one axis would be one sound.
        sounds = X.tolist() if isinstance(X, np.ndarray) and X.dtype.kind in "UO" else list(X)
        return model.embed(sounds, self.sample_rate_hz, policy=self.policy)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`coala0`, `coala1`, ...: the vector's values in channel, mel, time order."""
        return np.array([f"coala{place}" for place in range(self.embedder_.latent_size)], object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "embedder_")
