"""The paper's whole schedule of AE-C, end to end, and where its minutes go.

    python -m benchmarks.schedule --out=schedule                # for an accelerator: 200 epochs
    python -m benchmarks.schedule --out=schedule --patches=1000 --epochs=2 --validation=200 \\
        --set model.filters=16                                  # a minute on a CPU

Reading, training, validation, evaluation (tag retrieval, samples) and checkpoints run as in
`coala_jax.main`, on random patches (written first, which does not count) or those of --data.
With `--set data.placement=host` patches are streamed from disk; `input_s` is the time that steps
wait for them. Stopped at any moment, the same command goes on from the last checkpoint. The last
line is a JSON object, also written to --out.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import BenchmarkError, say
from benchmarks.result import finish
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.schedule"
PAPER_PATCHES, PAPER_VALIDATION, PAPER_EPOCHS = 170_906, 18_990, 200
TAGS = 1000
_COMPILING = "/jax/core/compile/backend_compile_duration"  # JAX's name of that event

# By what JAX calls the device: products in bfloat16, FLOP a second; memory, bytes a second.
PEAKS = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12), "TPU v5 lite": (197e12, 819e9)}
EXAMPLE_BYTES = 14e6  # of AE-C: moved by batch norm, ReLU and dropout, in bfloat16


def find_dataset(flags: argparse.Namespace) -> tuple[Path, float]:
    """The dataset to train on, written if need be, and the seconds that took.

    Raises:
        BenchmarkError: there is one of another size.
    """
    from benchmarks.random_dataset import write_random_dataset
    from coala_jax.data.schema import Manifest

    if flags.data is not None:
        return flags.data, 0.0
    dataset, wanted = (
        flags.out / "dataset",
        {"train": flags.patches, "validation": flags.validation},
    )
    if dataset.exists():
        if (found := Manifest.load(dataset).counts) != wanted:
            raise BenchmarkError(f"{dataset}: it holds {found}, not {wanted}. Fix: another --out")
        return dataset, 0.0
    began = time.perf_counter()
    write_random_dataset(dataset, flags.patches, flags.validation, TAGS)
    return dataset, time.perf_counter() - began


def make_config(flags: argparse.Namespace, dataset: Path) -> Any:
    """Raises ValueError when a setting does not exist or has an invalid value."""
    from coala_jax import config_keys
    from coala_jax.default_config import flat, get_config, validate

    config = get_config()
    config.data.path = str(dataset)
    config.precision, config.data.patch_dtype = flags.precision, flags.patch_dtype
    config.train.epochs = flags.epochs
    for setting in flags.set:
        key, _, text = setting.partition("=")
        try:
            value = config_keys.parse_value(key, text, flat(config.to_dict()))
        except ValueError as error:
            raise ValueError(f"--set {setting}: {error}") from error
        config.update_from_flattened_dict({key: value})
    validate(config)
    return config


def train(config: Any, workdir: Path) -> dict[str, Any]:
    """Trains to the end of the schedule; seconds by what they went to, and the last losses."""
    began = time.perf_counter()
    # Importing JAX takes a second, which is part of what is timed.
    import jax

    from coala_jax.main import make_evaluate_fn, validation_sounds
    from coala_jax.training import loop, metric_writer

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Its own, so that the first start compiles and the next ones find what it compiled.
        jax.config.update("jax_compilation_cache_dir", str(workdir.parent / "compiled"))
    compiling: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == _COMPILING:
            compiling.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    before = metric_writer.read(workdir) if (workdir / metric_writer.METRICS).exists() else []
    try:
        loop.train_and_evaluate(
            config, workdir, make_evaluate_fn(config, validation_sounds(config))
        )
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    wall_s, entries = time.perf_counter() - began, metric_writer.read(workdir)
    memory = jax.devices()[0].memory_stats() or {}
    return {
        **split_time(entries, before, wall_s),
        "compile_s": sum(compiling),
        "peak_device_memory_mb": memory.get("peak_bytes_in_use", 0) / 1e6 or None,
        "last": {entry["kind"]: entry for entry in entries if entry["kind"] != "samples"},
    }


def split_time(
    entries: list[dict[str, Any]], before: list[dict[str, Any]], wall_s: float
) -> dict[str, Any]:
    """Seconds of all epochs by what they went to, from the entries of metrics.jsonl.

    before: the entries of earlier starts, whose start-up is not recorded.
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
        "resumed": bool(before),
    }


def limits(device_kind: str, example_flop: float, examples: int) -> dict[str, float]:
    """Minutes of the schedule at the device's peaks; nothing for an unknown device."""
    for name, (flops, memory) in PEAKS.items():
        if name in device_kind:
            return {
                "minutes_at_peak_flop": examples * example_flop / flops / 60,
                "minutes_at_peak_memory": examples * EXAMPLE_BYTES / memory / 60,
            }
    return {}


def benchmark(flags: argparse.Namespace) -> dict[str, Any]:
    from coala_jax import logs
    from coala_jax.data.schema import Manifest

    logs.start()
    dataset, written_s = find_dataset(flags)
    config, manifest = make_config(flags, dataset), Manifest.load(dataset)
    figures = train(config, flags.out / "run")
    import jax

    from benchmarks.workload import step_flop

    examples = manifest.counts["train"] * config.train.epochs
    flop = step_flop(config, len(manifest.vocabulary))
    return {
        "minutes": figures["total_s"] / 60,
        "patches_per_second": examples / figures["steps_s"],
        "tflop_per_second": examples * flop / figures["steps_s"] / 1e12,
        **figures,
        **limits(jax.devices()[0].device_kind, flop, examples),
        "counts": manifest.counts,
        "epochs": config.train.epochs,
        "precision": config.precision,
        "patch_dtype": config.data.patch_dtype,
        "dataset_written_s": written_s,
    }


def say_result(figures: dict[str, Any]) -> None:
    say(
        f"{figures['counts']['train']} patches x {figures['epochs']} epochs: "
        f"{figures['minutes']:.2f} minutes, {figures['patches_per_second']:.0f} patches/s and "
        f"{figures['tflop_per_second']:.3g} TFLOP/s in the steps"
    )
    names = ("steps_s", "input_s", "validation_s", "evaluation_s", "checkpoint_s")
    names += ("start_up_and_end_s", "compile_s", "dataset_written_s")
    say("seconds: " + ", ".join(f"{name[:-2]} {figures[name]:.1f}" for name in names))
    if "minutes_at_peak_flop" in figures:
        flop, memory = figures["minutes_at_peak_flop"], figures["minutes_at_peak_memory"]
        say(f"minutes at the device's peaks: {flop:.2f} (products), {memory:.2f} (memory)")


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for dataset and run"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="dataset to train on (a random one in --out)"
    )
    parser.add_argument(
        "--patches",
        type=at_least(2),
        default=PAPER_PATCHES,
        help="training patches of the random one (%(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=at_least(2),
        default=PAPER_VALIDATION,
        help="validation patches of the random one (%(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=PAPER_EPOCHS, help="epochs (%(default)s)")
    parser.add_argument("--precision", default="bfloat16", help="config.precision (%(default)s)")
    parser.add_argument(
        "--patch_dtype", default="uint8", help="config.data.patch_dtype (%(default)s)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the config; may be given several times",
    )
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)

    def work() -> None:
        try:
            figures = benchmark(flags)
        except ImportError as error:
            raise BenchmarkError(f"{error}. Fix: pip install -r requirements.txt") from error
        say_result(figures)
        finish("schedule", figures, argv, flags.out)

    return run(PROGRAM, work, "the same command goes on from the last checkpoint")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
