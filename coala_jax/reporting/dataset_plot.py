"""The figure of a dataset's report: tags, durations, and how evenly tags are split."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from coala_jax.reporting import style

TAGS = 25  # bars
TRAIN, VALIDATION = style.COLOURS[:2]
_SECONDS = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min",
            600: "10 min", 3600: "1 h", 36_000: "10 h"}  # fmt: skip


def draw(manifest: dict[str, Any]) -> Figure:
    """The figure for the content of a manifest with the record of a preparation."""
    record = manifest["preparation"]
    figure = Figure(figsize=(12, 7.5), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.15))
    _draw_tags(figure.add_subplot(grid[:, 0]), manifest["vocabulary"], record["tag_sounds"])
    _draw_durations(figure.add_subplot(grid[0, 1]), record["seconds"])
    _draw_split(figure.add_subplot(grid[1, 1]), record["tag_sounds"], record["wanted_fraction"])
    return figure


def label(text: str, length: int) -> str:
    """One line of printable characters, at most `length`."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return style.cut(printable, length)


def most_frequent(vocabulary: list[str], tag_sounds: dict[str, list[int]]) -> list[tuple]:
    """(tag, training sounds, validation sounds), the most frequent first."""
    rows = zip(vocabulary, tag_sounds["train"], tag_sounds["validation"], strict=True)
    return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))


def _draw_tags(axes: Axes, vocabulary: list[str], tag_sounds: dict[str, list[int]]) -> None:
    rows = most_frequent(vocabulary, tag_sounds)[:TAGS]
    train, validation = np.array([row[1:] for row in rows]).T
    places = np.arange(len(rows))
    axes.barh(places, train, color=TRAIN, label="train")
    axes.barh(places, validation, left=train, color=VALIDATION, label="validation")
    for place, total in enumerate((train + validation).tolist()):
        axes.annotate(
            f"{total:,}", (total, place), (4, 0), textcoords="offset points", va="center", size=9
        )
    axes.set_yticks(places, [label(row[0], 20) for row in rows])
    axes.set_ylim(max(len(rows), 8) - 0.4, -0.6)
    axes.set_xlim(0, 1.2 * max(1, (train + validation).max()))
    axes.set_title("Most frequent tags" if len(vocabulary) > TAGS else "Tags")
    axes.set_xlabel("sounds")
    _legend(axes)
    _count_axis(axes.xaxis)


def _draw_durations(axes: Axes, seconds: dict[str, Any]) -> None:
    edges = np.array(seconds["bin_edges"])
    low = min(edges[0], seconds["patch"]) / 2
    high = max(edges[-1], seconds["clip"]) * 2
    axes.stairs(seconds["bin_sounds"], edges, fill=True, color=TRAIN)
    patch, clip = f"a patch, {seconds['patch']:.3g} s", f"a clip, {seconds['clip']:g} s"
    axes.axvline(seconds["patch"], color=VALIDATION, linestyle="--", label=patch)
    axes.axvline(seconds["clip"], color=style.INK, linestyle=":", label=clip)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [second for second in _SECONDS if low <= second <= high]
    axes.set_xticks(ticks, [_SECONDS[second] for second in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Durations")
    axes.set_ylabel("sounds")
    _legend(axes)
    _count_axis(axes.yaxis)


def _draw_split(axes: Axes, tag_sounds: dict[str, list[int]], wanted: float) -> None:
    """The validation share of each tag over its sounds, beside that of a random split."""
    pairs = np.array([tag_sounds["train"], tag_sounds["validation"]]).T
    points, tags = np.unique(pairs[pairs.sum(axis=1) > 0], axis=0, return_counts=True)
    totals = points.sum(axis=1)
    shares = points[:, 1] / totals
    sounds = np.geomspace(0.7 * totals.min(), max(1.4 * totals.max(), 5 * totals.min()), 200)
    deviation = 2 * np.sqrt(wanted * (1 - wanted) / sounds)
    band = np.clip([wanted - deviation, wanted + deviation], 0, 1)
    axes.fill_between(sounds, *band, color="#E0E0E0", label="95 % by chance")
    axes.axhline(wanted, color=style.INK, linestyle="--", label=f"wanted, {100 * wanted:g} %")
    axes.scatter(totals, shares, 18 * np.sqrt(tags), VALIDATION, alpha=0.6, linewidths=0, zorder=3)
    axes.set_xscale("log")
    axes.set_xlim(sounds[0], sounds[-1])
    top = min(1.06, 1.1 * max(2 * wanted, shares.max()))
    axes.set_ylim(-0.05 * top, top)
    axes.xaxis.set_major_locator(LogLocator(10, (1,) if totals.max() > 1000 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_whole))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_title("Split of each tag")
    axes.set_xlabel("sounds of the tag")
    axes.set_ylabel("share in validation")
    _legend(axes)


def _legend(axes: Axes) -> None:
    """On the right of the title, where no data are."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    axes.legend(ncols=2, frameon=False, fontsize=9, **place)


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    axis.set_major_formatter(FuncFormatter(_whole))


def _whole(value: float, _place: int | None) -> str:
    return f"{value:,.0f}"
