"""Draws of few labelled clips, and accuracies on them, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from coala_jax.evaluation.tasks import Clip, Fold, Task
from experiments import few_labels

CLASSES = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 0])
TRAIN = np.array([0, 1, 2, 4, 5, 6, 7])  # three of class 0, two of the others


def test_a_draw_has_so_many_of_each_class_or_all_of_it_and_grows():
    def drawn(shots, key):
        return few_labels.draw(CLASSES, TRAIN, shots, key)

    for number in range(20):
        one, two, three = (drawn(shots, (0, 0, number)) for shots in (1, 2, 3))
        assert CLASSES[one].tolist() == [0, 1, 2]
        assert CLASSES[two].tolist() == [0, 0, 1, 1, 2, 2]
        assert three.tolist() == TRAIN.tolist()
        assert set(one) < set(two) < set(three)
        np.testing.assert_array_equal(drawn(1, (0, 0, number)), one)
    seen = {tuple(drawn(1, (0, 0, number))) for number in range(100)}
    assert len(seen) == 3 * 2 * 2  # every choice of one clip a class
    assert drawn(None, (0, 0, 0)) is TRAIN
    others = [[drawn(1, (*key, n)).tolist() for n in range(9)] for key in ((0, 0), (0, 1), (1, 0))]
    assert others[0] != others[1] and others[0] != others[2]  # another fold, another seed


@pytest.fixture
def task():
    """Two classes; the second fold's test clips are all of the first class."""
    folds = (
        Fold("fold 1", np.array([4, 5, 6, 7]), np.array([0, 1, 2, 3])),
        Fold("fold 2", np.array([0, 1, 2, 3, 6, 7]), np.array([4, 5])),
    )
    clips = tuple(Clip(f"{n}.wav", "ab"[n % 4 > 1]) for n in range(8))
    return Task("t", Path(), ("a", "b"), clips, folds, {}, ())


def test_accuracy_is_the_mean_over_folds_and_all_clips_are_drawn_once(task):
    vectors = np.where(task.classes == 0, -1.0, 1.0).astype(np.float32)[:, None]
    vectors[1] = 1.0  # which is one of four wrong in the first fold, and is trained on in the other
    entries = few_labels.curve(task, [vectors], draws=4, seed=0)
    assert [entry["shots"] for entry in entries] == [1, 5, 10, None]
    assert [entry["draws"] for entry in entries] == [4, 4, 4, 1]
    assert entries[-1] == {"shots": None, "accuracy": 0.875, "standard_error": None, "draws": 1}
    # No fold has more than five clips of a class.
    assert entries[1]["accuracy"] == 0.875 and entries[1]["standard_error"] == 0
    first = few_labels.accuracies(task, vectors, 1, 4, 0)
    assert set(first) <= {0.875, 0.375, 0.625}  # by chance clip 1 alone stands for its class


def test_seeds_are_averaged_draw_by_draw_before_the_error(task, monkeypatch):
    of = {1: np.array([0.2, 0.6]), 2: np.array([0.6, 0.4])}
    monkeypatch.setattr(few_labels, "accuracies", lambda task, vectors, *rest: of[vectors.size])
    models = [np.zeros((1, size), np.float32) for size in of]
    found = few_labels.curve(task, models, draws=2, seed=0)[0]
    # 0.4 and 0.5: a deviation of 0.0707 over the root of two.
    assert found["accuracy"] == pytest.approx(0.45)
    assert found["standard_error"] == pytest.approx(0.05)
