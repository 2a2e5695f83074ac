"""Pictures of a task's classes: what each was taken for, who tells it better, where clips lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from coala_jax.evaluation import map_projection
from coala_jax.evaluation.comparison_pictures import WIDTH, darker, names_of, write_head
from coala_jax.evaluation.probe_result import ProbeResult
from coala_jax.evaluation.tables import title
from coala_jax.reporting import style

_FEW = 15  # so many classes have room for a figure in each cell of their confusions


def confusions(outcomes: Sequence[ProbeResult], out: Path) -> None:
    """What the classes of one task were taken for, a panel for each model.

    Args:
      outcomes: of one task, one for each model and head.
      out: the PNG to write.

    Raises:
      ValueError: there is no outcome, or they are of several tasks.
    """
    with style.styled():
        style.write(confusion_figure(outcomes), out)


def confusion_figure(outcomes: Sequence[ProbeResult]) -> Figure:
    """The figure of ``confusions``."""
    heading = f"{_task(outcomes)}: what each class was taken for"
    labels = [style.cut(label, 20) for label in outcomes[0].labels]
    few = len(labels) <= _FEW
    columns = min(len(outcomes), 3 if few else 2)
    size = 9.0 if few else 6.0  # of the labels, in points
    # Fixed inches: panels are square, with the names of classes at the left and at the foot.
    margin = 0.3 + max(map(len, labels)) * size * 0.009
    side = min((WIDTH - margin - 0.8) / columns - 0.2, 7.0, max(2.5, 0.8 * len(labels)))
    rows, step, top = -(-len(outcomes) // columns), side + 0.4, 0.7
    height = top + rows * step + margin
    figure = Figure(figsize=(WIDTH, height), dpi=style.DPI)
    names = names_of(outcomes, {}, int(9 * side))
    for index, (outcome, name) in enumerate(zip(outcomes, names, strict=True)):
        left = margin + index % columns * (side + 0.2)
        bottom = height - top - (index // columns + 1) * step
        axes = figure.add_axes((left / WIDTH, bottom / height, side / WIDTH, side / height))
        image = _draw_confusion(axes, outcome, 23 * side / len(labels) if few else 0.0)
        axes.set_title(name, fontsize=10)
        places = range(len(labels))
        axes.set_yticks(places, [] if index % columns else labels, fontsize=size)
        is_lowest = index + columns >= len(outcomes)
        axes.set_xticks(places, labels if is_lowest else [], fontsize=size, rotation=90)
    bar = (margin + columns * (side + 0.2)) / WIDTH, (height - top - 2.5) / height
    scale = figure.colorbar(image, cax=figure.add_axes((*bar, 0.13 / WIDTH, 2.1 / height)))
    scale.outline.set_visible(False)
    scale.ax.tick_params(labelsize=9, length=0)
    write_head(figure, heading, "Rows are true classes, columns the answers. Each row sums to 1.")
    return figure


def _draw_confusion(axes: Axes, outcome: ProbeResult, size: float) -> AxesImage:
    """size: of the figures in the cells, in points; 0 for none."""
    shares = outcome.shares()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if size:
        for (true, answer), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.5 else style.INK
                text = f"{share:.2f}".removeprefix("0")
                axes.text(
                    answer, true, text, ha="center", va="center", color=colour, size=min(size, 12)
                )
    return image


def class_differences(first: ProbeResult, second: ProbeResult, out: Path) -> None:
    """How much better the first model tells each class than the second.

    Raises:
      ValueError: they are of different tasks.
    """
    with style.styled():
        style.write(class_difference_figure(first, second), out)


def class_difference_figure(first: ProbeResult, second: ProbeResult) -> Figure:
    """The figure of ``class_differences``: a bar for each class, the greatest gain at the top."""
    heading = f"{_task([first, second])}: which classes each model tells better"
    gains = 100 * (np.diag(first.shares()) - np.diag(second.shares()))
    order = np.argsort(-gains, kind="stable")
    names = names_of([first, second], {}, 40)
    height = 1.7 + 0.24 * len(order)
    figure = Figure(figsize=(WIDTH, height), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.08, rect=(0, 0, 1, 1 - 0.65 / height))
    axes = figure.add_subplot()
    colours = [style.COLOURS[0] if gains[place] > 0 else style.COLOURS[1] for place in order]
    bars = axes.barh(range(len(order)), gains[order], color=colours, height=0.7)
    axes.bar_label(bars, [f"{gains[place]:+.1f}" for place in order], padding=3, fontsize=8)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    reach = 1.15 * max(1.0, float(np.abs(gains).max()))
    axes.set_xlim(-reach, reach)
    clips = list(first.tested().items())
    ticks = [f"{style.cut(clips[place][0], 28)} ({clips[place][1]})" for place in order]
    axes.set_yticks(range(len(order)), ticks, fontsize=9)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(
        f"\N{LEFTWARDS ARROW} {names[1]}  |  percentage points  |  {names[0]} \N{RIGHTWARDS ARROW}"
    )
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    note = "Difference of the shares told right. In brackets test clips: few of them, much luck."
    write_head(figure, heading, note)
    return figure


def class_map(
    embeddings: Float[np.ndarray, "clip dim"],
    classes: Sequence[str],
    heading: str,
    out: Path,
    seed: int,
) -> None:
    """Clips in two dimensions, each with the colour and marker of its class.

    Args:
      embeddings: one vector a clip, any scale and dimension.
      classes: the name of each clip's class.
      heading: what is to be seen.
      out: the PNG to write.
      seed: of t-SNE, and of the 3000 clips that are drawn where there are more.

    Raises:
      ValueError: fewer than three clips, numbers that differ, an embedding that is not finite.
    """
    if len(embeddings) < 3 or len(embeddings) != len(classes):
        raise ValueError(
            f"{len(embeddings)} embeddings and classes of {len(classes)} clips: a map needs the "
            "same number of both, three at least"
        )
    chosen = map_projection.choose(len(embeddings), seed)
    positions = map_projection.project(embeddings[chosen], seed)
    with style.styled():
        style.write(class_map_figure(positions, [classes[i] for i in chosen], heading), out)


def class_map_figure(
    positions: Float64[np.ndarray, "clip 2"], classes: Sequence[str], heading: str
) -> Figure:
    """The figure of ``class_map``; a class's number stands at the middle one of its clips."""
    labels, of_clips = np.unique(np.array(classes), return_inverse=True)
    many = len(labels) > 30
    height = max(9.0, 1.3 + 0.165 * -(-len(labels) // 2))
    figure = Figure(figsize=(WIDTH, height), dpi=style.DPI)
    axes = figure.add_axes((0.02, 0.02, 0.62 if many else 0.74, 0.96 - 0.75 / height))
    size = float(np.clip(24_000 / len(positions), 12, 80))
    for number, label in enumerate(labels):
        these = positions[of_clips == number]
        colour = style.COLOURS[number % len(style.COLOURS)]
        axes.scatter(
            *these.T,
            s=size,
            c=colour,
            # Every round through the colours is with markers of other neighbours.
            marker=style.MARKERS[(number + number // len(style.COLOURS)) % len(style.MARKERS)],
            linewidths=0.4,
            edgecolors="white",
            label=f"{number + 1} {style.cut(str(label), 18 if many else 24)} ({len(these)})",
        )
        middle = these[np.argmin(np.hypot(*(these - np.median(these, axis=0)).T))]
        axes.text(
            *middle,
            str(number + 1),
            ha="center",
            va="center",
            fontsize=9 if many else 13,
            fontweight="bold",
            color=darker(colour),
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    axes.set(xticks=[], yticks=[])
    axes.margins(0.04)
    axes.spines[:].set_visible(False)
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.65 if many else 0.77, 1 - 0.75 / height),
        ncols=2 if many else 1,
        fontsize=7.5 if many else 10,
        columnspacing=0.8,
        handletextpad=0.2,
        markerscale=1.2,
        frameon=False,
    )
    note = "Near is alike; far means little. A number stands at the middle of its class."
    write_head(figure, style.cut(heading, 90), note)
    return figure


def _task(outcomes: Sequence[ProbeResult]) -> str:
    """The name of the one task that all are of."""
    tasks = list(dict.fromkeys(outcome.task for outcome in outcomes))
    if len(tasks) != 1 or len({outcome.labels for outcome in outcomes}) != 1:
        raise ValueError(f"a picture of one task and its classes was asked for {tasks}")
    return style.cut(title(tasks[0]), 40)
