"""Pictures of a run: loss curves, spectrograms beside their reconstructions, a map of sounds.

Drawn with Agg on figures of our own: the reader's pyplot, backend and style are left alone. Each
file is written under a temporary name and moved when whole, with no date inside, so that equal
input gives equal bytes.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Float32, Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

SECONDS_PER_FRAME = 512 / 22_000  # hop of 512 samples at 22 000 Hz (paper, section 3.1)
DPI = 100  # pictures are 1200 pixels wide
NAMES = 24  # tags without a colour that the map tries to name
MAP_SOUNDS = 3000  # t-SNE of more takes minutes and shows a blot
# Paul Tol's "muted" colours for the colour-blind, https://personal.sron.nl/~pault; a marker of its
# own beside each, so that no two tags differ by colour alone.
COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE",
    "#882255", "#44AA99", "#999933", "#AA4499",
)  # fmt: skip
MARKERS = "os^Dvph<>"
GREY, INK = "#BBBBBB", "#333333"
TRAIN, VALIDATION = COLOURS[0], COLOURS[1]
STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 10,
    "text.parse_math": False,  # a sound may be named "$5$.wav"
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
PANELS = {
    "loss": "Total loss (weighted sum)",
    "audio_loss": "Audio loss (generalised KL)",
    "tag_loss": "Tag loss (cross-entropy)",
    "contrastive_loss": "Contrastive loss",
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
    with _style():
        _write(loss_figure(metrics), out)


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
    figure = Figure(figsize=(12, 0.7 + 3.3 * rows), dpi=DPI, layout="constrained")
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
    with _style():
        _write(reconstruction_figure(patches, reconstructed, titles), out)


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
    figure = Figure(figsize=(width, height), dpi=DPI)

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
        left.annotate(_cut(name, 58), (0, 1), (0, 37), fontweight="bold", **heading)
        left.annotate(_cut(tags, 76), (0, 1), (0, 23), fontsize=9, color="#666666", **heading)
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


def embedding_map(
    embeddings: Float[np.ndarray, "sound dimension"],
    tags_of_sounds: Sequence[Sequence[str]],
    out: Path,
    seed: int,
) -> None:
    """A map on which sounds with alike embeddings are near, with the names of common tags.

    A sound has the colour and marker of the rarest of the nine most common tags that it carries,
    and is grey without one. A name stands at the middle one of its tag's sounds, or close by with
    a line to it. Of more than 3000 sounds, 3000 are drawn, picked by ``seed``.

    Args:
      embeddings: one vector a sound, any scale and dimension.
      tags_of_sounds: the tags of each sound; may be empty.
      out: the PNG to write.
      seed: of t-SNE and of the pick; equal seeds give equal pictures on one machine.

    Raises:
      ValueError: fewer than three sounds, numbers that differ, an embedding that is not finite.
    """
    if len(embeddings) < 3 or len(embeddings) != len(tags_of_sounds):
        raise ValueError(
            f"{len(embeddings)} embeddings and tags of {len(tags_of_sounds)} sounds: "
            f"a map needs the same number of both, three at least"
        )
    chosen = np.arange(len(embeddings))
    if len(chosen) > MAP_SOUNDS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAP_SOUNDS, replace=False))
    positions = project(embeddings[chosen], seed)
    with _style():
        _write(map_figure(positions, [tags_of_sounds[i] for i in chosen]), out)


def project(
    embeddings: Float[np.ndarray, "sound dimension"], seed: int
) -> Float64[np.ndarray, "sound 2"]:
    """Two coordinates a sound: standardised, at most 50 principal components, then t-SNE.

    Below ten sounds the first two principal components, for t-SNE has no neighbourhoods to keep.
    The coordinates have no unit. Raises ValueError for an embedding that is not finite.
    """
    if not np.isfinite(embeddings).all():
        raise ValueError(f"{np.sum(~np.isfinite(embeddings).all(axis=1))} embeddings not finite")
    standard = StandardScaler().fit_transform(embeddings.astype(np.float64))
    sounds = len(standard)
    if not standard.any():  # all sounds alike: one spot, and no variance for PCA to share out
        return np.zeros((sounds, 2))
    components = PCA(min(50, *standard.shape), random_state=seed).fit_transform(standard)
    first = np.pad(components, ((0, 0), (0, max(0, 2 - components.shape[1]))))[:, :2]
    if sounds < 10:
        return first
    start = first / first[:, 0].std() * 1e-4  # what init="pca" does, and works for one dimension
    perplexity = min(30.0, (sounds - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    # One thread: on a busy machine t-SNE's threads wait for each other, 12 sounds took 33 s.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(components).astype(np.float64)


def map_figure(
    positions: Float64[np.ndarray, "sound 2"], tags_of_sounds: Sequence[Sequence[str]]
) -> Figure:
    """The figure of ``embedding_map``, from coordinates."""
    sounds_of = _sounds_of_tags(tags_of_sounds)
    coloured = _coloured_tags(sounds_of)
    shown = np.full(len(positions), -1)  # -1: other tags. Common tags first, so the rarest stays
    for index, tag in enumerate(coloured):
        shown[list(sounds_of[tag])] = index
    figure = Figure(figsize=(12, 9), dpi=DPI)
    axes = figure.add_axes((0.02, 0.02, 0.77, 0.88))
    size = float(np.clip(24_000 / len(positions), 12, 80))
    for index in [*range(len(coloured)), -1]:
        these = positions[shown == index]
        if len(these):
            tag = "other tags" if index < 0 else _cut(coloured[index], 18)
            axes.scatter(
                *these.T,
                s=size * 0.6 if index < 0 else size,
                c=GREY if index < 0 else COLOURS[index],
                marker="o" if index < 0 else MARKERS[index],
                linewidths=0.4,
                edgecolors="white",
                label=f"{tag} ({len(these)})",
                zorder=1 if index < 0 else 2,
            )
    axes.set(xticks=[], yticks=[])
    axes.margins(0.05)
    axes.spines[:].set_visible(False)
    title = f"{len(positions)} sounds as the encoder hears them"
    figure.text(0.03, 0.96, title, fontsize=14, fontweight="bold")
    note = "Near is alike; far means little. Colour: the rarest of a sound's common tags."
    figure.text(0.03, 0.93, note, color="#666666")
    figure.legend(loc="upper left", bbox_to_anchor=(0.8, 0.9), frameon=False, markerscale=1.2)
    _name_tags(axes, positions, sounds_of, coloured)
    return figure


def _sounds_of_tags(tags_of_sounds: Sequence[Sequence[str]]) -> dict[str, set[int]]:
    """Tag to the numbers of its sounds, the most common tag first, equal ones by alphabet."""
    sounds_of: dict[str, set[int]] = {}
    for number, tags in enumerate(tags_of_sounds):
        for tag in tags:
            sounds_of.setdefault(tag, set()).add(number)
    return dict(sorted(sounds_of.items(), key=lambda item: (-len(item[1]), item[0])))


def _coloured_tags(sounds_of: Mapping[str, set[int]]) -> list[str]:
    """The most common tags, but none whose sounds are mostly those of one before it."""
    coloured: list[str] = []
    for tag, sounds in sounds_of.items():
        alike = (len(sounds & sounds_of[one]) / len(sounds | sounds_of[one]) for one in coloured)
        if len(coloured) < len(COLOURS) and max(alike, default=0) < 0.7:
            coloured.append(tag)
    return coloured


def _name_tags(
    axes: Axes,
    positions: Float64[np.ndarray, "sound 2"],
    sounds_of: Mapping[str, set[int]],
    coloured: Sequence[str],
) -> None:
    """Write names, coloured tags first, each at the nearest place free of other names."""
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    axes.figure.draw_without_rendering()  # settles the limits, and with them pixels
    frame, taken = axes.get_window_extent(renderer), []
    if len(positions) <= 100:  # with room to spare, names keep off the sounds too
        taken = [
            Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in axes.transData.transform(positions)
        ]
    others = [tag for tag, sounds in sounds_of.items() if tag not in coloured and len(sounds) > 1]
    for rank, tag in enumerate([*coloured, *others[:NAMES]]):
        large = rank < len(coloured)
        text = axes.annotate(
            _cut(tag, 24),
            _middle(positions[sorted(sounds_of[tag])]),
            xytext=(0, 0),
            textcoords="offset pixels",
            ha="center",
            va="center",
            color=_darker(COLOURS[rank]) if large else INK,
            fontsize=12 if large else 8.5,
            fontweight="bold" if large else "normal",
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.8, "shrinkB": 0},
        )
        box = text.get_window_extent(renderer).padded(1)
        for x, y in _places(260 if large else 50):
            moved = box.translated(x, y)
            inside = frame.x0 < moved.x0 and moved.x1 < frame.x1 and frame.y0 < moved.y0
            if inside and moved.y1 < frame.y1 and not moved.count_overlaps(taken):
                taken.append(moved)
                text.set_position((x, y))
                text.arrow_patch.set_visible(np.hypot(x, y) > 25)
                break
        else:
            text.remove()


def _middle(positions: Float64[np.ndarray, "sound 2"]) -> Float64[np.ndarray, "2"]:
    """The sound with the least way to all others: a median that does not fall between groups."""
    x, y = positions.T
    ways = np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y)).sum(axis=1)
    return positions[np.argmin(ways)]


def _darker(colour: str) -> tuple[float, float, float]:
    """Dark enough to read on white."""
    red, green, blue = to_rgb(colour)
    return red * 0.6, green * 0.6, blue * 0.6


def _places(furthest: int) -> Iterator[tuple[float, float]]:
    """Offsets in pixels from near to far: rings of twelve directions."""
    yield 0.0, 0.0
    for radius in range(8, furthest, 8):
        for angle in np.arange(12) * (np.pi / 6):
            yield radius * np.cos(angle), radius * np.sin(angle)


def _cut(text: str, length: int) -> str:
    """One line of at most ``length`` characters, cut with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@contextlib.contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Tags and names come in every script; a box in place of a letter is no reason to stop.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def _write(figure: Figure, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        # Without "Software" the bytes do not change with matplotlib's version number.
        figure.savefig(part, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
