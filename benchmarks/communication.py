"""What several devices tell one another in a step of AE-C, and what that costs on paper.

    python -m benchmarks.communication        # half a minute; compiles, and trains nothing

The sums and gathers are counted in the step as it is compiled for 8 devices, whose part this
processor plays. No time is measured: all follow from the counts and from the figures of
ACCELERATORS, with nothing overlapped. The last line is a JSON object.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks.collectives import SMALL_BYTES, Counted, compiled_step, count
from benchmarks.measure import BenchmarkError, say
from benchmarks.result import finish
from benchmarks.step_shapes import step_flop
from coala_jax.default_config import get_config

# Of an AE-C example at the paper's sizes, forward and backward.
TAGS = 1000
EXAMPLE_FLOP = step_flop(get_config(), TAGS)
EXAMPLE_BYTES = 14e6  # moved by batch norm, ReLU and dropout, with bfloat16 between products
LATENT = 1152  # values of an aligned vector
SCHEDULE_EXAMPLES = 170_906 * 200  # of the paper: patches and epochs
LARGEST_BATCH = 2**20  # per device, tried for where communication takes over


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """Rates of one device, and of the links by which it reaches the others.

    Attributes:
        flops: dense products in bfloat16, a second.
        memory: bytes a second, read and written.
        node: devices that `link` joins; beyond them `network` does.
        link, network: bytes a second that a ring gets in one direction.
        link_latency_s, network_latency_s: of one hop, with what starts it. Assumed.
    """

    name: str
    flops: float
    memory: float
    node: int
    link: float
    link_latency_s: float
    network: float
    network_latency_s: float
    source: str


ACCELERATORS = (
    Accelerator(
        name="TPU v5e",
        flops=197e12,
        memory=819e9,
        node=256,
        link=1600e9 / 8,
        link_latency_s=5e-6,
        network=0.0,
        network_latency_s=0.0,
        source="Google's table: 197 TFLOP/s, 819 GB/s, 1600 Gbit/s of links, 256 chips a pod",
    ),
    Accelerator(
        name="H100 SXM",
        flops=989e12,
        memory=3.35e12,
        node=8,
        link=900e9 / 2,  # 900 counts both directions
        link_latency_s=5e-6,
        network=8 * 400e9 / 8,  # a ring through each of a node's 8 cards
        network_latency_s=15e-6,
        source="NVIDIA's table: 989 TFLOP/s, 3.35 TB/s, NVLink 900 GB/s; InfiniBand 400 Gbit/s",
    ),
)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A step on paper: seconds of computing, of bytes on the links, of starting collectives."""

    compute_s: float
    bytes_s: float
    number_s: float

    @property
    def communication_s(self) -> float:
        return self.bytes_s + self.number_s

    @property
    def step_s(self) -> float:
        return self.compute_s + self.communication_s


def estimate(
    counted: Counted, accelerator: Accelerator, devices: int, rows: int, share_of_peak: float
) -> Estimate:
    """A step of `rows` rows on each of the devices."""
    everyone = rows * devices
    # Every row against the candidates of all devices: a product forward, two backward.
    flop = EXAMPLE_FLOP + 3 * 2 * LATENT * everyone
    compute_s = rows * (
        flop / (accelerator.flops * share_of_peak) + EXAMPLE_BYTES / accelerator.memory
    )
    if devices == 1:
        return Estimate(compute_s, 0.0, 0.0)
    beyond = devices > accelerator.node
    # A ring is as fast as its slowest part, and passes each byte on once to gather, twice to sum.
    rate = min(accelerator.link, accelerator.network) if beyond else accelerator.link
    passed = (devices - 1) / devices
    gathered = counted.gathered_bytes_per_row * everyone
    bytes_s = passed * (2 * counted.all_reduced_bytes + gathered) / rate
    # A small sum goes up a tree and down again.
    hops = 2 * math.ceil(math.log2(min(devices, accelerator.node)))
    far = 2 * math.ceil(math.log2(devices / accelerator.node)) if beyond else 0
    one_s = hops * accelerator.link_latency_s + far * accelerator.network_latency_s
    return Estimate(compute_s, bytes_s, counted.number * one_s)


