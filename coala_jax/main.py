"""Trains COALA: python -m coala_jax.main --config=configs/ae_c.py --workdir=W --config.data.path=D

Flags and dispatch. Run again with the same flags, it goes on where it stopped.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from coala_jax.default_config import unknown_keys, validate

if TYPE_CHECKING:
    from coala_jax.evaluation.run_report import ValidationSounds
    from coala_jax.training.loop import EvaluateFn

_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings of the run.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and the model.")
flags.mark_flags_as_required(["config", "workdir"])


def run(config: ConfigDict, workdir: Path, flags_given: Sequence[str]) -> None:
    """Trains, freezes, embeds the validation sounds and reports.

    `flags_given` are those of the command that does the same, which the report quotes.

    Raises:
        ValueError: config, dataset, work folder or device cannot be used; says which and why.
    """
    validate(config)
    # JAX takes a second to import: a wrong flag is told before that.
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.evaluation import run_report
    from coala_jax.evaluation.evaluators import ModelEvaluator
    from coala_jax.training import loop, metric_writer, parallel

    device = os.environ.get("COALA_DEVICE", "")
    parallel.start(device)
    parallel.require_device(device)
    parallel.keep_compiled_steps()
    sounds = validation_sounds(config)
    model = loop.train_and_evaluate(config, workdir, make_evaluate_fn(config, sounds))
    trained = ModelEvaluator("trained", Embedder(model), model.case)
    untrained = ModelEvaluator("untrained", Embedder(model.untrained(config.seed + 1)))
    measured = run_report.measure([trained, untrained], sounds)
    if not parallel.is_lead():
        return
    written = run_report.write_report(
        trained.embedder,
        measured,
        sounds,
        metric_writer.read(workdir),
        workdir,
        config.report.reconstructions,
        "python -m coala_jax.main " + " ".join(flags_given),
    )
    print(f"how well validation sounds of {written['corpus']} find their tags:")
    print(run_report.table(written))
    for name in [run_report.REPORT, *written["pictures"], "metrics.jsonl", "tensorboard", "model"]:
        print(f"  {workdir / name}")


def validation_sounds(config: ConfigDict) -> "ValidationSounds":
    """The validation split, of which each process reads its share."""
    from coala_jax.evaluation.run_report import ValidationSounds
    from coala_jax.evaluation.work_shard import WorkShard
    from coala_jax.training import parallel

    shard = WorkShard(*parallel.process_place(), parallel.gather_rows)
    return ValidationSounds(config.data.path, shard)


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
    if argv[1:]:
        sys.exit(f"coala_jax.main: it takes flags only, not {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # Orbax tells thirty lines a checkpoint
    try:
        run(_CONFIG.value, Path(_WORKDIR.value), sys.argv[1:])
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"coala_jax.main: {error}")
    except KeyboardInterrupt:
        sys.exit("coala_jax.main: interrupted; the same command goes on from the last checkpoint")


def parse(argv: list[str], program: str = "coala_jax.main") -> list[str]:
    """Parses the flags; a key that does not exist gets a sentence in place of a traceback."""
    if complaints := unknown_keys(argv):
        sys.exit(f"{program}: " + "; ".join(complaints))
    try:
        return app.parse_flags_with_usage(argv)
    except (OSError, SyntaxError, ImportError, AttributeError, TypeError, ValueError) as error:
        sys.exit(f"{program}: the config cannot be read: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
