"""The best model so far: which epoch is kept, and when training without a better one ends.

It is saved with the train state, in the same checkpoint, so that a run that is killed at any moment
ends with the same model as one that is not.
"""

from collections.abc import Mapping

import jax
import numpy as np
from flax import struct
from jaxtyping import PyTree

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training.steps import TrainState

SCORE = "macro_auc"  # of `EvalResult.figures`; higher is better


@struct.dataclass
class BestModel:
    """The evaluated model with the highest score, on the host; of equal ones the first.

    Leaves are NumPy arrays. Before the first score, `score` is -inf and all else 0.
    """

    variables: PyTree  # float32, as `PretrainedModel` has them
    step: PyTree  # int32[], after which it was evaluated
    # Of 32 bits, so that a checkpoint holds it exactly; all processes must decide alike.
    score: PyTree  # float32[]
    evaluations_since: PyTree  # int32[], with a score and without a better one

    @property
    def exists(self) -> bool:
        return bool(self.score > -np.inf)

    def updated(
        self, model: PretrainedModel, step: int, figures: Mapping[str, float]
    ) -> "BestModel":
        """After the evaluation of `model`, which counts only where it has a score."""
        if figures.get(SCORE) is None:
            return self
        score = np.float32(figures[SCORE])
        if score > self.score:
            return BestModel(model.variables, np.array(step, np.int32), np.array(score), _zero())
        return self.replace(evaluations_since=self.evaluations_since + np.int32(1))

    def is_final(self, patience: int) -> bool:
        """Whether training ends, after `patience` evaluations without a better score; 0: never."""
        return bool(0 < patience <= self.evaluations_since)


def no_model(state: TrainState) -> BestModel:
    """What there is before the first evaluation of a run with this state."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables)
    return BestModel(empty, _zero(), np.array(-np.inf, np.float32), _zero())


def _zero() -> np.ndarray:
    return np.zeros((), np.int32)
