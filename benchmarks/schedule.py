"""The paper's whole schedule of AE-C, end to end, and where its minutes go.

    python -m benchmarks.schedule --out DIR                     # for an accelerator: 200 epochs
    python -m benchmarks.schedule --out DIR --patches 1000 --epochs 2 --validation 200 \\
        --set model.filters=16                                  # a minute on a CPU

Reading, training, validation losses after each epoch, evaluation (tag retrieval and samples) every
`eval.every_epochs` epochs and after the last, and checkpoints, as `coala_jax.main` runs them, on
random patches (written first, which does not count) or on those of --dataset. All epochs are run,
none is extrapolated; the report that `coala_jax.main` makes once at its end is not in it. Stopped
at any moment, the same command goes on from the last checkpoint. With --seeds, as many runs in
float32, of --seed_epochs epochs, say whether the losses of this one lie where those of another
float32 run would. The last line is a JSON object.
"""

import argparse
import ast
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from benchmarks.measure import BenchmarkError, say
from coala_jax.data.schema import Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.default_config import PATCH_DTYPES, PRECISIONS, get_config, validate

PAPER_PATCHES, PAPER_VALIDATION, PAPER_EPOCHS = 170_906, 18_990, 200
TAGS = 1000
_COMPILING = "/jax/core/compile/backend_compile_duration"  # JAX's name of that event

# By what JAX calls the device: products in bfloat16, FLOP a second; memory, bytes a second.
PEAKS = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12), "TPU v5 lite": (197e12, 819e9)}


def find_dataset(flags: argparse.Namespace) -> tuple[Path, float]:
    """The dataset to train on, written if need be, and the seconds that this took.

    Raises:
        BenchmarkError: it cannot be written, or one of another size is there.
    """
    if flags.dataset is not None:
        return flags.dataset, 0.0
    dataset, wanted = (
        flags.out / "dataset",
        {"train": flags.patches, "validation": flags.validation},
    )
    if dataset.exists():
        found = Manifest.load(dataset).counts
        if found != wanted:
            raise BenchmarkError(f"{dataset}: it holds {found}, not {wanted}; give another --out")
        return dataset, 0.0
    from benchmarks.random_dataset import write_random_dataset

    began = time.perf_counter()
    write_random_dataset(dataset, flags.patches, flags.validation, TAGS)
    return dataset, time.perf_counter() - began


