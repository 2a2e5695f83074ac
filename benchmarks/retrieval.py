"""Validation's retrieval at the paper's size, beside scikit-learn on a subset.

    python -m benchmarks.retrieval            # about a minute on 2 quiet cores

18,990 sounds and 1,000 tags, common ones first as Zipf has it, about six per sound, and random
projections of 1,152 values; the encoders are not in it. First the whole, with the memory that it
takes; then, in turns, a subset by scikit-learn's measures, a ranking at a time, and by ours, which
must agree. The median of the rounds counts. The figures are written to benchmarks/results too; the
last line is a JSON object.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.measure import BenchmarkError, say
from benchmarks.result import RESULTS, finish
from coala_jax.evaluation import retrieval
from coala_jax.evaluation.scores import cosine
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.retrieval"
SOUNDS, TAGS, DIMENSIONS, TAGS_DRAWN = 18_990, 1000, 1152, 8
_NOISE = 25.0  # of a projection; a value of its tags' sum deviates by 2.5 or so


@dataclass(frozen=True)
class Problem:
    """Sounds with tags, and the projections that a model of case AE-C would give."""

    targets: UInt8[np.ndarray, "sound tag"]
    sounds: Float32[np.ndarray, "sound dim"]
    tags: Float32[np.ndarray, "tag dim"]
    sets: Float32[np.ndarray, "set dim"]
    case: str = "ae_c"

    def project_audio(self, patches: np.ndarray) -> Float32[np.ndarray, "sound dim"]:
        return self.sounds

    def project_tags(self, multi_hot: np.ndarray) -> Float32[np.ndarray, "row dim"]:
        single = len(multi_hot) == len(self.tags) and (multi_hot.sum(axis=1) == 1).all()
        return self.tags if single else self.sets

    def measure(self) -> retrieval.Metrics:
        patches = np.broadcast_to(np.float32(0), (len(self.sounds), 96, 96))
        return retrieval.evaluate_retrieval(self, patches, self.targets)


def make_problem(sounds: int, tags: int = TAGS, dimensions: int = DIMENSIONS) -> Problem:
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, tags + 1)
    drawn = rng.choice(tags, (sounds, TAGS_DRAWN), p=frequency / frequency.sum())
    targets = np.zeros((sounds, tags), np.uint8)
    np.put_along_axis(targets, drawn, 1, axis=1)
    of_tags = rng.standard_normal((tags, dimensions), np.float32)
    noise = _NOISE * rng.standard_normal((sounds, dimensions), np.float32)
    sets, own_set = retrieval.distinct_sets(targets)
    of_sets = sets.astype(np.float32) @ of_tags
    return Problem(targets, of_sets[own_set] + noise, of_tags, of_sets)


def by_scikit_learn(problem: Problem) -> dict[str, float]:
    """`macro_auc` and `map` by scikit-learn; `mrr` by counting. Random scores do not tie."""
    tag_scores = cosine(problem.sounds, problem.tags)
    set_scores = cosine(problem.sounds, problem.sets)
    targets, (_, own_set) = problem.targets, retrieval.distinct_sets(problem.targets)
    counted = np.flatnonzero(targets.sum(axis=0) >= retrieval.MINIMUM_SOUNDS)
    own = np.take_along_axis(set_scores, own_set[:, None], axis=1)
    pairs = list(zip(targets, tag_scores, strict=True))
    return {
        "macro_auc": np.mean([roc_auc_score(targets[:, t], tag_scores[:, t]) for t in counted]),
        "mrr": np.mean(1 / (set_scores >= own).sum(axis=1)),
        "map": np.mean([average_precision_score(*pair) for pair in pairs]),
    }


def largest_difference(ours: retrieval.Metrics, theirs: dict[str, float]) -> float:
    """Raises BenchmarkError where it is more than rounding."""
    largest = max(abs(ours[name] - value) for name, value in theirs.items())
    if largest > 1e-12:
        raise BenchmarkError(f"scikit-learn gives {theirs}, and ours {ours}")
    return float(largest)


def seconds_of(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def benchmark(flags: argparse.Namespace) -> dict[str, Any]:
    problem = make_problem(flags.sounds)
    began = time.process_time()
    found = problem.measure()  # the first time: of the memory, and NumPy is warm afterwards
    cpu_s = time.process_time() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    subset = make_problem(min(flags.subset, flags.sounds))
    difference = largest_difference(subset.measure(), by_scikit_learn(subset))
    rounds = []
    for number in range(flags.rounds):
        runs = problem.measure, lambda: by_scikit_learn(subset), subset.measure
        rounds.append([seconds_of(run) for run in runs])
        seconds, theirs_s, ours_s = rounds[-1]
        say(
            f"round {number + 1} of {flags.rounds}: {seconds:.2f} s; {len(subset.sounds)} sounds "
            f"by scikit-learn {theirs_s:.2f} s, by ours {ours_s:.2f} s"
        )
    return {
        "seconds": statistics.median(seconds for seconds, *_ in rounds),
        "cpu_seconds": cpu_s,  # of all threads; depends less on what else the machine does
        "peak_resident_mb": peak_mb,
        "metrics": found,
        "subset": {
            "sounds": len(subset.sounds),
            "ratio_to_scikit_learn": statistics.median(theirs / ours for _, theirs, ours in rounds),
            "largest_difference": difference,
        },
        "seconds_of_rounds": rounds,
    }


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--sounds", type=at_least(100), default=SOUNDS, help="sounds of the whole (%(default)s)"
    )
    parser.add_argument(
        "--subset", type=at_least(100), default=2000, help="sounds of scikit-learn's (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=3, help="rounds, whose median counts (%(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="folder of the results (benchmarks/results)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        figures = benchmark(flags)
        say(
            f"{flags.sounds} sounds x {TAGS} tags took {figures['seconds']:.1f} s "
            f"({figures['cpu_seconds']:.1f} s of CPU time), at most "
            f"{figures['peak_resident_mb']:.0f} MB; on a subset "
            f"{figures['subset']['ratio_to_scikit_learn']:.1f} times as fast as scikit-learn"
        )
        finish("retrieval", figures, argv, flags.out)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
