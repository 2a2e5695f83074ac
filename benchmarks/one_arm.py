"""One arm of `benchmarks.train_step` alone in a process: its first step, and its memory.

    python -m benchmarks.one_arm '{"arm": "ours", "case": "ae_c", "precision": "float32", ...}'

is what the functions here run. Each library is imported only for its own arm. The last line is a
JSON object.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import measure, say
from benchmarks.workload import Sizes, make_workload


def ours_alone(wanted: dict[str, Any], steps_per_call: int, work: Path) -> dict[str, float]:
    """Twice: before there is a compilation cache, and with what the first run left in it."""
    cache = work / f"compiled-{wanted['case']}-{wanted['precision']}"
    wanted = wanted | {"arm": "ours", "call": steps_per_call, "cache": str(cache)}
    cold, cached = _in_process(wanted, work), _in_process(wanted, work)
    say(
        f"  ours alone, {wanted['precision']}: first step {cold['first_step_s']:.1f} s, "
        f"{cached['first_step_s']:.1f} s from the compilation cache"
    )
    return {
        "first_step_s_cold": cold["first_step_s"],
        "first_step_s_cached": cached["first_step_s"],
        "peak_memory_mb": cold["peak_mb"],
        "peak_memory_mb_cached": cached["peak_mb"],
    }


def pytorch_alone(wanted: dict[str, Any], work: Path) -> dict[str, float]:
    alone = _in_process(wanted | {"arm": "pytorch"}, work)
    return {"first_step_s_cold": alone["first_step_s"], "peak_memory_mb": alone["peak_mb"]}


def _in_process(wanted: dict[str, Any], work: Path) -> dict[str, float]:
    """Memory is the accelerator's, or on a CPU that of the process, compiling included."""
    log = work / "log.txt"
    run = measure([sys.executable, "-m", "benchmarks.one_arm", json.dumps(wanted)], log)
    figures = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    peak_mb = figures["device_peak_mb"]
    return {
        "first_step_s": figures["first_step_s"],
        "peak_mb": run.peak_mb if peak_mb is None else peak_mb,
    }


def _make_arm(wanted: dict[str, Any]) -> Any:
    workload = make_workload(wanted["case"], Sizes(**wanted["sizes"]))
    if wanted["arm"] == "ours":
        from benchmarks import jax_arm

        jax_arm.keep_compiled(wanted["cache"])
        return jax_arm.JaxArm(workload, wanted["precision"], wanted["call"])
    from benchmarks import pytorch_arms

    return pytorch_arms.PytorchArm(workload, pytorch_arms.Form(**wanted["form"]))


def main(argv: list[str]) -> int:
    """Takes two steps; the first counts, with what it compiles."""
    wanted = json.loads(argv[0])
    arm = _make_arm(wanted)
    began = time.perf_counter()
    arm.take(1)
    first = time.perf_counter() - began
    arm.take(1)
    print(json.dumps({"first_step_s": first, "device_peak_mb": arm.device_peak_mb()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
