"""Trains, validates after each epoch, reports, checkpoints, and freezes the model at the end."""

import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from coala_jax.data import pipeline
from coala_jax.data.manifest import MINIMUM_EXAMPLES, Manifest
from coala_jax.data.records import SplitReader
from coala_jax.models.coala import build_model
from coala_jax.models.frozen import FrozenModel
from coala_jax.training import checkpoint, parallel, steps
from coala_jax.training.journal import Journal, Samples
from coala_jax.training.metrics import Mean
from coala_jax.training.stopwatch import Stopwatch

MODEL_FOLDER = "model"


class DivergedError(RuntimeError):
    """The loss is no longer a number, at this step of this epoch."""

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What is said of a model after an epoch besides its losses, computed above this room.

    figures: numbers by name. samples: a few validation sounds, as `journal.Samples`.
    """

    figures: dict[str, float]
    samples: Samples | None = None


Judge = Callable[[FrozenModel], Judgement]


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same through a run."""

    config: ConfigDict
    manifest: Manifest
    devices: tuple[jax.Device, ...]
    train: SplitReader
    validation: SplitReader
    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]

    @property
    def steps_per_epoch(self) -> int:
        return pipeline.steps_per_epoch(
            len(self.train), self.config.train.batch_size, self.drop_last
        )

    @property
    def drop_last(self) -> bool:
        """Of the training batches; a validation sound is never left out."""
        return self.config.train.last_batch == "drop"

    def batches(self, split: SplitReader, **position: Any) -> Iterator[dict[str, np.ndarray]]:
        """This process's rows of each batch, cut over its devices."""
        size = self.config.train.batch_size
        rows = parallel.own_rows(size, self.devices)
        for batch in pipeline.batches(split, size, rows=rows, **position):
            yield parallel.split_rows(batch, self.devices)


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path,
    judge: Judge | None = None,
    devices: tuple[jax.Device, ...] | None = None,
) -> FrozenModel:
    """Trains up to `config.train.epochs`, from the newest checkpoint in `workdir` if there is one.

    Leaves in `workdir`: config.json, metrics.jsonl, TensorBoard events, checkpoints and, at the
    end, the frozen model in `model/`.

    Raises:
        ValueError: the batch cannot be cut over the devices, or the folder holds another run.
        DatasetError: the dataset is none, or damaged.
        DivergedError: a loss became NaN or infinite.
    """
    run, state = _start(config, devices or tuple(jax.devices()))
    checkpoint.claim(workdir, config, _digest(run.manifest))
    with closing(checkpoint.Checkpoints(workdir, config.checkpoint.keep)) as checkpoints:
        state = checkpoints.restore_latest(state)
        first_step = int(state.step)
        done = first_step // run.steps_per_epoch
        if done > config.train.epochs:
            raise ValueError(
                f"{workdir}: the run in this folder has done {done} epochs already, more than "
                f"config.train.epochs = {config.train.epochs}; raise it or choose another --workdir"
            )
        _say_start(run, first_step)
        with (
            closing(Journal(workdir, first_step)) as journal,
            _progress(run, first_step) as progress,
        ):
            stopwatch = Stopwatch()
            for epoch in range(first_step // run.steps_per_epoch, config.train.epochs):
                state, figures = _train_epoch(run, state, epoch, stopwatch, progress, checkpoints)
                step = int(state.step)
                journal.write("train", epoch + 1, step, figures)
                with stopwatch.timing("validation_seconds"):
                    validation = _validate(run, state, epoch, checkpoints)
                    if judge is not None and parallel.is_lead():
                        judgement = judge(_freeze(run, state))
                        validation |= judgement.figures
                        journal.write_samples(epoch + 1, step, judgement.samples)
                journal.write("validation", epoch + 1, step, validation)
                progress.set_postfix_str(
                    f"epoch {epoch + 1}/{config.train.epochs}, loss {figures['loss']:.4g}, "
                    f"validation {validation['loss']:.4g}, "
                    f"{figures['patches_per_second']:.0f} patches/s"
                )
                last = epoch + 1 == config.train.epochs
                if last or (epoch + 1) % config.checkpoint.every_epochs == 0:
                    with stopwatch.timing("checkpoint_seconds"):
                        checkpoints.save(state)
    frozen = _freeze(run, state)
    if parallel.is_lead():
        frozen.save(workdir / MODEL_FOLDER)
    return frozen


def _start(config: ConfigDict, devices: tuple[jax.Device, ...]) -> tuple[Run, steps.TrainState]:
    """Everything that can be wrong is found here, before the first compilation."""
    parallel.own_rows(config.train.batch_size, devices)
    dataset = Path(config.data.path)
    manifest = Manifest.load(dataset)
    if config.precision == "float64":
        jax.config.update("jax_enable_x64", True)
    model = build_model(
        config.case,
        config.model,
        tags=len(manifest.vocabulary),
        axis_name=parallel.AXIS,
        param_dtype=jnp.float64 if config.precision == "float64" else jnp.float32,
        product_dtype=jnp.dtype(config.precision),
    )
    optimizer = steps.make_optimizer(config.optimizer)
    shared = {"model": model, "loss": config.loss}
    train_step = functools.partial(steps.train_step, optimizer=optimizer, **shared)
    run = Run(
        config=config,
        manifest=manifest,
        devices=devices,
        train=SplitReader(dataset, "train", manifest),
        validation=SplitReader(dataset, "validation", manifest),
        train_step=parallel.map_step(train_step, devices, outputs=2),
        eval_step=parallel.map_step(
            functools.partial(steps.eval_step, **shared), devices, outputs=1
        ),
    )
    if min(len(run.train), len(run.validation)) < MINIMUM_EXAMPLES:
        raise ValueError(
            f"{dataset}: {len(run.train)} sounds to train on and {len(run.validation)} to validate "
            f"on are too few, each side needs {MINIMUM_EXAMPLES}; prepare it again with more sounds"
        )
    size = config.train.batch_size
    pipeline.epoch_batches(len(run.train), size, seed=None, epoch=0, drop_last=run.drop_last)
    state = steps.initial_state(model, optimizer, config.seed)
    return run, parallel.place_state(state, devices)


def _train_epoch(
    run: Run,
    state: steps.TrainState,
    epoch: int,
    stopwatch: Stopwatch,
    progress: tqdm,
    checkpoints: checkpoint.Checkpoints,
) -> tuple[steps.TrainState, dict[str, float]]:
    """The rest of an epoch. The metrics of a step are fetched while the next one runs.

    Of the times, those for checkpoints and validation are of what came after the epoch before.
    """
    start = int(state.step) - epoch * run.steps_per_epoch
    began, examples, mean = time.monotonic(), 0.0, Mean()
    waiting: dict[str, Any] | None = None

    def fetch(step: int) -> None:
        nonlocal examples
        if waiting is None:
            return
        pairs = jax.device_get(waiting)
        _refuse_divergence(pairs, step, epoch, checkpoints)
        mean.add(pairs)
        examples += float(pairs["loss"][1])
        progress.set_postfix_str(
            f"epoch {epoch + 1}/{run.config.train.epochs}, "
            f"loss {float(pairs['loss'][0]) / float(pairs['loss'][1]):.4g}, "
            f"{examples / (time.monotonic() - began):.0f} patches/s",
            refresh=False,
        )
        progress.update()

    start_step = step = int(state.step)
    batches = run.batches(
        run.train, seed=run.config.seed, epoch=epoch, start=start, drop_last=run.drop_last
    )
    for batch in stopwatch.over(batches, "input_seconds"):
        state, pairs = run.train_step(state, batch)
        fetch(step)
        waiting, step = pairs, step + 1
    fetch(step)
    seconds = time.monotonic() - began
    return state, {
        **mean.result(),
        "learning_rate": run.config.optimizer.learning_rate,
        "seconds": seconds,
        "seconds_per_step": seconds / max(step - start_step, 1),
        "patches_per_second": examples / seconds,
        **stopwatch.read(),
    }


def _validate(
    run: Run, state: steps.TrainState, epoch: int, checkpoints: checkpoint.Checkpoints
) -> dict[str, float]:
    """The losses over the whole validation set, each example once, always in the same batches."""
    mean = Mean()
    for batch in run.batches(run.validation, seed=None, epoch=0):
        pairs = jax.device_get(run.eval_step(state, batch))
        _refuse_divergence(pairs, int(state.step), epoch, checkpoints)
        mean.add(pairs)
    return mean.result()


def _refuse_divergence(
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


def _freeze(run: Run, state: steps.TrainState) -> FrozenModel:
    """A copy: on a CPU a mere view would be of memory that the next step gives up."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return FrozenModel(
        case=run.config.case,
        vocabulary=run.manifest.vocabulary,
        tag_processing=run.manifest.tag_processing,
        front_end=run.manifest.front_end,
        scaler=run.manifest.scaler,
        config=_that_trains(run.config),
        variables=jax.tree.map(lambda leaf: np.array(leaf, np.float32), variables),
    )


def _that_trains(config: ConfigDict) -> dict[str, Any]:
    """What shaped the weights; where the data lay and what was reported did not."""
    sections = config.to_dict()
    return {k: v for k, v in sections.items() if k not in ("data", "checkpoint", "report")}


def _digest(manifest: Manifest) -> str:
    content = json.dumps(dataclasses.asdict(manifest), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _progress(run: Run, first_step: int) -> tqdm:
    total = run.config.train.epochs * run.steps_per_epoch
    return tqdm(
        total=total, initial=min(first_step, total), unit="step", disable=not parallel.is_lead()
    )


def _say_start(run: Run, first_step: int) -> None:
    if not parallel.is_lead():
        return
    begun = f"going on after step {first_step}" if first_step else "from the start"
    print(
        f"training {run.config.case} on {parallel.describe(run.devices)}: "
        f"{len(run.train)} sounds and {len(run.validation)} for validation of "
        f"{run.manifest.name}, {len(run.manifest.vocabulary)} tags, "
        f"{run.config.train.epochs} epochs of {run.steps_per_epoch} steps, {begun}",
        flush=True,
    )
