"""A record alone makes the report, now and later; what stands where in its plots."""

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.reporting import evaluation_plots, evaluation_report, style
from tests.drawn import all_text_is_inside
from tests.evaluation_record import correlations, probe_result, record, task


def whole_record(name="{}", count=3, models=2):
    """One task of the paper, of so many classes, and both tables, with names in this form."""
    cases = dict(zip(map(name.format, "ABC"[:models]), ["ae_c", "", "cnn"], strict=False))
    labels = tuple(name.format(i) for i in range(count))
    outcomes = [
        probe_result("gtzan", model, head, (30, 20), 40, count)
        for head in ("mlp", "svm")
        for model in cases
    ]
    tasks = [task("gtzan", labels, name.format("GTZAN"), clips=40)]
    return record(outcomes, tasks, cases, {model: correlations(0.3) for model in cases})


def test_a_folder_with_a_record_is_rendered_again_and_again(tmp_path):
    storage.write_json(tmp_path / "results.json", whole_record())
    written = evaluation_report.render(tmp_path)
    content = {path: path.read_bytes() for path in written}
    text = (tmp_path / "report.md").read_text()
    names = ["accuracy", "confusion-gtzan", "class-difference-gtzan", "map-gtzan", "correlation"]
    assert [path.name for path in written] == ["report.md", *(f"{name}.png" for name in names)]
    assert all(text.count(f"]({name}.png)") == 1 for name in names)
    for token in ("--model A", "no test clips of: frog", "a.wav", "d" * 64, "A" * 64, "cpu"):
        assert token in text
    (tmp_path / "report.md").write_text("![x](old-plot.png)\n\n![y](https://a/b.png)\n")
    (tmp_path / "old-plot.png").touch()
    (tmp_path / "mine.png").touch()
    (tmp_path / "map-gtzan.png").unlink()
    assert evaluation_report.render(tmp_path) == written
    assert {path: path.read_bytes() for path in written} == content
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"results.json", "mine.png", *(path.name for path in written)}


LONG = "runs/a name that is very long and has this in common with all others/{}/model"


@pytest.mark.parametrize(("name", "count", "models"), [("{}", 2, 1), (LONG, 20, 3)])
def test_no_text_leaves_its_figure(name, count, models):
    figures = evaluation_report.figures(whole_record(name, count, models))
    assert len(figures) == (4 if models == 1 else 5)  # of one model there are no differences
    with style.styled():
        outside = [name for name, draw in figures.items() if not all_text_is_inside(draw())]
    assert outside == []


def test_the_report_says_what_the_pooling_layers_is_to_be_compared_with():
    cases = {"A": "ae_c", "B": ""}
    outcomes = [probe_result(model=name) for name in cases]
    values = {"A": correlations(0.3)}
    made = record(outcomes, [task()], cases, values, layers=["A"])
    text = evaluation_report.tables_text(made)
    for token in ("architecture and pooling", "**Warning**", "latents of single patches"):
        assert text.count(token) == 1
    of_means = record(outcomes, [task()], cases, values)
    assert "pooling" not in evaluation_report.tables_text(of_means)


def test_two_tasks_have_plots_of_their_own():
    outcomes = [probe_result(name) for name in ("a b", "a-b", "雨")]
    names = evaluation_report.figures(record(outcomes, [task(one.task) for one in outcomes]))
    assert {"confusion-a-b.png", "confusion-a-b-2.png", "confusion-雨.png"} <= names.keys()


def points(axes):
    """Label -> the points of all lines of that label."""
    found = {}
    for line in axes.lines:
        found.setdefault(line.get_label(), []).extend(line.get_xydata().tolist())
    return found


def test_accuracies_beside_the_papers_chance_and_the_majority():
    outcomes = [probe_result("gtzan", "mine", right=(60, 100), clips=100)]
    outcomes += [probe_result("birds", "mine", right=(8, 8))]
    tasks = [task("gtzan", title="GTZAN", majority=0.4), task(majority=0.335)]
    figure = evaluation_plots.accuracy(record(outcomes, tasks, {"mine": "ae_c"}))
    gtzan, birds = figure.axes
    assert gtzan.containers[0].lines[0].get_xydata().tolist() == [[80, 0]]
    # Two seeds: Student's t would reach from -174 to 334.
    segment = gtzan.containers[0].lines[2][0].get_segments()[0]
    assert segment[:, 0].tolist() == [0, 100]
    found = points(gtzan)
    np.testing.assert_allclose(found["paper"], [[60.7, -0.25]])
    np.testing.assert_allclose(found["released code"], [[60.73, 0.25]])
    assert [x for x, _ in found["majority class"]] == [40, 40]
    assert [x for x, _ in found["chance"]] == pytest.approx([100 / 3] * 2)
    # Half a point apart is one line.
    assert not points(birds).keys() & {"chance", "majority class", "paper"}
    assert [x for x, _ in points(birds)["chance = majority class"]] == pytest.approx([100 / 3] * 2)


def test_confusions_and_differences_of_classes():
    """Of the clips of classes 0, 1, 2, 0, … A has the first 8 of 10 right, B the first 5."""
    outcomes = [probe_result(model="A", right=(8,)), probe_result(model="B", right=(5,))]
    made = record(outcomes, [task()])
    panel, _, _ = evaluation_plots.confusion(made, made["tasks"][0]).axes
    shares = panel.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])
    texts = {text.get_position(): text.get_text() for text in panel.texts}
    assert texts[0, 2] == ".33" and (2, 0) not in texts  # x is the prediction
    (axes,) = evaluation_plots.class_difference(made, made["tasks"][0]).axes
    gains = [75 - 50, 100 - 200 / 3, 200 / 3 - 100 / 3]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [gains[1], gains[2], gains[0]]
    )
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["rain (3 clips)", "siren (3 clips)", "dog (4 clips)"]


def test_the_map_has_the_classes_of_its_clips():
    made = record([probe_result(clips=9)], [task(clips=9)])
    (axes,) = evaluation_plots.class_map(made, made["tasks"][0]).axes
    found = {drawn.get_label(): drawn.get_offsets().tolist() for drawn in axes.collections}
    assert found["dog (3)"] == [[0, 0], [3, 0], [6, 0]]
    assert found.keys() == {"dog (3)", "rain (3)", "siren (3)"}


def test_correlations_stand_with_their_baselines_and_the_papers():
    made = record(cases={"mine": "ae_c"}, correlations={"mine": correlations(0.4)})
    axes = evaluation_plots.correlation(made).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.4, 0.42, 0.44])
    lines = [line[0, 1] for line in axes.collections[0].get_segments()]
    assert lines == pytest.approx([0.2, 0.21, 0.22])
    np.testing.assert_allclose(points(axes)["paper"], [[0, 0.84], [1, 0.51], [2, 0.42]], atol=1e-9)
