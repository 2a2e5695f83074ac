"""Trains, validates each epoch, evaluates, logs and checkpoints; saves the model in the end."""

import dataclasses
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import jax
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import best, checkpoint, epoch, parallel, run_config
from coala_jax.training.checkpoint import Progress
from coala_jax.training.epoch import DivergedError as DivergedError
from coala_jax.training.interruption import Interrupted, Interruption
from coala_jax.training.metric_writer import MetricWriter, Samples
from coala_jax.training.setup import Run, log_start, start_run
from coala_jax.training.steps import TrainState
from coala_jax.training.timers import Timers
from coala_jax.training.workdir import MODEL_FOLDER, lock


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """An evaluation of the model during training, besides its losses.

    figures: numbers by name, the same on all processes; the highest `macro_auc` is the best.
    samples: a few validation sounds, as `metric_writer.Samples`; the lead's are written.
    """

    figures: dict[str, float]
    samples: Samples | None = None


# Called on all processes, so that they can share the work.
EvaluateFn = Callable[[PretrainedModel], EvalResult]
# Completes the model that is kept, before it is saved; called on all processes.
FinishFn = Callable[[PretrainedModel], PretrainedModel]


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The model that a run keeps, and which one that is.

    epochs: that were trained.
    kept_epoch: after which the model is kept, from 1.
    macro_auc: by which it was chosen; None where the last is kept.
    """

    model: PretrainedModel
    epochs: int
    kept_epoch: int
    macro_auc: float | None


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path,
    evaluate_fn: EvaluateFn | None = None,
    devices: tuple[jax.Device, ...] | None = None,
) -> PretrainedModel:
    """As `train`; returns the model alone."""
    return train(config, workdir, evaluate_fn, devices=devices).model


def train(
    config: ConfigDict,
    workdir: Path,
    evaluate_fn: EvaluateFn | None = None,
    finish_fn: FinishFn | None = None,
    devices: tuple[jax.Device, ...] | None = None,
) -> TrainingResult:
    """Trains up to `config.train.epochs`, from the newest checkpoint in `workdir` if there is one.

    Keeps the model of the best `macro_auc` that `evaluate_fn` returns, or the last: see
    `config.train.keep_epoch`. Leaves in `workdir`: config.json, metrics.jsonl, TensorBoard events,
    checkpoints and, at the end, the pretrained model in `model/`.

    Raises:
        ValueError: the devices cannot share the batch evenly, the data do not fit on them, the
            model to start from does not fit config or dataset, or the folder holds another run.
        DatasetError: the dataset is invalid or damaged.
        DivergedError: a loss became NaN or infinite.
        Interrupted: SIGTERM or Ctrl-C ended the run, which has saved what it had trained.
    """
    with Interruption() as interruption:
        run, state = start_run(config, parallel.run_devices(devices))
        with lock(workdir):
            progress = _train_or_resume(run, state, workdir, evaluate_fn, interruption)
            return _finish(run, progress, workdir, finish_fn)


def _train_or_resume(
    run: Run,
    state: TrainState,
    workdir: Path,
    evaluate_fn: EvaluateFn | None,
    interruption: Interruption,
) -> Progress:
    """From the newest checkpoint, or from `state`, to the end of training."""
    config, length = run.config, run.training.steps_per_epoch
    run_config.check_or_write_config(workdir, config, run.manifest.digest, run.init_digest)
    keeps_best = config.train.keep_epoch == "best"
    with closing(checkpoint.Checkpoints(workdir, config.checkpoint.keep)) as checkpoints:
        start = Progress(state, best.no_model(state) if keeps_best else None)
        progress = checkpoints.restore_latest(start)
        epochs_begun = -(-int(progress.state.step) // length)
        if epochs_begun > config.train.epochs:
            raise ValueError(
                f"{workdir}: the run in this folder has {epochs_begun} epochs, more than "
                f"config.train.epochs = {config.train.epochs}. Fix: raise it or choose another "
                "--workdir"
            )
        log_start(run, progress.state)
        if progress.epochs_done(length) < config.train.epochs and not _ends_early(run, progress):
            interruption.defer()
            progress = _train(run, progress, workdir, evaluate_fn, checkpoints, interruption)
    interruption.undefer()
    return progress


def _finish(
    run: Run, progress: Progress, workdir: Path, finish_fn: FinishFn | None
) -> TrainingResult:
    """Completes the model that is kept, and saves it."""
    result = _result(run, progress)
    if finish_fn is not None:
        result = dataclasses.replace(result, model=finish_fn(result.model))
    if parallel.is_lead():
        logging.info("kept the model of epoch %d of %d", result.kept_epoch, result.epochs)
        result.model.save_pretrained(workdir / MODEL_FOLDER)
    return result


def _result(run: Run, progress: Progress) -> TrainingResult:
    last, found, length = progress.state, progress.best, run.training.steps_per_epoch
    model, epochs = run.freeze(last), int(last.step) // length
    if found is None or not found.exists:
        return TrainingResult(model, epochs, epochs, None)
    model = dataclasses.replace(model, variables=found.variables)
    return TrainingResult(model, epochs, int(found.step) // length, float(found.score))


def _ends_early(run: Run, progress: Progress) -> bool:
    patience = run.config.train.patience
    return progress.best is not None and progress.best.is_final(patience)


def _train(
    run: Run,
    progress: Progress,
    workdir: Path,
    evaluate_fn: EvaluateFn | None,
    checkpoints: checkpoint.Checkpoints,
    interruption: Interruption,
) -> Progress:
    """Trains the remaining epochs, or until patience ends or a signal comes."""
    config, timers, first_step = run.config, Timers(), int(progress.state.step)
    first_epoch = progress.epochs_done(run.training.steps_per_epoch)
    epochs, whole = config.train.epochs, progress.sums is None
    first_validation_step = first_epoch * run.validation.steps_per_epoch
    kept_step = first_step if whole else first_step - 1
    with (
        closing(MetricWriter(workdir, kept_step, first_epoch)) as metric_writer,
        closing(run.training.blocks(first_step, epochs)) as training,
        closing(run.validation.blocks(first_validation_step, epochs)) as validation,
        _bar(run, first_step) as bar,
    ):
        session = epoch.Session(run, timers, bar, checkpoints, interruption.due)
        for number in range(first_epoch, epochs):
            state, sums, figures = epoch.train(
                session, progress.state, number, training, progress.sums
            )
            progress, step = progress._replace(state=state, sums=sums), int(state.step)
            epoch.check_weights(session, state, number)
            _save_if_stopped(session, progress)
            metric_writer.write("train", number + 1, step, figures)
            with timers.timing("validation_seconds"):
                validated = epoch.validate(session, state, number, validation)
            _save_if_stopped(session, progress)
            if evaluate_fn is not None and _is_due(number, epochs, config.eval.every_epochs):
                started, model = time.monotonic(), run.freeze(state)
                result = evaluate_fn(model)
                # Logged here: after the last evaluation there is no training entry for its time.
                seconds = {"evaluation_seconds": time.monotonic() - started}
                validated |= result.figures | seconds
                metric_writer.write_samples(number + 1, step, result.samples)
                if progress.best is not None:
                    found = progress.best.updated(model, step, result.figures)
                    progress = progress._replace(best=found)
            metric_writer.write("validation", number + 1, step, validated)
            metric_writer.sync()  # before the checkpoint, which promises them
            progress = progress._replace(sums=None)
            bar.set_postfix_str(
                f"epoch {number + 1}/{epochs}, loss {figures['loss']:.4g}, "
                f"validation {validated['loss']:.4g}, "
                f"{figures['patches_per_second']:.0f} patches/s"
            )
            ends = _ends_early(run, progress)
            if ends or _is_due(number, epochs, config.checkpoint.every_epochs):
                with timers.timing("checkpoint_seconds"):
                    checkpoints.save(progress)
            if ends:
                break
            _save_if_stopped(session, progress)
    return progress


def _save_if_stopped(session: epoch.Session, progress: Progress) -> None:
    """Raises Interrupted, with everything saved, where the session stops here."""
    if number := session.stops():
        session.checkpoints.save(progress)
        raise Interrupted(
            number,
            f"after step {int(progress.state.step)}, saved in {session.checkpoints.latest()}",
        )


def _is_due(number: int, epochs: int, every: int) -> bool:
    """Whether something done every `every` epochs, and after the last, is due after this one."""
    return number + 1 == epochs or (every > 0 and (number + 1) % every == 0)


def _bar(run: Run, first_step: int) -> tqdm:
    total = run.config.train.epochs * run.training.steps_per_epoch
    return tqdm(
        total=total, initial=min(first_step, total), unit="step", disable=not parallel.is_lead()
    )