def make_config(flags: argparse.Namespace, dataset: Path) -> ConfigDict:
    """Raises ValueError when a setting does not exist or cannot be."""
    config = get_config()
    config.data.path = str(dataset)
    config.precision = flags.precision
    config.data.patch_dtype = flags.patch_dtype
    config.train.epochs = flags.epochs
    for setting in flags.set:
        key, _, value = setting.partition("=")
        try:
            config.update_from_flattened_dict({key: _value(value)})
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"--set {setting}: config.{key} cannot be set ({error})") from error
    validate(config)
    return config


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def train(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains to the end of the schedule; seconds by what they went to."""
    began = time.perf_counter()
    # JAX takes a second to import, which is part of what is timed.
    import jax

    from coala_jax.main import make_evaluate_fn, validation_sounds
    from coala_jax.training import loop, metric_writer

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Of its own, so that the first start compiles, and the next ones find what it compiled.
        jax.config.update("jax_compilation_cache_dir", str(workdir.parent / "compiled"))
    compiling: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == _COMPILING:
            compiling.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    before = metric_writer.read(workdir) if (workdir / metric_writer.METRICS).exists() else []
    try:
        evaluate_fn = make_evaluate_fn(config, validation_sounds(config))
        loop.train_and_evaluate(config, workdir, evaluate_fn)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    wall_s = time.perf_counter() - began
    memory = jax.devices()[0].memory_stats() or {}
    return {
        **split_time(metric_writer.read(workdir), before, wall_s),
        "compile_s": sum(compiling),
        "peak_device_memory_mb": memory.get("peak_bytes_in_use", 0) / 1e6 or None,
    }


def split_time(
    entries: list[dict[str, Any]], before: list[dict[str, Any]], wall_s: float
) -> dict[str, Any]:
    """Seconds of all epochs by what they went to, from the entries of metrics.jsonl.

    before: the entries of earlier starts, whose own start-up nobody has written down.
    wall_s: of this start. What its epochs leave of it is start-up, and the last epoch's validation
        losses and checkpoint, which no entry holds.
    """

    def total(name: str, entries: list[dict[str, Any]]) -> float:
        return sum(entry.get(name, 0.0) for entry in entries)

    parts = ("seconds", "validation_seconds", "evaluation_seconds", "checkpoint_seconds")
    evaluations = [e["evaluation_seconds"] for e in entries if "evaluation_seconds" in e]
    rates = [entry["patches_per_second"] for entry in entries if entry["kind"] == "train"]
    own = [entry for entry in entries if entry not in before]
    rest_s = wall_s - sum(total(part, own) for part in parts)
    steps_s, validation_s, evaluation_s, checkpoint_s = (total(part, entries) for part in parts)
    return {
        "total_s": steps_s + validation_s + evaluation_s + checkpoint_s + rest_s,
        "steps_s": steps_s,
        "input_s": total("input_seconds", entries),  # within the steps: waiting for patches
        "validation_s": validation_s,
        "evaluation_s": evaluation_s,
        "evaluations": len(evaluations),
        "median_evaluation_s": statistics.median(evaluations),  # the first one compiles as well
        "checkpoint_s": checkpoint_s,
        "start_up_and_end_s": rest_s,
        "patches_per_second_of_median_epoch": statistics.median(rates),
        "went_on": bool(before),
    }


def limits(device_kind: str, example_flop: float, examples: int) -> dict[str, float]:
    """Minutes that the schedule would take at the device's peaks; nothing for one unknown here."""
    from benchmarks.communication import EXAMPLE_BYTES

    for name, (flops, memory) in PEAKS.items():
        if name in device_kind:
            return {
                "minutes_at_peak_flop": examples * example_flop / flops / 60,
                "minutes_at_peak_memory": examples * EXAMPLE_BYTES / memory / 60,
            }
    return {}


def run_seeds(config: ConfigDict, flags: argparse.Namespace) -> dict[str, Any]:
    """Float32 runs of other seeds, and where the run of this config lies among them."""
    from benchmarks.loss_spread import compare
    from coala_jax.training import loop, metric_writer

    seeds = []
    for seed in range(1, flags.seeds + 1):
        exact = config.copy_and_resolve_references()
        exact.seed, exact.precision, exact.data.patch_dtype = seed, "float32", "float32"
        exact.train.epochs = flags.seed_epochs
        workdir = flags.out / f"seed-{seed}"
        loop.train_and_evaluate(exact, workdir)
        seeds.append(metric_writer.read(workdir))
    return compare(metric_writer.read(flags.out / "run"), seeds, flags.seed_epochs)


def benchmark(flags: argparse.Namespace) -> dict[str, Any]:
    dataset, written_s = find_dataset(flags)
    if written_s:
        say(f"writing {flags.patches + flags.validation} patches took {written_s:.0f} s")
    config = make_config(flags, dataset)
    counts = Manifest.load(dataset).counts
    figures = train(config, flags.out / "run")
    import jax

    from benchmarks.step_shapes import step_flop

    examples = counts["train"] * config.train.epochs
    flop = step_flop(config, len(Manifest.load(dataset).vocabulary))
    figures |= {
        "minutes": figures["total_s"] / 60,
        "patches_per_second": examples / figures["steps_s"],
        "tflop_per_second": examples * flop / figures["steps_s"] / 1e12,
        **limits(jax.devices()[0].device_kind, flop, examples),
        "counts": counts,
        "epochs": config.train.epochs,
        "precision": config.precision,
        "patch_dtype": config.data.patch_dtype,
        "dataset_written_s": written_s,
    }
    if flags.seeds:
        figures["losses_beside_float32"] = run_seeds(config, flags)
    return figures


def say_result(figures: dict[str, Any]) -> None:
    say(
        f"{figures['counts']['train']} patches x {figures['epochs']} epochs took "
        f"{figures['minutes']:.2f} minutes; in the steps {figures['patches_per_second']:.0f} "
        f"patches/s ({figures['patches_per_second_of_median_epoch']:.0f} in the median epoch) and "
        f"{figures['tflop_per_second']:.3g} TFLOP/s"
    )
    names = {
        "steps_s": "steps",
        "validation_s": "validation losses",
        "evaluation_s": "evaluation",
        "checkpoint_s": "checkpoints",
        "start_up_and_end_s": "start-up and end",
    }
    parts = ", ".join(f"{text} {figures[name] / 60:.2f}" for name, text in names.items())
    say(
        f"minutes: {parts}; within these, compiling {figures['compile_s'] / 60:.2f} and waiting "
        f"for patches {figures['input_s'] / 60:.2f}"
    )
    say(
        f"{figures['evaluations']} evaluations on {figures['counts']['validation']} sounds, the "
        f"median one {figures['median_evaluation_s']:.1f} s"
    )
    if "minutes_at_peak_flop" in figures:
        flop, memory = figures["minutes_at_peak_flop"], figures["minutes_at_peak_memory"]
        say(
            f"the device's peaks allow {flop:.2f} minutes (products) and {memory:.2f} (memory); "
            f"the whole took {figures['minutes'] / max(flop, memory):.1f} times the larger"
        )
    else:
        say(f"the peaks of this device are not known here; those of {', '.join(PEAKS)} are")
    for name, loss in figures.get("losses_beside_float32", {}).items():
        low, high = loss["expected"]
        verdict = "within" if loss["within"] else "OUTSIDE"
        say(f"{name}: {loss['fast']:.5g}, {verdict} {low:.5g} to {high:.5g} of float32 runs")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.schedule", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder for dataset and run")
    parser.add_argument("--dataset", type=Path, help="default: a random one in --out")
    parser.add_argument("--patches", type=int, default=PAPER_PATCHES, help="of the random one")
    parser.add_argument("--validation", type=int, default=PAPER_VALIDATION, help="likewise")
    parser.add_argument("--epochs", type=int, default=PAPER_EPOCHS)
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    parser.add_argument("--patch_dtype", choices=PATCH_DTYPES, default="uint8")
    parser.add_argument("--seeds", type=int, default=0, help="float32 runs beside it (0: none)")
    parser.add_argument("--seed_epochs", type=int, default=2, help="of each of them (2)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], help="KEY=VALUE of the config"
    )
    flags = parser.parse_args(argv)
    if flags.seeds and not (flags.seeds > 1 and 0 < flags.seed_epochs <= flags.epochs):
        parser.error("--seeds must be 0 or at least 2, and --seed_epochs at most --epochs")
    if min(flags.patches, flags.validation) < 2:
        parser.error("--patches and --validation must be at least 2")
    flags.out = flags.out.resolve()
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    logging.set_verbosity(logging.WARNING)  # Orbax tells thirty lines a checkpoint
    try:
        figures = benchmark(flags)
    except (BenchmarkError, DatasetError, ValueError, RuntimeError, OSError) as error:
        print(f"schedule: {error}", file=sys.stderr)
        return 1
    except ImportError as error:  # TensorFlow Datasets asks for a dozen packages, when it is used
        print(f"schedule: {error}; pip install -r requirements.txt", file=sys.stderr)
        return 1
    say_result(figures)
    from benchmarks.result import finish

    finish("schedule", figures, argv, flags.out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("schedule: interrupted; the same command goes on from the last checkpoint")
