"""Sets up a run: whatever can be wrong is found here, before the first compilation."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from ml_collections import ConfigDict

from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import MINIMUM_EXAMPLES, Manifest
from coala_jax.default_config import result_settings
from coala_jax.models.coala import build_model
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import initialize, parallel, schedule, steps
from coala_jax.training.step_blocks import InputPipeline, make_input_pipelines


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same throughout a run.

    manifest: of the dataset as it is on disk.
    init_model: what the run starts from.
    learning_rate: of each step, see `schedule.learning_rate`.
    """

    config: ConfigDict
    manifest: Manifest
    init_model: PretrainedModel | None
    devices: tuple[jax.Device, ...]
    training: InputPipeline
    validation: InputPipeline
    learning_rate: float | optax.Schedule
    train_steps: Callable[..., Any]
    eval_steps: Callable[..., Any]

    @property
    def init_digest(self) -> str:
        return "" if self.init_model is None else self.init_model.digest

    def freeze(self, state: steps.TrainState) -> PretrainedModel:
        """A copy of the model: on a CPU a view would see memory that the next step reuses."""
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return PretrainedModel(
            case=self.config.case,
            vocabulary=self.manifest.vocabulary,
            tag_counts=self.manifest.tag_counts,
            tag_processing=self.manifest.tag_processing,
            front_end=self.manifest.front_end,
            level=self.manifest.settings["level"],
            scaler=initialize.with_scaler(self.manifest, self.init_model).scaler,
            pooling=self.config.model.pooling,
            config=_training_config(self.config, self.init_digest),
            dataset_digest=self.manifest.digest,
            variables=jax.tree.map(lambda leaf: np.array(leaf, np.float32), variables),
        )


def _training_config(config: ConfigDict, init_digest: str) -> dict[str, Any]:
    """The settings that shape the weights: not where the data lie, nor what is reported.

    init_digest: of the model that they began with, which stands there in place of its folder.
    """
    sections: dict[str, Any] = {}
    settings = result_settings(config.to_dict()) | {"init.digest": init_digest}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    return sections


def start_run(config: ConfigDict, devices: tuple[jax.Device, ...]) -> tuple[Run, steps.TrainState]:
    """The run, and the state before its first step.

    Raises:
        ValueError: the devices cannot share the batch evenly, there are too few sounds, the config
            weighs a source that there is not, or the sounds do not fit where it wants them; or the
            model to start from is missing, or does not fit config or dataset.
        DatasetError: the dataset is invalid or damaged.
        RuntimeError: the devices do not read each row of a batch exactly once.
    """
    parallel.check_rows(config.train.batch_size, devices)
    dataset = config.data.path
    manifest, init_model = Manifest.load(dataset), initialize.load(config)
    if init_model is not None:
        initialize.check(config, manifest, init_model)
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
    scaled = initialize.with_scaler(manifest, init_model)
    training, validation = _input_pipelines(config, dataset, scaled, devices)
    frozen_steps = config.init.freeze_audio_epochs * training.steps_per_epoch
    planned_steps = config.train.epochs * training.steps_per_epoch
    optimizer = steps.make_optimizer(config.optimizer, planned_steps, frozen_steps)
    shared = {"model": model, "loss": config.loss}
    train_steps = functools.partial(
        steps.train_steps, optimizer=optimizer, frozen_steps=frozen_steps, **shared
    )
    eval_steps = functools.partial(steps.eval_steps, **shared)
    run = Run(
        config=config,
        manifest=manifest,
        init_model=init_model,
        devices=devices,
        training=training,
        validation=validation,
        learning_rate=schedule.learning_rate(config.optimizer, planned_steps),
        train_steps=parallel.map_steps(train_steps, devices, training.resident),
        eval_steps=parallel.map_steps(eval_steps, devices, validation.resident, outputs=1),
    )
    state = steps.initial_state(model, optimizer, config.seed)
    if init_model is not None:
        fresh = {"params": state.params, "batch_stats": state.batch_stats}
        state = state.replace(**initialize.transferred(fresh, init_model, manifest.vocabulary))
    return run, parallel.place_state(state, devices)


def _input_pipelines(
    config: ConfigDict, dataset: str, manifest: Manifest, devices: tuple[jax.Device, ...]
) -> tuple[InputPipeline, InputPipeline]:
    train, validation = (SplitReader(dataset, split, manifest) for split in ("train", "validation"))
    if min(len(train), len(validation)) < MINIMUM_EXAMPLES:
        raise ValueError(
            f"{dataset}: too few sounds: {len(train)} for training and {len(validation)} for "
            f"validation; each needs {MINIMUM_EXAMPLES}. Fix: prepare it again with more sounds"
        )
    training, validating = make_input_pipelines(config, train, validation, devices)
    drawn, batch_size = training.examples, config.train.batch_size
    if drawn < MINIMUM_EXAMPLES:
        raise ValueError(
            f"config.data.source_weights is {config.data.source_weights!r}: it leaves {drawn} of "
            f"{len(train)} sounds for an epoch, which needs {MINIMUM_EXAMPLES}. Fix: raise a weight"
        )
    # Raises where the sounds make no batch.
    input_pipeline.epoch_batches(drawn, batch_size, None, 0, training.drop_last)
    return training, validating


def log_start(run: Run, state: steps.TrainState) -> None:
    """Logs, on the lead, what is trained, on what and from where."""
    if not parallel.is_lead():
        return
    first_step, init_model = int(state.step), run.init_model
    if init_model is not None and not first_step:
        words = run.manifest.vocabulary
        logging.info("%s", initialize.describe(run.config, init_model, words, state.params))
    sampling = run.training.sampling
    drawn = "" if sampling is None else f" an epoch ({sampling})"
    begun = f"resumed after step {first_step}" if first_step else "from the start"
    logging.info(
        "training %s on %s: %d sounds%s and %d for validation of %s, %d tags, %s, %d epochs of %d "
        "steps, %s",
        run.config.case,
        parallel.describe(run.devices),
        run.training.examples,
        drawn,
        len(run.validation.split),
        run.manifest.name,
        len(run.manifest.vocabulary),
        run.training,
        run.config.train.epochs,
        run.training.steps_per_epoch,
        begun,
    )
