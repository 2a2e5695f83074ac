"""Canonical correlation of embeddings with acoustic descriptors (paper, Table 2).

Canonical correlation analysis finds the weighted sum of the embedding's columns and the one of the
descriptor's columns that correlate most over the sounds, then the next pair, uncorrelated with the
pairs before. The score is the mean of these coefficients.

With as many dimensions as sounds, noise reaches 1; with p dimensions and n sounds it scores about
sqrt(p / (n - 1)): 0.25 for 1,152 and 19,103. So every value comes with its permutation baseline,
the same score with the descriptors' sounds in random order, and an embedding with fewer than
`SOUNDS_PER_DIMENSION` sounds per dimension is reduced first.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float32, Float64

SOUNDS_PER_DIMENSION = 10  # below this the embedding is reduced
PERMUTATIONS = 20  # behind each permutation baseline

# Variation below this share of a column is the rounding of float32, not information.
_ROUNDING = 1e-6

Scores = dict[str, dict[str, float]]  # descriptor -> statistic -> score


@dataclasses.dataclass(frozen=True)
class CcaTable:
    """Table 2 for one model.

    Attributes:
        values: mean canonical coefficient, in [0, 1].
        permutation_baselines: what the same embedding scores with permuted descriptors.
        sounds: number of sounds behind both.
        dimensions: of the embedding as the model gives it.
        components: what it was reduced to, None where it was not.
    """

    values: Scores
    permutation_baselines: Scores
    sounds: int
    dimensions: int
    components: int | None


def table2(
    embeddings: Float32[np.ndarray, "sound dim"],
    training_embeddings: Float32[np.ndarray, "training_sound dim"] | None,
    descriptors: Mapping[str, Mapping[str, Float[np.ndarray, "_ _"]]],
    seed: int,
) -> CcaTable:
    """The correlation of an embedding with each statistic of each descriptor.

    Args:
        embeddings: of sounds that the model was not trained on.
        training_embeddings: what `reduce` is fitted on; None where `components` is None.
        descriptors: descriptor -> statistic -> [sound, value] of the same sounds in that order.
        seed: of the permutations.

    Raises:
        ValueError: as `mean_correlation` and `reduce` do.
    """
    sounds, dimensions = embeddings.shape
    reduced, kept = reduce(embeddings, training_embeddings)
    basis, rng = _basis(reduced), np.random.default_rng(seed)
    orders = [rng.permutation(sounds) for _ in range(PERMUTATIONS)]
    values: Scores = {}
    baselines: Scores = {}
    for descriptor, statistics in descriptors.items():
        values[descriptor], baselines[descriptor] = {}, {}
        for statistic, columns in statistics.items():
            if len(columns) != sounds:
                raise ValueError(
                    f"{descriptor}, {statistic}: {len(columns)} sounds, but {sounds} embeddings; "
                    "both must be of the same sounds"
                )
            count = min(reduced.shape[1], columns.shape[1])
            other = _basis(columns)
            values[descriptor][statistic] = _mean(basis, other, count)
            permuted = [_mean(basis, other[order], count) for order in orders]
            baselines[descriptor][statistic] = float(np.mean(permuted))
    return CcaTable(values, baselines, sounds, dimensions, kept)


def mean_correlation(
    x: Float[np.ndarray, "x_sound x_value"], y: Float[np.ndarray, "y_sound y_value"]
) -> float:
    """The mean of the min(x_value, y_value) canonical coefficients, in [0, 1].

    A column that is constant, or a weighted sum of the others, adds no pair. Where that leaves
    fewer pairs, the missing coefficients are zeros in the mean. Neither scale nor offset of a
    column, nor any invertible mixing of columns, changes the result.

    Raises:
        ValueError: x and y differ in their number of sounds, there are fewer than 2 sounds or no
            columns, or a value is not finite.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} sounds in x, {len(y)} in y; both must be of the same sounds")
    return _mean(_basis(x), _basis(y), min(x.shape[1], y.shape[1]))


def components(sounds: int, dimensions: int) -> int | None:
    """How many components `reduce` keeps; None where there are enough sounds for all dimensions."""
    if sounds >= SOUNDS_PER_DIMENSION * dimensions:
        return None
    return max(1, sounds // SOUNDS_PER_DIMENSION)


def reduce(
    embeddings: Float32[np.ndarray, "sound dim"],
    training_embeddings: Float32[np.ndarray, "training_sound dim"] | None,
) -> tuple[Float[np.ndarray, "sound component"], int | None]:
    """The embeddings' first n / 10 principal components if n sounds are too few for all of them.

    The components are fitted on the training sounds, so that nothing is fitted to the sounds that
    are scored.

    Returns:
        The embeddings to correlate, and the number of components; with enough sounds the unchanged
        embeddings and None.

    Raises:
        ValueError: there are too few training sounds to fit the components on.
    """
    kept = components(*embeddings.shape)
    if kept is None:
        return embeddings, None
    found = 0 if training_embeddings is None else len(training_embeddings)
    if training_embeddings is None or found <= kept:
        raise ValueError(
            f"{len(embeddings)} sounds are fewer than {SOUNDS_PER_DIMENSION} for each of "
            f"{embeddings.shape[1]} dimensions; fitting the {kept} components to keep needs more "
            f"than {kept} training sounds, got {found}"
        )
    from sklearn.decomposition import PCA  # takes a second to import

    # Centred first: the covariance of large values would lose digits.
    centre = training_embeddings.mean(axis=0, dtype=np.float64)
    pca = PCA(kept, svd_solver="covariance_eigh").fit(training_embeddings - centre)
    return pca.transform(embeddings - centre), kept


def _mean(
    x: Float64[np.ndarray, "sound x_rank"], y: Float64[np.ndarray, "sound y_rank"], count: int
) -> float:
    """The coefficients are the cosines between the two spaces that the columns span."""
    if not x.shape[1] or not y.shape[1]:
        return 0.0
    coefficients = scipy.linalg.svdvals(x.T @ y)
    return float(np.minimum(coefficients, 1.0).sum() / count)  # rounding may pass 1


def _basis(values: Float[np.ndarray, "sound value"]) -> Float64[np.ndarray, "sound rank"]:
    """Orthonormal columns that span what the centred columns do."""
    if len(values) < 2 or values.shape[1] == 0:
        raise ValueError(f"shape {list(values.shape)}: at least 2 sounds and 1 value are needed")
    if not np.isfinite(values).all():
        index = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ValueError(f"not finite at {index} (sound, value). Fix: leave the sound out")
    values = values.astype(np.float64)
    largest = np.abs(values).max(axis=0)
    columns = values / np.where(largest > 0, largest, 1)
    columns -= columns.mean(axis=0)
    norms = np.linalg.norm(columns, axis=0)
    varying = norms > _ROUNDING * np.sqrt(len(values))
    if not varying.any():  # SciPy 1.13 refuses empty arrays
        return np.zeros((len(values), 0))
    # Columns of length 1: what counts as rounding does not depend on a column's unit.
    rotation, triangle = scipy.linalg.qr(columns[:, varying] / norms[varying], mode="economic")
    directions, sizes, _ = scipy.linalg.svd(triangle, full_matrices=False)
    return rotation @ directions[:, sizes > _ROUNDING]
