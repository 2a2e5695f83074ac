"""Logistic regression and SVM: what both promise, and what only a curved border can separate."""

import numpy as np
import pytest

from coala_jax.evaluation import classifiers

HEADS = pytest.mark.parametrize("head", [classifiers.logistic_regression, classifiers.svm])


def clouds(clips: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=clips)
    centres = np.random.default_rng(99).normal(size=(classes, 12)) * 6
    return (centres[labels] + rng.normal(size=(clips, 12))).astype(np.float32), labels


@HEADS
@pytest.mark.parametrize("classes", [2, 5])
def test_a_perfect_embedding_scores_one(head, classes):
    train, labels = clouds(200, classes, seed=0)
    test, wanted = clouds(300, classes, seed=1)
    predicted = head(train, labels, test, classes, [0, 1])
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
    train, labels = clouds(150, 3, seed=0)
    test, _ = clouds(150, 3, seed=1)
    train, test = train + 4 * labels[:, None].astype(np.float32), test + 4
    factors = 10.0 ** np.linspace(-2, 3, 12, dtype=np.float32)
    plain = head(train, labels, test, 3, [0])
    assert (head(factors * train + 3, labels, factors * test + 3, 3, [0]) == plain).mean() > 0.99


def test_svm_separates_a_ring_from_what_it_surrounds_and_a_line_does_not():
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 600), np.repeat([1.0, 3.0], 300)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    labels = np.repeat([0, 1], 300)
    assert np.mean(classifiers.svm(points, labels, points, 2, [0]) == labels) > 0.99
    assert np.mean(classifiers.logistic_regression(points, labels, points, 2, [0]) == labels) < 0.7


@HEADS
def test_a_class_without_training_clips_is_never_predicted_and_nan_is_an_error(head):
    train, labels = clouds(100, 3, seed=0)
    predicted = head(train, labels * 2, train, 6, [0])  # of 0 to 5, only 0, 2 and 4
    assert (predicted == labels * 2).all()
    train[3, 2] = np.nan
    with pytest.raises(ValueError, match="number 3"):
        head(train, labels, train, 3, [0])
