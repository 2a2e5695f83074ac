"""How many of the first ten results are right: search by a sound and by a tag.

    python -m experiments.search_precision --model=runs/default/model --corpus=corpus/free \
        --data=dataset/free --tasks=tasks --out=runs/precision

By a sound, on the proxy tasks: each test clip asks for the ten training clips nearest to it, as
`coala similar` does (of `events` from other packages, of `instruments` from other soundfonts); a
result is right if it has the clip's label. On the corpus each validation sound asks for ten
training sounds; a result is right if at least half of all tags of the two are shared. By a tag, on
validation sounds of the corpus: each tag of ten or more of them asks for ten, as `coala search`
does; a result is right if it has the tag. Popularity hears nothing: it answers with the most
frequent label, or the sounds whose tags are the most frequent. Leaves OUT/results.json and
OUT/results.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

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
OURS, POPULARITY, CHANCE = "this model", "popularity", "chance"
CORPUS = "corpus"
_POLICY = "masked"  # as an index has it

Vectors = Float32[np.ndarray, "clip value"]
Tags = Bool[np.ndarray, "sound tag"]


def search_precision(flags: argparse.Namespace) -> dict[str, Any]:
    """The record: precision at ten by row, of `similar` on tasks and corpus, and of tags."""
    specs = {OURS: flags.model, "untrained": f"untrained:{flags.model}:1", "MFCC": "mfcc:peak"}
    evaluators = load_evaluators([f"{name}={spec}" for name, spec in specs.items()])
    cache, similar = flags.out / "work", {}
    for name in TASKS:
        task = load_task(str(flags.tasks / name))
        clips = [clip.file for clip in task.clips]
        vectors = extract(task.root, clips, evaluators, _POLICY, cache).vectors
        rows = {row: of_sounds(task, vectors[row]) for row in specs}
        similar[name] = rows | blind_of_sounds(task)
    corpus = _Corpus.read(flags.corpus, flags.data)
    vectors = extract(corpus.audio, corpus.files, evaluators, _POLICY, cache).vectors
    similar[CORPUS] = _similar(corpus, vectors)
    tags = _tags(corpus, Path(flags.model), vectors["MFCC"])
    return {"first": FIRST, "similar": similar, "tags": tags}


def of_sounds(task: Task, vectors: Vectors) -> float:
    """Precision of the training clips nearest to each test clip; folds weigh alike."""
    classes, found = task.classes, []
    for fold in task.folds:
        rows = nearest(vectors[fold.test], vectors[fold.train], FIRST)
        right = classes[fold.train][rows] == classes[fold.test][:, None]
        found.append(right.mean())
    return float(np.mean(found))


def blind_of_sounds(task: Task) -> dict[str, float]:
    """The same of clips of the most frequent label of the fold, and of clips drawn at random."""
    classes, popularity, chance = task.classes, [], []
    for fold in task.folds:
        shares = np.bincount(classes[fold.train], minlength=len(task.labels)) / len(fold.train)
        popularity.append((classes[fold.test] == shares.argmax()).mean())
        chance.append(shares[classes[fold.test]].mean())
    return {POPULARITY: float(np.mean(popularity)), CHANCE: float(np.mean(chance))}


def are_alike(some: Tags, others: Tags) -> Bool[np.ndarray, "one other"]:
    """Whether at least half of all tags that two sounds have are shared (Jaccard)."""
    shared = some.astype(np.float32) @ others.T.astype(np.float32)
    together = some.sum(axis=1)[:, None] + others.sum(axis=1) - shared
    return 2 * shared >= together


def most_popular(sounds: Tags, learned: Tags) -> Int[np.ndarray, " first"]:
    """The sounds whose tags are the most frequent among those that were learned."""
    return np.argsort(-(sounds @ learned.mean(axis=0)), kind="stable")[:FIRST]


def of_tags(scores: Float[np.ndarray, "sound tag"], truth: Tags) -> float:
    """Mean over tags of the precision of the sounds with the highest scores."""
    best = np.argsort(-scores, axis=0, kind="stable")[:FIRST]
    return float(np.take_along_axis(truth, best, axis=0).mean())


class _Corpus(NamedTuple):
    """The sounds of a dataset, those for training first; `known` is their number."""

    audio: Path
    files: list[str]
    known: int
    tags: Tags

    @classmethod
    def read(cls, corpus: Path, dataset: Path) -> "_Corpus":
        learned, asked = (heard.sounds_of(dataset, split) for split in ("train", "validation"))
        sounds, tags = [*learned, *asked], len(Manifest.load(dataset).vocabulary)
        files = [one.id for one in sounds]
        return cls(corpus / "audio", files, len(learned), heard.multi_hot(sounds, tags))


def _similar(corpus: _Corpus, vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """Precision of the training sounds nearest to each validation sound, by row."""
    known, learned = corpus.known, corpus.tags[: corpus.known]
    right, found = are_alike(corpus.tags[known:], learned), {}
    for row, of_row in vectors.items():
        rows = nearest(of_row[known:], of_row[:known], FIRST)
        found[row] = float(np.take_along_axis(right, rows, axis=1).mean())
    popular = right[:, most_popular(learned, learned)]
    return found | {POPULARITY: float(popular.mean()), CHANCE: float(right.mean())}


def _tags(corpus: _Corpus, model: Path, mfccs: Vectors) -> dict[str, Any]:
    """By a tag, on the validation sounds."""
    embedder, known = load(model), corpus.known
    learned, truth = corpus.tags[:known], corpus.tags[known:]
    counted = np.flatnonzero(truth.sum(axis=0) >= heard.FEWEST_SOUNDS)
    paths = [corpus.audio / file for file in corpus.files[known:]]
    projected = embedder.project(paths, policy=_POLICY)
    single = embedder.project_tags(np.eye(truth.shape[1], dtype=np.uint8)[counted])
    # MFCCs find tags by the same vote of the same sounds.
    scaled = standardized(mfccs, mfccs[:known])
    bank = make_bank(scaled[:known], learned.astype(np.uint8), embedder.bank.temperature, known)
    chosen = truth[:, counted]
    return {
        "sounds": len(truth),
        "tags": len(counted),
        "precision": {
            f"{OURS}, vote": of_tags(embedder.bank.vote(projected)[:, counted], chosen),
            f"{OURS}, cosine": of_tags(cosine(projected, single), chosen),
            "MFCC, vote": of_tags(bank.vote(scaled[known:])[:, counted], chosen),
            POPULARITY: float(chosen[most_popular(truth, learned)].mean()),
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
