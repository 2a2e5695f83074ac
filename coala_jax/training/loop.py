"""Trains, validates each epoch, evaluates, reports, checkpoints, freezes the model at the end."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, SupportsFloat

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import checkpoint, parallel, steps
from coala_jax.training.metric_writer import MetricWriter, Samples
from coala_jax.training.metrics import Mean
from coala_jax.training.setup import Run, say_start, start_run
from coala_jax.training.step_blocks import StepBlock
from coala_jax.training.timers import Timers

MODEL_FOLDER = "model"


class DivergedError(RuntimeError):
    """The loss is no longer a number, at this step of this epoch."""

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """What is said of a model besides its losses, computed above this room.

    figures: numbers by name, the same on all processes.
    samples: a few validation sounds, as `metric_writer.Samples`; the lead's are written.
    """

    figures: dict[str, float]
    samples: Samples | None = None


# Called on all processes, so that they can share the work.
EvaluateFn = Callable[[PretrainedModel], EvalResult]
StepPairs = dict[str, tuple[SupportsFloat, SupportsFloat]]  # the metrics of one step, fetched


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
        ValueError: the batch cannot be cut over the devices, the data are too large for them, or
            the folder holds another run.
        DatasetError: the dataset is none, or damaged.
        DivergedError: a loss became NaN or infinite.
    """
    run, state = start_run(config, parallel.run_devices(devices))
    checkpoint.check_or_write_config(workdir, config, run.manifest.digest)
    with closing(checkpoint.Checkpoints(workdir, config.checkpoint.keep)) as checkpoints:
        state = checkpoints.restore_latest(state)
        done = int(state.step) // run.training.steps_per_epoch
        if done > config.train.epochs:
            raise ValueError(
                f"{workdir}: the run in this folder has done {done} epochs already, more than "
                f"config.train.epochs = {config.train.epochs}; raise it or choose another --workdir"
            )
        say_start(run, int(state.step))
        if done < config.train.epochs:
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
    """All epochs that are left."""
    config, timers, first_step = run.config, Timers(), int(state.step)
    first_epoch, epochs = first_step // run.training.steps_per_epoch, config.train.epochs
    checked_before = first_epoch * run.validation.steps_per_epoch
    with (
        closing(MetricWriter(workdir, first_step)) as metric_writer,
        closing(run.training.calls(first_step, epochs)) as training,
        closing(run.validation.calls(checked_before, epochs)) as validation,
        _progress(run, first_step) as progress,
    ):
        for epoch in range(first_epoch, epochs):
            state, figures = _train_epoch(
                run, state, epoch, training, timers, progress, checkpoints
            )
            step = int(state.step)
            metric_writer.write("train", epoch + 1, step, figures)
            with timers.timing("validation_seconds"):
                checked = _validate(run, state, epoch, validation, checkpoints)
            if evaluate_fn is not None and _is_due(epoch, epochs, config.eval.every_epochs):
                began = time.monotonic()
                result = evaluate_fn(run.freeze(state))
                # Beside the figures: of the last evaluation, no training entry would tell.
                checked |= result.figures | {"evaluation_seconds": time.monotonic() - began}
                metric_writer.write_samples(epoch + 1, step, result.samples)
            metric_writer.write("validation", epoch + 1, step, checked)
            progress.set_postfix_str(
                f"epoch {epoch + 1}/{epochs}, loss {figures['loss']:.4g}, "
                f"validation {checked['loss']:.4g}, "
                f"{figures['patches_per_second']:.0f} patches/s"
            )
            if _is_due(epoch, epochs, config.checkpoint.every_epochs):
                with timers.timing("checkpoint_seconds"):
                    checkpoints.save(state)
    return state


def _is_due(epoch: int, epochs: int, every: int) -> bool:
    """Whether what is done every so many epochs is due after this one, as it is after the last."""
    return epoch + 1 == epochs or (every > 0 and (epoch + 1) % every == 0)


def _train_epoch(
    run: Run,
    state: steps.TrainState,
    epoch: int,
    calls: Iterator[StepBlock],
    timers: Timers,
    progress: tqdm,
    checkpoints: checkpoint.Checkpoints,
) -> tuple[steps.TrainState, dict[str, float]]:
    """The rest of an epoch. The metrics of a call are fetched while the next one runs.

    Of the times, those for checkpoints and validation are of what came after the epoch before.
    """
    began, examples, mean = time.monotonic(), 0.0, Mean()
    first_step = step = int(state.step)

    def begin_calls() -> Iterator[steps.Curves]:
        nonlocal state
        left = (epoch + 1) * run.training.steps_per_epoch - first_step
        while left:
            with timers.timing("input_seconds"):
                call = next(calls)
            state, curves = run.train_steps(state, *call)
            left -= call.steps
            yield curves

    for curves in _fetched(begin_calls()):
        for pairs in curves:
            step += 1
            _check_finite(pairs, step, epoch, checkpoints)
            mean.add(pairs)
            examples += float(pairs["loss"][1])
        total, count = pairs["loss"]
        progress.set_postfix_str(
            f"epoch {epoch + 1}/{run.config.train.epochs}, loss {total / count:.4g}, "
            f"{examples / (time.monotonic() - began):.0f} patches/s",
            refresh=False,
        )
        progress.update(len(curves))
    seconds = time.monotonic() - began
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
    calls: Iterator[StepBlock],
    checkpoints: checkpoint.Checkpoints,
) -> dict[str, float]:
    """The losses over the whole validation set, each example once, always in the same batches."""
    mean, step = Mean(), int(state.step)

    def begin_calls() -> Iterator[steps.Curves]:
        left = run.validation.steps_per_epoch
        while left:
            call = next(calls)
            yield run.eval_steps(state, *call)
            left -= call.steps

    for curves in _fetched(begin_calls()):
        for pairs in curves:
            _check_finite(pairs, step, epoch, checkpoints)
            mean.add(pairs)
    return mean.result()


def _fetched(begun: Iterator[steps.Curves]) -> Iterator[list[StepPairs]]:
    """The metrics of each call, step by step, fetched when the next call has begun."""
    waiting: steps.Curves | None = None
    for curves in itertools.chain(begun, [None]):
        if waiting is not None:
            fetched = jax.device_get(waiting)
            steps_taken = int((fetched["loss"][1] > 0).sum())
            yield [
                {name: (total[step], weight[step]) for name, (total, weight) in fetched.items()}
                for step in range(steps_taken)
            ]
        waiting = curves


def _check_finite(
    pairs: dict[str, Any], step: int, epoch: int, checkpoints: checkpoint.Checkpoints
) -> None:
    """The parts are looked at before their sum, so that the one that diverged is named."""
    for name in sorted(pairs, key="loss".__eq__):
        if not math.isfinite(pairs[name][0]):
            raise DivergedError(
                f"{name} is {pairs[name][0]} at step {step}, epoch {epoch + 1}; "
                f"last good checkpoint: {checkpoints.latest()}. "
                "Lower config.optimizer.learning_rate, or check the data",
                step,
                epoch + 1,
            )


def _progress(run: Run, first_step: int) -> tqdm:
    total = run.config.train.epochs * run.training.steps_per_epoch
    return tqdm(
        total=total, initial=min(first_step, total), unit="step", disable=not parallel.is_lead()
    )
