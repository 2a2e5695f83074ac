"""What the points of a sweep came to: their figures, which are best, and what they have to beat."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = bool | int | float | str
Rows = list[dict[str, Any]]

LOSSES = ("loss", "audio_loss", "tag_loss", "signed_contrastive_loss", "contrastive_loss")
RETRIEVAL = ("macro_auc", "mrr", "map", "recall_at_10")
REFERENCES = ("untrained", "chance", "popularity")
# The settings that say what a loss is: between two of their values it is another quantity.
_CONTRAST = ("temperature", "equal_tags_are_negatives", "reduction")
_DEFINED_BY = {
    "audio_loss": {"loss.kl_offset", "loss.reduction"},
    "tag_loss": {"loss.reduction"},
    # The rows of a batch are each other's negatives.
    "signed_contrastive_loss": {"train.batch_size", *(f"loss.{name}" for name in _CONTRAST)},
    "contrastive_loss": {"train.batch_size", *(f"loss.{name}" for name in _CONTRAST)},
}
_WEIGHTS = {f"loss.{name}_weight" for name in ("audio", "tag", "contrastive")}
_DEFINED_BY["loss"] = {"case", "loss.contrastive", *_WEIGHTS}.union(*_DEFINED_BY.values())


@dataclass(frozen=True)
class Outcome:
    """What became of a point of the grid: finished, diverged, or not trained yet.

    changes: its settings by dotted key, the same keys for all points.
    entries: the entries of its metrics.jsonl, report: its report.json; empty until it is finished.
    diverged: the step, epoch and message of the loss that was no number.
    """

    name: str
    changes: Mapping[str, Value]
    entries: Sequence[Mapping[str, Any]] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    diverged: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return bool(self.report or self.diverged)

    def row(self) -> dict[str, Any]:
        """Its line of the table, full of None where nothing was measured."""
        row = {"point": self.name, "status": "not trained", **self.changes}
        row |= dict.fromkeys(("epoch", *LOSSES, *RETRIEVAL, "best_mrr", "best_epoch", "seconds"))
        row["diverged_step"] = None
        if self.diverged:
            return row | {"status": "diverged", "diverged_step": self.diverged["step"]}
        if not self.report:
            return row
        epochs = [entry for entry in self.entries if entry["kind"] == "validation"]
        evaluated = [entry for entry in epochs if "mrr" in entry]
        best = max(evaluated, key=lambda entry: entry["mrr"])
        trained = [entry["seconds"] for entry in self.entries if entry["kind"] == "train"]
        return row | {
            "status": "finished",
            "epoch": epochs[-1]["epoch"],
            **{name: _finite(epochs[-1].get(name)) for name in (*LOSSES, *RETRIEVAL)},
            "best_mrr": best["mrr"],
            "best_epoch": best["epoch"],
            "seconds": math.fsum(trained),
        }


def incomparable(outcomes: Sequence[Outcome]) -> dict[str, set[str]]:
    """The losses that are not the same quantity at all points, and the settings that make it so.

    The total is a weighted sum: other weights, other sums. The contrastive loss is over the
    temperature: a lower one makes it larger for the very same model.
    """
    changed = {
        key
        for key in outcomes[0].changes
        if len({outcome.changes[key] for outcome in outcomes}) > 1
    }
    found = {name: _DEFINED_BY.get(name, set()) & changed for name in measured(outcomes)}
    return {name: keys for name, keys in found.items() if keys}


def best(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """The points that are best by each measure that can be compared; several when they tie."""
    found = {}
    for name in compared(outcomes):
        values = {outcome.name: outcome.row()[name] for outcome in outcomes}
        values = {point: value for point, value in values.items() if value is not None}
        goal = max(values.values()) if name in RETRIEVAL else min(values.values())
        found[name] = [point for point, value in values.items() if value == goal]
    return found


def reference_rows(outcomes: Sequence[Outcome]) -> Rows:
    """What a model has to beat, as the points' reports say it.

    Chance and popularity are of the sounds alone. An untrained model is the same for all points,
    unless the grid changes the model or the seed: then each kind has its row.
    """
    rows: Rows = []
    for who in REFERENCES:
        seen: Rows = []
        for outcome in outcomes:
            if not outcome.report:
                continue
            found = outcome.report["retrieval"][who]
            figures = {name: found[name] for name in RETRIEVAL}
            if figures not in [{name: row[name] for name in RETRIEVAL} for row in seen]:
                seen.append({"point": f"{who}, {outcome.name}", "status": "reference", **figures})
        if len(seen) == 1:
            seen[0]["point"] = who
        rows += seen
    return rows


def measured(outcomes: Sequence[Outcome]) -> list[str]:
    """The losses and measures that any of the points has."""
    rows = [outcome.row() for outcome in outcomes]
    return [name for name in (*LOSSES, *RETRIEVAL) if any(row[name] is not None for row in rows)]


def compared(outcomes: Sequence[Outcome]) -> list[str]:
    """Those of them that are the same quantity at all points."""
    odd = incomparable(outcomes)
    return [name for name in measured(outcomes) if name not in odd]


def short(value: Value) -> str:
    """A value as names and labels have it: 5 for 5.0."""
    return str(value).removesuffix(".0")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
