"""What all pictures share: one style, one size, colours, and how a picture becomes a file.

Drawn with Agg on figures of our own: the reader's pyplot, backend and style are left alone. Each
file is written under a temporary name and moved when whole, with no date inside, so that equal
input gives equal bytes.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from coala_jax import storage

DPI = 100  # pictures are 1200 pixels wide
# Paul Tol's "muted" colours for the colour-blind, https://personal.sron.nl/~pault; a marker of its
# own beside each, so that no two tags differ by colour alone.
COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE",
    "#882255", "#44AA99", "#999933", "#AA4499",
)  # fmt: skip
MARKERS = "os^Dvph<>"
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
    """The style of our pictures while a figure is made and written, and the reader's after."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Tags and names come in every script; a box in place of a letter is no reason to stop.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def write(figure: Figure, out: Path) -> None:
    """The figure as a PNG, its folder made if need be; a failure leaves ``out`` as it was."""
    image = io.BytesIO()
    # Without "Software" the bytes do not change with matplotlib's version number.
    figure.savefig(image, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    out.parent.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(out, image.getvalue())


def cut(text: str, length: int) -> str:
    """One line of at most ``length`` characters, cut with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
