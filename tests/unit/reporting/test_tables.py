"""The tables of an evaluation against figures worked out by hand."""

from coala_jax.reporting import tables
from tests.evaluation_record import correlations, probe_result, record, task


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
    outcomes = [probe_result(model=m, right=(r,)) for m, r in (("A|B", 8), ("C", 9))]
    outcomes += [probe_result("esc50", m, right=(r,), clips=5) for m, r in (("A|B", 1), ("C", 0))]
    outcomes += [probe_result(t, m, "svm", (7,)) for t in ("birds", "esc50") for m in ("A|B", "C")]
    tasks = [task(), task("esc50", title="ESC-50", majority=0.25)]
    mlp, svm = cells(tables.accuracies(record(outcomes, tasks)))
    assert mlp == [
        ["model", "birds", "ESC-50"],
        ["A|B", "80.0", "**20.0**"],
        ["C", "**90.0**", "0.0"],
        ["*majority*", "40.0", "25.0"],
        ["*chance*", "33.3", "33.3"],
    ]
    assert svm[1:3] == [["A|B", "**70.0**", "**70.0**"], ["C", "**70.0**", "**70.0**"]]


def test_a_task_of_the_paper_has_its_figures_and_those_of_the_released_code():
    def results(head):
        rights = (("mine", (60, 70, 80)), ("untrained", (40, 40, 40)))
        return [probe_result("gtzan", model, head, right, 100) for model, right in rights]

    cases = {"mine": "ae_c", "untrained": ""}
    made = record(results("mlp") + results("svm"), [task("gtzan", title="GTZAN")], cases)
    text = tables.accuracies(made)
    mlp, svm = cells(text)
    assert mlp[0] == ["model", *(f"GTZAN, {who}" for who in ("paper", "released code", "ours"))]
    # Three seeds: 4.3027 of 10 / sqrt(3) to either side.
    ours = "70.0 (45.2 to 94.8)"
    assert mlp[1] == ["mine (AE-C)", "60.7", "60.7 (59.9 to 61.5)", f"**{ours}**"]
    assert mlp[2] == ["untrained", tables.MISSING, tables.MISSING, "40.0"]
    assert [row[0] for row in mlp[3:]] == ["*MFCC*", "*E-C*", "*CNN*", "*majority*", "*chance*"]
    assert [row[1] for row in mlp[3:]] == ["49.8", "58.9", "47.0", "", ""]
    assert mlp[3][3] == tables.MISSING
    assert "rVGG 59.7, sampleCNN 82.1" in text
    assert "over 3 seeds" in text
    # The published classifier is the MLP.
    assert svm[:2] == [["model", "GTZAN"], ["mine (AE-C)", f"**{ours}**"]]


def test_the_pooling_layers_is_compared_with_the_untrained_model_of_the_same():
    cases = {"mine": "ae_c", "mine, layers": "ae_c", "untrained": "", "fresh, layers": ""}
    outcomes = [probe_result(model=name) for name in cases]

    def told(*layers):
        return tables.poolings(record(outcomes, [task()], cases, layers=layers))

    assert told() == ""
    both = told("mine, layers", "fresh, layers")
    assert both.startswith('"mine, layers", "fresh, layers" are of the pooling `layers`; ')
    assert "architecture and pooling" in both and both.endswith('same pooling, "fresh, layers".')
    assert "Warning" in told("mine, layers")  # the untrained one of the mean does not count
    assert "Warning" not in told("fresh, layers")
    older = record(outcomes, [task()], cases)
    for one in older["models"]:
        del one["pooling"]
    assert tables.poolings(older) == ""


def test_the_published_name_is_given_once():
    for model, case, name in [
        ("mine", "ae_c", "mine (AE-C)"),
        ("AE-C", "ae_c", "AE-C"),
        ("ae_c wide", "ae_c", "ae_c wide"),
        ("ae_c wide", "cnn", "ae_c wide (CNN)"),
        ("runs/a_b", "", "runs/a_b"),
    ]:
        assert tables.label(record(cases={model: case}), model) == name


def test_paired_tests():
    made = record([probe_result("gtzan", "A|x")], [task("gtzan", title="GTZAN"), task()])
    assert "|" not in tables.differences(made)
    names = ("task", "head", "first", "second", "difference", "low", "high")
    names += ("p_value", "p_corrected")
    rows = [
        ("gtzan", "mlp", "A|x", "B", 0.123, 0.1, 0.15, 0.0004, 0.0012),
        ("gtzan", "mlp", "B", "C", 0.01, -0.02, 0.04, 0.4, 0.4),
        ("birds", "svm", "B", "C", 0.02, 0.001, 0.04, 0.03, 0.06),
    ]
    made["differences"] = [dict(zip(names, row, strict=True)) for row in rows]
    found = [(row[0], *row[2:]) for row in cells(tables.differences(made))[0][1:]]
    assert found == [
        ("GTZAN", "A|x", "B", "**+12.3 (+10.0 to +15.0)**", "< .001", ".001"),
        ("GTZAN", "B", "C", "+1.0 (-2.0 to +4.0)", ".400", ".400"),
        ("birds", "B", "C", "+2.0 (+0.1 to +4.0)", ".030", ".060"),
    ]


def test_table_2_has_the_baseline_beside_each_value_and_the_papers_row_below():
    found = {"mine": correlations(0.4), "untrained": correlations(0.2, components=None)}
    text = tables.correlations(record(cases={"mine": "e_c", "untrained": ""}, correlations=found))
    first, second = cells(text)
    assert first[0][:5] == ["model", "MFCCs, mean", "MFCCs, var", "MFCCs, skew", "Chromagram, mean"]
    assert first[1][:4] == ["mine (E-C)", "0.40 (0.20)", "0.42 (0.21)", "0.44 (0.22)"]
    assert first[2] == ["*E-C in the paper*", "0.58", "0.49", "0.39", "0.38", "0.36", "0.32"]
    assert first[3][0] == "untrained" and len(first) == 4
    assert second[1][:2] == ["mine (E-C)", "0.52 (0.26)"]
    assert second[2][1:] == ["0.93", "0.82", "0.76"]
    assert "mine: 249 sounds, 1152 dimensions, reduced to 24 principal components" in text
    assert "untrained: 249 sounds, 1152 dimensions." in text


def test_table_2_of_a_descriptor_that_the_paper_has_not():
    found = {"mine": correlations(0.4, descriptors=("loudness",))}
    (table,) = cells(tables.correlations(record(cases={"mine": "cnn"}, correlations=found)))
    assert table[0][1] == "Loudness, mean"
    assert table[2] == ["*CNN in the paper*", *[tables.MISSING] * 3]
