"""The picture of a preparation's report: stages, durations, tags and their split."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from coala_jax.preparation.summary import (
    Summary,
    clean,
    known_seconds,
    most_frequent,
    number,
    percent,
    stages,
)
from coala_jax.reporting import style

TAGS_DRAWN = 25
LABEL = 20  # letters of a tag or stage in the picture
TRAIN, VALIDATION = style.COLOURS[:2]
DROPPED, GREY = style.COLOURS[3], "#BBBBBB"
TICKS_SECONDS = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min",
                 600: "10 min", 3600: "1 h", 36_000: "10 h"}  # fmt: skip


def picture(summary: Summary) -> Figure:
    """The figure of `report.png`."""
    heights = (0.9 + 0.27 * max(7, len(summary.dropped) + 2), 2.75, 2.75)
    figure = Figure(figsize=(12, 3.6 + sum(heights)), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    figure.suptitle(
        f"{clean(summary.name, 60)}: {summary.kept:,} of {number(summary.listed, 'sound')} kept",
        fontweight="bold",
        fontsize=13,
    )
    upper, lower = figure.subfigures(2, 1, height_ratios=(sum(heights), 3))
    grid = upper.add_gridspec(3, 2, height_ratios=heights)
    _draw_stages(upper.add_subplot(grid[0, 0]), summary)
    _draw_durations(upper.add_subplot(grid[0, 1]), summary)
    _draw_tags(upper.add_subplot(grid[1:, 0]), summary)
    _draw_ranks(upper.add_subplot(grid[1, 1]), summary)
    _draw_tags_per_sound(upper.add_subplot(grid[2, 1]), summary)
    _draw_shares(lower.add_subplot(), summary)
    return figure


def _draw_stages(axes: Axes, summary: Summary) -> None:
    """What is left after each stage, and at the end of the bar what the stage dropped."""
    rows = [("listed", summary.listed, 0)]
    rows += [(stage, reached - lost, lost) for stage, reached, lost in stages(summary)]
    for row, (_, left, lost) in enumerate(rows):
        axes.barh(row, left, color=GREY)
        axes.barh(row, lost, left=left, color=DROPPED)
        text = f"{left:,}" if row == 0 else f"{left:,} left, {lost:,} dropped"
        _note(axes, text, row, left + lost)
    train, validation = summary.sounds["train"], summary.sounds["validation"]
    axes.barh(len(rows), train, color=TRAIN)
    axes.barh(len(rows), validation, left=train, color=VALIDATION)
    _note(axes, f"{train:,} train, {validation:,} validation", len(rows), summary.kept)
    labels = [clean(stage, LABEL) for stage, *_ in rows]
    axes.set_yticks(range(len(rows) + 1), [*labels, "kept"])
    axes.set_ylim(max(len(rows), 4) + 0.6, -0.6)
    axes.set_xlim(0, 2.2 * summary.listed)  # over half of it for the longest note
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("What became of the sounds")


def _draw_durations(axes: Axes, summary: Summary) -> None:
    known = np.maximum(known_seconds(summary.seconds), min(TICKS_SECONDS))
    axes.set_title("Durations")
    axes.set_xscale("log")
    # Both lines are always in view, and two ticks or more.
    low = float(known.min(initial=min(1.0, summary.patch_seconds))) / 2
    high = float(known.max(initial=summary.clip_seconds)) * 2
    axes.set_xlim(low, high)
    shown = [second for second in TICKS_SECONDS if low <= second <= high]
    axes.set_xticks(shown, [TICKS_SECONDS[second] for second in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.hist(known, bins=np.geomspace(low, high, 50), color=TRAIN, alpha=0.85)
    patch, clip = f"one patch, {summary.patch_seconds:.3g} s", f"{summary.clip_seconds:g} s"
    axes.axvline(summary.patch_seconds, color=VALIDATION, linestyle="--", label=patch)
    axes.axvline(summary.clip_seconds, color=style.INK, linestyle=":", label=clip)
    if not known.size:
        axes.annotate("not known", (0.5, 0.5), xycoords="axes fraction", ha="center")
    _legend(axes)
    _count_axis(axes.yaxis)
    axes.set_ylabel("sounds")


def _draw_tags(axes: Axes, summary: Summary) -> None:
    shown = most_frequent(summary)[:TAGS_DRAWN]
    train, validation = np.array([counts for _, counts in shown]).T
    rows = range(len(shown))
    axes.barh(rows, train, color=TRAIN, label="train")
    axes.barh(rows, validation, left=train, color=VALIDATION, label="validation")
    for row, total in enumerate((train + validation).tolist()):
        _note(axes, f"{total:,}", row, total)
    axes.set_yticks(rows, [clean(tag, LABEL) for tag, _ in shown])
    axes.set_ylim(max(len(shown), 8) - 0.4, -0.6)  # a single tag is a bar, no wall
    axes.set_xlim(0, 1.16 * (train + validation).max())
    axes.set_title("Most frequent tags" if len(shown) < len(summary.tag_sounds) else "All tags")
    axes.set_xlabel("sounds")
    _legend(axes)
    _count_axis(axes.xaxis)


def _draw_ranks(axes: Axes, summary: Summary) -> None:
    totals = np.array([sum(counts) for _, counts in most_frequent(summary)])
    marker = "o" if totals.size <= 40 else None
    ranks = np.arange(1, totals.size + 1)
    axes.loglog(ranks, totals, color=TRAIN, linewidth=1.8, marker=marker)
    axes.set_xlim(0.9, max(10, 1.2 * totals.size))
    axes.set_ylim(0.8, max(10, 1.5 * totals[0]))
    _log_axis(axes.xaxis)
    _log_axis(axes.yaxis)
    axes.grid(color="#EEEEEE")
    axes.set_title("Sounds of each tag")
    axes.set_xlabel("rank of the tag")
    axes.set_ylabel("sounds")


def _draw_tags_per_sound(axes: Axes, summary: Summary) -> None:
    numbers, sounds = np.unique(summary.tags_per_sound, return_counts=True)
    axes.bar(numbers, sounds, color=TRAIN, alpha=0.85, width=0.9)
    median = np.median(summary.tags_per_sound)
    axes.axvline(median, color=style.INK, linestyle=":", label=f"median {median:g}")
    axes.set_xlim(numbers[0] - 1, max(numbers[-1], numbers[0] + 6) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, steps=(1, 2, 5, 10)))
    axes.set_title("Tags of a sound")
    axes.set_xlabel("tags of the vocabulary")
    _legend(axes)
    _count_axis(axes.yaxis)
    axes.set_ylabel("sounds")


def _draw_shares(axes: Axes, summary: Summary) -> None:
    counts, tags = np.unique(list(summary.tag_sounds.values()), axis=0, return_counts=True)
    totals = counts.sum(axis=1)
    shares = counts[:, 1] / np.maximum(totals, 1)
    wanted = summary.wanted_fraction
    least = 0.7 * max(totals.min(), 1)
    sounds = np.geomspace(least, max(1.4 * totals.max(), 5 * least), 200)  # two ticks or more
    luck = 2 * np.sqrt(wanted * (1 - wanted) / sounds)
    band = np.clip([wanted - luck, wanted + luck], 0, 1)
    axes.fill_between(sounds, *band, color="#EEEEEE", label="2 standard deviations of chance")
    axes.axhline(wanted, color=style.INK, linestyle="--", label=f"wanted, {percent(wanted)}")
    look = {"color": VALIDATION, "alpha": 0.6, "linewidths": 0, "zorder": 3}
    axes.scatter(totals, shares, s=18 * np.sqrt(tags), label="a tag (larger: several)", **look)
    axes.set_xscale("log")
    axes.set_xlim(sounds[0], sounds[-1])
    top = min(1.06, 1.1 * max(3 * wanted, shares.max()))
    axes.set_ylim(-0.05 * top, top)
    _log_axis(axes.xaxis, (1, 2, 5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_title("How evenly each tag is split")
    axes.set_xlabel("sounds of the tag")
    axes.set_ylabel("of them in validation")
    _legend(axes)


def _note(axes: Axes, text: str, row: int, x: int) -> None:
    place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
    axes.annotate(text, (x, row), **place)


def _legend(axes: Axes) -> None:
    """Beside the title, where no data can lie beneath it."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    axes.legend(ncols=3, frameon=False, fontsize=9, **place)


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    axis.set_major_formatter(FuncFormatter(_whole))


def _log_axis(axis: Axis, digits: tuple[int, ...] = (1,)) -> None:
    """1, 10, 100, written out: the style draws no mathematics."""
    axis.set_major_locator(LogLocator(10, digits))
    axis.set_major_formatter(FuncFormatter(_whole))
    axis.set_minor_formatter(NullFormatter())


def _whole(value: float, _place: int | None) -> str:
    return f"{value:,.0f}"
