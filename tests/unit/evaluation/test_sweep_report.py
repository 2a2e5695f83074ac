"""The tables and the picture of a sweep hold its figures, and nothing that cannot be compared."""

import csv
import json

import numpy as np
import pytest
from matplotlib.image import imread

from coala_jax.evaluation import sweep_outcomes, sweep_report
from coala_jax.evaluation.sweep_outcomes import Outcome
from coala_jax.reporting import style
from tests.unit.evaluation.test_sweep_outcomes import DIVERGED, REFERENCES, finished

PANELS = ["Audio loss", "Tag loss", "Macro AUC", "MRR", "MAP", "Recall at 10"]


def grid():
    """Temperatures out of order by two weights; one point diverged, one is not trained."""
    outcomes = []
    for weight in (5.0, 10.0):
        for temperature in (0.2, 0.05, 0.1):
            changes = {"loss.contrastive_weight": weight, "loss.temperature": temperature}
            name = f"contrastive_weight={weight:g},temperature={temperature}"
            if (weight, temperature) == (10.0, 0.05):
                outcomes.append(Outcome(name, changes, diverged=DIVERGED))
            elif (weight, temperature) == (10.0, 0.1):
                outcomes.append(Outcome(name, changes))
            else:
                outcomes.append(finished(name, changes, mrr=(0.2, weight / 50 + temperature)))
    return outcomes


def tables(text):
    """The tables of a Markdown text, as lists of rows of cells."""
    found, open_table = [], False
    for line in text.splitlines():
        if line.startswith("|"):
            found = found if open_table else [*found, []]
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        open_table = line.startswith("|")
    return found


def test_the_text_has_a_line_for_each_point_and_reference():
    points, winners = tables(sweep_report.markdown(grid()))
    assert points[0] == [
        *("contrastive_weight", "temperature", "epoch", "loss", "audio_loss", "tag_loss"),
        *("macro_auc", "mrr", "map", "recall_at_10", "best mrr (epoch)", "seconds"),
    ]
    losses, others = ["2", "4.5", "**2**", "**0.3**", "**0.6**"], ["**0.4**", "**0.5**"]
    assert points[2:] == [
        ["5", "0.2", *losses, "0.3", *others, "0.3 (2)", "4"],
        ["5", "0.05", *losses, "0.15", *others, "0.2 (1)", "4"],
        ["5", "0.1", *losses, "0.2", *others, "0.2 (1)", "4"],
        ["10", "0.2", *losses, "**0.4**", *others, "0.4 (2)", "4"],
        ["10", "0.05", "diverged at step 12", *["-"] * 9],
        ["10", "0.1", "not trained", *["-"] * 9],
        ["*untrained*", *[""] * 5, "0.48", "0.11", "0.21", "0.31", "", ""],
        ["*chance*", *[""] * 5, "0.5", "0.1", "0.2", "0.3", "", ""],
        ["*popularity*", *[""] * 5, "0.5", "0.13", "0.35", "0.6", "", ""],
    ]
    assert dict(winners[2:])["mrr"] == "contrastive_weight=10,temperature=0.2"
    assert "loss" not in dict(winners[2:])


def test_the_text_says_what_cannot_be_compared_and_what_diverged():
    text = sweep_report.markdown(grid())
    assert "4 of 6 points are finished" in text
    assert (
        "neither ranked nor drawn: loss (it changes with loss.contrastive_weight and "
        "loss.temperature)." in text
    )
    assert "The total loss is a weighted sum, and another sum with other weights" in text
    assert "contrastive_weight=10,temperature=0.05 diverged at step 12, epoch 2." in text
    assert "All points have the same seed" in text
    seeds = sweep_report.markdown([finished(str(seed), {"seed": seed}) for seed in (0, 1)])
    assert "Not to be compared" not in seeds
    assert "All points have the same seed" not in seeds


def test_a_measure_that_is_missing_is_a_dash():
    outcomes = [
        finished("a", {"seed": 0}, macro_auc=None),
        finished("b", {"seed": 1}),
    ]
    points = tables(sweep_report.markdown(outcomes))[0]
    place = points[0].index("macro_auc")
    assert [row[place] for row in points[2:4]] == ["-", "**0.6**"]


