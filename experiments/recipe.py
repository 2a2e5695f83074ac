"""What makes the encoder better: variants of the recipe, compared on development data.

    python -m experiments.recipe --out=runs/recipe                # all; hours on 2 cores
    python -m experiments.recipe --out=runs/recipe --minutes=30   # a piece of it

Makes the free corpus, the development data (`experiments.development`: no test clip of a proxy task
is among them) and a dataset of each kind; trains every variant, each of which differs from the
first in what its name says, and compares all of them with it by paired tests over clips, with both
poolings, beside MFCCs and the untrained network. Each step is a program of this project, whose
command is logged. Re-running continues where it stopped. Leaves OUT/results.json and OUT/results.md
after every piece.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import storage
from coala_jax.data import source_weights
from coala_jax.flags import Parser
from experiments import development, programs, scores

PROGRAM = "experiments.recipe"
STEPS = 300
# All in one place: what `configs/free.py` became by these choices must not change them.
BASE = {
    "case": "ae_c",
    "model.filters": 32,
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.002,
    "optimizer.schedule": "cosine",
    "train.batch_size": 128,
    "train.keep_epoch": "last",  # of all; the validation sounds differ from dataset to dataset
    "eval.every_epochs": 0,
    "checkpoint.every_epochs": 5,
}


@dataclass(frozen=True)
class Variant:
    """One way to pre-train.

    Attributes:
        name: what differs from the base.
        settings: of the config, in place of those of BASE.
        without: sources that it does not hear.
        prepare: flags of `coala prepare` in place of those of the base.
        steps: of the optimiser.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    steps: int = STEPS


VARIANTS = (
    Variant("base"),
    Variant("no notes", without=development.FONTS),
    Variant("E-C", {"case": "e_c"}),
    Variant("as recorded", prepare=("--level=recorded",)),
    Variant("weights 1, 1, 10", {"loss.audio_weight": 1.0, "loss.tag_weight": 1.0}),
    Variant("released contrastive loss", {"loss.contrastive": "nt_xent"}),
    Variant("half of the notes an epoch", {"data.source_weights": f"{development.FONTS[0]}=0.5"}),
    # As long as the base takes, or longer.
    Variant("E-C, 64 filters", {"case": "e_c", "model.filters": 64}),
    Variant("E-C, 900 steps", {"case": "e_c"}, steps=900),
    Variant("CNN", {"case": "cnn", "loss.tag_weight": 1.0}),
    Variant("constant rate", {"optimizer.schedule": "constant"}),
    Variant("four patches a sound", prepare=("--patches_per_sound=4",)),
    Variant("64 filters", {"model.filters": 64}),
    Variant("900 steps", steps=900),
)
FINALISTS = ("base", "E-C")
SEEDS = 2  # of finalists; the others are trained once
CLASSIFIER_SEEDS = 3  # enough to choose by
REFERENCE = VARIANTS[0].name


@dataclass(frozen=True)
class Trained:
    """The finished runs of a variant, one a seed."""

    variant: Variant
    workdirs: tuple[Path, ...]

    @property
    def models(self) -> dict[str, str]:
        """By name, as `coala evaluate` takes them."""
        name = self.variant.name
        return {f"{name} #{seed}": f"{run / 'model'}" for seed, run in enumerate(self.workdirs)}


def recipe(flags: argparse.Namespace) -> dict[str, Any]:
    """Does what is not done yet, as far as the minutes last; returns the record.

    Raises:
        RuntimeError: a program failed; it has said why.
    """
    deadline = time.monotonic() + 60 * flags.minutes
    corpus, tasks = flags.out / "corpus", flags.out / "tasks"
    programs.make_corpus(corpus)
    programs.program("coala_jax.data_prep.proxy_tasks", f"--out={tasks}", "--only=instruments")
    tables = development.make_tasks(corpus, tasks / "instruments")
    for variant, seed in _plan():
        if time.monotonic() > deadline:
            logging.info("the minutes are over; the same command goes on from here")
            break
        _train(flags.out, variant, seed)
    found = [_finished(flags.out, variant) for variant in VARIANTS]
    return _compare(flags.out, [one for one in found if one.workdirs], tables)


def _plan() -> Iterator[tuple[Variant, int]]:
    """What to train, in this order: the finalists' seeds, then all others once."""
    finalists = [variant for variant in VARIANTS if variant.name in FINALISTS]
    yield from ((variant, seed) for variant in finalists for seed in range(SEEDS))
    yield from ((variant, 0) for variant in VARIANTS if variant not in finalists)


