"""Trains COALA: python -m coala_jax.main --config=configs/ae_c.py --workdir=W --config.data.path=D

`coala train` does the same by the config's name. The same command resumes an interrupted run from
its last checkpoint. Every key of the config is a flag: --config.train.epochs=5.

  --config=FILE       config of the run; FILE:released follows the authors' code
  --workdir=FOLDER    folder for checkpoints, metrics and the model
"""

import itertools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from coala_jax import config_keys, logs
from coala_jax import flags as program_flags
from coala_jax.default_config import flat, get_config, validate

if TYPE_CHECKING:
    from coala_jax.evaluation.validation import ValidationSounds
    from coala_jax.training.loop import EvaluateFn

PROGRAM = "coala_jax.main"
AGAIN = "the same command resumes from the last checkpoint"
_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings of the run.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and the model.")


def run(config: ConfigDict, workdir: Path, command: Sequence[str]) -> None:
    """Trains, freezes, evaluates the validation sounds, writes the record and renders it.

    `command` does the same, word by word; the record quotes it.

    Raises:
        ValueError: config, dataset, work folder or device cannot be used; says which and why.
        DivergedError: a loss became NaN or infinite.
    """
    validate(config)
    from coala_jax.data.schema import Manifest

    # JAX takes seconds to import: a wrong flag or path is reported before that.
    Manifest.load(config.data.path)
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.evaluation import validation
    from coala_jax.evaluation.evaluators import ModelEvaluator
    from coala_jax.reporting import training_report
    from coala_jax.training import loop, parallel

    device = os.environ.get("COALA_DEVICE", "")
    parallel.start(device)
    logs.start(*parallel.process_place())
    parallel.require_device(device)
    parallel.keep_compiled_steps()
    sounds = validation_sounds(config)
    model = loop.train_and_evaluate(config, workdir, make_evaluate_fn(config, sounds))
    trained = ModelEvaluator("trained", Embedder(model), model.case)
    untrained = ModelEvaluator("untrained", Embedder(model.untrained(config.seed + 1)))
    figures = validation.measure([trained, untrained], sounds)
    embeddings = sounds.embed(trained)
    if not parallel.is_lead():
        return
    record = validation.write_record(
        workdir, config, shlex.join(command), trained.embedder, sounds, figures, embeddings
    )
    training_report.render(workdir)
    print(training_report.summary(record, workdir))


def validation_sounds(config: ConfigDict) -> "ValidationSounds":
    """The validation split, of which each process reads its share."""
    from coala_jax.evaluation.validation import ValidationSounds
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


def main(argv: list[str]) -> int:
    """Runs the program; returns its exit code."""
    logs.start()

    def train() -> None:
        if argv[1:]:
            raise ValueError(f"unexpected arguments {' '.join(argv[1:])}: it takes flags only")
        run(_CONFIG.value, Path(_WORKDIR.value), ["python", "-m", PROGRAM, *sys.argv[1:]])

    return program_flags.run(PROGRAM, train, AGAIN)


def parse(argv: list[str], program: str = PROGRAM, about: str | None = __doc__) -> list[str]:
    """Parses the flags; a mistake in them, or in the config file, ends the program with a line."""
    if any(re.fullmatch(r"--?(help|helpshort|h|\?)", word) for word in argv[1:]):
        print(about, config_keys.help_text("--config.KEY=VALUE"), sep="\n")
        sys.exit(0)
    if mistake := _mistake(argv[1:]):
        sys.exit(f"{program}: {program_flags.with_fix(mistake, program)}")
    try:
        left = flags.FLAGS(argv)
        _CONFIG.value.to_dict()  # the first use raises what went wrong with the file
        return left
    except Exception as error:  # a config is a program: anything may be raised
        # absl puts more lines above the reason
        reason = (str(error).strip() or repr(error)).splitlines()[-1].strip()
        if "get_config() takes 0 positional arguments" in reason:
            reason = "the config's get_config takes no mode, such as :released after the file"
        reason = re.sub(r"^(Type|Value)Error: ", "", reason)
        fixed = program_flags.with_fix(f"invalid flags or config: {reason}", program)
        sys.exit(f"{program}: {fixed}")


def _mistake(words: Sequence[str]) -> str:
    """What is wrong with the flags, as far as it can be said before the config is read."""
    given = list(itertools.takewhile(lambda word: word != "--", words))
    names = [word[2:].partition("=")[0] for word in given if word.startswith("--")]
    for name in names:
        is_key = name.removeprefix("no").startswith("config.")
        if not (is_key or name in flags.FLAGS or name.removeprefix("no") in flags.FLAGS):
            return program_flags.unknown(f"--{name}", [f"--{known}" for known in flags.FLAGS])
    known = flat(get_config().to_dict())
    for word, following in itertools.zip_longest(given, given[1:]):
        if match := re.fullmatch(r"--?config\.([^=]+)(?:=(.*))?", word, re.DOTALL):
            key, text = match.groups(default=following)
            try:
                is_switch = isinstance(known.get(key), bool) and "=" not in word
                if not (is_switch or text is None):
                    config_keys.parse_value(key, text, known)
            except ValueError as error:
                return str(error)
    for flag, example in (("config", "configs/ae_c.py"), ("workdir", "runs/ae_c")):
        if not any(re.match(rf"--?{flag}(=|$)|--?help", word) for word in words):
            return f"--{flag} is missing. Fix: add it, such as --{flag}={example}"
    return ""


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
