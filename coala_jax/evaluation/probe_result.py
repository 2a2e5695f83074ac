"""How accurate classifiers on embeddings are, and which differences between models are not chance.

Accuracies are shares of 1, and means over folds: of F folds, a clip weighs 1 / (F x clips in its
fold), in differences between models, too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64

from coala_jax.evaluation import significance


@dataclass(frozen=True)
class ProbeResult:
    """One head on one model's embeddings of one task.

    Attributes:
        accuracies: mean over the folds, one per seed.
        mean, low, high: of the accuracies, with the 95 % interval over seeds, within [0, 1].
        confusion: counts of clips by true class (row) and predicted class (column), summed over
            seeds and folds.
        correct: for every tested clip the share of the seeds that were right, fold after fold.
        fold_sizes: how many clips each fold tests.
    """

    task: str
    model: str
    head: str
    accuracies: Float64[np.ndarray, " seed"]
    mean: float
    low: float
    high: float
    fold_accuracies: Float64[np.ndarray, "fold seed"]
    confusion: Int64[np.ndarray, "class class"]
    correct: Float64[np.ndarray, " clip"]
    fold_sizes: tuple[int, ...]

    @classmethod
    def measure(
        cls,
        task: str,
        model: str,
        head: str,
        class_count: int,
        folds: Sequence[tuple[Int[np.ndarray, " _"], Int[np.ndarray, "seed _"]]],
    ) -> "ProbeResult":
        """From the true and predicted classes of each fold's test clips."""
        confusion = np.zeros((class_count, class_count), np.int64)
        for true, predicted in folds:
            np.add.at(confusion, (np.broadcast_to(true, predicted.shape), predicted), 1)
        right = [predicted == true for true, predicted in folds]
        fold_accuracies = np.stack([hits.mean(axis=1) for hits in right])
        accuracies = fold_accuracies.mean(axis=0)
        mean, low, high = significance.mean_interval(accuracies)
        low, high = max(low, 0.0), min(high, 1.0)  # Student's t knows no bounds
        correct = np.concatenate([hits.mean(axis=0) for hits in right])
        return cls(
            *(task, model, head, accuracies, mean, low, high),
            *(fold_accuracies, confusion, correct, tuple(len(true) for true, _ in folds)),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Difference:
    """By how much the first model is more accurate than the second on the same clips.

    Attributes:
        difference, low, high: of their accuracies, with the 95 % interval over clips.
        p_corrected: Holm's correction of p_value over the pairs of the same task and head.
    """

    task: str
    head: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    p_corrected: float


def differences(outcomes: Sequence[ProbeResult], reference: str, seed: int) -> list[Difference]:
    """Paired tests of one model against every other on the same task with the same head.

    In each pair the better comes first. Not all pairs: each further one makes Holm's correction
    stricter.

    Args:
        reference: the model that the others are compared with.
        seed: of the bootstrap and the permutations.

    Raises:
        ValueError: two models were not tested on the same clips.
    """
    found = []
    for task, head in dict.fromkeys((outcome.task, outcome.head) for outcome in outcomes):
        same = [one for one in outcomes if (one.task, one.head) == (task, head)]
        same.sort(key=lambda outcome: -outcome.mean)
        pairs = [p for p in combinations(same, 2) if reference in (p[0].model, p[1].model)]
        for one, two in pairs:
            shares = [o.confusion.sum(axis=1) / len(o.accuracies) for o in (one, two)]
            if one.fold_sizes != two.fold_sizes or not np.array_equal(*shares):
                raise ValueError(f"{task}: {one.model} and {two.model} tested on different clips")
        tests = [
            significance.compare(one.correct, two.correct, seed, one.fold_sizes)
            for one, two in pairs
        ]
        corrected = significance.holm(np.array([test.p_value for test in tests], np.float64))
        found += [
            Difference(task, head, one.model, two.model, **asdict(test), p_corrected=float(p))
            for (one, two), test, p in zip(pairs, tests, corrected, strict=True)
        ]
    return found
