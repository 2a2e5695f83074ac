"""Evaluates models with frozen parameters: the paper's Tables 1 and 2.

    python -m coala_jax.evaluation.run --model runs/a/model untrained:runs/a/model mfcc \\
        --task urbansound8k:UrbanSound8K gtzan:GTZAN nsynth:NSynth esc50:ESC-50 mine/clips.csv \\
        --dataset dataset/mine --audio sounds --out reports/a

A task's clips become vectors by each model, a classifier is trained on them with ten seeds, and
accuracies, paired tests, confusions and maps go to OUT/report.md, report.json and pictures. With
--dataset and --audio also the correlation with acoustic descriptors of its validation sounds.
Stopped at any moment, the same command goes on.

A task is urbansound8k:DIR, gtzan:DIR, nsynth:DIR, esc50:DIR or esc10:DIR in its published layout,
or a folder of your own with clips.csv (columns file, label, and fold or split), or such a CSV.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax import storage

HEADS = ("mlp", "logistic_regression", "svm")
POLICIES = ("paper", "released", "masked")
LEVELS = ("recorded", "peak")


def evaluate(flags: argparse.Namespace, command: str) -> list[Path]:
    """Does what the flags say; returns the files that it wrote.

    Raises:
        ValueError: a model, task, dataset or clip cannot be used; says which and why.
    """
    # JAX takes a second to import: a wrong flag is told before that.
    import jax

    from coala_jax.evaluation import comparison, comparison_report, correlation
    from coala_jax.evaluation.evaluators import load_evaluators
    from coala_jax.evaluation.tasks import load_task

    evaluators = load_evaluators(flags.model)
    tasks = [
        load_task(spec, allow_missing=flags.allow_missing, seed=flags.seed) for spec in flags.task
    ]
    _check_unique([task.name for task in tasks])
    for task in tasks:
        print(f"task {task.name}: {len(task.clips)} clips, {len(task.labels)} classes", flush=True)
    settings = comparison.Settings(
        tuple(flags.head),
        tuple(range(flags.seeds)),
        flags.policy,
        flags.level,
        flags.allow_missing,
    )
    device = jax.devices()[0]
    models = "1 model" if len(evaluators) == 1 else f"{len(evaluators)} models"
    print(f"{models} on {device.platform} ({device.device_kind})", flush=True)
    work = flags.cache or flags.out / "work"
    correlations = {}
    if flags.dataset:
        correlations = correlation.correlate(
            evaluators, flags.dataset, flags.audio, work, flags.seed
        )
    compared = [comparison.compare(task, evaluators, settings, work) for task in tasks]
    found = comparison_report.Comparison(
        evaluators, compared, correlations, settings, flags.seed, command
    )
    return comparison_report.write(found, flags.out)


def _check_unique(names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"two tasks are called {twice[0]!r}; rename the folder of one")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coala_jax.evaluation.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    many = {"nargs": "+", "action": "extend"}
    parser.add_argument(
        "--model",
        required=True,
        metavar="[NAME=]MODEL",
        help="a pretrained model's folder, untrained:FOLDER[:SEED] (its architecture with fresh "
        "weights), mfcc or mfcc:released; the first is what the others are compared with",
        **many,
    )
    parser.add_argument("--task", default=[], metavar="TASK", help="see above", **many)
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
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
        help="go on without clips that cannot be read",
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
    command = shlex.join(["python", "-m", "coala_jax.evaluation.run", *argv])
    try:
        written = evaluate(flags, command)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"coala_jax.evaluation.run: {error}", file=sys.stderr)
        return 1
    print(storage.read_bytes(flags.out / "report.md").decode().partition("## Pictures")[0])
    for path in written:
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("coala_jax.evaluation.run: interrupted; the same command goes on")
