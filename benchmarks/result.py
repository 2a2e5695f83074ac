"""What a benchmark of training says at its end: its figures, the device, the versions."""

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


def device_name() -> str:
    """What JAX computes on, in words: the accelerator's kind, or the processor's name."""
    import jax

    kind = jax.devices()[0].device_kind
    if jax.default_backend() != "cpu":
        return kind
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {cores()} cores"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def finish(
    name: str, figures: dict[str, Any], argv: Sequence[str], folder: Path | None = None
) -> None:
    """Prints the figures as one line of JSON; with a folder, writes them there, whole or not."""
    device = device_name()
    whole = {
        "benchmark": name,
        **figures,
        "device": device,
        "load": os.getloadavg()[0],  # runnable processes, this one's too
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("jax", "jaxlib", "flax", "numpy")},
        "command": " ".join([f"python -m benchmarks.{name}", *argv]),
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{slug(device)}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(whole, indent=1) + "\n")
        temporary.rename(path)
    print(json.dumps(whole), flush=True)


def slug(text: str) -> str:
    """The text as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
