"""The tables that tell outcomes, against figures worked out by hand."""

import numpy as np
import pytest

from coala_jax.evaluation import published, tables
from coala_jax.evaluation.cca import CcaTable
from coala_jax.evaluation.probe_result import Difference, ProbeResult
from tests.made_outcomes import LABELS, outcome


def cells(text):
    """The tables of a Markdown text, as lists of rows of cells; escaped bars stay in their cell."""
    found, is_open = [], False
    for line in text.splitlines():
        if line.startswith("|"):
            found = found if is_open else [*found, []]
            row = line.replace(r"\|", "\0").strip("|").split("|")
            found[-1].append([cell.strip().replace("\0", "|") for cell in row])
        is_open = line.startswith("|")
    return [[rows[0], *rows[2:]] for rows in found]  # without the line below the header


def test_table_1_has_a_row_for_each_model_and_a_column_for_each_task():
    outcomes = [
        outcome(model="A|B", right=8),
        outcome(model="C", right=9),
        outcome("esc50", "C", right=2),
    ]
    (table,) = cells(tables.table1(outcomes, {}, {"birds": 0.4}))
    assert table == [
        ["model", "birds", "ESC-50"],
        ["A|B", "80.0", tables.MISSING],
        ["C", "**90.0**", "20.0"],
        ["*majority*", "40.0", tables.MISSING],
        ["*chance*", "33.3", "33.3"],
    ]


def test_a_task_of_the_paper_has_its_figures_and_those_of_the_released_code():
    outcomes = [outcome("gtzan", "mine", right=7), outcome("gtzan", "untrained", right=4)]
    text = tables.table1(outcomes, {"mine": "ae_c"}, {"gtzan": 0.1})
    (table,) = cells(text)
    assert table[0] == ["model", *(f"GTZAN, {who}" for who in ("paper", "released code", "ours"))]
    # Ten runs of 171 to 182 of 289 right: mean 175.5, standard deviation 3.17, and 2.2622 of
    # 3.17 / sqrt(10) to either side.
    mine = ["60.7", "60.7 (59.9 to 61.5)", "**70.0**"]
    assert table[1] == ["mine (AE-C)", *mine]
    assert table[2] == ["untrained", tables.MISSING, tables.MISSING, "40.0"]
    assert [row[0] for row in table[3:]] == ["*MFCC*", "*E-C*", "*CNN*", "*majority*", "*chance*"]
    assert [row[1] for row in table[3:]] == ["49.8", "58.9", "47.0", "", ""]
    assert table[3][3] == tables.MISSING
    assert "GTZAN in the literature, as the paper quotes it: rVGG 59.7, sampleCNN 82.1." in text


def test_another_head_is_not_set_beside_the_papers_classifier():
    outcomes = [
        outcome("gtzan", "mine", head="svm", right=9),
        outcome("gtzan", "mine", head="mlp", right=7),
    ]
    text = tables.table1(outcomes, {"mine": "ae_c"}, {})
    mlp, svm = cells(text)
    assert len(mlp[0]) == 4
    assert svm[:2] == [["model", "GTZAN"], ["mine (AE-C)", "90.0"]]
    assert text.index("One hidden layer of 256") < text.index("Support vector machine")


def test_accuracies_have_an_interval_where_seeds_differ():
    true = np.zeros(100, np.int64)
    predicted = np.stack([np.where(np.arange(100) < right, 0, 1) for right in (60, 70, 80)])
    one = ProbeResult.measure("birds", "A", "mlp", LABELS, [(true, predicted)])
    text = tables.table1([one], {}, {})
    # 4.3027 of 10 / sqrt(3) to either side.
    assert cells(text)[0][1] == ["A", "70.0 (45.2 to 94.8)"]
    assert "with its 95 % interval over 3 seeds" in text
    assert "interval" not in tables.table1([outcome(seeds=1)], {}, {})


def test_two_outcomes_of_the_same_and_unknown_heads_are_refused():
    with pytest.raises(ValueError, match="two outcomes of the same task, model and head"):
        tables.table1([outcome(), outcome(right=3)], {}, {})
    with pytest.raises(ValueError, match="no outcome"):
        tables.table1([], {}, {})
    with pytest.raises(ValueError, match="forest"):
        tables.table1([outcome(head="forest")], {}, {})


