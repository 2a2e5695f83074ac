"""The plots of an evaluation, from its record: one function a figure."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from coala_jax.reporting import style
from coala_jax.reporting.embedding_map import map_figure
from coala_jax.reporting.tables import case_of, descriptor_title, label

Record = Mapping[str, Any]

_HEADS = {"mlp": "MLP", "logistic_regression": "logistic regression", "svm": "SVM"}
_PAPER = {"marker": "D", "color": style.INK, "markerfacecolor": "white", "linestyle": ""}
_FEW = 15  # so many classes have room for a number in each cell of a confusion matrix


def accuracy(record: Record) -> Figure:
    """Accuracies with their intervals: a panel for each task, a line for each model and head."""
    outcomes, tasks = record["outcomes"], record["tasks"]
    lines = list(dict.fromkeys((one["model"], one["head"]) for one in outcomes))
    heading = "Accuracy (mean and 95 % interval over seeds)"
    figure, panels = _panels(heading, len(tasks), 3, 0.9 + 0.36 * len(lines), sharey=True)
    for axes, task in zip(panels, tasks, strict=True):
        axes.set_title(style.cut(task["title"], 40))
        for one in (one for one in outcomes if one["task"] == task["name"]):
            y = lines.index((one["model"], one["head"]))
            look = {"color": _colour(y), "marker": _marker(y), "capsize": 4, "linestyle": ""}
            mean, low, high = (100 * one[name] for name in ("mean", "low", "high"))
            interval = [[mean - low], [high - mean]] if high > low else None
            axes.errorbar([mean], [y], xerr=interval, **look)
            # Beside the panel, where no other mark is.
            beside = {"xycoords": axes.get_yaxis_transform(), "annotation_clip": False}
            axes.annotate(f"{mean:.1f}", (1.02, y), va="center", fontsize=9, **beside)
            published = record["published"]["tasks"].get(task["name"], {})
            case = case_of(record, one["model"])
            if one["head"] == "mlp" and case in published.get("paper_percent", {}):
                paper, released = published["paper_percent"][case], published["released"][case]
                axes.plot([paper], [y - 0.25], markersize=5, label="paper", **_PAPER)
                cross = {"marker": "x", "color": style.INK, "linestyle": ""}
                axes.plot([100 * released["mean"]], [y + 0.25], label="released code", **cross)
        majority, chance = 100 * task["majority"], 100 * task["chance"]
        line = {"color": "#888888", "linewidth": 1}
        if abs(majority - chance) < 0.5:
            axes.axvline(chance, linestyle="--", label="chance = majority class", **line)
        else:
            axes.axvline(majority, linestyle="--", label="majority class", **line)
            axes.axvline(chance, linestyle=":", label="chance", **line)
        axes.margins(x=0.08)
        left, right = axes.get_xlim()
        axes.set_xlim(max(left, -2), min(right, 102))
        axes.set_xlabel("accuracy (%)")
        _grid_lines(axes, "x")
    several = len(record["settings"]["heads"]) > 1
    names = [
        label(record, model) + (f", {_HEADS[head]}" if several else "") for model, head in lines
    ]
    panels[0].set_yticks(range(len(lines)), [textwrap.fill(name, 36) for name in names])
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    _legend_below(figure)
    return figure


def confusion(record: Record, task: Record) -> Figure:
    """Confusion matrices of the first head: a panel for each model, rows sum to 1."""
    outcomes = _of_first_head(record, task)
    labels = [style.cut(name, 20) for name in task["labels"]]
    few = len(labels) <= _FEW
    size, most = (9, 3) if few else (6, 2)
    rows, columns = _shape(len(outcomes), most)
    margin = 0.5 + 0.0085 * size * max(map(len, labels))  # inches, of the classes' names
    side = min((style.WIDTH - margin - 1.2) / columns - 0.2, max(2.5, 0.75 * len(labels)))
    width = margin + 1.2 + columns * (side + 0.2)
    heading = f"Confusion matrix: {style.cut(task['title'], 40)}"
    figure, panels = _panels(heading, len(outcomes), most, side + 0.4, width, margin)
    for place, (axes, one) in enumerate(zip(panels, outcomes, strict=True)):
        shares = _shares(one)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(textwrap.fill(label(record, one["model"]), int(9 * side)))
        for (true, predicted), share in np.ndenumerate(shares):
            if few and share >= 0.005:
                text = f"{share:.2f}".removeprefix("0")
                look = {"color": "white" if share > 0.5 else style.INK, "ha": "center"}
                look |= {"va": "center", "fontsize": min(10, 20 * side / len(labels))}
                axes.text(predicted, true, text, **look)
        below = labels if place // columns == rows - 1 else []
        axes.set_xticks(range(len(labels)) if below else [], below, rotation=90, fontsize=size)
        left = labels if place % columns == 0 else []
        axes.set_yticks(range(len(labels)) if left else [], left, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.supxlabel("predicted class", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    scale = {"shrink": 0.9 / rows, "anchor": (0, 1), "aspect": 20, "pad": 0.01}
    bar = figure.colorbar(image, ax=panels, label="share of the true class", **scale)
    bar.outline.set_visible(False)
    return figure


def class_difference(record: Record, task: Record) -> Figure:
    """Recall of each class by the first model less that by each other, a panel for each other."""
    recalls = {one["model"]: 100 * np.diag(_shares(one)) for one in _of_first_head(record, task)}
    first, *others = recalls
    gains = {other: recalls[first] - recalls[other] for other in others}
    order = np.argsort(-np.mean(list(gains.values()), axis=0), kind="stable")
    heading = f"Per-class difference: {style.cut(task['title'], 40)}"
    figure, panels = _panels(heading, len(others), 3, 0.9 + 0.25 * len(order), sharey=True)
    reach = 1.3 * max(1.0, *(np.abs(gain).max() for gain in gains.values()))
    for axes, (other, gain) in zip(panels, gains.items(), strict=True):
        colours = np.where(gain[order] > 0, _colour(0), _colour(1))
        bars = axes.barh(range(len(order)), gain[order], color=colours, height=0.7)
        axes.bar_label(bars, [f"{value:+.1f}" for value in gain[order]], padding=3, fontsize=8)
        axes.axvline(0, color=style.INK, linewidth=0.8)
        axes.set_xlim(-reach, reach)
        axes.set_title(textwrap.fill(f"against {label(record, other)}", 36))
        _grid_lines(axes, "x")
    names = [f"{style.cut(task['labels'][i], 24)} ({task['tested'][i]} clips)" for i in order]
    panels[0].set_yticks(range(len(order)), names, fontsize=9)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    better = f"positive where {style.cut(label(record, first), 40)} is better"
    figure.supxlabel(f"difference of recall (percentage points), {better}", fontsize=10)
    return figure


def class_map(record: Record, task: Record) -> Figure:
    """Test clips in two dimensions as the first model embeds them, by class."""
    model = style.cut(label(record, record["models"][0]["name"]), 40)
    heading = f"Embedding map: {style.cut(task['title'], 40)}, test clips as embedded by {model}"
    return map_figure(np.array(task["map"]["points"]), task["map"]["labels"], heading)


def correlation(record: Record) -> Figure:
    """Canonical correlations with acoustic features: a panel for each, a bar for each model."""
    found = record["correlations"]
    descriptors = list(next(iter(found.values()))["values"])
    heading = "Canonical correlation with acoustic features"
    figure, panels = _panels(heading, len(descriptors), 2, 3.0, sharey=True)
    width = 0.8 / len(found)
    for axes, descriptor in zip(panels, descriptors, strict=True):
        for place, (model, table) in enumerate(found.items()):
            values, baselines = table["values"][descriptor], table["baselines"][descriptor]
            x = np.arange(len(values)) - 0.4 + width * (place + 0.5)
            name = textwrap.fill(label(record, model), 36)
            axes.bar(x, list(values.values()), 0.9 * width, color=_colour(place), label=name)
            line = {"color": style.INK, "linewidth": 2, "label": "permutation baseline"}
            line["path_effects"] = [withStroke(linewidth=4, foreground="white")]
            ends = x - 0.42 * width, x + 0.42 * width
            axes.hlines([baselines[statistic] for statistic in values], *ends, **line)
            paper = record["published"]["correlations"].get(descriptor, {})
            if paper := paper.get(case_of(record, model)):
                axes.plot(x, paper, label="paper", **_PAPER)
        axes.set_title(style.cut(descriptor_title(descriptor), 40))
        axes.set_xticks(range(len(values)), list(values))
        axes.set_ylim(0, 1.02)
        _grid_lines(axes, "y")
    figure.supylabel("mean canonical correlation", fontsize=10)
    _legend_below(figure)
    return figure


def _panels(
    heading: str,
    count: int,
    most: int,
    height: float,
    width: float = style.WIDTH,
    margin: float = 0.0,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `most` side by side, each `height` inches high.

    margin: inches below the panels.
    """
    rows, columns = _shape(count, most)
    figure = Figure(
        figsize=(width, 0.9 + rows * height + margin), dpi=style.DPI, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    figure.suptitle(heading, x=0.12 / width, ha="left", fontsize=14, fontweight="bold")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _shape(count: int, most: int) -> tuple[int, int]:
    """Rows and columns of `count` panels, at most `most` columns, with few gaps."""
    rows = -(-count // most)
    return rows, -(-count // rows)


def _legend_below(figure: Figure) -> None:
    """One entry for each label that any panel has."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    entries = {text: h for handles, texts in found for h, text in zip(handles, texts, strict=True)}
    columns = max(1, 140 // (8 + max(map(len, entries))))  # what has room side by side
    place = {"loc": "outside lower left", "ncols": columns, "frameon": False}
    figure.legend(entries.values(), entries.keys(), **place)


def _grid_lines(axes: Axes, axis: str) -> None:
    axes.grid(axis=axis, color="#EEEEEE")
    axes.tick_params(axis="y" if axis == "x" else "x", length=0)
    axes.set_axisbelow(True)


def _of_first_head(record: Record, task: Record) -> Sequence[Record]:
    key = (task["name"], record["settings"]["heads"][0])
    return [one for one in record["outcomes"] if (one["task"], one["head"]) == key]


def _shares(outcome: Record) -> np.ndarray:
    """The confusion matrix with rows that sum to 1; zeros for a class without test clips."""
    counts = np.array(outcome["confusion"])
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _colour(place: int) -> str:
    return style.COLOURS[place % len(style.COLOURS)]


def _marker(place: int) -> str:
    """Every round through the colours has its markers beside other colours."""
    return style.MARKERS[(place + place // len(style.COLOURS)) % len(style.MARKERS)]
