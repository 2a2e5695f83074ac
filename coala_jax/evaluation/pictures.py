"""Pictures of a run: loss curves, spectrograms beside their reconstructions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from coala_jax.reporting import style

SECONDS_PER_FRAME = 512 / 22_000  # hop of 512 samples at 22 000 Hz (paper, section 3.1)
TRAIN, VALIDATION = style.COLOURS[:2]
PANELS = {
    "loss": "Total loss (weighted sum)",
    "audio_loss": "Audio loss (generalised KL)",
    "tag_loss": "Tag loss (cross-entropy)",
    "signed_contrastive_loss": "Contrastive loss (may be negative)",
    "contrastive_loss": "Contrastive loss (NT-Xent)",
    "macro_auc": "Macro AUC of sounds ranked for a tag",
    "mrr": "MRR of a sound's own tag set",
}


def loss_curves(metrics: Sequence[Mapping[str, Any]], out: Path) -> None:
    """One panel a loss and a retrieval measure, training and validation by epoch.

    Args:
      metrics: the lines of ``metrics.jsonl``: ``kind`` ("train" or "validation"), ``epoch``, and
        whichever of ``PANELS`` were measured. Where a resumed run wrote an epoch twice, the later
        line counts. A value that is not finite leaves a gap.
      out: the PNG to write.

    Raises:
      ValueError: there is nothing to draw.
    """
    with style.styled():
        style.write(loss_figure(metrics), out)


def loss_figure(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of ``loss_curves``."""
    by_kind = {
        kind: {line["epoch"]: line for line in metrics if line["kind"] == kind}
        for kind in ("train", "validation")
    }
    names = [name for name in PANELS if any(name in line for line in metrics)]
    if not names or not any(by_kind.values()):
        raise ValueError(f"no loss to draw in {len(metrics)} lines of metrics: did an epoch end?")
    columns = len(names) if len(names) <= 3 else -(-len(names) // 2)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(12, 0.7 + 3.3 * rows), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        _draw_curves(axes, name, by_kind)
    for axes in grid[len(names) :]:
        axes.remove()
    handles = {
        label: line
        for axes in figure.axes
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False
    )
    return figure


def _draw_curves(axes: Axes, name: str, by_kind: Mapping[str, Mapping[int, Any]]) -> None:
    last = {}
    for kind, colour, marker in (("train", TRAIN, "o"), ("validation", VALIDATION, "s")):
        points = sorted((e, line[name]) for e, line in by_kind[kind].items() if name in line)
        if points:
            epochs, values = np.array(points, dtype=np.float64).T
            style = {"marker": marker, "markersize": 4} if len(epochs) <= 40 else {}
            axes.plot(epochs, values, color=colour, linewidth=1.8, label=kind, **style)
            last[kind] = (epochs[-1], values[-1], colour)
    ends = sorted((end for end in last.values() if np.isfinite(end[1])), key=lambda end: end[1])
    for place, (epoch, value, colour) in enumerate(ends):
        # Two figures side by side lean away from each other.
        lean = "center" if len(ends) == 1 else ("top", "bottom")[place]
        axes.annotate(
            f"{value:.3g}",
            (epoch, value),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            va=lean,
            annotation_clip=False,
        )
    if name == "macro_auc":
        axes.axhline(0.5, color="#888888", linestyle=":", label="chance")
    if name == "mrr":
        axes.set_ylim(bottom=0)
    axes.set_title(PANELS[name])
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def reconstructions(
    patches: Float32[np.ndarray, "sound mel time"],
    reconstructed: Float32[np.ndarray, "sound mel time"],
    titles: Sequence[str],
    out: Path,
) -> None:
    """Each sound's spectrogram, and what the decoder made of it to its right; two sounds a row.

    Args:
      patches: scaled log-mel values in [0, 1]; beyond that they are drawn as 0 or 1.
      reconstructed: the same of the decoder.
      titles: a sound's name, and after a line break its tags; long ones are cut. Eight sounds or
        so make a good picture.
      out: the PNG to write.

    Raises:
      ValueError: no sound, or numbers of sounds that differ.
    """
    with style.styled():
        style.write(reconstruction_figure(patches, reconstructed, titles), out)


def reconstruction_figure(
    patches: Float32[np.ndarray, "sound mel time"],
    reconstructed: Float32[np.ndarray, "sound mel time"],
    titles: Sequence[str],
) -> Figure:
    """The figure of ``reconstructions``."""
    if not len(patches) or patches.shape != reconstructed.shape or len(titles) != len(patches):
        raise ValueError(
            f"patches {patches.shape}, reconstructed {reconstructed.shape} and {len(titles)} titles"
            f" must be of the same sounds, one at least"
        )
    pairs = min(2, len(patches))
    rows = -(-len(patches) // pairs)
    # Fixed inches: no automatic layout knows that a heading may run over its neighbour.
    side, cell_width, cell_height = 2.35, 5.5, 3.5
    width, height = pairs * cell_width + 0.9, rows * cell_height + 0.1
    figure = Figure(figsize=(width, height), dpi=style.DPI)

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    for index, title in enumerate(titles):
        x = 0.65 + index % pairs * cell_width
        y = height - (index // pairs + 1) * cell_height + 0.45
        left, right = place(x, y, side, side), place(x + side + 0.12, y, side, side)
        _draw_patch(left, patches[index], "sound")
        image = _draw_patch(right, reconstructed[index], "reconstruction")
        left.set_ylabel("mel band")
        right.tick_params(labelleft=False)
        name, _, tags = title.partition("\n")
        heading = {"textcoords": "offset points", "xycoords": "axes fraction"}
        left.annotate(style.cut(name, 58), (0, 1), (0, 37), fontweight="bold", **heading)
        left.annotate(style.cut(tags, 76), (0, 1), (0, 23), fontsize=9, color="#666666", **heading)
    bar = figure.colorbar(image, cax=place(width - 0.75, height - cell_height + 0.45, 0.14, side))
    bar.set_label("scaled log-mel energy")
    return figure


def _draw_patch(axes: Axes, values: Float32[np.ndarray, "mel time"], title: str) -> AxesImage:
    mels, frames = values.shape
    image = axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=0,
        vmax=1,
        extent=(0, frames * SECONDS_PER_FRAME, 0, mels),
    )
    axes.set_title(title, fontsize=9, fontweight="normal", pad=4)
    axes.set_xlabel("seconds")
    axes.set_yticks(range(0, mels + 1, 24))
    return image
