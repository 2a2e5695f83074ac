"""Whether a run's losses lie where those of another float32 run would."""

from typing import Any

import numpy as np
from scipy.stats import t


def compare(
    fast: list[dict[str, Any]], seeds: list[list[dict[str, Any]]], epoch: int
) -> dict[str, dict[str, Any]]:
    """Each loss after an epoch against those of float32 runs with other seeds.

    `expected` is where, at 95 %, one more such run would lie (Student's t), and `within` says that
    the fast run does. `between` says that it lies between their lowest and their highest, as one
    more of three does only every second time.
    """
    compared = {}
    for kind, name in sorted(
        (entry["kind"], name) for entry in fast for name in entry if entry["epoch"] == epoch
    ):
        if not name.endswith("loss"):
            continue
        values = [_at(entries, kind, epoch, name) for entries in seeds]
        mean, spread = np.mean(values), np.std(values, ddof=1)
        reach = t.ppf(0.975, len(values) - 1) * spread * np.sqrt(1 + 1 / len(values))
        value = _at(fast, kind, epoch, name)
        compared[f"{kind}/{name}"] = {
            "fast": value,
            "float32": values,
            "expected": [float(mean - reach), float(mean + reach)],
            "within": bool(abs(value - mean) <= reach),
            "between": min(values) <= value <= max(values),
        }
    return compared


def _at(entries: list[dict[str, Any]], kind: str, epoch: int, name: str) -> float:
    (entry,) = (e for e in entries if e["kind"] == kind and e["epoch"] == epoch)
    return entry[name]
