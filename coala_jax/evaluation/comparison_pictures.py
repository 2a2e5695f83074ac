"""Pictures that set models beside each other: their accuracies and their correlations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from coala_jax.evaluation import published
from coala_jax.evaluation.cca import CcaTable
from coala_jax.evaluation.probe_result import ProbeResult
from coala_jax.evaluation.tables import model_name, released, title
from coala_jax.reporting import style

WIDTH = 12.0  # inches, of every picture
_QUIET = "#888888"
_PAPER = {"marker": "D", "color": style.INK, "markerfacecolor": "white", "linestyle": ""}
_RELEASED = {"marker": "x", "color": style.INK, "linestyle": ""}
_HEADS = {"mlp": "MLP", "logistic_regression": "logistic regression", "svm": "SVM"}


def accuracies(
    outcomes: Sequence[ProbeResult],
    cases: Mapping[str, str],
    majorities: Mapping[str, float],
    out: Path,
) -> None:
    """Accuracy with its interval, a panel for each task, a line for each model (and head).

    Args:
      outcomes: of any tasks, models and heads.
      cases: the published case ("mfcc", "ae_c", "e_c", "cnn") that a model stands beside.
      majorities: by task, the accuracy of always answering the most frequent training class.
      out: the PNG to write.

    Raises:
      ValueError: there is no outcome.
    """
    with style.styled():
        style.write(accuracy_figure(outcomes, cases, majorities), out)


def accuracy_figure(
    outcomes: Sequence[ProbeResult], cases: Mapping[str, str], majorities: Mapping[str, float]
) -> Figure:
    """The figure of ``accuracies``."""
    if not outcomes:
        raise ValueError("there is no outcome to draw")
    tasks = list(dict.fromkeys(outcome.task for outcome in outcomes))
    lines = {(outcome.model, outcome.head): outcome for outcome in outcomes}
    place_of = {line: place for place, line in enumerate(lines)}
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    height = 1.1 + rows * (0.9 + 0.34 * len(lines))
    figure = Figure(figsize=(WIDTH, height), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, rect=(0, 0, 1, 1 - 0.65 / height))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, task in zip(grid, tasks, strict=False):
        axes.set_title(style.cut(title(task), 40))
        of_task = [(o, place_of[o.model, o.head]) for o in outcomes if o.task == task]
        _draw_accuracies(axes, of_task, cases)
        line = {"color": _QUIET, "linewidth": 1}
        if task in majorities:
            axes.axvline(100 * majorities[task], linestyle="--", label="majority class", **line)
        axes.axvline(100 / len(of_task[0][0].labels), linestyle=":", label="chance", **line)
        axes.margins(x=0.08)
        left, right = axes.get_xlim()
        axes.set_xlim(max(left, -2), min(right, 102))  # of few seeds the interval leaves all sense
    for axes in grid[len(tasks) :]:
        axes.remove()
    grid[0].set_yticks(range(len(lines)), names_of(list(lines.values()), cases, 40))
    grid[0].set_ylim(len(lines) - 0.5, -0.5)
    write_head(figure, "Accuracy by task", "Mean over seeds with its 95 % interval, in per cent.")
    _write_legend(figure)
    return figure


def _draw_accuracies(
    axes: Axes, outcomes: Sequence[tuple[ProbeResult, int]], cases: Mapping[str, str]
) -> None:
    """outcomes: of one task, each with its place on the vertical axis."""
    for outcome, place in outcomes:
        colour = style.COLOURS[place % len(style.COLOURS)]
        interval = 100 * np.array([[outcome.mean - outcome.low], [outcome.high - outcome.mean]])
        look = {"marker": "o", "markersize": 6, "color": colour, "capsize": 4, "linestyle": ""}
        axes.errorbar([100 * outcome.mean], [place], xerr=interval, **look)
        axes.annotate(
            f"{100 * outcome.mean:.1f}",
            (1.02, place),  # beside the panel, where no other mark is
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=darker(colour),
            annotation_clip=False,
        )
        case = cases.get(outcome.model)
        if outcome.head == "mlp" and case in published.ACCURACIES_PERCENT.get(outcome.task, {}):
            paper = published.ACCURACIES_PERCENT[outcome.task][case]
            axes.plot([paper], [place - 0.25], markersize=5, label="paper", **_PAPER)
            code = 100 * released(outcome.task)[case][0]
            axes.plot([code], [place + 0.25], markersize=5, label="released code", **_RELEASED)
    axes.set_xlabel("accuracy (%)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)


def correlations(found: Mapping[str, CcaTable], cases: Mapping[str, str], out: Path) -> None:
    """Canonical correlations with acoustic features, a panel for each feature.

    Args:
      found: the correlations of each model.
      cases: the published case ("ae_c", "e_c", "cnn") that a model stands beside.
      out: the PNG to write.

    Raises:
      ValueError: there is no model.
    """
    with style.styled():
        style.write(correlation_figure(found, cases), out)


def correlation_figure(found: Mapping[str, CcaTable], cases: Mapping[str, str]) -> Figure:
    """The figure of ``correlations``: bars, grey up to the floor, and the paper's figures."""
    if not found:
        raise ValueError("there is no model whose correlations to draw")
    descriptors = list(dict.fromkeys(name for table in found.values() for name in table.values))
    columns = min(2, len(descriptors))
    rows = -(-len(descriptors) // columns)
    legend_rows = -(-(len(found) + 2) // 3)
    height = 0.9 + 0.25 * legend_rows + 3.0 * rows
    figure = Figure(figsize=(WIDTH, height), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, rect=(0, 0, 1, 1 - 0.65 / height))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    labels = _cut_apart([model_name(model, cases) for model in found], 34)
    for axes, descriptor in zip(grid, descriptors, strict=False):
        _draw_correlations(axes, descriptor, found, labels, cases)
    for axes in grid[len(descriptors) :]:
        axes.remove()
    note = "Mean canonical correlation. The line: its floor, as with the features of other sounds."
    write_head(figure, "What embeddings hold of acoustic features", note)
    _write_legend(figure)
    return figure


def _draw_correlations(
    axes: Axes,
    descriptor: str,
    found: Mapping[str, CcaTable],
    labels: Sequence[str],
    cases: Mapping[str, str],
) -> None:
    width = 0.8 / len(found)
    for number, (model, table) in enumerate(found.items()):
        colour = style.COLOURS[number % len(style.COLOURS)]
        for group, statistic in enumerate(published.STATISTICS):
            value = table.values.get(descriptor, {}).get(statistic)
            if value is None:
                continue
            x = group - 0.4 + width * (number + 0.5)
            floor = table.permutation_baselines[descriptor][statistic]
            axes.bar([x], [value], 0.9 * width, color=colour, label=labels[number])
            axes.bar(
                [x], [min(floor, value)], 0.9 * width, color="#CCCCCC", label="under the floor"
            )
            # Of its own colour, so that a floor above the bar is seen, too.
            ends = x - 0.45 * width, x + 0.45 * width
            axes.plot(ends, [floor] * 2, color=colour, linewidth=2, solid_capstyle="butt")
            paper = published.CORRELATIONS.get(descriptor, {}).get(cases.get(model, ""))
            if paper:
                axes.plot([x], [paper[group]], markersize=6, label="paper", **_PAPER)
    axes.set_title(style.cut(published.DESCRIPTORS.get(descriptor, descriptor), 40))
    axes.set_xticks(range(len(published.STATISTICS)), ["mean", "variance", "skewness"])
    axes.set_ylim(0, 1.02)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def names_of(outcomes: Sequence[ProbeResult], cases: Mapping[str, str], length: int) -> list[str]:
    """Each outcome's model, and its head where there are several."""
    names = [model_name(outcome.model, cases) for outcome in outcomes]
    heads = [_HEADS[outcome.head] for outcome in outcomes]
    if len(set(heads)) == 1:
        return _cut_apart(names, length)
    short = _cut_apart(names, length - max(map(len, heads)) - 2)
    return [f"{name}, {head}" for name, head in zip(short, heads, strict=True)]


def _cut_apart(names: Sequence[str], length: int) -> list[str]:
    """Names of at most ``length`` characters; as they are where they would become the same.

    Cut in the middle, for long ones are paths, and their ends differ.
    """
    half = (length - 1) // 2
    cut = [name if len(name) <= length else f"{name[:half]}…{name[-half:]}" for name in names]
    return cut if len(set(cut)) == len(set(names)) else list(names)


def darker(colour: str) -> tuple[float, float, float]:
    """Dark enough to read on white."""
    red, green, blue = to_rgb(colour)
    return red * 0.6, green * 0.6, blue * 0.6


def write_head(figure: Figure, heading: str, note: str) -> None:
    """The heading and, below it, a line in grey on how to read the picture."""
    height = figure.get_figheight()
    left = 0.15 / WIDTH
    figure.text(left, 1 - 0.33 / height, heading, fontsize=14, fontweight="bold")
    figure.text(left, 1 - 0.58 / height, note, color="#666666")


def _write_legend(figure: Figure) -> None:
    """One entry for each label that any panel has."""
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = min(4, max(1, 150 // (8 + max(map(len, handles)))))  # what has room side by side
    style = {"loc": "outside lower left", "ncols": columns, "frameon": False}
    figure.legend(handles.values(), handles.keys(), **style)
