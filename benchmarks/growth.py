"""How the cost of a patch and the memory grow with the dataset and with the batch.

    python -m benchmarks.growth               # about 7 minutes on 2 quiet cores

AE-C trains at the paper's sizes on random bytes that lie on the device as uint8: 1,000, 10,000 and
170,906 patches in batches of 128, and 10,000 patches in batches up to 1024. All take turns, and the
median of the rounds counts. Peak memory is that of one process for each, which trains a few steps
and finds them compiled. The figures go to benchmarks/results too; the last line is a JSON object.
"""

import argparse
import dataclasses
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8
from ml_collections import ConfigDict

from benchmarks.measure import BenchmarkError, measure, say
from benchmarks.result import RESULTS, finish
from coala_jax.data.input_pipeline import Examples
from coala_jax.data.schema import PATCH_SHAPE
from coala_jax.default_config import PRECISIONS, get_config
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps

TAGS = 1000
PAPER_PATCHES = 170_906
_TAG_SHARE = 10 / TAGS  # of its tags that a sound has


@dataclasses.dataclass(frozen=True)
class Point:
    """A dataset and a batch to train with."""

    examples: int
    batch: int


POINTS = tuple(Point(examples, 128) for examples in (1_000, 10_000, PAPER_PATCHES)) + tuple(
    Point(10_000, batch) for batch in (256, 512, 1024)
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is timed at once: calls of the device, each with so many steps."""

    calls: int
    steps: int

    @classmethod
    def of(cls, point: Point, patches: int, steps_per_call: int) -> "Plan":
        """As many patches at every point, as far as whole calls allow."""
        return cls(max(1, patches // (point.batch * steps_per_call)), steps_per_call)

    def patches(self, point: Point) -> int:
        return self.calls * self.steps * point.batch


class Training:
    """A config's training on the first device, as a run does it, with data that lie there."""

    def __init__(self, settings: ConfigDict, tags: int) -> None:
        self._devices = tuple(jax.devices()[:1])
        product = jnp.dtype(settings.precision)
        model = build_model(
            settings.case, settings.model, tags, parallel.AXIS, product_dtype=product
        )
        optimizer = steps.make_optimizer(settings.optimizer)
        self._steps = parallel.map_steps(
            functools.partial(
                steps.train_steps, model=model, optimizer=optimizer, loss=settings.loss
            ),
            self._devices,
            shared_data=True,
        )
        state = steps.initial_state(model, optimizer, settings.seed)
        self.state = parallel.place_state(state, self._devices)
        self._rng = np.random.default_rng(0)

    def place(self, examples: Examples) -> dict[str, UInt8[Array, "example ..."]]:
        return jax.block_until_ready(parallel.place_data(examples, self._devices, shared=True))

    def seconds(self, data: dict[str, Array], batch: int, plan: Plan) -> float:
        """Time that these steps take on examples drawn at random."""
        calls = [self._draw(data, batch, plan.steps) for _ in range(plan.calls)]
        jax.block_until_ready(self.state)
        began = time.perf_counter()
        for numbers in calls:
            self.state, pairs = self._steps(self.state, data, numbers)
        jax.block_until_ready(pairs)
        seconds = time.perf_counter() - began
        if not np.isfinite(np.asarray(pairs["loss"][0])).all():
            raise BenchmarkError("the loss is no longer a number; these times mean nothing")
        return seconds

    def _draw(self, data: dict[str, Array], batch: int, count: int) -> Int32[np.ndarray, "1 _ _"]:
        drawn = self._rng.integers(len(data["tags"]), size=(count, batch), dtype=np.int32)
        return parallel.split_steps(drawn, self._devices)


def random_examples(count: int, tags: int) -> Examples:
    """Random bytes as patches, and about ten tags each of a thousand."""
    rng = np.random.default_rng(0)
    patches = rng.integers(256, size=(count, *PATCH_SHAPE), dtype=np.uint8)
    drawn = np.empty((count, tags), np.uint8)
    for row in drawn:  # a row at a time, to hold no numbers beside the tags
        row[:] = rng.random(tags, np.float32) < _TAG_SHARE
    return Examples(patches=patches, tags=drawn)


def in_turn(training: Training, plans: dict[Point, Plan], rounds: int) -> dict[Point, list[float]]:
    """Seconds a patch at each point, round by round; every second round in the other order."""
    data = {}
    for examples in sorted({point.examples for point in plans}):
        data[examples] = training.place(random_examples(examples, TAGS))
    for point, plan in plans.items():
        first = training.seconds(data[point.examples], point.batch, Plan(1, plan.steps))
        say(f"{point.examples} patches, batch {point.batch}: first call {first:.1f} s")
    seconds: dict[Point, list[float]] = {point: [] for point in plans}
    for number in range(rounds):
        for point in sorted(plans, key=list(plans).index, reverse=number % 2 == 1):
            took = training.seconds(data[point.examples], point.batch, plans[point])
            seconds[point].append(took / plans[point].patches(point))
        latest = ", ".join(f"{1e3 * seconds[point][-1]:.3g}" for point in plans)
        say(f"round {number + 1} of {rounds}: {latest} ms a patch")
    return seconds


def peak_memory_mb(point: Point, plan: Plan, precision: str, cache: str) -> dict[str, float]:
    """Of a process that trains at this point alone: its own, and the device's if it has any."""
    log = Path(cache) / "log.txt"
    asked = [point.examples, point.batch, plan.steps]
    command = ["-m", "benchmarks.growth", "--precision", precision, "--alone", *map(str, asked)]
    run = measure([sys.executable, *command, cache], log)
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    device = json.loads([line for line in said if line.startswith("{")][-1])
    return {"process_mb": run.peak_mb, **device}


def train_alone(point: Point, plan: Plan, settings: ConfigDict) -> dict[str, float]:
    """One call at one point; the peak memory of an accelerator in MB."""
    training = Training(settings, TAGS)
    data = training.place(random_examples(point.examples, TAGS))
    training.seconds(data, point.batch, Plan(1, plan.steps))
    known = jax.devices()[0].memory_stats()
    return {"device_mb": known["peak_bytes_in_use"] / 1e6} if known else {}


def summary(
    seconds: dict[Point, list[float]], memory: dict[Point, dict[str, float]]
) -> dict[str, Any]:
    """The table, and by how much a patch costs more or less at its ends."""
    medians = {point: statistics.median(rounds) for point, rounds in seconds.items()}
    small, large = Point(1_000, 128), Point(PAPER_PATCHES, 128)
    thin, thick = Point(10_000, 128), Point(10_000, 1024)
    return {
        "time_per_patch_170906_over_1000": medians[large] / medians[small],
        "time_per_patch_batch_1024_over_128": medians[thick] / medians[thin],
        "points": [
            {
                **dataclasses.asdict(point),
                "ms_per_patch": 1e3 * medians[point],
                "ms_per_patch_of_rounds": [1e3 * value for value in seconds[point]],
                "patches_per_second": 1 / medians[point],
                **memory[point],
            }
            for point in seconds
        ],
    }


def say_result(figures: dict[str, Any]) -> None:
    say("patches | batch | ms a patch | patches/s | peak memory MB")
    for entry in figures["points"]:
        peaks = [
            f"{entry[name]:.0f} ({name.removesuffix('_mb')})" for name in entry if "_mb" in name
        ]
        say(
            f"{entry['examples']} | {entry['batch']} | {entry['ms_per_patch']:.3f} | "
            f"{entry['patches_per_second']:.0f} | {', '.join(peaks)}"
        )
    say(
        f"a patch of {PAPER_PATCHES} costs {figures['time_per_patch_170906_over_1000']:.2f} times "
        f"one of 1,000; one of a batch of 1024 {figures['time_per_patch_batch_1024_over_128']:.2f} "
        "times one of 128"
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--precision", choices=PRECISIONS, help="float32; bfloat16 elsewhere")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--steps", type=int, default=0, help="in a call; 0: 2 on a CPU, else 64")
    parser.add_argument("--patches", type=int, default=0, help="timed at once; 0: 512, else 65536")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder ({RESULTS})")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)  # a process for its memory
    flags = parser.parse_args(argv)
    if flags.rounds < 1 or min(flags.steps, flags.patches) < 0:
        parser.error("--rounds must be at least 1, --steps and --patches at least 0")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    # Else an accelerator's memory is taken whole by the first process.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    quick = jax.default_backend() != "cpu"
    settings = get_config()
    settings.precision = flags.precision or ("bfloat16" if quick else "float32")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if flags.alone:
        examples, batch, count = map(int, flags.alone[:3])
        jax.config.update("jax_compilation_cache_dir", flags.alone[3])
        print(json.dumps(train_alone(Point(examples, batch), Plan(2, count), settings)))
        return 0
    per_call = flags.steps or (64 if quick else 2)
    patches = flags.patches or (65_536 if quick else 512)
    plans = {point: Plan.of(point, patches, per_call) for point in POINTS}
    try:
        with tempfile.TemporaryDirectory(prefix="coala-growth-") as cache:
            jax.config.update("jax_compilation_cache_dir", cache)
            seconds = in_turn(Training(settings, TAGS), plans, flags.rounds)
            memory = {
                point: peak_memory_mb(point, plan, settings.precision, cache)
                for point, plan in plans.items()
            }
    except (BenchmarkError, OSError) as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    figures = {"precision": settings.precision, "steps_per_call": per_call}
    figures |= summary(seconds, memory)
    say_result(figures)
    finish("growth", figures, argv, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
