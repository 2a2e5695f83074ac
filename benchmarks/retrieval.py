"""Validation's retrieval at the paper's size, beside a loop over sounds and tags.

    python -m benchmarks.retrieval            # about a minute on 2 quiet cores

18,990 sounds and 1,000 tags, common ones first as Zipf has it, about six a sound, and random
projections of 1,152 values; what an encoder would take for them is not in it. First the whole, with
the memory that it takes, then in turns a subset by a loop with a ranking at a time and by ours,
which must agree, and the machine's rate of float64 products. The median of the rounds counts. The
figures go to benchmarks/results too; the last line is a JSON object.
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
from jaxtyping import Float, Float32, Int, UInt8

from benchmarks.measure import BenchmarkError, say
from benchmarks.result import RESULTS, finish
from coala_jax.evaluation import retrieval
from coala_jax.evaluation.scores import cosine

SOUNDS, TAGS, DIMENSIONS, TAGS_DRAWN = 18_990, 1000, 1152, 8
_NOISE = 25.0  # of a projection; a value of its tags' sum deviates by 2.5 or so
_SIDE = 2048  # of the square products that are the limit


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

    @property
    def gigaflop(self) -> float:
        """Of the products of sounds with sets, and twice with tags: by sound and by tag."""
        columns = len(self.sets) + 2 * len(self.tags)
        return 2 * len(self.sounds) * columns * self.sounds.shape[1] / 1e9


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


def one_at_a_time(
    tag_scores: Float[np.ndarray, "sound tag"],
    set_scores: Float[np.ndarray, "sound set"],
    targets: UInt8[np.ndarray, "sound tag"],
    own_set: Int[np.ndarray, " sound"],
) -> dict[str, float | None]:
    """The four measures by a loop over tags and one over sounds, a ranking each."""
    relevant = targets.astype(bool)
    having = relevant.sum(axis=0)
    counted = np.flatnonzero((having >= retrieval.MINIMUM_SOUNDS) & (having < len(relevant)))
    aucs = [_auc(tag_scores[:, tag], relevant[:, tag]) for tag in counted]
    pairs = [_precision_and_recall(*row) for row in zip(tag_scores, relevant, strict=True)]
    own = np.take_along_axis(set_scores, own_set[:, None], axis=1)
    above, size = (set_scores > own).sum(axis=1), (set_scores == own).sum(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, set_scores.shape[1] + 1))])
    precision, recall = np.mean(pairs, axis=0)
    return {
        "macro_auc": float(np.mean(aucs)) if aucs else None,
        "mrr": float(np.mean((sums[above + size] - sums[above]) / size)),
        "map": float(precision),
        "recall_at_10": float(recall),
    }


def by_a_loop(problem: Problem) -> dict[str, float | None]:
    """`one_at_a_time` of whole matrices of cosines."""
    tag_scores = cosine(problem.sounds, problem.tags)
    set_scores = cosine(problem.sounds, problem.sets)
    _, own_set = retrieval.distinct_sets(problem.targets)
    return one_at_a_time(tag_scores, set_scores, problem.targets, own_set)


def _ties(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    sizes = np.diff(np.append(starts, len(ranked)))
    return order, np.repeat(starts, sizes), np.repeat(sizes, sizes)


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    order, above, size = _ties(scores)
    below = len(scores) - above - size + (size - 1) / 2
    positives = positive.sum()
    wins = below[positive[order]].sum() - positives * (positives - 1) / 2
    return wins / (positives * (len(scores) - positives))


def _precision_and_recall(scores: np.ndarray, relevant: np.ndarray) -> tuple[float, float]:
    order, above, size = _ties(scores)
    found = np.concatenate([[0], np.cumsum(relevant[order])])
    before, within = found[above], found[above + size] - found[above]
    place = np.arange(len(scores))
    inside = (place - above) * (within - 1) / np.maximum(size - 1, 1)
    hit = within / size
    precision = np.sum(hit * (before + 1 + inside) / (place + 1)) / found[-1]
    return precision, hit[: retrieval.CUTOFF].sum() / found[-1]


def seconds_of(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def product_rate() -> float:
    """GFLOP/s of NumPy's float64 products on all cores."""
    from benchmarks.machine_limits import best_seconds  # loads PyTorch

    a, b = np.random.default_rng(0).random((2, _SIDE, _SIDE))
    product = np.empty_like(a)

    def run(count: int) -> None:
        for _ in range(count):
            np.matmul(a, b, out=product)

    return 2 * _SIDE**3 / best_seconds(run) / 1e9


