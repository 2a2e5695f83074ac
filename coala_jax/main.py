"""Trains COALA: python -m coala_jax.main --config=configs/ae_c.py --workdir=W --config.data.path=D

The same command resumes an interrupted run from its last checkpoint. Every key of the config is
a flag: --config.train.epochs=5; coala_jax/default_config.py lists them.
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from coala_jax import logs
from coala_jax.default_config import unknown_keys, validate

if TYPE_CHECKING:
    from coala_jax.evaluation.validation import ValidationSounds
    from coala_jax.training.loop import EvaluateFn

_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings of the run.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and the model.")


def run(config: ConfigDict, workdir: Path, flags_given: Sequence[str]) -> None:
    """Trains, freezes, evaluates the validation sounds, writes the record and renders it.

    `flags_given` are those of the command that does the same, which the record quotes.

    Raises:
        ValueError: config, dataset, work folder or device cannot be used; says which and why.
        DivergedError: a loss became NaN or infinite.
    """
    validate(config)
    from coala_jax.data.schema import Manifest

    # JAX takes seconds to import: a wrong flag or path is reported before that.
    Manifest.load(config.data.path)
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.evaluation import run_record, validation
    from coala_jax.evaluation.evaluators import ModelEvaluator
    from coala_jax.reporting import training_report
    from coala_jax.training import loop, parallel

    device = os.environ.get("COALA_DEVICE", "")
    parallel.start(device)
    logs.start(*parallel.process_place())
    parallel.require_device(device)
    parallel.keep_compiled_steps()
    sounds = validation_sounds(config)
    result = loop.train(config, workdir, make_evaluate_fn(config, sounds))
    model, kept = result.model, (result.epochs, result.kept_epoch, result.macro_auc)
    trained = ModelEvaluator("trained", Embedder(model), model.case)
    untrained = ModelEvaluator("untrained", Embedder(model.untrained(config.seed + 1)))
    figures = validation.measure([trained, untrained], sounds)
    embeddings = sounds.embed(trained)
    if not parallel.is_lead():
        return
    command = " ".join(["python -m coala_jax.main", *flags_given])
    record = run_record.write_record(
        workdir,
        config,
        command,
        trained.embedder,
        run_record.KeptEpoch(*kept),
        sounds,
        figures,
        embeddings,
    )
    training_report.render(workdir)
    print(training_report.summary(record, workdir))


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


def main(argv: list[str]) -> None:
    logs.start()
    try:
        if argv[1:]:
            raise ValueError(f"unexpected arguments {' '.join(argv[1:])}: it takes flags only")
        run(_CONFIG.value, Path(_WORKDIR.value), sys.argv[1:])
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"coala_jax.main: {error}")
    except KeyboardInterrupt:
        sys.exit("coala_jax.main: interrupted; the same command resumes from the last checkpoint")


def parse(argv: list[str], program: str = "coala_jax.main") -> list[str]:
    """Parses the flags; a mistake in them, or in the config file, ends the program with a line."""
    if complaints := unknown_keys(argv):
        sys.exit(f"{program}: " + "; ".join(complaints))
    for flag, example in (("config", "configs/ae_c.py"), ("workdir", "runs/ae_c")):
        if not any(re.match(rf"--?({flag}(=|$)|help|h$|\?$)", argument) for argument in argv):
            sys.exit(f"{program}: --{flag} is missing. Fix: add it, such as --{flag}={example}")
    try:
        left = flags.FLAGS(argv)
        _CONFIG.value.to_dict()  # the first use raises what went wrong with the file
        return left
    except Exception as error:  # a config is a program: anything may be raised
        # absl puts more lines above the reason
        reason = (str(error).strip() or repr(error)).splitlines()[-1].strip()
        sys.exit(f"{program}: invalid flags or config: {reason}. Fix: --help lists the flags")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
