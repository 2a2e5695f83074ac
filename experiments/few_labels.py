"""How accurate a classifier is that was given few labelled clips of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from coala_jax.evaluation.classifiers import logistic_regression
from coala_jax.evaluation.tasks import Task

SHOTS = (1, 5, 10, None)  # labelled clips of each class; None: all there are


def draw(
    classes: Int64[np.ndarray, " clip"],
    train: Int64[np.ndarray, " train"],
    shots: int | None,
    key: Sequence[int],
) -> Int64[np.ndarray, " drawn"]:
    """So many training clips of each class, all of a class that has fewer.

    With the same key, those of more shots hold those of fewer.

    Args:
        classes: of all clips.
        train: the training clips, of which some are drawn.
        key: seed of the draw: the experiment's, the fold and the number of the draw.
    """
    if shots is None:
        return train
    order = np.random.default_rng(list(key)).permutation(train)
    of_class = [order[classes[order] == one][:shots] for one in np.unique(classes[train])]
    return np.sort(np.concatenate(of_class))


def accuracies(
    task: Task,
    vectors: Float32[np.ndarray, "clip dim"],
    shots: int | None,
    draws: int,
    seed: int,
) -> Float64[np.ndarray, " draw"]:
    """Of logistic regression on standardised vectors, mean over the folds, one for each draw.

    Which clips are drawn depends on the task, the seed and the shots, not on the vectors. All
    clips are drawn once.
    """
    found = []
    for number in range(1 if shots is None else draws):
        right = []
        for place, fold in enumerate(task.folds):
            chosen = draw(task.classes, fold.train, shots, (seed, place, number))
            data = vectors[chosen], task.classes[chosen], vectors[fold.test]
            (predicted,) = logistic_regression(*data, len(task.labels))
            right.append((predicted == task.classes[fold.test]).mean())
        found.append(np.mean(right))
    return np.array(found)


def curve(
    task: Task, models: Sequence[Float32[np.ndarray, "clip dim"]], draws: int, seed: int
) -> list[dict[str, Any]]:
    """One entry for each of SHOTS.

    models: the vectors of each training seed of one model; their accuracies are averaged draw by
        draw.
    """
    entries = []
    for shots in SHOTS:
        of_draw = np.mean([accuracies(task, one, shots, draws, seed) for one in models], axis=0)
        entries.append({"shots": shots} | summary(of_draw))
    return entries


def summary(of_draw: Float64[np.ndarray, " draw"]) -> Mapping[str, Any]:
    """Mean and standard error over draws; a single draw has no error."""
    count = len(of_draw)
    error = float(of_draw.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return {"accuracy": float(of_draw.mean()), "standard_error": error, "draws": count}
