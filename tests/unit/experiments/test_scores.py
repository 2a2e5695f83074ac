"""Scores of rows with several training seeds, against numbers worked out by hand."""

import numpy as np
import pytest

from experiments import scores

# Two folds of 2 and 3 clips; the share of a classifier's seeds that were right at each clip.
OUTCOMES = {
    "ours #0, mean": (0.75, [1, 0.5, 1, 1, 0.25]),
    "ours #1, mean": (0.5, [0, 0.5, 1, 1, 0.25]),
    "ours #0, layers": (1.0, [1, 1, 1, 1, 1]),
    "MFCC": (0.25, [0, 0.5, 0, 0, 0.75]),
}
RECORD = {
    "outcomes": [
        {
            "task": task,
            "model": name,
            "head": "mlp",
            "mean": mean,
            "correct": correct,
            "fold_sizes": [2, 3],
        }
        for task in ("bells", "horns")
        for name, (mean, correct) in OUTCOMES.items()
    ]
}
OURS = {"ours #0": "runs/0/model", "ours #1": "runs/1/model"}


def test_seeds_are_averaged_clip_by_clip():
    score = scores.read(RECORD, "bells", OURS, "mean")
    assert score.seeds == (0.75, 0.5)
    assert score.accuracy == 0.625
    assert score.correct.tolist() == [0.5, 0.5, 1, 1, 0.25]
    # Variances of the clips of a fold: 0 and 0.1875; folds weigh alike.
    assert score.standard_error == pytest.approx(np.sqrt(0 / 2 + 0.1875 / 3) / 2)
    assert score.to_dict() == {
        "accuracy": 0.625,
        "standard_error": score.standard_error,
        "seeds": [0.75, 0.5],
    }


def test_a_difference_is_of_the_same_clips_with_the_folds_weights():
    ours = scores.read(RECORD, "horns", OURS, "mean")
    mfcc = scores.read(RECORD, "horns", {"MFCC": "mfcc:peak"}, "mean")
    found = ours.minus(mfcc)
    assert found["difference"] == pytest.approx(((0.5 + 0) / 2 + (1 + 1 - 0.5) / 3) / 2)
    assert found["low"] < found["difference"] < found["high"]
    assert scores.difference(found) == "+37.5"
    sure = found | {"difference": -0.1, "p_value": 0.009}
    assert scores.difference(sure) == "-10.0**"
    assert scores.difference(sure | {"p_value": 0.03}) == "-10.0*"


def test_of_several_classifiers_the_one_that_is_asked_for_counts():
    svm = {**RECORD["outcomes"][0], "head": "svm", "mean": 0.125, "correct": [0.5, 0, 0, 0, 0]}
    record = {"outcomes": [*RECORD["outcomes"], svm]}
    ours = {"ours #0": OURS["ours #0"]}
    assert scores.read(record, "bells", ours, "mean").seeds == (0.75,)
    assert scores.read(record, "bells", ours, "mean", "svm").seeds == (0.125,)


def test_vectors_of_a_file_have_no_pooling():
    models = {"peer": "vectors:peer.npz", "ours": "runs/0/model"}
    assert scores.names_of(models, "layers") == ["peer", "ours, layers"]


def test_mfccs_have_no_pooling_and_a_missing_row_is_named():
    mfcc = [scores.read(RECORD, "bells", {"MFCC": "mfcc"}, pooling) for pooling in scores.POOLINGS]
    assert mfcc[0].seeds == mfcc[1].seeds == (0.25,)
    with pytest.raises(ValueError, match="'ours #1, layers' on bells"):
        scores.read(RECORD, "bells", OURS, "layers")
