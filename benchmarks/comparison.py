"""Arms that take turns: their times, whether they train the same model, and what follows."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.measure import BenchmarkError, say

# In float32 losses agree to rounding, which is coarsest in PyTorch's channels last. What a step
# changes does not: an input of a ReLU that rounds to the other side of 0 moves gradients by 1e-3.
LOSS_TOLERANCE = 1e-5
UPDATE_TOLERANCE = 1e-2


class Arm(Protocol):
    """A training run, some steps at a time."""

    def take(self, count: int) -> dict[str, float]:
        """Takes so many steps, waits for them, and returns the losses of the last one."""
        ...


def in_turn(arms: Mapping[str, Arm], rounds: int, count: int) -> dict[str, list[float]]:
    """Seconds a step of each arm in each round; every second round begins with the last arm."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            arms[name].take(count)
            seconds[name].append((time.perf_counter() - began) / count)
        took = ", ".join(f"{name} {times[-1]:.3g} s" for name, times in seconds.items())
        say(f"  round {number + 1} of {rounds}: {took}")
    return seconds


def disagreement(arms: Mapping[str, Arm]) -> dict[str, float]:
    """How far the losses of fresh arms are from those of the first of them, at most.

    `losses`: before the first step, relatively. `update`: after it, as a part of what it changed.

    Raises:
        BenchmarkError: it is more than rounding.
    """
    before = {name: arm.take(1) for name, arm in arms.items()}
    after = {name: arm.take(1) for name, arm in arms.items()}
    first, *others = arms
    off = {"losses": 0.0, "update": 0.0}
    for name in others:
        if before[name].keys() != before[first].keys():
            raise BenchmarkError(
                f"{name} has the losses {', '.join(before[name])}, and {first} "
                f"{', '.join(before[first])}; they do not train the same model"
            )
        for loss, wanted in before[first].items():
            changed = abs(after[first][loss] - wanted)
            found = {
                "losses": (before[name][loss], wanted, abs(wanted), LOSS_TOLERANCE),
                "update": (after[name][loss], after[first][loss], changed, UPDATE_TOLERANCE),
            }
            for kind, (value, ours, scale, tolerance) in found.items():
                part = abs(value - ours) / scale
                if not part <= tolerance:
                    when = "before" if kind == "losses" else "after"
                    raise BenchmarkError(
                        f"{loss} {when} the first step is {value!r} in {name} and {ours!r} in "
                        f"{first}; they do not train the same model, and no ratio means anything"
                    )
                off[kind] = max(off[kind], part)
    return off


def arm_figures(
    step_s: Sequence[float], batch: int, flop: float, moved: float, limits: Mapping[str, float]
) -> dict[str, Any]:
    """What the seconds a step of an arm say.

    flop, moved: of a patch, and bytes.
    limits: the machine's `gflop_per_s` and `gigabytes_per_s`.
    """
    per_second = batch / statistics.median(step_s)
    return {
        "patches_per_second": per_second,
        "patches_per_second_lowest": batch / max(step_s),
        "patches_per_second_highest": batch / min(step_s),
        "step_s": list(step_s),
        "gflop_per_s": per_second * flop / 1e9,
        "share_of_product_rate": per_second * flop / 1e9 / limits["gflop_per_s"],
        "share_of_memory_rate": per_second * moved / 1e9 / limits["gigabytes_per_s"],
    }


def fastest(arms: Mapping[str, dict[str, Any]], prefix: str) -> str:
    """The arm with the most patches a second among those whose name begins so."""
    named = [name for name in arms if name.startswith(prefix)]
    return max(named, key=lambda name: arms[name]["patches_per_second"])


def ratios(arms: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """How many times as fast as each arm of PyTorch our fastest is, by medians."""
    ours = arms[fastest(arms, "ours")]["patches_per_second"]
    return {
        f"ratio_to_{name}": ours / figures["patches_per_second"]
        for name, figures in arms.items()
        if name.startswith("pytorch")
    }
