"""Plots of a training run: training curves, spectrograms beside their reconstructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coala_jax.reporting import style

KINDS = {"train": ("training", "o"), "validation": ("validation", "s")}
PANELS = {
    "loss": "Total loss (weighted sum)",
    "audio_loss": "Audio loss (generalised KL)",
    "tag_loss": "Tag loss (cross-entropy)",
    "signed_contrastive_loss": "Contrastive loss (may be negative)",
    "contrastive_loss": "Contrastive loss (NT-Xent)",
    "macro_auc": "Macro AUC of sounds ranked for a tag",
    "mrr": "MRR of a sound's own tag set",
}


def curves_figure(entries: Sequence[Mapping[str, Any]]) -> Figure:
    """Training curves: a panel per loss and retrieval measure, training and validation by epoch.

    Args:
      entries: the lines of `metrics.jsonl`: `kind` ("train" or "validation"), `epoch`, and
        whichever of `PANELS` were measured. A value that is not finite leaves a gap.
    """
    names = [name for name in PANELS if any(name in entry for entry in entries)]
    rows = 1 if len(names) <= 3 else 2
    columns = -(-len(names) // rows)
    figure = Figure(figsize=(style.WIDTH, 0.9 + 3.3 * rows), dpi=style.DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    figure.suptitle("Training curves", x=0.012, ha="left", fontsize=14, fontweight="bold")
    legend = {}
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        _draw_curves(axes, name, entries)
        legend |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside upper right", ncols=3, frameon=False)
    return figure


def _draw_curves(axes: Axes, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
    for colour, (kind, (label, marker)) in zip(style.COLOURS, KINDS.items(), strict=False):
        curve = {e["epoch"]: e[name] for e in entries if e["kind"] == kind and name in e}
        if curve:
            epochs, values = np.array(sorted(curve.items()), dtype=np.float64).T
            dots = {"marker": marker, "markersize": 4, "markevery": -(-len(epochs) // 40)}
            axes.plot(epochs, values, color=colour, linewidth=1.8, label=label, **dots)
    if name == "macro_auc":
        axes.axhline(0.5, color="#888888", linestyle=":", label="chance")
    if name == "mrr":
        axes.set_ylim(bottom=0)
    axes.set_title(PANELS[name])
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def reconstruction_figure(
    patches: Float32[np.ndarray, "sound mel time"],
    reconstructed: Float32[np.ndarray, "sound mel time"],
    names: Sequence[str],
    tags: Sequence[str],
    frame_seconds: float,
) -> Figure:
    """Each sound's spectrogram with its reconstruction to the right; two sounds a row.

    Args:
      patches: scaled log-mel values in [0, 1]; beyond that they are drawn as 0 or 1.
      reconstructed: the same of the decoder.
      names, tags: two lines above each sound; long ones are cut.
      frame_seconds: from one frame to the next.
    """
    columns = min(2, len(patches))
    rows = -(-len(patches) // columns)
    size = (style.WIDTH / 2 * columns, 3.6 * rows)
    figure = Figure(figsize=size, dpi=style.DPI, layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False, wspace=0.03, hspace=0.04).ravel()
    mels, frames = patches.shape[1:]
    extent = (0, frames * frame_seconds, 0, mels)
    for index, (name, tag_line) in enumerate(zip(names, tags, strict=True)):
        cell = cells[index]
        heading = f"{style.cut(name, 56)}\n{style.cut(tag_line, 60)}"
        cell.suptitle(heading, x=0.02, ha="left", fontsize=10)
        panels = cell.subplots(1, 2, sharey=True)
        for axes, values in zip(panels, (patches[index], reconstructed[index]), strict=True):
            look = {"cmap": "magma", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
            image = axes.imshow(values, origin="lower", aspect="auto", extent=extent, **look)
            axes.set(xlabel="seconds", yticks=range(0, mels + 1, 24))
        panels[0].set_title("sound", fontsize=9, fontweight="normal")
        panels[1].set_title("reconstruction", fontsize=9, fontweight="normal")
        panels[0].set_ylabel("mel band")
        cell.colorbar(image, ax=panels, label="scaled log-mel energy", fraction=0.04)
    return figure
