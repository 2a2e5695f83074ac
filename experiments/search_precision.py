"""How many of the first ten results are right: search by a sound and by a tag.

    python -m experiments.search_precision --model=runs/default/model --corpus=corpus/free \
        --data=dataset/free --tasks=tasks --out=runs/precision

By a sound, on the proxy tasks: each test clip asks for the ten training clips nearest to it, as
`coala similar` does (of `events` from other packages, of `instruments` from other soundfonts); a
result is right if it has the clip's label. By a tag, on validation sounds of the corpus: each tag
of ten or more of them asks for ten, as `coala search` does; a result is right if it has the tag.
Leaves OUT/results.json and OUT/results.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from coala_jax.data.schema import Manifest
from coala_jax.embedding.embedder import load
from coala_jax.evaluation.evaluators import load_evaluators
from coala_jax.evaluation.features import extract
from coala_jax.evaluation.scores import cosine
from coala_jax.evaluation.tasks import Task, load_task
from coala_jax.flags import Parser
from coala_jax.models.bank import make_bank
from experiments import heard, programs
from experiments.near_duplicates import nearest, standardized

PROGRAM = "experiments.search_precision"
TASKS = ("instruments", "events")
FIRST = 10  # results that are looked at
OURS, CHANCE = "this model", "chance"
_POLICY = "masked"  # as an index has it

Vectors = Float32[np.ndarray, "clip value"]


def search_precision(flags: argparse.Namespace) -> dict[str, Any]:
    """The record: precision at ten by row, of `similar` on each task and of tags."""
    specs = {OURS: flags.model, "untrained": f"untrained:{flags.model}:1", "MFCC": "mfcc:peak"}
    evaluators = load_evaluators([f"{name}={spec}" for name, spec in specs.items()])
    cache, similar = flags.out / "work", {}
    for name in TASKS:
        task = load_task(str(flags.tasks / name))
        clips = [clip.file for clip in task.clips]
        vectors = extract(task.root, clips, evaluators, _POLICY, cache).vectors
        rows = {row: of_sounds(task, vectors[row]) for row in specs}
        similar[name] = rows | {CHANCE: chance_of_sounds(task)}
    by_mfcc = evaluators[-1:]
    return {
        "first": FIRST,
        "similar": similar,
        "tags": _of_corpus(Path(flags.model), flags.corpus, flags.data, by_mfcc, cache),
    }


def of_sounds(task: Task, vectors: Vectors) -> float:
    """Precision of the training clips nearest to each test clip; folds weigh alike."""
    classes, found = task.classes, []
    for fold in task.folds:
        rows = nearest(vectors[fold.test], vectors[fold.train], FIRST)
        right = classes[fold.train][rows] == classes[fold.test][:, None]
        found.append(right.mean())
    return float(np.mean(found))


def chance_of_sounds(task: Task) -> float:
    """The same of training clips drawn at random."""
    classes, found = task.classes, []
    for fold in task.folds:
        shares = np.bincount(classes[fold.train], minlength=len(task.labels)) / len(fold.train)
        found.append(shares[classes[fold.test]].mean())
    return float(np.mean(found))


def of_tags(scores: Float[np.ndarray, "sound tag"], truth: Bool[np.ndarray, "sound tag"]) -> float:
    """Mean over tags of the precision of the sounds with the highest scores."""
    best = np.argsort(-scores, axis=0, kind="stable")[:FIRST]
    return float(np.take_along_axis(truth, best, axis=0).mean())


def _of_corpus(
    model: Path, corpus: Path, dataset: Path, evaluators: Sequence[Any], cache: Path
) -> dict[str, Any]:
    """By a tag, on the validation sounds of a dataset of the corpus."""
    embedder, tags = load(model), len(Manifest.load(dataset).vocabulary)
    learned, asked = (heard.sounds_of(dataset, split) for split in ("train", "validation"))
    files = [one.id for one in [*learned, *asked]]
    truth, known = heard.multi_hot(asked, tags), len(learned)
    counted = np.flatnonzero(truth.sum(axis=0) >= heard.FEWEST_SOUNDS)
    paths = [corpus / "audio" / file for file in files[known:]]
    projected = embedder.project(paths, policy=_POLICY)
    single = embedder.project_tags(np.eye(tags, dtype=np.uint8)[counted])
    (vectors,) = extract(corpus / "audio", files, evaluators, _POLICY, cache).vectors.values()
    # MFCCs find tags by the same vote of the same sounds.
    scaled = standardized(vectors, vectors[:known])
    multi_hot = heard.multi_hot(learned, tags).astype(np.uint8)
    bank = make_bank(scaled[:known], multi_hot, embedder.bank.temperature, known)
    chosen = truth[:, counted]
    return {
        "sounds": len(asked),
        "tags": len(counted),
        "precision": {
            f"{OURS}, vote": of_tags(embedder.bank.vote(projected)[:, counted], chosen),
            f"{OURS}, cosine": of_tags(cosine(projected, single), chosen),
            "MFCC, vote": of_tags(bank.vote(scaled[known:])[:, counted], chosen),
            CHANCE: float(chosen.mean(axis=0).mean()),
        },
    }


def markdown(record: Mapping[str, Any]) -> str:
    """The tables of results.md."""
    tasks = list(record["similar"])
    rows = [["like a sound", *tasks]]
    for row in record["similar"][tasks[0]]:
        rows.append([row, *(f"{record['similar'][task][row]:.2f}" for task in tasks)])
    tags = [["by a tag", f"{record['tags']['tags']} tags, {record['tags']['sounds']} sounds"]]
    tags += [[row, f"{value:.2f}"] for row, value in record["tags"]["precision"].items()]
    return "\n".join([programs.table(rows), programs.table(tags)])


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("--model", required=True, metavar="FOLDER", help="a model with a bank")
    for name, meaning in (
        ("corpus", "the free corpus"),
        ("data", "dataset of it, that trained the model"),
        ("tasks", "proxy tasks"),
        ("out", "folder of the record"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER", help=meaning)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    return programs.record_results(PROGRAM, argv, flags, search_precision, markdown)


if __name__ == "__main__":
    sys.exit(main())
