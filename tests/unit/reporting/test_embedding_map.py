"""The embedding map: which class a sound has, and that no text covers a point."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from coala_jax.reporting import embedding_map, style
from tests.drawn import all_text_is_inside


@pytest.mark.parametrize(
    ("tags", "classes"),
    [
        pytest.param(
            [["drum"], ["drum"], ["drum"], ["drum", "kick"], ["kick", "drum"], ["bird"], []],
            ["drum", "drum", "drum", "kick", "kick", "bird", None],
            id="the rarest of its common tags",
        ),
        pytest.param(
            [["ping", "alert"]] * 8 + [["drum"]] * 4,
            ["alert"] * 8 + ["drum"] * 4,
            id="two names of the same sounds share one class",
        ),
        pytest.param(
            [[f"tag {i % 14:02d}"] for i in range(28 + 10)],
            [f"tag {i % 14:02d}" if i % 14 < 10 else None for i in range(38)],
            id="ten classes of fourteen tags",
        ),
    ],
)
def test_a_sound_has_the_class(tags, classes):
    assert embedding_map.tag_classes(tags) == classes


def test_points_have_the_colour_and_marker_of_their_class_and_the_legend_counts_them():
    points = np.random.default_rng(0).normal(size=(9, 2))
    classes = ["b", "a", "a", None, "a", "b", "$\\frac{$ 雨", None, "a"]
    figure = embedding_map.map_figure(points, classes, "Map", "no tag")
    drawn = {c.get_label(): np.array(c.get_offsets()) for c in figure.axes[0].collections}
    assert list(drawn) == ["a (4)", "b (2)", "$\\frac{$ 雨 (1)", "no tag (2)"]
    np.testing.assert_array_equal(drawn["a (4)"], points[[1, 2, 4, 8]])
    np.testing.assert_array_equal(drawn["no tag (2)"], points[[3, 7]])


def test_classes_are_told_apart_and_no_text_is_among_the_points():
    classes = 50
    points = np.random.default_rng(0).normal(size=(200, 2))
    names = [f"a rather long name of a class {i % classes}" for i in range(200)]
    with style.styled():
        figure = embedding_map.map_figure(points, names, "Map")
    assert all_text_is_inside(figure)
    looks = [
        (tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes())
        for c in figure.axes[0].collections
    ]
    assert len(set(looks)) == classes
    assert len({colour for colour, _ in looks}) == 10
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    frame = axes.get_window_extent(renderer)
    (legend,) = figure.legends
    assert not axes.texts
    assert legend.get_window_extent(renderer).x0 >= frame.x1
    for text in (axes.title, axes._left_title, axes.xaxis.label):
        assert not text.get_window_extent(renderer).overlaps(frame)
