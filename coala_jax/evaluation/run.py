"""Evaluates models with frozen parameters: the paper's Tables 1 and 2.

    python -m coala_jax.evaluation.run --model runs/a/model untrained:runs/a/model mfcc \\
        --task urbansound8k:UrbanSound8K gtzan:GTZAN nsynth:NSynth esc50:ESC-50 mine/clips.csv \\
        --dataset dataset/mine --audio sounds --out reports/a

Each model embeds the clips of each task, and a classifier is trained on the vectors with ten seeds.
Accuracies, paired tests, confusion matrices and maps go to OUT/results.json, and from there to
report.md and plots (python -m coala_jax.reporting OUT makes them again). With --dataset and --audio
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

HEADS = ("mlp", "logistic_regression", "svm")
POLICIES = ("paper", "released", "masked")
LEVELS = ("recorded", "peak")


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

    settings = comparison.EvaluationSettings(
        tuple(flags.head),
        tuple(range(flags.seeds)),
        flags.policy,
        flags.level,
        flags.allow_missing,
        flags.seed,
    )
    evaluators = load_evaluators(flags.model)
    tasks = [
        load_task(spec, allow_missing=flags.allow_missing, seed=flags.seed) for spec in flags.task
    ]
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--task: two tasks are called {twice[0]!r}. Fix: rename one's folder")
    requested = results.request(evaluators, tasks, settings, flags.dataset)
    if not flags.overwrite:
        results.check_out(flags.out, requested)
    device = jax.devices()[0]
    logging.info("models: %d, on %s (%s)", len(evaluators), device.platform, device.device_kind)
    work = flags.cache or flags.out / "work"
    correlations = {}
    if flags.dataset:
        correlations = correlation.correlate(
            evaluators, flags.dataset, flags.audio, work, flags.seed
        )
    found = []
    for task in tasks:
        logging.info("task %s: %d clips, %d classes", task.name, len(task.clips), len(task.labels))
        found.append(comparison.evaluate_task(task, evaluators, settings, work))
    return results.complete(requested, found, correlations, command)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coala_jax.evaluation.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    many = {"nargs": "+", "action": "extend"}
    parser.add_argument(
        "--model",
        required=True,
        metavar="[NAME=]MODEL",
        help="a pretrained model's folder, untrained:FOLDER[:SEED] (its architecture with fresh "
        "weights), mfcc or mfcc:released; the others are compared with the first",
        **many,
    )
    parser.add_argument("--task", default=[], metavar="TASK", help="see above", **many)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results of another evaluation in OUT"
    )
    parser.add_argument("--head", nargs="+", choices=HEADS, default=["mlp"])
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each head (10)")
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="paper",
        help="of clips that do not fill a patch. paper: zeros; released: every clip is padded to "
        "10 s with noise; masked: padding weighs nothing",
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="recorded",
        help="of clips. recorded: as they are (paper); peak: each is scaled to a peak of 1",
    )
    parser.add_argument(
        "--allow-missing",
        "--allow_missing",  # as coala_jax.data_prep.from_folder spells it
        action="store_true",
        help="leave out clips that cannot be read",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        default=[],
        metavar="DATASET",
        help="that the models were trained on, for Table 2; several where they differ",
        **many,
    )
    parser.add_argument("--audio", type=Path, help="folder of the sounds of --dataset")
    parser.add_argument("--seed", type=int, default=0, help="of all draws but the heads' (0)")
    parser.add_argument("--cache", type=Path, help="of vectors and predictions (OUT/work)")
    flags = parser.parse_args(argv)
    if not flags.task and not flags.dataset:
        parser.error("nothing to do: give --task, or --dataset and --audio")
    if bool(flags.dataset) != bool(flags.audio):
        parser.error("--dataset and --audio go together: descriptors need the sounds")
    if flags.seeds < 1 or flags.seed < 0:
        parser.error("--seeds must be at least 1, --seed at least 0")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = _parse(argv)
    logs.start()
    from coala_jax.reporting import evaluation_report

    try:
        record = evaluate(flags, shlex.join(["python", "-m", "coala_jax.evaluation.run", *argv]))
        flags.out.mkdir(parents=True, exist_ok=True)
        evaluation_report.remove(flags.out)  # beside new results the old ones' would look whole
        storage.write_json(flags.out / "results.json", record)
        written = evaluation_report.render(flags.out)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"coala_jax.evaluation.run: {error}", file=sys.stderr)
        return 1
    print(evaluation_report.tables_text(record))
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("coala_jax.evaluation.run: interrupted. Fix: start it again, it goes on")
