"""One pass over the training split, and one over the validation split."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import SupportsFloat

import jax
import numpy as np
from tqdm import tqdm

from coala_jax.training import checkpoint, schedule, steps
from coala_jax.training.metrics import Mean, Sums
from coala_jax.training.setup import Run
from coala_jax.training.step_blocks import StepBlock
from coala_jax.training.timers import Timers

StepMetrics = dict[str, tuple[SupportsFloat, SupportsFloat]]  # (sum, weight) by name, on the host


class DivergedError(RuntimeError):
    """A loss became NaN or infinite at this step of this epoch."""

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


@dataclass(frozen=True)
class Session:
    """What all epochs of a run share.

    stops: whether to end before the next block of steps; the same on all processes.
    """

    run: Run
    timers: Timers
    bar: tqdm
    checkpoints: checkpoint.Checkpoints
    stops: Callable[[], int]


def train(
    session: Session,
    state: steps.TrainState,
    epoch: int,
    blocks: Iterator[StepBlock],
    sums: Sums | None = None,
) -> tuple[steps.TrainState, Sums, dict[str, float]]:
    """The rest of an epoch, unless it stops before: the state, the sums so far, and their metrics.

    The learning rate is that of the epoch's last step. Validation and checkpoint seconds are of
    what followed the previous epoch.

    Args:
        sums: of the part of the epoch that an interrupted run has trained.
    """
    run, timers = session.run, session.timers
    started, examples, mean = time.monotonic(), 0.0, Mean(sums)
    first_step = step = int(state.step)

    def dispatch() -> Iterator[steps.Curves]:
        nonlocal state
        left = (epoch + 1) * run.training.steps_per_epoch - first_step
        while left and not session.stops():
            with timers.timing("input_seconds"):
                block = next(blocks)
            state, curves = run.train_steps(state, *block)
            left -= block.steps
            yield curves

    for block_metrics in fetched(dispatch()):
        for metrics in block_metrics:
            step += 1
            _check_finite(metrics, step, epoch, session.checkpoints)
            mean.add(metrics)
            examples += float(metrics["loss"][1])
        total, count = metrics["loss"]
        session.bar.set_postfix_str(
            f"epoch {epoch + 1}/{run.config.train.epochs}, loss {total / count:.4g}, "
            f"{examples / (time.monotonic() - started):.0f} patches/s",
            refresh=False,
        )
        session.bar.update(len(block_metrics))
    seconds = time.monotonic() - started
    return (
        state,
        mean.sums,
        {
            **mean.result(),
            "learning_rate": schedule.rate_at(run.learning_rate, step - 1),
            "seconds": seconds,
            "seconds_per_step": seconds / max(step - first_step, 1),
            "patches_per_second": examples / seconds,
            **timers.read(),
        },
    )


def validate(
    session: Session, state: steps.TrainState, epoch: int, blocks: Iterator[StepBlock]
) -> dict[str, float]:
    """The losses over the whole validation set, each example once, always in the same batches.

    Of a part of it alone where the session stops.
    """
    run, mean, step = session.run, Mean(), int(state.step)

    def dispatch() -> Iterator[steps.Curves]:
        left = run.validation.steps_per_epoch
        while left and not session.stops():
            block = next(blocks)
            yield run.eval_steps(state, *block)
            left -= block.steps

    for block_metrics in fetched(dispatch()):
        for metrics in block_metrics:
            _check_finite(metrics, step, epoch, session.checkpoints)
            mean.add(metrics)
    return mean.result()


def fetched(dispatched: Iterator[steps.Curves]) -> Iterator[list[StepMetrics]]:
    """The metrics of each block, step by step, fetched while the next block is running."""
    waiting: steps.Curves | None = None
    for curves in itertools.chain(dispatched, [None]):
        if waiting is not None:
            fetched = jax.device_get(waiting)
            steps_taken = int((fetched["loss"][1] > 0).sum())
            yield [
                {name: (total[step], weight[step]) for name, (total, weight) in fetched.items()}
                for step in range(steps_taken)
            ]
        waiting = curves


def _check_finite(
    metrics: StepMetrics, step: int, epoch: int, checkpoints: checkpoint.Checkpoints
) -> None:
    """Raises DivergedError. The parts are checked before their sum, to name the one to blame."""
    for name in sorted(metrics, key="loss".__eq__):
        if not math.isfinite(metrics[name][0]):
            raise DivergedError(
                f"{name} is {metrics[name][0]} at step {step}, epoch {epoch + 1}: training "
                f"diverged; last good checkpoint: {checkpoints.latest()}. Fix: lower "
                "config.optimizer.learning_rate, or check the data",
                step,
                epoch + 1,
            )


def check_weights(session: Session, state: steps.TrainState, epoch: int) -> None:
    """Raises DivergedError where the losses are finite, but not what the last step made of them.

    Such a checkpoint would push out those from which the run can go on.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.batch_stats)):
        if not np.isfinite(np.asarray(leaf)).all():  # JAX would compile it for each shape
            name = jax.tree_util.keystr(path[1:], simple=True, separator=".")
            step = int(state.step)
            raise DivergedError(
                f"{name} has values that are not finite after step {step}, epoch {epoch + 1}: "
                f"training diverged; last good checkpoint: {session.checkpoints.latest()}. Fix: "
                "lower config.optimizer.learning_rate, or check the data",
                step,
                epoch + 1,
            )
