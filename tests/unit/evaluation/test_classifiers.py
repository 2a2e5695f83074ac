"""Logistic regression by its own optimality, the SVM on what only a curved border can tell."""

import numpy as np
import pytest

from coala_jax.evaluation import classifiers

HEADS = pytest.mark.parametrize("head", [classifiers.logistic_regression, classifiers.svm])


def _clouds(clips: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    places = rng.integers(classes, size=clips)
    centres = np.random.default_rng(99).normal(size=(classes, 12)) * 6
    features = (centres[places] + rng.normal(size=(clips, 12))).astype(np.float32)
    return features, places


@HEADS
@pytest.mark.parametrize("classes", [2, 5])
def test_a_perfect_embedding_scores_one(head, classes):
    train, places = _clouds(200, classes, seed=0)
    test, wanted = _clouds(300, classes, seed=1)
    predicted = head(train, places, test, classes, [0, 1])
    assert predicted.shape == (1, 300)
    assert (predicted == wanted).all()


@HEADS
def test_a_random_embedding_scores_chance(head):
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(size, 20)).astype(np.float32) for size in (300, 2000))
    predicted = head(train, rng.integers(4, size=300), test, 4, [0])
    assert np.mean(predicted == rng.integers(4, size=2000)) == pytest.approx(0.25, abs=0.04)


@HEADS
def test_scales_and_offsets_of_features_do_not_matter(head):
    train, places = _clouds(150, 3, seed=0)
    test, _ = _clouds(150, 3, seed=1)
    train, test = train + 4 * places[:, None].astype(np.float32), test + 4
    factors = 10.0 ** np.linspace(-2, 3, 12, dtype=np.float32)
    plain = head(train, places, test, 3, [0])
    assert (head(factors * train + 3, places, factors * test + 3, 3, [0]) == plain).mean() > 0.99


def test_svm_tells_a_ring_from_what_it_surrounds_and_a_line_does_not():
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 600), np.repeat([1.0, 3.0], 300)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    places = np.repeat([0, 1], 300)
    assert np.mean(classifiers.svm(points, places, points, 2, [0]) == places) > 0.99
    assert np.mean(classifiers.logistic_regression(points, places, points, 2, [0]) == places) < 0.7


@HEADS
def test_a_class_without_training_clips_is_never_predicted(head):
    train, places = _clouds(100, 3, seed=0)
    predicted = head(train, places * 2, train, 6, [0])  # of 0 to 5, only 0, 2 and 4
    assert (predicted == places * 2).all()


@HEADS
def test_bad_input_is_told(head):
    train, places = _clouds(20, 2, seed=0)
    broken = train.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 training clips .* number 3"):
        head(broken, places, train, 2, [0])
    with pytest.raises(ValueError, match=r"1 test clips .* number 3"):
        head(train, places, broken, 2, [0])
    with pytest.raises(ValueError, match="two or more of 0 to 1"):
        head(train, np.zeros_like(places), train, 2, [0])
