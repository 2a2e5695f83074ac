"""The probe beside scikit-learn's, at the size of the paper's largest task.

    python -m benchmarks.probe                # about 2 minutes on 2 quiet cores

Ten seeds on the same 20,000 x 1,152 float32 features of ten classes: `MLPClassifier` in a loop and
ours, in turns, a few epochs each without the stopping rule. The median of the rounds counts. Then
both train to the end on a problem that neither solves, and must agree. The figures are written to
benchmarks/results too; the last line is a JSON object.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int64
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.measure import BenchmarkError, say
from benchmarks.result import RESULTS, finish
from coala_jax.evaluation import probe
from coala_jax.evaluation.significance import mean_interval
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.probe"
CLASSES = 10


@dataclass(frozen=True)
class Problem:
    """Standardised features with classes."""

    train: Float32[np.ndarray, "clip dim"]
    classes: Int64[np.ndarray, " clip"]
    test: Float32[np.ndarray, "test_clip dim"]
    test_classes: Int64[np.ndarray, " test_clip"]


def make_problem(clips: int, dimensions: int, test_clips: int) -> Problem:
    """Features as an encoder gives them: correlated, long-tailed; a tenth of clips mislabelled."""
    rng = np.random.default_rng(0)
    causes = rng.standard_normal((40, dimensions), np.float32)
    count = clips + test_clips
    classes = rng.integers(CLASSES, size=count)
    strength = rng.standard_normal((count, 40), np.float32)
    strength += 0.7 * rng.standard_normal((CLASSES, 40), np.float32)[classes]
    features = np.maximum(strength @ causes, 0) + rng.exponential(3, (count, dimensions))
    wrong = rng.random(count) < 0.1
    classes[wrong] = rng.integers(CLASSES, size=int(wrong.sum()))
    features = features.astype(np.float32)
    train, test = probe.standardize(features[:clips], classes[:clips], features[clips:], CLASSES)
    return Problem(train, classes[:clips], test, classes[clips:])


def scikit_learn(problem: Problem, seed: int, epochs: int, patience: int) -> MLPClassifier:
    settings = {"max_iter": epochs, "n_iter_no_change": patience}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped before its end
        model = MLPClassifier(probe.HIDDEN, random_state=seed, **settings)
        return model.fit(problem.train, problem.classes)


def ours(problem: Problem, seeds: Sequence[int], epochs: int) -> None:
    trained = probe.fit(problem.train, problem.classes, seeds, epochs, patience=epochs)
    jax.block_until_ready([one.weights for one in trained])


def seconds_per_epoch(run: Callable[[], Any], seeds: int, epochs: int) -> float:
    """Of one seed; moving the features to the device counts."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / (seeds * epochs)


def speed(problem: Problem, seeds: range, epochs: int, our_epochs: int, rounds: int) -> dict:
    compiled_s = seconds_per_epoch(lambda: ours(problem, seeds, 1), 1, 1)
    say(f"the first epoch of all seeds, with compiling: {compiled_s:.1f} s")
    measured = []
    for number in range(rounds):
        theirs_s = seconds_per_epoch(
            lambda: [scikit_learn(problem, seed, epochs, epochs) for seed in seeds],
            *(len(seeds), epochs),
        )
        ours_s = seconds_per_epoch(lambda: ours(problem, seeds, our_epochs), len(seeds), our_epochs)
        measured.append((theirs_s / ours_s, theirs_s, ours_s))
        say(
            f"round {number + 1} of {rounds}: a seed's epoch takes scikit-learn {theirs_s:.3f} s, "
            f"ours {ours_s:.4f} s"
        )
    ratio, theirs_s, ours_s = (statistics.median(column) for column in zip(*measured, strict=True))
    return {
        "ratio_to_scikit_learn": ratio,
        "scikit_learn_s_per_epoch": theirs_s,
        "ours_s_per_epoch": ours_s,
        "ratio_of_rounds": [one for one, *_ in measured],
    }


def agreement(problem: Problem, seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    """Both trained to the end; raises BenchmarkError where their intervals do not overlap."""
    trained = [scikit_learn(problem, seed, epochs, probe.PATIENCE) for seed in seeds]
    theirs = np.stack([model.predict(problem.test) for model in trained])
    data = problem.train, problem.classes, problem.test
    found = probe.mlp(*data, CLASSES, seeds, max_epochs=epochs)
    accuracy = {
        name: mean_interval((predicted == problem.test_classes).mean(axis=1))
        for name, predicted in (("scikit_learn", theirs), ("ours", found))
    }
    (_, low, high), (_, our_low, our_high) = accuracy.values()
    if low > our_high or our_low > high:
        raise BenchmarkError(f"the accuracies, mean with interval, do not agree: {accuracy}")
    return {"accuracy": accuracy, "same_predictions": float((found == theirs).mean())}


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--seeds", type=at_least(1), default=10, help="trainings at a time (%(default)s)"
    )
    parser.add_argument(
        "--epochs", type=at_least(1), default=3, help="epochs of scikit-learn's (%(default)s)"
    )
    parser.add_argument(
        "--our_epochs", type=at_least(0), default=0, help="epochs of ours (0: 3 on a CPU, else 50)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=3, help="rounds, whose median counts (%(default)s)"
    )
    parser.add_argument(
        "--clips", type=at_least(1), default=20_000, help="training clips (%(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="folder of the results (benchmarks/results)",
    )
    return parser


def measure(flags: argparse.Namespace, argv: Sequence[str]) -> None:
    """Measures, and prints and writes the figures."""
    our_epochs = flags.our_epochs or (3 if jax.default_backend() == "cpu" else 50)
    seeds = range(flags.seeds)
    problem = make_problem(flags.clips, dimensions=1152, test_clips=1)
    figures = speed(problem, seeds, flags.epochs, our_epochs, flags.rounds)
    hard = make_problem(clips=1000, dimensions=64, test_clips=2000)
    figures |= agreement(hard, seeds, probe.MAX_EPOCHS)
    say(
        f"{figures['ratio_to_scikit_learn']:.2f} times as fast as scikit-learn; "
        f"{figures['same_predictions']:.2%} of the predictions the same"
    )
    figures |= {"seeds": flags.seeds, "clips": flags.clips}
    finish("probe", figures | {"scikit_learn": version("scikit-learn")}, argv, flags.out)


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    return run(PROGRAM, lambda: measure(flags, argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
