"""The embedding map: sounds as points, with the colour and marker of a class."""

import textwrap
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from coala_jax.reporting import style


def map_figure(
    points: Float64[np.ndarray, "sound 2"],
    classes: Sequence[str | None],
    heading: str,
    others: str = "others",
) -> Figure:
    """A scatter plot with a legend beside it, the largest class first.

    The first ten classes differ in colour and marker; of more, each ten have the colours again with
    other markers.

    Args:
      points: coordinates without a unit.
      classes: the class of each point; None where it has none.
      heading: the title.
      others: how the legend calls points without a class.
    """
    figure = Figure(figsize=(style.WIDTH, 9), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    axes = figure.subplots()
    size = float(np.clip(40_000 / len(points), 16, 80))
    class_of = np.array(["" if name is None else f"={name}" for name in classes])
    counts = Counter(name for name in classes if name is not None)
    for index, (name, count) in enumerate(sorted(counts.items(), key=lambda item: -item[1])):
        round_, colour = divmod(index, len(style.COLOURS))
        axes.scatter(
            *points[class_of == f"={name}"].T,
            s=size,
            c=style.COLOURS[colour],
            marker=style.MARKERS[(colour + round_) % len(style.MARKERS)],
            linewidths=0.4,
            edgecolors="white",
            label=f"{style.cut(name, 24)} ({count})",
            zorder=2,
        )
    if count := len(points) - sum(counts.values()):
        rest = points[class_of == ""].T
        axes.scatter(*rest, s=size / 3, c=style.GREY, label=f"{others} ({count})", zorder=1)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("Near is alike; far means little. The axes have no unit.", loc="left")
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    axes.set_title(textwrap.fill(heading, 60), fontsize=14)
    legend = figure.legend(
        loc="outside right upper",
        ncols=2 if len(counts) > 45 else 1,
        fontsize=8 if len(counts) > 30 else 10,
        frameon=False,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([60])
    return figure


def tag_classes(tags_of_sounds: Sequence[Sequence[str]]) -> list[str | None]:
    """For each sound the rarest of the ten most common tags that it carries, None without one.

    A tag whose sounds are mostly (Jaccard 0.7 or more) those of a more common one is passed over.
    """
    sounds_of: dict[str, set[int]] = {}
    for number, tags in enumerate(tags_of_sounds):
        for tag in tags:
            sounds_of.setdefault(tag, set()).add(number)
    common: list[str] = []
    for tag in sorted(sounds_of, key=lambda tag: (-len(sounds_of[tag]), tag)):
        sounds = sounds_of[tag]
        alike = (len(sounds & sounds_of[one]) / len(sounds | sounds_of[one]) for one in common)
        if len(common) < len(style.COLOURS) and max(alike, default=0) < 0.7:
            common.append(tag)
    classes: list[str | None] = [None] * len(tags_of_sounds)
    for tag in common:  # the rarest last
        for number in sounds_of[tag]:
            classes[number] = tag
    return classes
