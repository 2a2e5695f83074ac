"""What all plots share: style, width, colours, and how a figure becomes a file.

Figures are made without pyplot: the reader's backend and style are left alone. A PNG holds no date
and no version, so that equal records give equal bytes.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from coala_jax import storage

DPI = 100
WIDTH = 12  # inches
# Paul Tol's "muted" for colour-blind readers (https://personal.sron.nl/~pault) with a darker sand,
# and black. A marker goes with each colour, so that no two classes differ by colour alone.
COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE",
    "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
)  # fmt: skip
MARKERS = "os^Dvph<>X"
GREY = "#BBBBBB"  # of what belongs to no class
INK = "#333333"
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


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Our style while a figure is made and written; the reader's style is restored after."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Names come in every script; those that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def write(figure: Figure, out: Path) -> None:
    """Writes a PNG, whole or not at all; makes its folder."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    out.parent.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(out, image.getvalue())


def cut(text: str, length: int) -> str:
    """One line of at most `length` characters, an ellipsis where it is cut."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
