"""Pictures of a task's classes: what stands where, and what is refused."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from coala_jax.evaluation import class_pictures as pictures
from coala_jax.evaluation import map_projection
from coala_jax.reporting import style
from tests.drawn import all_text_is_inside, is_picture, outcome, panels, told

FIFTY = tuple(f"class {i:02d}, whose name is too long for any legend to hold" for i in range(50))


def test_a_panel_holds_the_shares_of_a_models_confusion():
    outcomes = [outcome(model="A", right=0.9), outcome(model="B", right=0.5)]
    figure = pictures.confusion_figure(outcomes)
    axes = panels(figure)["B"]
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[0.4, 0.6, 0], [0, 0.4, 0.6], [0.6, 0, 0.4]]
    )
    texts = {(text.get_position()): text.get_text() for text in axes.texts}
    # Across the answers, down the true classes; nothing in cells that round to zero.
    assert texts == {
        **{(0, 0): ".40", (1, 1): ".40", (2, 2): ".40"},
        **{(1, 0): ".60", (2, 1): ".60", (0, 2): ".60"},
    }
    names = [label.get_text() for label in panels(figure)["A"].get_yticklabels()]
    assert names == ["dog", "rain", "siren"]
    assert not any(label.get_text() for label in axes.get_yticklabels())
    assert [label.get_text() for label in axes.get_xticklabels()] == names


@pytest.mark.parametrize("models", [1, 2, 7])
@pytest.mark.parametrize("classes", [("yes", "no"), FIFTY[:10], FIFTY], ids=len)
def test_confusions_of_few_and_many_classes_and_models_fit(classes, models):
    names = [f"runs/with a long name in common/{i}/model" for i in range(models)]
    with style.styled():
        figure = pictures.confusion_figure([outcome(model=n, classes=classes) for n in names])
    assert all_text_is_inside(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == models + 1
    for index, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:index])
        assert box.x0 > 0 and box.y0 > 0 and box.x1 < 1 and box.y1 < 1
    below = [axes for axes in figure.axes[:-1] if axes.get_xticklabels()[0].get_text()]
    assert len(below) == min(models, 3 if len(classes) <= 15 else 2)


def test_a_picture_of_classes_is_of_one_task():
    with pytest.raises(ValueError, match="one task"):
        pictures.confusion_figure([])
    with pytest.raises(ValueError, match=r"one task.*'birds', 'bees'"):
        pictures.confusion_figure([outcome(), outcome("bees")])
    with pytest.raises(ValueError, match="one task"):
        pictures.class_difference_figure(outcome(), outcome(classes=("dog", "rain", "x")))


def test_differences_of_classes_are_in_order_and_to_the_side_of_the_better_model():
    figure = pictures.class_difference_figure(told([5, 9, 4], "A"), told([7, 4, 4], "B"))
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50, 0, -20])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["rain (10)", "siren (10)", "dog (10)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the greatest at the top
    first, _, last = (to_hex(bar.get_facecolor()).upper() for bar in axes.patches)
    assert (first, last) == style.COLOURS[:2]
    left, _, right = axes.get_xlabel().split("|")
    assert left.strip().endswith("B") and right.strip().startswith("A")
    assert [text.get_text() for text in axes.texts] == ["+50.0", "+0.0", "-20.0"]


@pytest.mark.parametrize("classes", [("yes", "no"), FIFTY], ids=len)
def test_differences_of_few_and_many_classes_fit(classes):
    same = outcome(classes=classes)
    with style.styled():
        figure = pictures.class_difference_figure(same, same)
        assert all_text_is_inside(figure)
    assert figure.axes[0].get_xlim() == (-1.15, 1.15)


def test_each_class_has_a_look_of_its_own_and_its_number_at_its_middle():
    generator = np.random.default_rng(0)
    classes = [FIFTY[i % 50] for i in range(150)]
    positions = generator.normal(size=(150, 2))
    positions[[0, 50, 100]] = [[9, 9], [9.1, 9], [9, 9.4]]
    figure = pictures.class_map_figure(positions, classes, "what is seen")
    (axes,) = figure.axes
    looks = {
        (to_hex(drawn.get_facecolor()[0]), drawn.get_paths()[0].vertices.tobytes())
        for drawn in axes.collections
    }
    assert len(looks) == len(axes.collections) == 50
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), positions[[0, 50, 100]])
    numbers = {text.get_text(): text.get_position() for text in axes.texts}
    assert numbers["1"] == (9, 9) and len(numbers) == 50
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0].startswith("1 class 00, wh") and legend[0].endswith("(3)")
    assert all_text_is_inside(figure)


def test_few_classes_have_their_whole_names():
    classes = ["street music", "dog"] * 3
    figure = pictures.class_map_figure(np.arange(12.0).reshape(6, 2), classes, "heading")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["1 dog (3)", "2 street music (3)"]


def test_a_map_draws_no_more_clips_than_it_can_and_keeps_their_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(map_projection, "MAXIMUM_SOUNDS", 5)
    monkeypatch.setattr(
        map_projection, "project", lambda embeddings, seed: embeddings[:, :2].astype(np.float64)
    )
    drawn = []
    real = pictures.class_map_figure
    monkeypatch.setattr(
        pictures, "class_map_figure", lambda *args: (drawn.append(args), real(*args))[1]
    )
    embeddings = np.arange(24, dtype=np.float32).reshape(8, 3)
    classes = [str(i) for i in range(8)]
    pictures.class_map(embeddings, classes, "heading", tmp_path / "map.png", seed=0)
    positions, kept, _ = drawn[0]
    assert len(kept) == 5 and sorted(kept) == kept
    np.testing.assert_array_equal(positions[:, 0], [3 * int(name) for name in kept])


@pytest.mark.parametrize(("clips", "classes"), [(2, 2), (4, 3)])
def test_a_map_needs_three_clips_and_their_classes(tmp_path, clips, classes):
    with pytest.raises(ValueError, match=f"{clips} embeddings and classes of {classes} clips"):
        pictures.class_map(
            np.ones((clips, 4), np.float32), ["a"] * classes, "", tmp_path / "m.png", 0
        )
    assert not list(tmp_path.iterdir())


def test_the_files_are_pictures(tmp_path):
    outcomes = [outcome(model="$A$"), outcome(model="B", right=0.5)]
    embeddings = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    writes = [
        lambda out: pictures.confusions(outcomes, out),
        lambda out: pictures.class_differences(*outcomes, out),
        lambda out: pictures.class_map(embeddings, list("abcabcabc"), "A map", out, 0),
    ]
    for number, write in enumerate(writes):
        write(tmp_path / f"{number}.png")
        assert is_picture(tmp_path / f"{number}.png")
