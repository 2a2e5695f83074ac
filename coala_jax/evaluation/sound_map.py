"""A map of sounds: their embeddings in two dimensions, with the names of common tags."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from coala_jax.reporting import style

NAMES = 24  # tags without a colour that the map tries to name
MAP_SOUNDS = 3000  # t-SNE of more takes minutes and shows a blot
GREY = "#BBBBBB"  # of sounds without a coloured tag


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
    with style.styled():
        style.write(map_figure(positions, [tags_of_sounds[i] for i in chosen]), out)


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
    figure = Figure(figsize=(12, 9), dpi=style.DPI)
    axes = figure.add_axes((0.02, 0.02, 0.77, 0.88))
    size = float(np.clip(24_000 / len(positions), 12, 80))
    for index in [*range(len(coloured)), -1]:
        these = positions[shown == index]
        if len(these):
            tag = "other tags" if index < 0 else style.cut(coloured[index], 18)
            axes.scatter(
                *these.T,
                s=size * 0.6 if index < 0 else size,
                c=GREY if index < 0 else style.COLOURS[index],
                marker="o" if index < 0 else style.MARKERS[index],
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
        if len(coloured) < len(style.COLOURS) and max(alike, default=0) < 0.7:
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
            style.cut(tag, 24),
            _middle(positions[sorted(sounds_of[tag])]),
            xytext=(0, 0),
            textcoords="offset pixels",
            ha="center",
            va="center",
            color=_darker(style.COLOURS[rank]) if large else style.INK,
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
