"""The tables that tell what an evaluation found: accuracies, paired tests, correlations.

Accuracies are shares of 1 in the data and per cent in the tables, as the paper prints them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from coala_jax.evaluation import published, significance
from coala_jax.evaluation.cca import SOUNDS_PER_DIMENSION, CcaTable
from coala_jax.evaluation.probe_result import Difference, ProbeResult

HEADS = {
    "mlp": "one hidden layer of 256",
    "logistic_regression": "logistic regression",
    "svm": "support vector machine",
}
TITLES = {**published.TASKS, "esc50": "ESC-50", "esc10": "ESC-10"}
MISSING = "\N{EN DASH}"


def difference_table(found: Sequence[Difference]) -> str:
    """The paired tests in Markdown; those that chance seldom gives (corrected p < .05) in bold."""
    if not found:
        return "There are no two models of the same task and head to compare.\n"
    heads = {difference.head for difference in found}
    rows = []
    for one in found:
        mark = "**" if one.p_corrected < 0.05 else ""
        gain = f"{100 * one.difference:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
        task = title(one.task) + (f", {HEADS[one.head]}" if len(heads) > 1 else "")
        pair = [plain(one.first), plain(one.second)]
        rows.append([task, *pair, f"{mark}{gain}{mark}", _chance(one.p_value)])
        rows[-1].append(_chance(one.p_corrected))
    header = ["task", "model", "against", "difference", "p", "p, corrected"]
    return (
        "Differences are in percentage points of accuracy on the same clips, a mean over folds as "
        "in the table above (of F folds, a clip weighs 1 / (F x clips in its fold)), with the 95 % "
        "interval over clips (paired bootstrap within folds); p by permuting signs, corrected for "
        "the pairs of a task by Holm's method; below .05 in "
        f"**bold**.\n\n{_markdown(header, rows)}\n"
    )


def table1(
    outcomes: Sequence[ProbeResult], cases: Mapping[str, str], majorities: Mapping[str, float]
) -> str:
    """The paper's Table 1 in Markdown, a table for each head, a row for each model.

    Tasks of the paper have three columns: the paper's figure, that of the released code, ours.

    Args:
      outcomes: one for each task, model and head at most; a missing one is a dash.
      cases: the published case ("mfcc", "ae_c", "e_c", "cnn") that a model stands beside.
      majorities: by task, the accuracy of always answering the most frequent training class.

    Raises:
      ValueError: there is no outcome, or two of the same task, model and head.
    """
    keys = [(outcome.task, outcome.model, outcome.head) for outcome in outcomes]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ValueError(f"two outcomes of the same task, model and head: {twice}")
    if not keys:
        raise ValueError("there is no outcome to make a table of")
    parts = []
    for head in sorted({outcome.head for outcome in outcomes}, key=list(HEADS).index):
        of_head = [outcome for outcome in outcomes if outcome.head == head]
        parts.append(_table_of_head(of_head, cases, majorities))
    for task in dict.fromkeys(outcome.task for outcome in outcomes):
        if quoted := published.LITERATURE_PERCENT.get(task, {}):
            figures = ", ".join(f"{name} {percent}" for name, percent in quoted.items())
            parts.append(f"{title(task)} in the literature, as the paper quotes it: {figures}.")
    return "\n\n".join(parts) + "\n"


def _table_of_head(
    outcomes: Sequence[ProbeResult], cases: Mapping[str, str], majorities: Mapping[str, float]
) -> str:
    """outcomes: of one head."""
    head, tasks = outcomes[0].head, list(dict.fromkeys(outcome.task for outcome in outcomes))
    # The published classifier is the MLP: beside another head its figures would mislead.
    compared = [task for task in tasks if task in published.TASKS and head == "mlp"]
    models = list(dict.fromkeys(outcome.model for outcome in outcomes))
    rows = [(plain(model_name(model, cases)), cases.get(model)) for model in models]
    if compared:  # what is published and was not evaluated has a row, too
        absent = published.CASES.keys() - {case for _, case in rows}
        rows += [(f"*{name}*", case) for case, name in published.CASES.items() if case in absent]
    columns = [("model", [name for name, _ in rows] + ["*majority*", "*chance*"])]
    for task in tasks:
        of_task = {outcome.model: outcome for outcome in outcomes if outcome.task == task}
        ours = [*_marked([of_task.get(model) for model in models])]
        ours += [MISSING] * (len(rows) - len(models))
        ours.append(f"{100 * majorities[task]:.1f}" if task in majorities else MISSING)
        ours.append(f"{100 / len(next(iter(of_task.values())).labels):.1f}")
        if task in compared:
            paper = published.ACCURACIES_PERCENT[task]
            code = {case: _percent(*runs) for case, runs in released(task).items()}
            for kind, figures in (("paper", paper), ("released code", code)):
                cells = [str(figures.get(case, MISSING)) for _, case in rows]
                columns.append((f"{title(task)}, {kind}", [*cells, "", ""]))
        columns.append((title(task) + (", ours" if task in compared else ""), ours))
    seeds = " or ".join(str(count) for count in sorted({outcome.seeds for outcome in outcomes}))
    over = f", with its 95 % interval over {seeds} seeds" if seeds != "1" else ""
    text = f"**{HEADS[head].capitalize()}**: accuracy in per cent, the mean over folds{over}."
    header, cells = zip(*columns, strict=True)
    return f"{text}\n\n{_markdown(header, list(zip(*cells, strict=True)))}"


def released(task: str) -> dict[str, tuple[float, float, float]]:
    """Mean, low and high of the released code's runs by case; nothing for a task of our own."""
    runs = published.RELEASED_ACCURACIES.get(task, {})
    return {case: significance.mean_interval(np.array(runs[case])) for case in runs}


