"""Pictures that set models beside each other: what stands where, and what is refused."""

import numpy as np
import pytest

from coala_jax.evaluation import comparison_pictures as pictures
from coala_jax.evaluation.cca import CcaTable
from coala_jax.reporting import style
from tests.drawn import all_text_is_inside, is_picture, outcome, panels, told


def points(axes):
    """Label -> the points of all lines of that label."""
    found = {}
    for line in axes.lines:
        found.setdefault(line.get_label(), []).extend(line.get_xydata().tolist())
    return found


def test_accuracies_stand_with_the_papers_and_those_of_the_released_code():
    outcomes = [
        outcome("gtzan", "MFCC", right=0.6),
        outcome("gtzan", "mine", right=0.9),
        outcome("birds", "mine", right=0.7),
        told([9, 9, 9], "mine", "wasps"),
    ]
    cases = {"MFCC": "mfcc", "mine": "ae_c"}
    figure = pictures.accuracy_figure(outcomes, cases, {"gtzan": 0.4})
    gtzan, birds = panels(figure)["GTZAN"], panels(figure)["birds"]
    assert [label.get_text() for label in gtzan.get_yticklabels()] == ["MFCC", "mine (AE-C)"]
    means = [container.lines[0].get_xydata()[0].tolist() for container in gtzan.containers]
    np.testing.assert_allclose(means, [[50, 0], [80, 1]])
    # Two seeds: Student's t of 12.706 times 0.1, half the difference of the two.
    segment = gtzan.containers[1].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 0], [80 - 127.062, 80 + 127.062], rtol=1e-4)
    assert {text.get_text() for text in gtzan.texts} == {"50.0", "80.0"}
    found = points(gtzan)
    np.testing.assert_allclose(found["paper"], [[49.8, -0.25], [60.7, 0.75]])
    np.testing.assert_allclose(found["released code"], [[49.792, 0.25], [60.727, 1.25]], atol=1e-3)
    assert [x for x, _ in found["majority class"]] == [40, 40]
    assert [x for x, _ in found["chance"]] == pytest.approx([100 / 3] * 2)
    assert gtzan.get_xlim() == (-2, 102)  # however wide the interval
    assert panels(figure)["wasps"].get_xlim()[0] < 100 / 3  # far below all accuracies, yet seen
    assert not {"paper", "released code", "majority class"} & points(birds).keys()
    assert birds.containers[0].lines[0].get_ydata() == [1]  # on the line of its model
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["chance", "majority class", "paper", "released code"]


@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_accuracies_of_long_names_fit(tasks):
    outcomes = [
        outcome(f"a task {t}", f"runs/a long name in common {m}/model", right=0.3 + 0.1 * m)
        for t in range(tasks)
        for m in range(6)
    ]
    with style.styled():
        figure = pictures.accuracy_figure(outcomes, {}, {})
    assert all_text_is_inside(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(names)) == 6 and len(figure.axes) == tasks


def test_heads_have_lines_of_their_own_and_only_the_mlp_the_papers_figures():
    outcomes = [outcome("gtzan", "mine", head) for head in ("mlp", "svm")]
    figure = pictures.accuracy_figure(outcomes, {"mine": "cnn"}, {})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["mine (CNN), MLP", "mine (CNN), SVM"]
    assert points(figure.axes[0])["paper"] == [[47.0, -0.25]]
    with pytest.raises(ValueError, match="no outcome"):
        pictures.accuracy_figure([], {}, {})


def test_names_are_cut_in_the_middle_but_never_made_the_same():
    ends = ["runs/standard/ae_c", "runs/standard/e_c!"]
    assert pictures._cut_apart(ends, 11) == ["runs/…/ae_c", "runs/…/e_c!"]
    middles = ["runs/ae_c/a/model", "runs/e_c!/a/model"]
    assert pictures._cut_apart(middles, 11) == middles
    assert pictures._cut_apart(["mine", "mine"], 11) == ["mine", "mine"]


def cca(value, floor, descriptors=("mfcc", "chromagram")):
    names = ("mean", "var", "skew")
    values = {d: {s: value + 0.1 * p for p, s in enumerate(names)} for d in descriptors}
    return CcaTable(values, {d: dict.fromkeys(names, floor) for d in descriptors}, 249, 1152, 24)


def test_bars_are_grey_to_the_floor_and_the_papers_value_stands_beside():
    found = {"mine": cca(0.5, 0.2), "untrained": cca(0.1, 0.15)}
    figure = pictures.correlation_figure(found, {"mine": "ae_c"})
    axes = panels(figure)["MFCCs"]
    heights = {}
    for bar in axes.containers:
        patch = bar.patches[0]
        heights.setdefault(bar.get_label(), []).append((patch.get_center()[0], patch.get_height()))
    np.testing.assert_allclose(heights["mine (AE-C)"], [[-0.2, 0.5], [0.8, 0.6], [1.8, 0.7]])
    np.testing.assert_allclose(heights["untrained"], [[0.2, 0.1], [1.2, 0.2], [2.2, 0.3]])
    # The floor of the untrained model is above its first value: grey ends with the bar ...
    grey = sorted(heights["under the floor"])
    np.testing.assert_allclose([height for _, height in grey], [0.2, 0.1, 0.2, 0.15, 0.2, 0.15])
    # ... and the line stands over it.
    lines = [line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert sorted(lines) == [0.15] * 3 + [0.2] * 3
    np.testing.assert_allclose(points(axes)["paper"], [[-0.2, 0.84], [0.8, 0.51], [1.8, 0.42]])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["mine (AE-C)", "paper", "under the floor", "untrained"]


@pytest.mark.parametrize("models", [1, 9])
def test_correlations_of_few_and_many_models_fit(models):
    descriptors = ("mfcc", "chromagram", "spectral_centroid", "spectral_bandwidth", "loudness")
    names = [f"runs/a long name in common to all {i}/model" for i in range(models)]
    found = {name: cca(0.5, 0.2, descriptors) for name in names}
    with style.styled():
        figure = pictures.correlation_figure(found, dict.fromkeys(names, "cnn"))
        assert all_text_is_inside(figure)
    assert len(figure.axes) == 5
    assert len(figure.legends[0].get_texts()) == models + 2
    with pytest.raises(ValueError, match="no model"):
        pictures.correlation_figure({}, {})


def test_the_files_are_pictures(tmp_path):
    outcomes = [outcome(model="$A$"), outcome(model="B", right=0.5)]
    writes = [
        lambda out: pictures.accuracies(outcomes, {}, {}, out),
        lambda out: pictures.correlations({"A": cca(0.5, 0.2)}, {}, out),
    ]
    for number, write in enumerate(writes):
        write(tmp_path / f"{number}.png")
        assert is_picture(tmp_path / f"{number}.png")
