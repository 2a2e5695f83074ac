"""Precision of search: what counts as right, by hand."""

import numpy as np
import pytest

from coala_jax.evaluation.tasks import Clip, Fold, Task
from experiments import search_precision


@pytest.fixture
def task(tmp_path):
    """Two folds of four clips, of classes a a a b and a b b b."""
    clips = tuple(Clip(f"{n}.wav", label) for n, label in enumerate("aaababbb"))
    first, second = np.arange(4), np.arange(4, 8)
    folds = (Fold("1", second, first), Fold("2", first, second))
    return Task("t", tmp_path, ("a", "b"), clips, folds, {}, ())


def test_similar_counts_labels_among_the_nearest_of_other_folds(task, monkeypatch):
    # Fold 1 (a a a b) finds of fold 2 (a b b b): the a and a b, each time.
    # Fold 2 (a b b b) finds of fold 1 (a a a b): twice the b and an a, twice two a.
    rows = iter([[[0, 1]] * 4, [[3, 0], [3, 0], [1, 2], [1, 2]]])
    monkeypatch.setattr(search_precision, "nearest", lambda *_: np.array(next(rows)))
    vectors = np.zeros((8, 2), np.float32)
    first, second = (0.5 + 0.5 + 0.5 + 0.5) / 4, (0.5 + 0.5 + 0 + 0) / 4
    assert search_precision.of_sounds(task, vectors) == pytest.approx((first + second) / 2)


def test_chance_is_the_share_of_a_clips_label_in_the_other_fold(task):
    # Fold 1 asks fold 2 (a 1/4, b 3/4), fold 2 asks fold 1 (a 3/4, b 1/4).
    expected = ((3 * 1 / 4 + 3 / 4) / 4 + (3 / 4 + 3 * 1 / 4) / 4) / 2
    found = search_precision.blind_of_sounds(task)
    assert found["chance"] == pytest.approx(expected)
    # Fold 1 is answered with b alone, which one clip of it is; fold 2 with a.
    assert found["popularity"] == pytest.approx((1 / 4 + 1 / 4) / 2)


def test_sounds_are_alike_from_half_of_their_tags_on():
    some = np.array([[True, True, False, False]])
    others = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], bool)
    assert search_precision.are_alike(some, others).tolist() == [[True, True, False, False]]


def test_popularity_is_by_the_tags_that_were_learned(monkeypatch):
    monkeypatch.setattr(search_precision, "FIRST", 2)
    learned = np.array([[0, 1], [0, 1], [1, 0]], bool)
    sounds = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    assert search_precision.most_popular(sounds, learned).tolist() == [2, 1]


def test_tags_count_sounds_that_have_them_among_the_highest(monkeypatch):
    monkeypatch.setattr(search_precision, "FIRST", 2)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.3]])
    truth = np.array([[True, True], [False, False], [True, True]])
    assert search_precision.of_tags(scores, truth) == 0.5