@pytest.mark.parametrize(
    ("model", "case", "name"),
    [
        ("mine", "ae_c", "mine (AE-C)"),
        ("AE-C", "ae_c", "AE-C"),
        ("ae_c wide", "ae_c", "ae_c wide"),
        ("ae_c wide", "cnn", "ae_c wide (CNN)"),
        ("runs/a_b", None, "runs/a_b"),
    ],
)
def test_the_published_name_is_told_once(model, case, name):
    assert tables.model_name(model, {model: case} if case else {}) == name


def test_the_table_of_differences():
    found = [
        Difference("gtzan", "mlp", "A|x", "B", 0.123, 0.1, 0.15, 0.0004, 0.0012),
        Difference("gtzan", "mlp", "B", "C", 0.01, -0.02, 0.04, 0.4, 0.4),
        Difference("birds", "mlp", "B", "C", 0.02, 0.001, 0.04, 0.03, 0.06),
    ]
    text = tables.difference_table(found)
    assert cells(text)[0][1:] == [
        ["GTZAN", "A|x", "B", "**+12.3 (+10.0 to +15.0)**", "< .001", ".001"],
        ["GTZAN", "B", "C", "+1.0 (-2.0 to +4.0)", ".400", ".400"],
        ["birds", "B", "C", "+2.0 (+0.1 to +4.0)", ".030", ".060"],
    ]
    two_heads = [found[0], Difference("birds", "svm", "B", "C", 0.0, 0.0, 0.0, 1.0, 1.0)]
    assert [row[0] for row in cells(tables.difference_table(two_heads))[0][1:]] == [
        "GTZAN, one hidden layer of 256",
        "birds, support vector machine",
    ]
    assert "no two models" in tables.difference_table([])


def cca(start, components=24, descriptors=tuple(published.DESCRIPTORS)):
    """Values from ``start`` in steps of .02, each with a floor half as high."""
    names = [(d, s) for d in descriptors for s in published.STATISTICS]
    values = {d: {} for d in descriptors}
    floors = {d: {} for d in descriptors}
    for place, (descriptor, statistic) in enumerate(names):
        values[descriptor][statistic] = start + 0.02 * place
        floors[descriptor][statistic] = (start + 0.02 * place) / 2
    return CcaTable(values, floors, 249, 1152, components)


def test_table_2_has_the_floor_beside_each_value_and_the_papers_row_below():
    found = {"mine": cca(0.4), "untrained": cca(0.2, None)}
    text = tables.table2(found, {"mine": "e_c"})
    first, second = cells(text)
    assert first[0] == [
        "model",
        *(f"MFCCs, {statistic}" for statistic in ("mean", "var", "skew")),
        *(f"Chromagram, {statistic}" for statistic in ("mean", "var", "skew")),
    ]
    assert first[1][:4] == ["mine (E-C)", "0.40 (0.20)", "0.42 (0.21)", "0.44 (0.22)"]
    assert first[2] == ["*E-C in the paper*", "0.58", "0.49", "0.39", "0.38", "0.36", "0.32"]
    assert first[3][0] == "untrained" and len(first) == 4
    assert second[1][1] == "0.52 (0.26)"
    assert second[2][1:] == ["0.93", "0.82", "0.76", "0.92", "0.82", "0.81"]
    assert "mine: 249 sounds, 1152 dimensions, reduced to 24 principal components" in text
    assert "untrained: 249 sounds, 1152 dimensions.\n" in text


def test_table_2_of_a_descriptor_that_the_paper_has_not():
    text = tables.table2({"mine": cca(0.4, descriptors=("loudness",))}, {"mine": "cnn"})
    (table,) = cells(text)
    assert table[0][1] == "loudness, mean"
    assert table[2] == ["*CNN in the paper*", *[tables.MISSING] * 3]


def test_table_2_says_once_what_holds_for_several_models():
    text = tables.table2({"A": cca(0.4), "B": cca(0.3)}, {})
    assert "A, B: 249 sounds" in text and text.count("249 sounds") == 1
