"""Trains, validates each epoch, evaluates, logs and checkpoints; saves the model at the end."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import SupportsFloat

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import checkpoint, parallel, steps
from coala_jax.training.metric_writer import MetricWriter, Samples
from coala_jax.training.metrics import Mean
from coala_jax.training.setup import Run, log_start, start_run
from coala_jax.training.step_blocks import StepBlock
from coala_jax.training.timers import Timers

MODEL_FOLDER = "model"


class DivergedError(RuntimeError):
    """A loss became NaN or infinite at this step of this epoch."""

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """An evaluation of the model during training, besides its losses.

    figures: numbers by name, the same on all processes.
    samples: a few validation sounds, as `metric_writer.Samples`; the lead's are written.
    """

    figures: dict[str, float]
    samples: Samples | None = None


# Called on all processes, so that they can share the work.
EvaluateFn = Callable[[PretrainedModel], EvalResult]
StepMetrics = dict[str, tuple[SupportsFloat, SupportsFloat]]  # (sum, weight) by name, on the host


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path,
    evaluate_fn: EvaluateFn | None = None,
    devices: tuple[jax.Device, ...] | None = None,
) -> PretrainedModel:
    """Trains up to `config.train.epochs`, from the newest checkpoint in `workdir` if there is one.

    Leaves in `workdir`: config.json, metrics.jsonl, TensorBoard events, checkpoints and, at the
    end, the pretrained model in `model/`.

    Raises:
        ValueError: the devices cannot share the batch evenly, the data do not fit on them, or the
            folder holds another run.
        DatasetError: the dataset is invalid or damaged.
        DivergedError: a loss became NaN or infinite.
    """
    run, state = start_run(config, parallel.run_devices(devices))
    checkpoint.check_or_write_config(workdir, config, run.manifest.digest)
    with closing(checkpoint.Checkpoints(workdir, config.checkpoint.keep)) as checkpoints:
        state = checkpoints.restore_latest(state)
        epochs_done = int(state.step) // run.training.steps_per_epoch
        if epochs_done > config.train.epochs:
            raise ValueError(
                f"{workdir}: the run in this folder has {epochs_done} epochs, more than "
                f"config.train.epochs = {config.train.epochs}. Fix: raise it or choose another "
                "--workdir"
            )
        log_start(run, int(state.step))
        if epochs_done < config.train.epochs:
            state = _train(run, state, workdir, evaluate_fn, checkpoints)
    model = run.freeze(state)
    if parallel.is_lead():
        model.save_pretrained(workdir / MODEL_FOLDER)
    return model


def _train(
    run: Run,
    state: steps.TrainState,
    workdir: Path,
    evaluate_fn: EvaluateFn | None,
    checkpoints: checkpoint.Checkpoints,
) -> steps.TrainState:
    """Trains the remaining epochs."""
    config, timers, first_step = run.config, Timers(), int(state.step)
    first_epoch, epochs = first_step // run.training.steps_per_epoch, config.train.epochs
    first_validation_step = first_epoch * run.validation.steps_per_epoch
    with (
        closing(MetricWriter(workdir, first_step)) as metric_writer,
        closing(run.training.blocks(first_step, epochs)) as training,
        closing(run.validation.blocks(first_validation_step, epochs)) as validation,
        _progress(run, first_step) as progress,
    ):
        for epoch in range(first_epoch, epochs):
            state, figures = _train_epoch(
                run, state, epoch, training, timers, progress, checkpoints
            )
            step = int(state.step)
            metric_writer.write("train", epoch + 1, step, figures)
            with timers.timing("validation_seconds"):
                validated = _validate(run, state, epoch, validation, checkpoints)
            if evaluate_fn is not None and _is_due(epoch, epochs, config.eval.every_epochs):
                started = time.monotonic()
                result = evaluate_fn(run.freeze(state))
                # Logged here: after the last evaluation there is no training entry for its time.
                seconds = {"evaluation_seconds": time.monotonic() - started}
                validated |= result.figures | seconds
                metric_writer.write_samples(epoch + 1, step, result.samples)
            metric_writer.write("validation", epoch + 1, step, validated)
            progress.set_postfix_str(
                f"epoch {epoch + 1}/{epochs}, loss {figures['loss']:.4g}, "
                f"validation {validated['loss']:.4g}, "
                f"{figures['patches_per_second']:.0f} patches/s"
            )
            if _is_due(epoch, epochs, config.checkpoint.every_epochs):
                with timers.timing("checkpoint_seconds"):
                    checkpoints.save(state)
    return state


def _is_due(epoch: int, epochs: int, every: int) -> bool:
    """Whether something done every `every` epochs, and after the last, is due after this one."""
    return epoch + 1 == epochs or (every > 0 and (epoch + 1) % every == 0)


def _train_epoch(
    run: Run,
    state: steps.TrainState,
    epoch: int,
    blocks: Iterator[StepBlock],
    timers: Timers,
    progress: tqdm,
    checkpoints: checkpoint.Checkpoints,
) -> tuple[steps.TrainState, dict[str, float]]:
    """The rest of an epoch: the state after it, and its metrics.

    Validation and checkpoint seconds are of what followed the previous epoch.
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

    for block_metrics in _fetched(dispatch()):
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
        "learning_rate": run.config.optimizer.learning_rate,
        "seconds": seconds,
        "seconds_per_step": seconds / max(step - first_step, 1),
        "patches_per_second": examples / seconds,
        **timers.read(),
    }


def _validate(
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

    for block_metrics in _fetched(dispatch()):
        for metrics in block_metrics:
            _check_finite(metrics, step, epoch, checkpoints)
            mean.add(metrics)
    return mean.result()


def _fetched(dispatched: Iterator[steps.Curves]) -> Iterator[list[StepMetrics]]:
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


def _progress(run: Run, first_step: int) -> tqdm:
    total = run.config.train.epochs * run.training.steps_per_epoch
    return tqdm(
        total=total, initial=min(first_step, total), unit="step", disable=not parallel.is_lead()
    )
