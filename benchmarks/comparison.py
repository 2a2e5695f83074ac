"""What the times and the losses of arms that take turns say."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import BenchmarkError

AS_RELEASED, BEST = "pytorch_as_released", "pytorch_best"

# In float32 losses agree to rounding, which is coarsest in PyTorch's channels last. What a step
# changes does not: an input of a ReLU that rounds to the other side of 0 moves gradients by 1e-3.
TOLERANCES = {"losses": 1e-5, "update": 1e-2}


def disagreement(arms: Mapping[str, Any]) -> dict[str, float]:
    """The largest differences between the losses of fresh arms and those of the first of them.

    `losses`: before the first step, relative. `update`: after it, relative to what it changed.

    Raises:
        BenchmarkError: they are more than rounding, or the arms have different losses.
    """
    losses = {name: (arm.take(1), arm.take(1)) for name, arm in arms.items()}
    (first, (before, after)), *others = losses.items()
    largest = dict.fromkeys(TOLERANCES, 0.0)
    for name, (their_before, their_after) in others:
        if their_before.keys() != before.keys():
            raise BenchmarkError(f"{name} has the losses {[*their_before]}, {first} {[*before]}")
        for loss, value in before.items():
            found = {
                "losses": abs(their_before[loss] - value) / abs(value),
                "update": abs(their_after[loss] - after[loss]) / abs(after[loss] - value),
            }
            for kind, part in found.items():
                if not part <= TOLERANCES[kind]:
                    raise BenchmarkError(
                        f"{loss} of {name} and of {first} differ by {part:.2g} ({kind}), more than "
                        f"rounding ({TOLERANCES[kind]:g}): they do not train the same model"
                    )
                largest[kind] = max(largest[kind], part)
    return largest


def arm_figures(
    step_s: Sequence[float], batch: int, flop: float, product_rate: float
) -> dict[str, Any]:
    """Of the seconds a step in each round; `flop` of a patch, `product_rate` in GFLOP/s."""
    rate = batch / statistics.median(step_s)
    return {
        "patches_per_second": rate,
        "patches_per_second_lowest": batch / max(step_s),
        "patches_per_second_highest": batch / min(step_s),
        "step_s": list(step_s),
        "gflop_per_s": rate * flop / 1e9,
        "share_of_product_rate": rate * flop / 1e9 / product_rate,
    }


def ratios(arms: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Our fastest arm, and its rate over that of each of PyTorch's, by medians."""
    rates = {name: figures["patches_per_second"] for name, figures in arms.items()}
    ours = max((name for name in rates if name.startswith("ours")), key=rates.__getitem__)
    return {"ours": ours} | {
        f"ratio_to_{name}": rates[ours] / rates[name] for name in (AS_RELEASED, BEST)
    }
