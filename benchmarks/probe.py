"""The probe beside scikit-learn's, at the size of the paper's largest task.

    python -m benchmarks.probe                # about 2 minutes on 2 quiet cores

Ten seeds on the same 20,000 x 1,152 float32 features of ten classes: `MLPClassifier` in a loop, and
ours, in turns, a few epochs each without the stopping rule; beside them the machine's rate of
matrix products. The median of the rounds counts. Then both train to their end on a problem that
neither solves, and must agree. The figures go to benchmarks/results too; the last line is a JSON
object.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
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

CLASSES = 10


@dataclass(frozen=True)
class Problem:
    """Standardised features with classes."""

    train: Float32[np.ndarray, "clip dim"]
    classes: Int64[np.ndarray, " clip"]
    test: Float32[np.ndarray, "test_clip dim"]
    test_classes: Int64[np.ndarray, " test_clip"]


@dataclass(frozen=True)
class Round:
    """Seconds of a seed's epoch, and GFLOP/s of products, measured one after the other."""

    scikit_learn_s: float
    ours_s: float
    product_rate: float


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


def scikit_learn_seconds(problem: Problem, seeds: Sequence[int], epochs: int) -> float:
    """Of a seed's epoch."""
    began = time.perf_counter()
    for seed in seeds:
        scikit_learn(problem, seed, epochs, patience=epochs)
    return (time.perf_counter() - began) / (len(seeds) * epochs)


def our_seconds(problem: Problem, seeds: Sequence[int], epochs: int) -> float:
    """Of a seed's epoch; the features' way to the device is in it, compiling is not."""
    targets = np.eye(CLASSES, dtype=np.float32)[problem.classes]
    began = time.perf_counter()
    trained = probe.fit(problem.train, targets, seeds, epochs, patience=epochs)
    jax.block_until_ready([one.weights for one in trained])
    return (time.perf_counter() - began) / (len(seeds) * epochs)


def gigaflop(problem: Problem) -> float:
    """Of the products of a seed's epoch: two with the features, three with the output layer."""
    clips, dimensions = problem.train.shape
    return clips * probe.HIDDEN * (4 * dimensions + 6 * CLASSES) / 1e9


def in_turns(
    problem: Problem, seeds: Sequence[int], epochs: dict[str, int], rounds: int
) -> list[Round]:
    from benchmarks.machine_limits import product_rates  # loads PyTorch

    say(f"ours, with what it compiles: {our_seconds(problem, seeds, 1):.3f} s")
    measured = []
    for number in range(rounds):
        measured.append(
            Round(
                scikit_learn_seconds(problem, seeds, epochs["scikit_learn"]),
                our_seconds(problem, seeds, epochs["ours"]),
                max(product_rates("float32").values()),
            )
        )
        last = measured[-1]
        say(
            f"round {number + 1} of {rounds}: scikit-learn {last.scikit_learn_s:.3f} s a seed's "
            f"epoch, ours {last.ours_s:.4f} s, products {last.product_rate:.0f} GFLOP/s"
        )
    return measured


def summary(rounds: Sequence[Round], gigaflop: float) -> dict[str, Any]:
    ratios = [one.scikit_learn_s / one.ours_s for one in rounds]
    shares = [gigaflop / one.ours_s / one.product_rate for one in rounds]
    return {
        "ratio_to_scikit_learn": statistics.median(ratios),
        "share_of_product_rate": statistics.median(shares),
        "scikit_learn_s_per_epoch": statistics.median(one.scikit_learn_s for one in rounds),
        "ours_s_per_epoch": statistics.median(one.ours_s for one in rounds),
        "product_rate_gflop_s": statistics.median(one.product_rate for one in rounds),
        "gigaflop_per_epoch": gigaflop,
        "ratio_of_rounds": ratios,
        "share_of_rounds": shares,
    }


def agreement(problem: Problem, seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    """Both trained to their end; raises BenchmarkError where their intervals do not meet."""
    theirs = np.stack(
        [
            scikit_learn(problem, seed, epochs, probe.PATIENCE).predict(problem.test)
            for seed in seeds
        ]
    )
    ours = probe.mlp(
        problem.train, problem.classes, problem.test, CLASSES, seeds, max_epochs=epochs
    )
    found = {
        name: mean_interval((predicted == problem.test_classes).mean(axis=1))
        for name, predicted in (("scikit_learn", theirs), ("ours", ours))
    }
    (_, low, high), (_, our_low, our_high) = found.values()
    if low > our_high or our_low > high:
        raise BenchmarkError(f"the accuracies, with their intervals, do not agree: {found}")
    return {
        "accuracy": {
            name: dict(zip(("mean", "low", "high"), interval, strict=True))
            for name, interval in found.items()
        },
        "same_predictions": float((ours == theirs).mean()),
    }


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.probe", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=10, help="(10)")
    parser.add_argument("--epochs", type=int, default=3, help="of scikit-learn's seeds (3)")
    parser.add_argument("--our-epochs", type=int, default=0, help="0: 3 on a CPU, else 50")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--clips", type=int, default=20_000, help="(20000)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder ({RESULTS})")
    flags = parser.parse_args(argv)
    if min(flags.seeds, flags.epochs, flags.rounds, flags.clips) < 1 or flags.our_epochs < 0:
        parser.error("--seeds, --epochs, --rounds and --clips must be at least 1")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    quick = jax.default_backend() != "cpu"
    epochs = {"scikit_learn": flags.epochs, "ours": flags.our_epochs or (50 if quick else 3)}
    seeds = range(flags.seeds)
    try:
        problem = make_problem(flags.clips, dimensions=1152, test_clips=1)
        figures = summary(in_turns(problem, seeds, epochs, flags.rounds), gigaflop(problem))
        hard = make_problem(clips=1000, dimensions=64, test_clips=2000)
        figures |= agreement(hard, seeds, probe.MAX_EPOCHS)
    except BenchmarkError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 1
    accuracies = {name: f"{found['mean']:.4f}" for name, found in figures["accuracy"].items()}
    say(
        f"{figures['ratio_to_scikit_learn']:.2f} times as fast as scikit-learn, at "
        f"{figures['share_of_product_rate']:.0%} of the rate of products; accuracies {accuracies}, "
        f"{figures['same_predictions']:.2%} of the predictions the same"
    )
    figures |= {"seeds": flags.seeds, "clips": flags.clips, "epochs": epochs}
    finish("probe", figures | {"scikit_learn": version("scikit-learn")}, argv, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
