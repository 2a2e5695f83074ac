"""What a sweep found: tables for a person, a spreadsheet and a program, and a picture."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coala_jax import storage
from coala_jax.evaluation.sweep_outcomes import (
    Outcome,
    Rows,
    Value,
    best,
    compared,
    incomparable,
    measured,
    reference_rows,
    short,
)
from coala_jax.reporting import style

TABLE, PICTURE = "results.md", "results.png"
TITLES = {
    "loss": "Total loss",
    "audio_loss": "Audio loss",
    "tag_loss": "Tag loss",
    "signed_contrastive_loss": "Contrastive loss (may be negative)",
    "contrastive_loss": "Contrastive loss (NT-Xent)",
    "macro_auc": "Macro AUC",
    "mrr": "MRR",
    "map": "MAP",
    "recall_at_10": "Recall at 10",
}
_LINES = ("-", "--", "-.", ":")
_REFERENCE_LINES = {"untrained": "--", "chance": ":", "popularity": "-."}


def write(folder: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Writes results.md, .csv and .json, and results.png once there is something to draw."""
    rows = [outcome.row() for outcome in outcomes]
    written = [folder / TABLE, folder / "results.csv", folder / "results.json"]
    storage.write_text(written[0], markdown(outcomes))
    storage.write_text(written[1], _csv(rows + reference_rows(outcomes)))
    content = {
        "points": rows,
        "references": reference_rows(outcomes),
        "best": best(outcomes),
        "not_comparable": {name: sorted(keys) for name, keys in incomparable(outcomes).items()},
    }
    storage.write_json(written[2], content)
    if any(outcome.report for outcome in outcomes):
        with style.styled():
            style.write(sweep_figure(outcomes), folder / PICTURE)
        written.append(folder / PICTURE)
    return written


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The text of results.md."""
    rows, keys = [outcome.row() for outcome in outcomes], list(outcomes[0].changes)
    names, winners = measured(outcomes), best(outcomes)
    finished = sum(row["status"] == "finished" for row in rows)
    header = [*(key.split(".")[-1] for key in keys), "epoch", *names]
    header += ["best mrr (epoch)", "seconds"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in rows:
        cells = [short(row[key]) for key in keys]
        if row["status"] == "finished":
            cells.append(str(row["epoch"]))
            for name in names:
                mark = "**" if row["point"] in winners.get(name, []) else ""
                cells.append(f"{mark}{_number(row[name])}{mark}")
            cells += [f"{_number(row['best_mrr'])} ({row['best_epoch']})", f"{row['seconds']:.0f}"]
        else:
            at = f" at step {row['diverged_step']}" if row["status"] == "diverged" else ""
            cells += [row["status"] + at, *["-"] * (len(names) + 2)]
        lines.append(f"| {' | '.join(cells)} |")
    for row in reference_rows(outcomes):
        cells = [f"*{row['point']}*", *[""] * len(keys)]
        cells += [_number(row[name]) if name in row else "" for name in names]
        lines.append(f"| {' | '.join([*cells, '', ''])} |")
    parts = [
        f"# Sweep over {' and '.join(keys)}",
        f"{finished} of {len(rows)} points are finished. The figures are those of the validation "
        "sounds after the last epoch, and of the evaluated epoch with the best mrr; the best in "
        "**bold**; the seconds those of training alone.",
        "\n".join(lines),
        *_remarks(outcomes),
    ]
    if finished:
        rows_of_best = [f"| {name} | {' and '.join(points)} |" for name, points in winners.items()]
        lines = ["| by | point |", "|---|---|", *rows_of_best]
        parts += ["## Best by each measure", "\n".join(lines)]
        parts.append(f"![The measures over the grid]({PICTURE})")
    return "\n\n".join(parts) + "\n"


def _remarks(outcomes: Sequence[Outcome]) -> list[str]:
    remarks = []
    if odd := incomparable(outcomes):
        reasons = [f"{name} (it changes with {' and '.join(sorted(odd[name]))})" for name in odd]
        remarks.append(
            f"Not to be compared between points, so neither ranked nor drawn: {', '.join(reasons)}."
            " The total loss is a weighted sum, and another sum with other weights; choose by the "
            "unweighted losses and by retrieval."
        )
    remarks += [
        f"{outcome.name} diverged at step {outcome.diverged['step']}, epoch "
        f"{outcome.diverged['epoch']}."
        for outcome in outcomes
        if outcome.diverged
    ]
    if "seed" not in outcomes[0].changes:
        remarks.append(
            "All points have the same seed. How much is luck shows with `seed=0,1,2` in the grid "
            "of another sweep."
        )
    return remarks


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def sweep_figure(outcomes: Sequence[Outcome]) -> Figure:
    """A panel for each measure: along it the setting with the most values, a curve for the rest."""
    names = compared(outcomes)
    columns = len(names) if len(names) <= 3 else -(-len(names) // 2)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(12, 0.9 + 3.1 * rows), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        _draw_measure(axes, name, outcomes)
    for axes in grid[len(names) :]:
        axes.remove()
    shown = {
        label: line
        for axes in figure.axes
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="outside upper right", ncols=4, frameon=False)
    return figure


def _draw_measure(axes: Axes, name: str, outcomes: Sequence[Outcome]) -> None:
    along, ticks = _axis(outcomes)
    curves: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rest = {key: value for key, value in outcome.changes.items() if key != along}
        label = ", ".join(f"{key.split('.')[-1]} {short(value)}" for key, value in rest.items())
        curves.setdefault(label, []).append(outcome)
    winners = best(outcomes)[name]
    for number, (label, points) in enumerate(curves.items()):
        colour = style.COLOURS[number % len(style.COLOURS)]
        look = {
            "marker": style.MARKERS[number % len(style.MARKERS)],
            "linestyle": _LINES[number // len(style.COLOURS) % len(_LINES)],
            "label": label or "_",
        }
        heights = [math.nan] * len(ticks)
        for point in points:
            place, height = ticks.index(point.changes[along]), point.row()[name]
            heights[place] = math.nan if height is None else height
            if point.name in winners:
                ring = {"marker": "o", "markersize": 13, "fillstyle": "none"}
                _mark(axes, place, height, "best", style.INK, **ring)
            if point.diverged:
                foot = axes.get_xaxis_transform()
                _mark(axes, place, 0.03, "diverged", colour, marker="x", transform=foot)
        axes.plot(range(len(ticks)), heights, color=colour, linewidth=1.8, markersize=5, **look)
    for row in reference_rows(outcomes):
        if row["point"] in _REFERENCE_LINES and row.get(name) is not None:
            look = {"linestyle": _REFERENCE_LINES[row["point"]], "label": row["point"]}
            axes.axhline(row[name], color="#888888", linewidth=1, **look)
    axes.set_xticks(range(len(ticks)), [short(value) for value in ticks])
    axes.set_xlim(-0.4, len(ticks) - 0.6)
    axes.set_xlabel(along.split(".")[-1])
    axes.set_title(TITLES[name])
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def _axis(outcomes: Sequence[Outcome]) -> tuple[str, list[Value]]:
    """The setting with the most values, and its values in order."""
    keys = outcomes[0].changes
    values = {key: list(dict.fromkeys(one.changes[key] for one in outcomes)) for key in keys}
    along = max(keys, key=lambda key: len(values[key]))
    if any(isinstance(value, str) for value in values[along]):
        return along, values[along]
    return along, sorted(values[along])


def _mark(axes: Axes, x: int, y: float, label: str, colour: str, **look: Any) -> None:
    axes.plot([x], [y], linestyle="", color=colour, label=label, **look)