def _workdir(out: Path, variant: Variant, seed: int) -> Path:
    return out / "runs" / f"{programs.slug(variant.name)}-seed{seed}"


def _finished(out: Path, variant: Variant) -> Trained:
    runs = [_workdir(out, variant, seed) for seed in range(SEEDS)]
    return Trained(variant, tuple(run for run in runs if (run / "results.json").exists()))


def _train(out: Path, variant: Variant, seed: int) -> None:
    corpus, settings = out / "corpus", BASE | dict(variant.settings)
    sounds = development.read_sounds(corpus)
    files = set(development.held_out(sounds, variant.without))
    name = programs.slug(" ".join(["dataset", *variant.without, *variant.prepare]))
    storage.write_text(excluded := out / f"{name}.txt", "\n".join(sorted(files)) + "\n")
    flags = ["--level=peak", f"--exclude={excluded}", *variant.prepare]
    examples = programs.make_dataset(corpus, out / name, *flags)
    weights = source_weights.parse(settings.get("data.source_weights", ""))
    heard = [weights.get(row["source"], 1) for row in sounds if row["file"] not in files]
    drawn = round(examples * sum(heard) / len(heard))
    settings["train.epochs"] = programs.epochs(variant.steps, drawn, settings["train.batch_size"])
    programs.train(_workdir(out, variant, seed), out / name, "ae_c", settings | {"seed": seed})


def _compare(out: Path, trained: Sequence[Trained], tables: Sequence[Path]) -> dict[str, Any]:
    """The record: all rows on the development tasks, each pooling beside its own reference."""
    rows = {one.variant.name: one.models for one in trained}
    first = trained[0].workdirs[0] / "model"
    rows["untrained"] = {
        f"untrained #{seed}": f"untrained:{first}:{seed + 1}" for seed in range(SEEDS)
    }
    rows |= {"MFCC": {"MFCC": "mfcc"}, "MFCC, peak": {"MFCC, peak": "mfcc:peak"}}
    models = {name: model for row in rows.values() for name, model in row.items()}
    evaluation = programs.evaluate(
        out / "evaluation", out / "work", models, tables, seeds=CLASSIFIER_SEEDS
    )
    accuracies = {
        name: {table.stem: _beside(evaluation, rows, name, table.stem) for table in tables}
        for name in rows
    }
    runs = {
        one.variant.name: {
            "seeds": len(one.workdirs),
            "minutes": [programs.minutes(run) for run in one.workdirs],
            "epochs": storage.read_json(one.workdirs[0] / "results.json")["epochs"],
            "retrieval": storage.read_json(one.workdirs[0] / "results.json")["retrieval"],
        }
        for one in trained
    }
    return {"reference": REFERENCE, "runs": runs, "accuracies": accuracies}


def _beside(
    evaluation: Mapping[str, Any], rows: Mapping[str, Mapping[str, str]], name: str, task: str
) -> dict[str, Any]:
    """A row's score by pooling, and its difference to that of the reference."""
    found = {}
    for pooling in scores.POOLINGS:
        score, reference = (
            scores.read(evaluation, task, rows[row], pooling) for row in (name, REFERENCE)
        )
        found[pooling] = score.to_dict() | {"over_reference": score.minus(reference)}
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """The table of results.md: accuracies in per cent, and paired differences to the reference.

    MAP, by vote, is of a run's own validation sounds, with their tags as labels: it compares
    variants of the same sounds only.
    """
    tasks = list(record["accuracies"][record["reference"]])
    columns = [(task, pooling) for task in tasks for pooling in scores.POOLINGS]
    head = [f"{task.removesuffix('_dev')}, {pooling}" for task, pooling in columns]
    head = ["", *head, "MAP of tags", "minutes"]
    lines = [head]
    for name, of_task in record["accuracies"].items():
        run = record["runs"].get(name, {"minutes": [], "retrieval": {}})
        cells = [_cell(of_task[task][pooling]) for task, pooling in columns]
        tags = run["retrieval"].get("vote", {}).get("map")
        cells.append("-" if tags is None else f"{tags:.3f}")
        lines.append([name, *cells, " + ".join(map(str, run["minutes"])) or "-"])
    return programs.table(lines)


def _cell(score: Mapping[str, Any]) -> str:
    """Accuracy, and the difference to the reference."""
    beside = score["over_reference"]
    shown = f" ({scores.difference(beside)})" if beside["difference"] else ""
    return f"{100 * score['accuracy']:.1f}{shown}"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for all of it (3 GB)"
    )
    programs.add_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    return programs.record_results(PROGRAM, argv, flags, recipe, markdown)


if __name__ == "__main__":
    sys.exit(main())
