"""The record of a benchmark: its figures, the device, the versions and the command."""

import json
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def device_name() -> str:
    """What JAX computes on: the accelerator's kind, or the processor's name."""
    import jax

    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {cores()} cores"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def finish(
    name: str,
    figures: dict[str, Any],
    argv: Sequence[str],
    folder: Path | None = None,
    packages: Sequence[str] = PACKAGES,
) -> None:
    """Prints the record as one line of JSON; with a folder, writes it there too.

    packages: those whose versions matter.
    """
    device = device_name()
    record = {
        "benchmark": name,
        **figures,
        "device": device,
        "load": os.getloadavg()[0],  # runnable processes, this one's included
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
        "command": " ".join([f"python -m benchmarks.{name}", *argv]),
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        path = folder / f"{name}-{slug}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, indent=1) + "\n")
        temporary.rename(path)
    print(json.dumps(record), flush=True)