def test_the_files_agree_with_the_outcomes(tmp_path):
    outcomes = grid()
    written = sweep_report.write(tmp_path, outcomes)
    assert [path.name for path in written] == [
        *("results.md", "results.csv", "results.json", "results.png")
    ]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    rows = [outcome.row() for outcome in outcomes]
    content = json.loads((tmp_path / "results.json").read_text())
    assert content == {
        "points": rows,
        "references": sweep_outcomes.reference_rows(outcomes),
        "best": sweep_outcomes.best(outcomes),
        "not_comparable": {"loss": ["loss.contrastive_weight", "loss.temperature"]},
    }
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(rows) + len(REFERENCES)
    for line, row in zip(lines, rows, strict=False):
        assert line == {key: "" if value is None else str(value) for key, value in row.items()}
    assert [line["point"] for line in lines[-3:]] == list(REFERENCES)
    assert float(lines[-1]["recall_at_10"]) == 0.6
    image = np.round(imread(tmp_path / "results.png")[..., :3] * 255).astype(np.uint8)
    assert image.shape[1] == 1200
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 60


def test_before_anything_is_finished_there_is_no_picture(tmp_path):
    waiting = [Outcome(str(seed), {"seed": seed}) for seed in (0, 1)]
    written = sweep_report.write(tmp_path, [*waiting, Outcome("2", {"seed": 2}, diverged=DIVERGED)])
    assert [path.name for path in written] == ["results.md", "results.csv", "results.json"]
    assert "results.png" not in (tmp_path / "results.md").read_text()


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines}


def test_each_measure_has_a_panel_with_a_curve_for_each_weight():
    figure = sweep_report.sweep_figure(grid())
    panels = {axes.get_title(loc="left") or axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == PANELS
    axes = panels["MRR"]
    assert axes.get_xlabel() == "temperature"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.05", "0.1", "0.2"]
    lines = lines_of(axes)
    np.testing.assert_allclose(
        lines["contrastive_weight 5"].get_xydata(), [[0, 0.15], [1, 0.2], [2, 0.3]]
    )
    np.testing.assert_array_equal(
        lines["contrastive_weight 10"].get_xydata(), [[0, np.nan], [1, np.nan], [2, 0.4]]
    )
    rings = [line.get_xydata().tolist() for line in axes.lines if line.get_label() == "best"]
    assert rings == [[[2, 0.4]]]
    # At the foot of the panel, whatever its values, in the colour of its curve.
    np.testing.assert_array_equal(lines["diverged"].get_xydata(), [[0, 0.03]])
    assert lines["diverged"].get_transform() == axes.get_xaxis_transform()
    assert lines["diverged"].get_color() == lines["contrastive_weight 10"].get_color()
    for who, figures in REFERENCES.items():
        assert list(lines[who].get_ydata()) == [figures["mrr"]] * 2
        assert who not in lines_of(panels["Tag loss"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(lines)


def test_along_the_axis_is_the_setting_with_the_most_values_and_names_keep_their_order():
    outcomes = [
        finished(f"{seed}{name}", {"seed": seed, "optimizer.name": name})
        for seed in (0, 1)
        for name in ("sgd", "adam", "a third")
    ]
    axes = sweep_report.sweep_figure(outcomes).axes[0]
    assert axes.get_xlabel() == "name"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sgd", "adam", "a third"]
    assert {"seed 0", "seed 1"} < lines_of(axes).keys()


def test_many_curves_are_all_different():
    outcomes = [
        finished(f"{seed} {size}", {"seed": seed, "model.filters": size})
        for seed in range(10)
        for size in range(11)
    ]
    with style.styled():
        lines = lines_of(sweep_report.sweep_figure(outcomes).axes[0])
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for label, line in lines.items()
        if label.startswith("seed")
    }
    assert len(looks) == 10


@pytest.mark.parametrize("count", [1, 2])
def test_one_setting_needs_no_names_of_curves(count):
    outcomes = [finished(str(rate), {"optimizer.learning_rate": rate}) for rate in range(count)]
    figure = sweep_report.sweep_figure(outcomes)
    assert len(figure.axes) == 7  # with the total, which is the same sum at all points
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["best", "chance", "popularity", "untrained"]