def table2(found: Mapping[str, CcaTable], cases: Mapping[str, str]) -> str:
    """The paper's Table 2 in Markdown, two descriptors a table, the paper's row under each model.

    Args:
      found: the correlations of each model.
      cases: the published case ("ae_c", "e_c", "cnn") that a model stands beside.
    """
    descriptors = list(dict.fromkeys(name for table in found.values() for name in table.values))
    parts = [
        "Mean canonical correlation with statistics of acoustic features; in brackets the floor, "
        "which is what the same embedding reaches where the features are those of other sounds, "
        "dealt out at random. A value says something as far as it is above its floor. The paper "
        "prints no floors."
    ]
    for first in range(0, len(descriptors), 2):
        pair = descriptors[first : first + 2]
        header = ["model"]
        header += [
            f"{published.DESCRIPTORS.get(name, plain(name))}, {statistic}"
            for name in pair
            for statistic in published.STATISTICS
        ]
        rows = []
        for model, table in found.items():
            rows.append([plain(model_name(model, cases))])
            rows[-1] += [
                _correlation(table, name, s) for name in pair for s in published.STATISTICS
            ]
            if (case := cases.get(model)) in published.CORRELATIONS["mfcc"]:
                none = dict.fromkeys(published.CASES, (None,) * len(published.STATISTICS))
                figures = [published.CORRELATIONS.get(name, none)[case] for name in pair]
                cells = [f"{value:.2f}" if value else MISSING for row in figures for value in row]
                rows.append([f"*{published.CASES[case]} in the paper*", *cells])
        parts.append(_markdown(header, rows))
    sizes: dict[str, list[str]] = {}
    for model, table in found.items():
        sizes.setdefault(_size(table), []).append(plain(model))
    parts += [f"{', '.join(models)}: {size}" for size, models in sizes.items()]
    return "\n\n".join(parts) + "\n"


def _size(table: CcaTable) -> str:
    text = f"{table.sounds} sounds, {table.dimensions} dimensions"
    if table.components is None:
        return text + "."
    return (
        f"{text}, reduced to {table.components} principal components of training sounds, because "
        f"there are fewer than {SOUNDS_PER_DIMENSION} sounds for a dimension."
    )


def _correlation(table: CcaTable, descriptor: str, statistic: str) -> str:
    value = table.values.get(descriptor, {}).get(statistic)
    if value is None:
        return MISSING
    return f"{value:.2f} ({table.permutation_baselines[descriptor][statistic]:.2f})"


def model_name(model: str, cases: Mapping[str, str]) -> str:
    """The model's own name, and in brackets the published one where that is another."""
    case = published.CASES.get(cases.get(model, ""), "")
    is_in_name = model.upper().replace("_", "-").startswith(case)
    return model if is_in_name else f"{model} ({case})"


def plain(name: str) -> str:
    """A name that is one line and breaks no cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")


def title(task: str) -> str:
    """The task's name as its authors write it, a name of one's own as it is."""
    return TITLES.get(task, plain(task))


def _marked(outcomes: Sequence[ProbeResult | None]) -> list[str]:
    """Cells of one column: the best in bold if there are several."""
    means = [outcome.mean for outcome in outcomes if outcome]
    cells = []
    for outcome in outcomes:
        if outcome is None:
            cells.append(MISSING)
            continue
        mark = "**" if len(means) > 1 and outcome.mean == max(means) else ""
        cells.append(f"{mark}{_percent(outcome.mean, outcome.low, outcome.high)}{mark}")
    return cells


def _percent(mean: float, low: float, high: float) -> str:
    interval = f" ({100 * low:.1f} to {100 * high:.1f})" if low < high else ""  # one seed has none
    return f"{100 * mean:.1f}{interval}"


def _chance(p_value: float) -> str:
    return "< .001" if p_value < 0.001 else f"{p_value:.3f}".removeprefix("0")


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])