def agree(ours: retrieval.Metrics, loop: dict[str, float | None]) -> float:
    """The largest difference; raises BenchmarkError where it is more than rounding gives."""
    largest = max(abs(ours[name] - value) for name, value in loop.items())
    if largest > 1e-12:
        raise BenchmarkError(f"the loop gives {loop}, and ours {ours}")
    return largest


def benchmark(flags: argparse.Namespace) -> dict[str, Any]:
    before_mb = resident_mb()
    problem = make_problem(flags.sounds)
    began = time.process_time()
    found = problem.measure()  # the first time: of the memory, and NumPy is warm afterwards
    cpu_s = time.process_time() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    subset = make_problem(min(flags.subset, flags.sounds))
    largest = agree(subset.measure(), by_a_loop(subset))
    rounds = []
    for number in range(flags.rounds):
        seconds, rate = seconds_of(problem.measure), product_rate()
        loop_s, ours_s = seconds_of(lambda: by_a_loop(subset)), seconds_of(subset.measure)
        rounds.append((seconds, rate, loop_s, ours_s))
        say(
            f"round {number + 1} of {flags.rounds}: {seconds:.2f} s, products {rate:.0f} GFLOP/s; "
            f"{len(subset.sounds)} sounds by a loop {loop_s:.2f} s, by ours {ours_s:.2f} s"
        )
    seconds, rate, loop_s, ours_s = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_s,  # of all threads; less moved by what else the machine does
        "gflop_per_s": problem.gigaflop / seconds,
        "share_of_product_rate": statistics.median(problem.gigaflop / s / r for s, r, *_ in rounds),
        "product_rate_gflop_s": rate,
        "gigaflop": problem.gigaflop,
        "peak_resident_mb": peak_mb,
        "grown_by_mb": peak_mb - before_mb,
        "metrics": found,
        "subset": {
            "sounds": len(subset.sounds),
            "loop_s": loop_s,
            "ours_s": ours_s,
            "ratio": statistics.median(loop / ours for *_, loop, ours in rounds),
            "largest_difference": largest,
        },
        "seconds_of_rounds": [seconds for seconds, *_ in rounds],
    }


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.retrieval", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--sounds", type=int, default=SOUNDS, help=f"({SOUNDS})")
    parser.add_argument("--subset", type=int, default=4000, help="sounds of the loop (4000)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder ({RESULTS})")
    flags = parser.parse_args(argv)
    if min(flags.sounds, flags.subset) < 100 or flags.rounds < 1:
        parser.error("--sounds and --subset must be at least 100, and --rounds at least 1")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    try:
        figures = benchmark(flags)
    except BenchmarkError as error:
        print(f"retrieval: {error}", file=sys.stderr)
        return 1
    say(
        f"{flags.sounds} sounds x {TAGS} tags took {figures['seconds']:.1f} s "
        f"({figures['cpu_seconds']:.1f} s of a core's time) and {figures['grown_by_mb']:.0f} MB, "
        f"{figures['gflop_per_s']:.0f} GFLOP/s, "
        f"{figures['share_of_product_rate']:.0%} of the rate of products; on a subset "
        f"{figures['subset']['ratio']:.2f} times as fast as a loop"
    )
    finish("retrieval", figures, argv, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
