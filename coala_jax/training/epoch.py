"""One pass over the training split, and one over the validation split."""

import itertools
import math
import time
from collections.abc import Iterator
from typing import SupportsFloat

import jax
from tqdm import tqdm

from coala_jax.training import checkpoint, schedule, steps
from coala_jax.training.metrics import Mean
from coala_jax.training.setup import Run
from coala_jax.training.step_blocks import StepBlock
from coala_jax.training.timers import Timers

StepMetrics = dict[str, tuple[SupportsFloat, SupportsFloat]]  # (sum, weight) by name, on the host


class DivergedError(RuntimeError):
    """A loss became NaN or infinite at this step of this epoch."""

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


def train(
    run: Run,
    state: steps.TrainState,
    epoch: int,
    blocks: Iterator[StepBlock],
    timers: Timers,
    progress: tqdm,
    checkpoints: checkpoint.Checkpoints,
) -> tuple[steps.TrainState, dict[str, float]]:
    """The rest of an epoch: the state after it, and its metrics.

    The learning rate is that of the epoch's last step. Validation and checkpoint seconds are of
    what followed the previous epoch.
    """
    started, examples, mean = time.monotonic(), 0.0, Mean()
    first_step = step = int(state.step)

    def dispatch() -> Iterator[steps.Curves]:
        nonlocal state
        left = (epoch + 1) * run.training.steps_per_epoch - first_step
        while left:
            with timers.timing("input_seconds"):
                block = next(blocks)
            state, curves = run.train_steps(state, *block)
            left -= block.steps
            yield curves

    for block_metrics in fetched(dispatch()):
        for metrics in block_metrics:
            step += 1
            _check_finite(metrics, step, epoch, checkpoints)
            mean.add(metrics)
            examples += float(metrics["loss"][1])
        total, count = metrics["loss"]
        progress.set_postfix_str(
            f"epoch {epoch + 1}/{run.config.train.epochs}, loss {total / count:.4g}, "
            f"{examples / (time.monotonic() - started):.0f} patches/s",
            refresh=False,
        )
        progress.update(len(block_metrics))
    seconds = time.monotonic() - started
    return state, {
        **mean.result(),
        "learning_rate": schedule.rate_at(run.learning_rate, step - 1),
        "seconds": seconds,
        "seconds_per_step": seconds / max(step - first_step, 1),
        "patches_per_second": examples / seconds,
        **timers.read(),
    }


def validate(
    run: Run,
    state: steps.TrainState,
    epoch: int,
    blocks: Iterator[StepBlock],
    checkpoints: checkpoint.Checkpoints,
) -> dict[str, float]:
    """The losses over the whole validation set, each example once, always in the same batches."""
    mean, step = Mean(), int(state.step)

    def dispatch() -> Iterator[steps.Curves]:
        left = run.validation.steps_per_epoch
        while left:
            block = next(blocks)
            yield run.eval_steps(state, *block)
            left -= block.steps

    for block_metrics in fetched(dispatch()):
        for metrics in block_metrics:
            _check_finite(metrics, step, epoch, checkpoints)
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
