"""A whole training run: it trains, keeps a model, measures it, writes the record and renders it."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from coala_jax import logs
from coala_jax.default_config import validate

if TYPE_CHECKING:
    from coala_jax.evaluation.validation import ValidationSounds
    from coala_jax.evaluation.vote import Banks
    from coala_jax.models.pretrained import PretrainedModel
    from coala_jax.training.loop import EvaluateFn


def train(
    config: ConfigDict, workdir: str | Path, command: Sequence[str] = ("coala_jax.train",)
) -> "PretrainedModel":
    """Trains a model, or resumes the run in `workdir`, and returns the model that it keeps.

    Leaves in `workdir` the model with its bank in `model/`, a report, checkpoints, and what
    `training.loop.train` logs. The same call again only measures and reports.

        config = coala_jax.get_config()
        config.data.path, config.train.epochs = "dataset/mine", 20
        model = coala_jax.train(config, "runs/mine")

    Args:
        command: does the same, word by word; the record quotes it.

    Raises:
        ValueError: config, dataset, work folder or device cannot be used; says which and why.
        DivergedError: a loss became NaN or infinite.
    """
    validate(config)
    workdir = Path(workdir)
    from coala_jax.data.schema import Manifest

    # JAX takes seconds to import: a wrong flag or path is reported before that.
    Manifest.load(config.data.path)
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.evaluation import run_record, validation, vote
    from coala_jax.evaluation.evaluators import ModelEvaluator
    from coala_jax.reporting import training_report
    from coala_jax.training import loop, parallel

    device = os.environ.get("COALA_DEVICE", "")
    parallel.start(device)
    logs.start(*parallel.process_place())
    parallel.require_device(device)
    parallel.keep_compiled_steps()
    sounds = validation_sounds(config)
    banks: Banks | None = None

    def add_bank(model: "PretrainedModel") -> "PretrainedModel":
        nonlocal banks
        banks = vote.make_banks(Embedder(model), config, sounds)
        return model if banks is None else dataclasses.replace(model, bank=banks.whole)

    result = loop.train(config, workdir, make_evaluate_fn(config, sounds), add_bank)
    model, kept = result.model, (result.epochs, result.kept_epoch, result.macro_auc)
    trained = ModelEvaluator("trained", Embedder(model), model.case)
    untrained = ModelEvaluator("untrained", Embedder(model.untrained(config.seed + 1)))
    figures = validation.measure([trained, untrained], sounds, banks)
    embeddings = sounds.embed(trained)
    if not parallel.is_lead():
        return model
    record = run_record.write_record(
        workdir,
        config,
        shlex.join(command),
        trained.embedder,
        run_record.KeptEpoch(*kept),
        sounds,
        figures,
        embeddings,
        banks,
    )
    training_report.render(workdir)
    print(training_report.summary(record, workdir))
    return model


def validation_sounds(config: ConfigDict) -> "ValidationSounds":
    """The validation split, of which each process reads its share, scaled as for training."""
    from coala_jax.data.schema import Manifest
    from coala_jax.evaluation.validation import ValidationSounds
    from coala_jax.evaluation.work_shard import WorkShard
    from coala_jax.training import initialize, parallel

    manifest = initialize.with_scaler(Manifest.load(config.data.path), initialize.load(config))
    shard = WorkShard(*parallel.process_place(), parallel.gather_rows)
    chooses = config.train.keep_epoch == "best"
    return ValidationSounds(config.data.path, shard, manifest, in_halves=chooses)


def make_evaluate_fn(config: ConfigDict, sounds: "ValidationSounds") -> "EvaluateFn":
    """Tag retrieval on all processes, samples on the lead."""
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.evaluation.evaluators import ModelEvaluator
    from coala_jax.models.pretrained import PretrainedModel
    from coala_jax.training import loop, metric_writer, parallel

    def evaluate_fn(model: PretrainedModel) -> loop.EvalResult:
        evaluator = ModelEvaluator("trained", Embedder(model), model.case)
        figures, count = sounds.evaluate(evaluator), config.report.samples
        if not (count and parallel.is_lead()):
            return loop.EvalResult(figures)
        return loop.EvalResult(
            figures, metric_writer.Samples(*sounds.samples(evaluator.embedder, count))
        )

    return evaluate_fn
