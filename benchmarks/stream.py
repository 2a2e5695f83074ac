"""How many patches a second come from disk ahead of use, and how many a training step needs.

    python -m benchmarks.stream               # about a minute on 2 quiet cores

`training.feed` streams batches of 128 with no step attached, so that nothing else keeps the
processor busy; beside it, what AE-C at the paper's sizes needs on this device, and what one H100
would at 5 minutes for the whole schedule. The shards are random ones unless --dataset names some;
they come from the system's cache of the disk. The figures go to benchmarks/results too; the last
line is a JSON object.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.growth import PAPER_PATCHES, TAGS, Plan, Training, random_examples
from benchmarks.measure import BenchmarkError, say
from benchmarks.random_dataset import write_random_dataset
from benchmarks.result import RESULTS, finish
from coala_jax.data import input_pipeline
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Manifest, parse_example
from coala_jax.data.tfrecord import DatasetError, Shard
from coala_jax.default_config import PATCH_DTYPES, get_config
from coala_jax.training import parallel
from coala_jax.training.step_blocks import STEPS_PER_CALL, make_input_pipelines
from coala_jax.training.timers import Timers

BATCH = 128
H100_EPOCHS, H100_SECONDS = 200, 300.0
_ROUNDS = 3
_STEPS_TIMED = 3


def streamed_per_second(dataset: Path, patch_dtype: str) -> list[float]:
    """Patches a second of whole epochs, from the first call asked for to the last one placed."""
    config = get_config()
    config.data.placement, config.data.patch_dtype = "host", patch_dtype
    splits = (SplitReader(dataset, split) for split in ("train", "validation"))
    feed, _ = make_input_pipelines(config, *splits, jax.devices()[:1])
    rates = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        with closing(feed.blocks(0, 1)) as calls:
            for call in calls:
                jax.block_until_ready(call.data)
        rates.append(len(feed.split) / (time.perf_counter() - began))
    return rates


def stages(dataset: Path, patch_dtype: str) -> dict[str, float]:
    """Microseconds a patch of each stage by itself, in one thread, a batch at a time."""
    manifest = Manifest.load(dataset)
    split = SplitReader(dataset, "train", manifest)
    shards = [Shard(dataset / s["file"], s["records"]) for s in manifest.shards["train"]]
    places = [(shard, record) for shard in shards for record in range(len(shard))]
    order = np.random.default_rng(0).permutation(len(places))
    timers = Timers()
    for batch in np.split(order[: len(order) // BATCH * BATCH], len(order) // BATCH):
        with timers.timing("read"):
            records = [places[number][0].read(places[number][1]) for number in batch]
        with timers.timing("parse"):
            for record in records:
                parse_example(record).check(split.vocabulary_size)
        with timers.timing("load"):
            examples = input_pipeline.load(split, batch, jnp.dtype(patch_dtype))
        with timers.timing("place"):
            jax.block_until_ready(parallel.place_data(examples, jax.devices()[:1], shared=True))
    each = 1e6 / (len(order) // BATCH * BATCH)
    took = {name: each * seconds for name, seconds in timers.read().items()}
    return {
        "read_and_checksum_us": took["read"],
        "parse_us": took["parse"],
        "cast_and_copy_us": max(0.0, took["load"] - took["read"] - took["parse"]),
        "to_device_us": took["place"],
    }


def needed_per_second(steps_per_call: int, precision: str) -> float:
    """Patches a second that a step takes here, resident ones, so that it waits for nothing."""
    settings = get_config()
    settings.precision = precision
    training = Training(settings, TAGS)
    data = training.place(random_examples(1_000, TAGS))
    training.seconds(data, BATCH, Plan(1, steps_per_call))
    plan = Plan(1, steps_per_call)
    seconds = [training.seconds(data, BATCH, plan) for _ in range(_STEPS_TIMED)]
    return BATCH * steps_per_call / statistics.median(seconds)


def benchmark(flags: argparse.Namespace, dataset: Path) -> dict[str, Any]:
    on_cpu = jax.default_backend() == "cpu"
    steps_per_call = STEPS_PER_CALL[on_cpu]
    precision = "float32" if on_cpu else "bfloat16"
    by_dtype = {}
    for patch_dtype in flags.patch_dtypes:
        rates = streamed_per_second(dataset, patch_dtype)
        by_dtype[patch_dtype] = {
            "patches_per_second": statistics.median(rates),
            "patches_per_second_of_rounds": rates,
            **stages(dataset, patch_dtype),
        }
        say(f"{patch_dtype}: {statistics.median(rates):.0f} patches/s streamed")
    needed = needed_per_second(steps_per_call, precision)
    slowest = min(entry["patches_per_second"] for entry in by_dtype.values())
    on_h100 = PAPER_PATCHES * H100_EPOCHS / H100_SECONDS
    return {
        "patches": Manifest.load(dataset).counts["train"],
        "by_patch_dtype": by_dtype,
        "step_needs_patches_per_second": needed,
        "step_precision": precision,
        "steps_per_call": steps_per_call,
        "stream_over_need": slowest / needed,
        "h100_in_5_minutes_needs_patches_per_second": on_h100,
        "stream_over_need_of_h100": slowest / on_h100,
    }


def say_result(figures: dict[str, Any]) -> None:
    for patch_dtype, entry in figures["by_patch_dtype"].items():
        parts = {name: entry[name] for name in entry if name.endswith("_us")}
        whole = sum(parts.values())
        shares = ", ".join(
            f"{name.removesuffix('_us').replace('_', ' ')} {part:.0f} us ({part / whole:.0%})"
            for name, part in parts.items()
        )
        say(f"{patch_dtype}, a patch: {shares}")
    say(
        f"a step here needs {figures['step_needs_patches_per_second']:.0f} patches/s; the stream "
        f"gives {figures['stream_over_need']:.1f} times that, and "
        f"{figures['stream_over_need_of_h100']:.2f} times what an H100 needs for the schedule in "
        f"5 minutes ({figures['h100_in_5_minutes_needs_patches_per_second']:.0f} patches/s)"
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.stream", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dataset", type=Path, help="default: a random one, deleted at the end")
    parser.add_argument("--patches", type=int, default=4000, help="of the random one (4000)")
    parser.add_argument(
        "--patch_dtypes", nargs="+", choices=PATCH_DTYPES, default=["float32", "uint8"]
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder ({RESULTS})")
    flags = parser.parse_args(argv)
    if flags.patches < BATCH:
        parser.error(f"--patches must be at least {BATCH}, one batch")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="coala-stream-") as folder:
            dataset = flags.dataset
            if dataset is None:
                dataset = Path(folder) / "dataset"
                write_random_dataset(dataset, flags.patches, validation=2, tags=TAGS)
            figures = benchmark(flags, dataset)
    except (BenchmarkError, DatasetError, OSError) as error:
        print(f"stream: {error}", file=sys.stderr)
        return 1
    except ImportError as error:  # TensorFlow Datasets asks for a dozen packages, when it is used
        print(f"stream: {error}; pip install -r requirements.txt", file=sys.stderr)
        return 1
    say_result(figures)
    finish("stream", figures, argv, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
