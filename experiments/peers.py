"""Our models beside pretrained encoders of others: the same clips, the same classifiers.

    python -m experiments.peers --model runs/mine/model --tasks=tasks --out=runs/peers

Installs each peer (`experiments.peer_environments`) in an environment of its own below OUT, and
embeds the clips of the proxy tasks there; evaluates our models, the untrained network, MFCCs and
the peers in one run; and trains classifiers with 1, 5, 10 and all labelled clips of each class, the
same clips for all. Models of one name are training seeds of one row. Re-running continues where it
stopped. Leaves OUT/results.json and OUT/results.md. Speeds are of one clip after the other, and of
all cores together: seconds of one core.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import storage
from coala_jax.evaluation.evaluators import load_evaluators
from coala_jax.evaluation.features import extract
from coala_jax.evaluation.tasks import Task, load_task
from coala_jax.flags import Parser, at_least
from experiments import few_labels, own_speed, peer_environments, peer_tables, programs, scores

PROGRAM = "experiments.peers"
TASKS = ("instruments", "events")
HEADS = ("mlp", "logistic_regression")

Rows = Mapping[str, Mapping[str, str]]  # row -> name in the evaluation, one a seed -> spec


def peers(flags: argparse.Namespace) -> dict[str, Any]:
    """Does what is not done yet; returns the record.

    Raises:
        RuntimeError: a program failed; it has said why.
        ValueError: a model or a clip cannot be used.
    """
    out = flags.out
    folders = [flags.tasks / task for task in TASKS]
    if not all((folder / "clips.csv").exists() for folder in folders):
        programs.program("coala_jax.data_prep.proxy_tasks", f"--out={flags.tasks}")
    tasks = [load_task(str(folder)) for folder in folders]
    clips = _clips(tasks)
    found = {
        peer.name: peer_environments.vectors(peer, out, clips, flags.python)
        for peer in peer_environments.PEERS
    }
    rows = _rows(flags.model, out)
    sizes = own_speed.measure_all(_measured(rows), clips, out / "speeds") | found
    models = {name: spec for row in rows.values() for name, spec in row.items()}
    evaluation = programs.evaluate(out / "evaluation", out / "work", models, folders, flags.head)
    return {
        "heads": flags.head,
        "sizes": sizes,
        "accuracies": _accuracies(evaluation, rows, flags.head),
        "few_labels": {
            task.name: _few_labels(task, rows, out / "work", flags.draws, flags.seed)
            for task in tasks
        },
        "seed": flags.seed,
    }


def _clips(tasks: Sequence[Task]) -> dict[str, Path]:
    """All clips by the SHA-256 of their bytes, equal ones once."""
    files = [task.root / clip.file for task in tasks for clip in task.clips]
    return {storage.file_sha256(file): file.resolve() for file in files}


def _rows(models: Sequence[str], out: Path) -> dict[str, dict[str, str]]:
    """What is compared: ours, the first of ours untrained, MFCCs, peers."""
    rows: dict[str, dict[str, str]] = {}
    for model in models:
        name, _, folder = model.rpartition("=")
        row = rows.setdefault(name or "COALA", {})
        row[f"{name or 'COALA'} #{len(row)}"] = str(Path(folder).resolve())
    first = next(iter(next(iter(rows.values())).values()))
    rows["untrained"] = {"untrained #0": f"untrained:{first}:1"}
    rows |= {"MFCC": {"MFCC": "mfcc"}, "MFCC, peak": {"MFCC, peak": "mfcc:peak"}}
    for peer in peer_environments.PEERS:
        rows[peer.name] = {peer.name: f"vectors:{out}/vectors/{peer.key}.npz"}
    return rows


def _measured(rows: Rows) -> dict[str, str]:
    """The rows that are no peer's, without the untrained, which is as large as the first."""
    first = {row: next(iter(models.values())) for row, models in rows.items()}
    return {row: s for row, s in first.items() if not s.startswith(("untrained:", "vectors:"))}


def _lines(rows: Rows) -> dict[str, tuple[str, str]]:
    """The lines of the tables: row and pooling of each."""
    lines = {}
    for (row, models), pooling in product(rows.items(), scores.POOLINGS):
        has_none = next(iter(models.values())).startswith(scores.HAVE_NONE)
        lines[row if has_none else f"{row}, {pooling}"] = (row, pooling)
    return lines


def _accuracies(evaluation: Mapping[str, Any], rows: Rows, heads: Sequence[str]) -> dict[str, Any]:
    """By line, task and classifier: the score, and its difference to that of the first row."""
    lines, found = _lines(rows), {}
    reference = next(iter(rows))
    for line, task, head in product(lines, TASKS, heads):
        row, pooling = lines[line]
        score = scores.read(evaluation, task, rows[row], pooling, head)
        # Vectors without a pooling stand beside ours of the pooling that hears most.
        beside = pooling if line != row else scores.POOLINGS[-1]
        ours = scores.read(evaluation, task, rows[reference], beside, head)
        entry = score.to_dict() | {"over_reference": score.minus(ours)}
        found.setdefault(line, {}).setdefault(task, {})[head] = entry
    return found


def _few_labels(task: Task, rows: Rows, work: Path, draws: int, seed: int) -> dict[str, Any]:
    """By line, one entry for each number of labelled clips."""
    specs = [f"{name}={spec}" for row in rows.values() for name, spec in row.items()]
    files = [clip.file for clip in task.clips]
    evaluators = load_evaluators(specs, scores.POOLINGS)
    vectors = extract(task.root, files, evaluators, "paper", work / "vectors").vectors
    found = {}
    for line, (row, pooling) in _lines(rows).items():
        logging.info("%s, few labels: %s", task.name, line)
        models = [vectors[name] for name in scores.names_of(rows[row], pooling)]
        found[line] = few_labels.curve(task, models, draws, seed)
    return found


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        required=True,
        metavar="[NAME=]FOLDER",
        help="pretrained models of ours; those of one name are training seeds of one row",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for all of it (4 GB)"
    )
    parser.add_argument(
        "--tasks",
        type=Path,
        metavar="FOLDER",
        help="proxy tasks; what is not there is made (OUT/tasks)",
    )
    parser.add_argument(
        "--head", nargs="+", choices=HEADS, default=list(HEADS), help="classifiers (both)"
    )
    parser.add_argument(
        "--draws",
        type=at_least(2),
        default=20,
        help="draws of a few labelled clips (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="seed of these draws (%(default)s)"
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="FILE",
        help="interpreter of the peers' environments, Python 3.10 or 3.11 (the one that runs this)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    flags.tasks = (flags.tasks or flags.out / "tasks").resolve()
    return programs.record_results(PROGRAM, argv, flags, peers, peer_tables.markdown)


if __name__ == "__main__":
    sys.exit(main())
