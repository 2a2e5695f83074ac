"""Embeddings in two dimensions, for a map of sounds."""

import numpy as np
from jaxtyping import Float, Float64, Int64
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

MAXIMUM_SOUNDS = 3000  # t-SNE of more takes minutes, and the plot is a blot
_NEAREST = 5  # of the mapped sounds, beside which another one is placed
_BLOCK = 2048  # sounds that are placed at a time


def choose(sounds: int, seed: int) -> Int64[np.ndarray, " chosen"]:
    """Indices of the sounds to map, ascending: all of them, or 3000 drawn by the seed."""
    if sounds <= MAXIMUM_SOUNDS:
        return np.arange(sounds)
    return np.sort(np.random.default_rng(seed).choice(sounds, MAXIMUM_SOUNDS, replace=False))


def project(
    embeddings: Float[np.ndarray, "sound dimension"], seed: int
) -> Float64[np.ndarray, "sound 2"]:
    """Two coordinates per sound: standardised, at most 50 principal components, then t-SNE.

    Below ten sounds, where t-SNE has no neighbourhoods to preserve, the coordinates are the first
    two principal components. They have no unit; near means alike, far means little.

    Args:
      embeddings: any scale and dimension.
      seed: equal seeds give equal coordinates on one machine.

    Raises:
      ValueError: an embedding is not finite.
    """
    if broken := np.sum(~np.isfinite(embeddings).all(axis=1)):
        raise ValueError(f"cannot map {broken} of {len(embeddings)} embeddings: not finite")
    standard = StandardScaler().fit_transform(embeddings.astype(np.float64))
    sounds = len(standard)
    if not standard.any():  # identical sounds: one spot, and PCA would divide by their variance
        return np.zeros((sounds, 2))
    components = PCA(min(50, *standard.shape), random_state=seed).fit_transform(standard)
    first = np.pad(components, ((0, 0), (0, max(0, 2 - components.shape[1]))))[:, :2]
    if sounds < 10:
        return first
    start = first / first[:, 0].std() * 1e-4  # what init="pca" does, and works for one dimension
    perplexity = min(30.0, (sounds - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    # One thread: on a busy machine t-SNE's threads wait for each other, 12 sounds took 33 s.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(components).astype(np.float64)


def project_all(
    embeddings: Float[np.ndarray, "sound dimension"], seed: int
) -> Float64[np.ndarray, "sound 2"]:
    """`project` of any number of sounds.

    Of more than 3000, those that `choose` draws are mapped. Each other one is placed at the median
    of the five of these that are nearest to it, as openTSNE begins for new points, and a little
    beside it, so that equal medians do not hide each other.

    Args and raises: as `project`.
    """
    chosen = choose(len(embeddings), seed)
    mapped = project(embeddings[chosen], seed)
    if len(chosen) == len(embeddings):
        return mapped
    components = min(50, len(chosen), embeddings.shape[1])
    reduce = make_pipeline(StandardScaler(), PCA(components, random_state=seed))
    landmarks = reduce.fit_transform(embeddings[chosen])
    points = np.empty((len(embeddings), 2))
    for start in range(0, len(embeddings), _BLOCK):
        part = reduce.transform(embeddings[start : start + _BLOCK])
        # The squared distance, but for what is the same for all landmarks.
        distances = np.square(landmarks).sum(axis=1) - 2 * part @ landmarks.T
        nearest = np.argpartition(distances, _NEAREST, axis=1)[:, :_NEAREST]
        points[start : start + _BLOCK] = np.median(mapped[nearest], axis=1)
    beside = np.random.default_rng(seed).normal(size=points.shape)
    points += beside * (0.3 * np.ptp(mapped, axis=0).max() / len(mapped) ** 0.5)
    points[chosen] = mapped
    if broken := np.sum(~np.isfinite(points).all(axis=1)):
        raise ValueError(f"cannot map {broken} of {len(points)} embeddings: not finite")
    return points
