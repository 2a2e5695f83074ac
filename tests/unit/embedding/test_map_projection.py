"""The projection of embeddings to a map, against an SVD, and on degenerate input."""

import numpy as np
import pytest

from coala_jax.embedding import map_projection


def clusters(sounds_each: int):
    """Three groups far apart in 40 dimensions, and the group of each sound."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(3, 40)) * 10, sounds_each, axis=0)
    embeddings = centres + rng.normal(size=centres.shape)
    return embeddings.astype(np.float32), np.repeat(np.arange(3), sounds_each)


@pytest.mark.parametrize("sounds", [3, 9])
def test_fewer_than_ten_sounds_are_mapped_by_their_principal_components(sounds):
    embeddings = np.random.default_rng(sounds).normal(size=(sounds, 20)).astype(np.float32)
    standard = embeddings.astype(np.float64)
    standard = (standard - standard.mean(axis=0)) / standard.std(axis=0)
    left, length, _ = np.linalg.svd(standard, full_matrices=False)
    points = map_projection.project(embeddings, seed=0)
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * length[:2]), atol=1e-9)


@pytest.mark.parametrize("sounds_each", [4, 20])
def test_the_nearest_sound_on_the_map_is_of_the_same_group(sounds_each):
    embeddings, groups = clusters(sounds_each)
    points = map_projection.project(embeddings, seed=3)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(groups[distances.argmin(axis=1)], groups)


def test_equal_seeds_give_equal_points():
    # Of so many dimensions the principal components are found by a random method.
    embeddings = np.random.default_rng(0).normal(size=(70, 600))
    first, again = (map_projection.project(embeddings, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("sounds", [3, 31])
@pytest.mark.parametrize("kind", ["identical", "one dimension", "one differs", "duplicates"])
def test_degenerate_embeddings_have_finite_points(sounds, kind):
    embeddings = np.full((sounds, 1 if kind == "one dimension" else 8), 0.3, np.float32)
    if kind == "one dimension":
        embeddings[:, 0] = np.arange(sounds)
    elif kind == "one differs":
        embeddings[0] = 1
    elif kind == "duplicates":
        embeddings[::2] = np.arange(8)
    points = map_projection.project(embeddings, seed=0)
    assert points.shape == (sounds, 2) and np.isfinite(points).all()
    assert np.all(points == 0) == (kind == "identical")


def test_embeddings_that_are_not_finite_are_counted():
    embeddings, _ = clusters(2)
    embeddings[3, 1], embeddings[4] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 6"):
        map_projection.project(embeddings, seed=0)


def test_of_more_than_3000_sounds_the_seed_draws_3000():
    np.testing.assert_array_equal(map_projection.choose(3000, seed=1), np.arange(3000))
    first, again, other = (map_projection.choose(3500, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert len(first) == 3000 and np.all(np.diff(first) > 0) and first[-1] < 3500


def test_others_lie_beside_the_mapped_sounds_that_are_like_them(monkeypatch):
    monkeypatch.setattr(map_projection, "MAXIMUM_SOUNDS", 120)
    monkeypatch.setattr(map_projection, "_BLOCK", 100)
    embeddings, groups = clusters(200)
    points = map_projection.project_all(embeddings, seed=0)
    centres = np.stack([np.median(points[groups == group], axis=0) for group in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, groups)
    assert len(np.unique(points, axis=0)) == len(points)
    chosen = map_projection.choose(600, seed=0)
    mapped = map_projection.project(embeddings[chosen], seed=0)
    np.testing.assert_array_equal(points[chosen], mapped)
    np.testing.assert_array_equal(map_projection.project_all(embeddings[:90], 0).shape, (90, 2))
    embeddings[7] = np.nan
    with pytest.raises(ValueError, match=r"not finite|NaN"):
        map_projection.project_all(embeddings, seed=0)
