"""Evaluates models with frozen parameters: the paper's Tables 1 and 2.

    coala evaluate --model runs/a/model untrained:runs/a/model mfcc \\
        --task urbansound8k:UrbanSound8K gtzan:GTZAN nsynth:NSynth esc50:ESC-50 mine/clips.csv \\
        --data=dataset/mine --audio=sounds --out=reports/a

Each model embeds the clips of each task, and a classifier is trained on the vectors with ten seeds.
Accuracies, paired tests, confusion matrices and maps go to OUT/results.json, and from there to
report.md and plots (python -m coala_jax.reporting OUT makes them again). With --data and --audio
also the correlation with acoustic descriptors of its validation sounds. A stopped evaluation goes
on when it is started again.

A task is urbansound8k:DIR, gtzan:DIR, nsynth:DIR, esc50:DIR or esc10:DIR in its published layout,
or a folder of your own with clips.csv (columns file, label, and fold or split), or such a CSV.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import logs, storage
from coala_jax.flags import Parser, at_least, run

PROGRAM = "coala evaluate"
HEADS = ("mlp", "logistic_regression", "svm")
POLICIES = ("paper", "released", "masked")
POOLINGS = ("mean", "layers")


def evaluate(flags: argparse.Namespace, command: str) -> dict[str, Any]:
    """Computes what the flags ask for; returns the record.

    Raises:
        ValueError: a model, task, dataset or clip cannot be used, or --out holds the results of
            another evaluation; says which and why.
    """
    # JAX takes a second to import: a wrong flag is reported before that.
    import jax

    from coala_jax.evaluation import comparison, correlation, results
    from coala_jax.evaluation.evaluators import load_evaluators
    from coala_jax.evaluation.tasks import load_task
    from coala_jax.models.default import DEFAULT

    settings = comparison.EvaluationSettings(
        tuple(flags.head),
        tuple(range(flags.seeds)),
        flags.policy,
        flags.allow_missing,
        flags.seed,
    )
    evaluators = load_evaluators(flags.model or [DEFAULT], tuple(dict.fromkeys(flags.pooling)))
    tasks = [
        load_task(spec, allow_missing=flags.allow_missing, seed=flags.seed) for spec in flags.task
    ]
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--task: two tasks are called {twice[0]!r}. Fix: rename one's folder")
    requested = results.request(evaluators, tasks, settings, flags.data)
    if not flags.overwrite:
        results.check_out(flags.out, requested)
    device = jax.devices()[0]
    for evaluator in evaluators:
        logging.info("model %s, digest %s", evaluator.name, evaluator.digest[:12])
    logging.info("models: %d, on %s (%s)", len(evaluators), device.platform, device.device_kind)
    work = flags.cache or flags.out / "work"
    correlations = {}
    if flags.data:
        correlations = correlation.correlate(evaluators, flags.data, flags.audio, work, flags.seed)
    found = []
    for task in tasks:
        logging.info("task %s: %d clips, %d classes", task.name, len(task.clips), len(task.labels))
        found.append(comparison.evaluate_task(task, evaluators, settings, work))
    return results.complete(requested, found, correlations, command)


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    many: dict[str, Any] = {"nargs": "+", "action": "extend"}
    parser.add_argument(
        "--model",
        default=[],
        metavar="[NAME=]MODEL",
        help="a pretrained model's folder, default (the built-in model, also where none is given), "
        "untrained:FOLDER[:SEED] or untrained:default (the architecture with fresh weights), "
        "vectors:FILE (a table of `coala embed`, or of anything else), or mfcc, mfcc:released, "
        "mfcc:peak; the others are compared with the first",
        **many,
    )
    parser.add_argument(
        "--task", default=[], metavar="TASK", help="tasks, as they are named above", **many
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the results"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results of another evaluation in --out"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="dataset that the models were trained on, for Table 2; several where they differ",
        **many,
    )
    parser.add_argument(
        "--audio", type=Path, metavar="FOLDER", help="folder of the sounds of --data"
    )
    _add_settings(parser)
    return parser


def _add_settings(parser: Parser) -> None:
    """How clips are treated and vectors classified."""
    parser.add_argument(
        "--head", nargs="+", choices=HEADS, default=["mlp"], help="classifiers of the vectors (mlp)"
    )
    parser.add_argument(
        "--seeds", type=at_least(1), default=10, help="trainings of each head (%(default)s)"
    )
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="paper",
        help="what happens to clips that do not fill a patch. paper: zeros; released: every clip "
        "is padded to 10 s with noise; masked: padding weighs nothing (%(default)s)",
    )
    parser.add_argument(
        "--pooling",
        nargs="+",
        choices=POOLINGS,
        default=[],
        help="what a clip's vector is, for all models; with both each model has two rows (as each "
        "model names it). mean: of the latents of its patches; layers: mean and standard deviation "
        "over time of all blocks of the audio encoder",
    )
    parser.add_argument(
        "--allow_missing", action="store_true", help="leave out clips that cannot be read"
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        help="seed of all draws but the heads' (%(default)s)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="folder that keeps vectors and predictions (OUT/work)",
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    program = parser()
    flags = program.parse_args(argv)
    if not flags.task and not flags.data:
        program.error("nothing to do: give --task, or --data and --audio")
    if bool(flags.data) != bool(flags.audio):
        program.error("--data and --audio go together: descriptors need the sounds")
    return flags


def write(flags: argparse.Namespace, command: str) -> None:
    """Evaluates, and writes and prints the results."""
    from coala_jax.reporting import evaluation_report

    record = evaluate(flags, command)
    flags.out.mkdir(parents=True, exist_ok=True)
    evaluation_report.remove(flags.out)  # beside new results the old ones' would look whole
    storage.write_record(flags.out / "results.json", record)
    written = evaluation_report.render(flags.out)
    print(evaluation_report.tables_text(record))
    print(*written, sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parse(argv)
    logs.start()
    command = shlex.join([*PROGRAM.split(), *argv])
    return run(PROGRAM, lambda: write(flags, command), "start it again, it goes on")


if __name__ == "__main__":
    sys.exit(main())
