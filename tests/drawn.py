"""Outcomes to draw, and what is asked of every picture of them."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from coala_jax.evaluation.probe_result import ProbeResult
from coala_jax.reporting import style


def outcome(task="birds", model="A", head="mlp", right=0.8, classes=("dog", "rain", "siren")):
    """60 clips of each class; of two seeds, the share ``right`` of each class is right or less."""
    true = np.repeat(np.arange(len(classes)), 60)
    place = np.tile(np.arange(60), len(classes))
    seeds = [
        np.where(place < 60 * share, true, (true + 1) % len(classes))
        for share in (right, right - 0.2)
    ]
    return ProbeResult.measure(task, model, head, tuple(classes), [(true, np.stack(seeds))])


def told(rights, model, task="birds"):
    """One seed; ten clips a class, of which those many are right."""
    true = np.repeat(np.arange(len(rights)), 10)
    right = np.concatenate([np.arange(10) < count for count in rights])
    predicted = np.where(right, true, (true + 1) % len(rights))
    labels = ("dog", "rain", "siren")
    return ProbeResult.measure(task, model, "mlp", labels, [(true, predicted[None])])


def all_text_is_inside(figure):
    with style.styled():
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        box = figure.get_tightbbox(renderer)  # inches
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def panels(figure):
    return {axes.get_title(loc="left") or axes.get_title(): axes for axes in figure.axes}


def is_picture(path):
    """As wide as all pictures, and of more colours than an empty one has."""
    pixels = np.round(imread(path)[..., :3] * 255).astype(np.int64)
    return pixels.shape[1] == 1200 and len(np.unique(pixels @ [65_536, 256, 1])) > 40
