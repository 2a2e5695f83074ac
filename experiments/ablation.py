"""The paper's ablation on sounds that anyone can have: AE-C, E-C and CNN by the recipe, evaluated.

    python -m experiments.ablation --out=runs/ablation                # hours on 2 cores
    python -m experiments.ablation --out=runs/ablation --minutes=30   # a piece of it

Makes the free corpus, datasets of it with sounds as recorded and at a peak of 1, and the proxy
tasks; trains every case by `configs/free.py`, and AE-C once more without notes, with each seed; and
evaluates all of them with both poolings, beside MFCCs of the same level and untrained networks of
the same pooling. Each step is a program of this project, whose command is logged. Re-running
continues where it stopped. Leaves OUT/results.json and OUT/results.md.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from absl import logging
from coala_jax.configs.free import get_config

from coala_jax import storage
from coala_jax.flags import Parser, at_least
from experiments import development, programs, scores

PROGRAM = "experiments.ablation"
TASKS = ("instruments", "events")
LEVELS = ("peak", "recorded")
MFCC, UNTRAINED = "MFCC", "untrained"
_RUNS = 10  # of a row in all, as in the paper


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        case: ae_c, e_c or cnn.
        settings: of the config, by dotted key, where they are not those of `configs/free.py`.
        has_notes: whether it hears the rendered notes, whose tags name the classes of the task
            `instruments`.
    """

    case: str
    settings: tuple[tuple[str, Any], ...] = ()
    has_notes: bool = True


ARMS = {
    "AE-C": Arm("ae_c"),
    "AE-C, no notes": Arm("ae_c", has_notes=False),
    "E-C": Arm("e_c"),
    "CNN": Arm("cnn", (("loss.tag_weight", 1.0),)),
}


def ablation(flags: argparse.Namespace) -> dict[str, Any]:
    """Does what is not done yet, as far as the minutes last; returns the record.

    Raises:
        RuntimeError: a program failed; it has said why.
    """
    deadline, out = time.monotonic() + 60 * flags.minutes, flags.out
    programs.make_corpus(out / "corpus")
    programs.program("coala_jax.data_prep.proxy_tasks", f"--out={out / 'tasks'}")
    for seed, level, name in product(flags.seed, flags.level, ARMS):
        if time.monotonic() > deadline:
            logging.info("the minutes are over; the same command goes on from here")
            break
        _train(flags, name, level, seed)
    rows = {level: dict(_rows(flags, level)) for level in flags.level}
    models = {
        name: model for of in rows.values() for row in of.values() for name, model in row.items()
    }
    tasks = [out / "tasks" / task for task in TASKS]
    # Of the classifier, for each seed of the training.
    seeds = max(1, _RUNS // len(flags.seed))
    evaluation = programs.evaluate(out / "evaluation", out / "work", models, tasks, seeds=seeds)
    runs = sorted(path.parent for path in (out / "runs").glob("*/results.json"))
    return {
        "seeds": flags.seed,
        "classifier_seeds": seeds,
        "minutes": {run.name: programs.minutes(run) for run in runs},
        "accuracies": {level: _accuracies(evaluation, rows[level]) for level in rows},
    }


def _train(flags: argparse.Namespace, name: str, level: str, seed: int) -> None:
    corpus, arm = flags.out / "corpus", ARMS[name]
    prepare = [f"--level={level}"]
    if not arm.has_notes:
        sounds = development.read_sounds(corpus)
        notes = [row["file"] for row in sounds if row["source"] in development.FONTS]
        storage.write_text(excluded := flags.out / "notes.txt", "\n".join(notes) + "\n")
        prepare.append(f"--exclude={excluded}")
    dataset = flags.out / programs.slug(f"dataset {level}{'' if arm.has_notes else ' no notes'}")
    examples = programs.make_dataset(corpus, dataset, *prepare)
    config = get_config()
    settings = {
        "case": arm.case,
        "seed": seed,
        "model.filters": flags.filters,
        # As many steps for every arm, however many sounds it hears.
        "train.epochs": programs.epochs(flags.steps, examples, config.train.batch_size),
        "train.keep_epoch": "last",
        "eval.every_epochs": 0,
    }
    programs.train(
        _workdir(flags, name, level, seed), dataset, "free", settings | dict(arm.settings)
    )


def _workdir(flags: argparse.Namespace, name: str, level: str, seed: int) -> Path:
    """The folder of one run; other settings have another folder."""
    size = f"{flags.filters} filters {flags.steps} steps"
    return flags.out / "runs" / programs.slug(f"{name} {level} {size} seed {seed}")


def _rows(flags: argparse.Namespace, level: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What is compared at a level: by row, its models by name, one a seed that is trained."""
    for name in ARMS:
        runs = {seed: _workdir(flags, name, level, seed) for seed in flags.seed}
        trained = {seed: run for seed, run in runs.items() if (run / "results.json").exists()}
        if trained:
            yield name, {f"{name}, {level} #{s}": f"{run / 'model'}" for s, run in trained.items()}
        if name == "AE-C" and trained:
            model = next(iter(trained.values())) / "model"
            yield (
                UNTRAINED,
                {
                    f"{UNTRAINED}, {level} #{seed}": f"untrained:{model}:{seed + 1}"
                    for seed in flags.seed
                },
            )
    yield MFCC, {f"{MFCC}, {level}": "mfcc:peak" if level == "peak" else "mfcc"}


def _accuracies(
    evaluation: Mapping[str, Any], rows: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """By row, task and pooling: the score, and how far it is above MFCCs and the untrained."""
    found: dict[str, Any] = {}
    for name, task, pooling in product(rows, TASKS, scores.POOLINGS):
        score = scores.read(evaluation, task, rows[name], pooling)
        entry = score.to_dict()
        for other in (MFCC, UNTRAINED):
            if other in rows and name != other:
                beside = scores.read(evaluation, task, rows[other], pooling)
                entry[f"over_{other.lower()}"] = score.minus(beside)
        found.setdefault(name, {}).setdefault(task, {})[pooling] = entry
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """The tables of results.md, one a level."""
    columns = list(product(TASKS, scores.POOLINGS))
    parts = []
    for level, rows in record["accuracies"].items():
        lines = [[level, *(f"{task}, {pooling}" for task, pooling in columns)]]
        for name, of_task in rows.items():
            cells = [_cell(of_task[task][pooling]) for task, pooling in columns]
            lines.append([name, *cells])
        parts.append(programs.table(lines))
    return "\n".join(parts)


def _cell(entry: Mapping[str, Any]) -> str:
    """Accuracy, and the differences to MFCCs and to the untrained network with their p-values."""
    text = f"{100 * entry['accuracy']:.1f}"
    found = [entry[key] for key in ("over_mfcc", "over_untrained") if key in entry]
    if not found:
        return text
    return f"{text} ({', '.join(scores.difference(one) for one in found)})"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for all of it (4 GB)"
    )
    parser.add_argument(
        "--filters", type=at_least(1), default=32, help="filters of each convolution (%(default)s)"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=300, help="steps of each training (%(default)s)"
    )
    parser.add_argument(
        "--level", nargs="+", default=list(LEVELS), choices=LEVELS, help="levels of sounds (both)"
    )
    parser.add_argument(
        "--seed", nargs="+", type=at_least(0), default=[0, 1], help="seeds of the training (0 1)"
    )
    programs.add_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    return programs.record_results(PROGRAM, argv, flags, ablation, markdown)


if __name__ == "__main__":
    sys.exit(main())
