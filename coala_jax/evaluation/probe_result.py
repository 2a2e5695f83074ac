"""What an evaluation found: how accurate models are, and which differences are not chance.

Accuracies are shares of 1, and means over folds: of F folds, a clip weighs 1 / (F x clips in its
fold), in differences between models, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64

from coala_jax.evaluation import significance


@dataclass(frozen=True)
class ProbeResult:
    """How well one head told one model's embeddings of one task apart.

    accuracies: mean over the folds, one a seed; mean, low, high: theirs with the 95 % interval
      over seeds.
    confusion: clips of a true class (row) that were taken for a class (column), summed over seeds
      and folds; labels: the classes' names.
    correct: for every tested clip the share of the seeds that were right, fold after fold;
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
    labels: tuple[str, ...]
    correct: Float64[np.ndarray, " clip"]
    fold_sizes: tuple[int, ...]

    @classmethod
    def measure(
        cls,
        task: str,
        model: str,
        head: str,
        labels: tuple[str, ...],
        folds: Sequence[tuple[Int[np.ndarray, " _"], Int[np.ndarray, "seed _"]]],
    ) -> "ProbeResult":
        """From each fold's true classes of its clips, and what each seed took them for."""
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        for true, predicted in folds:
            np.add.at(confusion, (np.broadcast_to(true, predicted.shape), predicted), 1)
        right = [predicted == true for true, predicted in folds]
        fold_accuracies = np.stack([hits.mean(axis=1) for hits in right])
        accuracies = fold_accuracies.mean(axis=0)
        mean, low, high = significance.mean_interval(accuracies)
        correct = np.concatenate([hits.mean(axis=0) for hits in right])
        return cls(
            *(task, model, head, accuracies, mean, low, high),
            *(fold_accuracies, confusion, labels, correct, tuple(len(true) for true, _ in folds)),
        )

    @property
    def seeds(self) -> int:
        return len(self.accuracies)

    def tested(self) -> dict[str, int]:
        """How many clips of each class were tested."""
        counts = self.confusion.sum(axis=1) // self.seeds
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def shares(self) -> Float64[np.ndarray, "class class"]:
        """The share of each true class (row) that was taken for each class; zeros if untested."""
        return self.confusion / np.maximum(self.confusion.sum(axis=1, keepdims=True), 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in found.items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ProbeResult":
        """What ``to_dict`` gave."""
        arrays = {
            name: np.array(content[name], np.float64)
            for name in ("accuracies", "fold_accuracies", "correct")
        }
        confusion = np.array(content["confusion"], np.int64)
        tuples = {name: tuple(content[name]) for name in ("labels", "fold_sizes")}
        return cls(**{**content, **arrays, **tuples, "confusion": confusion})


@dataclass(frozen=True)
class Difference:
    """By how much the first model is more accurate than the second on the same clips.

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
    """One model beside every other that was tested on the same task by the same head.

    In each pair the better comes first. Not all pairs: of many models most say nothing, and every
    one more makes the correction stricter.

    reference: the model that the others stand beside.
    seed: of the bootstrap and the permutations.

    Raises:
      ValueError: two models were not tested on the same clips.
    """
    found = []
    for task, head in dict.fromkeys((outcome.task, outcome.head) for outcome in outcomes):
        same = [one for one in outcomes if (one.task, one.head) == (task, head)]
        tested = {one.model: (one.tested(), one.fold_sizes) for one in same}
        if len({(tuple(clips.items()), sizes) for clips, sizes in tested.values()}) > 1:
            raise ValueError(f"{task}: models tested on different clips are no pairs: {tested}")
        same.sort(key=lambda outcome: -outcome.mean)
        pairs = [p for p in combinations(same, 2) if reference in (p[0].model, p[1].model)]
        tests = [
            significance.compare(one.correct, two.correct, seed, one.fold_sizes)
            for one, two in pairs
        ]
        corrected = significance.holm(np.array([test.p_value for test in tests], np.float64))
        for (one, two), test, p_corrected in zip(pairs, tests, corrected, strict=True):
            interval = (test.difference, test.low, test.high)
            difference = Difference(
                task, head, one.model, two.model, *interval, test.p_value, float(p_corrected)
            )
            found.append(difference)
    return found
