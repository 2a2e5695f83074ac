"""What an evaluation says of models that were trained with several seeds.

The seeds of one model are its answers to the same clips: they are averaged clip by clip, and two
models are compared on these averages, so that a test covers the luck of training as far as the
seeds show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from coala_jax.evaluation import significance

POOLINGS = ("mean", "layers")
HAVE_NONE = ("mfcc", "vectors:")  # how specs begin whose vectors are of no pooling


@dataclass(frozen=True)
class Score:
    """One model on one task.

    Attributes:
        seeds: accuracy of each training seed.
        correct: for every clip the share of all answers that were right, fold after fold.
        fold_sizes: how many clips each fold tests.
    """

    seeds: tuple[float, ...]
    correct: Float64[np.ndarray, " clip"]
    fold_sizes: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.seeds))

    @property
    def standard_error(self) -> float:
        """Of the accuracy, over clips; folds weigh alike."""
        folds = np.split(self.correct, np.cumsum(self.fold_sizes)[:-1])
        variances = [fold.var(ddof=1) / len(fold) for fold in folds]
        return float(np.sqrt(np.sum(variances)) / len(folds))

    def minus(self, other: "Score") -> dict[str, float]:
        """The paired comparison: difference, its 95 % interval over clips, and p-value."""
        return vars(significance.compare(self.correct, other.correct, 0, self.fold_sizes))

    def to_dict(self) -> dict[str, Any]:
        """Without the single clips."""
        return {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "seeds": list(self.seeds),
        }


def names_of(models: Mapping[str, str], pooling: str) -> list[str]:
    """What models of these names and specs are called where several poolings are evaluated."""
    return [n if m.startswith(HAVE_NONE) else f"{n}, {pooling}" for n, m in models.items()]


def read(
    record: Mapping[str, Any],
    task: str,
    models: Mapping[str, str],
    pooling: str,
    head: str = "mlp",
) -> Score:
    """The score of a row whose seeds stand in an evaluation of several poolings.

    models: the model of each name, one a seed; MFCCs and vectors of a file have no pooling.

    Raises:
        ValueError: the record lacks one of them.
    """
    chosen = [o for o in record["outcomes"] if (o["task"], o["head"]) == (task, head)]
    found, names = {one["model"]: one for one in chosen}, names_of(models, pooling)
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"the evaluation has no {missing[0]!r} on {task}. Fix: evaluate it again")
    rows = [found[name] for name in names]
    correct = np.mean([row["correct"] for row in rows], axis=0)
    return Score(tuple(row["mean"] for row in rows), correct, tuple(rows[0]["fold_sizes"]))


def difference(compared: Mapping[str, float]) -> str:
    """A paired difference in points; * where p < .05, ** where p < .01."""
    stars = "*" * sum(compared["p_value"] < bound for bound in (0.05, 0.01))
    return f"{100 * compared['difference']:+.1f}{stars}"