def takes_over(
    counted: Counted, accelerator: Accelerator, devices: int, share_of_peak: float
) -> int | None:
    """The least batch per device at which computing takes as long as communication, if any.

    Below it communication is the larger part of a step.
    """

    def computes_longer(rows: int) -> bool:
        step = estimate(counted, accelerator, devices, rows, share_of_peak)
        return step.compute_s >= step.communication_s

    if devices == 1 or not computes_longer(LARGEST_BATCH):
        return None
    low, high = 0, LARGEST_BATCH
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if computes_longer(middle) else (middle, high)
    return high


def table(counted: Counted, share_of_peak: float) -> list[dict[str, Any]]:
    """The estimates for 8, 64 and 256 devices, at 128 rows a device and at 128 over all."""
    entries = []
    for accelerator in ACCELERATORS:
        for devices in (1, 8, 64, 256):
            for rows in sorted({128, 128 // devices} - {0}):
                step = estimate(counted, accelerator, devices, rows, share_of_peak)
                entries.append(
                    {
                        "accelerator": accelerator.name,
                        "devices": devices,
                        "rows_per_device": rows,
                        "compute_ms": 1e3 * step.compute_s,
                        "bytes_ms": 1e3 * step.bytes_s,
                        "number_ms": 1e3 * step.number_s,
                        "step_ms": 1e3 * step.step_s,
                        "share_communicated": step.communication_s / step.step_s,
                        "minutes_of_200_epochs": (
                            SCHEDULE_EXAMPLES / (rows * devices) * step.step_s / 60
                        ),
                        "communication_larger_below_rows": (
                            takes_over(counted, accelerator, devices, share_of_peak)
                        ),
                    }
                )
    return entries


def say_result(counted: Counted, entries: list[dict[str, Any]]) -> None:
    say(
        f"a step sums {counted.all_reduced_bytes / 1e6:.1f} MB in {counted.all_reduces} "
        f"all-reduces, {counted.small_all_reduces} of them under {SMALL_BYTES / 1024:.0f} KiB, and "
        f"gathers {counted.gathered_bytes_per_row / 1e3:.1f} kB for each row of the global batch "
        f"in {counted.gathers} more"
    )
    columns = "accelerator | devices | rows each | compute ms | bytes ms | number ms | step ms"
    say(f"{columns} | communication | minutes of 200 epochs | the larger part below, rows each")
    for entry in entries:
        cells = [entry["accelerator"], str(entry["devices"]), str(entry["rows_per_device"])]
        cells += [f"{entry[f'{name}_ms']:.2f}" for name in ("compute", "bytes", "number", "step")]
        cells += [f"{entry['share_communicated']:.0%}", f"{entry['minutes_of_200_epochs']:.2f}"]
        least = entry["communication_larger_below_rows"]
        alone = entry["devices"] == 1
        say(" | ".join([*cells, "-" if alone else "always" if least is None else str(least)]))
    for entry in entries:
        if entry["devices"] > 1 and entry["rows_per_device"] == 128:
            both = {"number": entry["number_ms"], "bytes": entry["bytes_ms"]}
            less, more = sorted(both, key=both.__getitem__)
            say(
                f"{entry['devices']} x {entry['accelerator']}: the {more} of its collectives cost "
                f"{both[more] / both[less]:.1f} times what their {less} costs"
            )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.communication", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--devices", type=int, default=8, help="to compile for (8)")
    parser.add_argument(
        "--share_of_peak", type=float, default=0.5, help="of the products, assumed (0.5)"
    )
    flags = parser.parse_args(argv)
    if flags.devices < 2 or not 0 < flags.share_of_peak <= 1:
        parser.error("--devices must be at least 2, and --share_of_peak in (0, 1]")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", flags.devices)
    settings = get_config()
    settings.precision = "bfloat16"
    rows = 16 * flags.devices
    try:
        text = compiled_step(settings, TAGS, flags.devices, rows)
        counted = count(text, flags.devices, rows)
    except BenchmarkError as error:
        print(f"communication: {error}", file=sys.stderr)
        return 1
    entries = table(counted, flags.share_of_peak)
    say_result(counted, entries)
    figures = {
        **dataclasses.asdict(counted),
        "compiled_for_devices": flags.devices,
        "share_of_peak": flags.share_of_peak,
        "example_flop": EXAMPLE_FLOP,
        "example_bytes": EXAMPLE_BYTES,
        "accelerators": [dataclasses.asdict(accelerator) for accelerator in ACCELERATORS],
        "on_paper": entries,
    }
    finish("communication", figures, argv)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
