"""The tables of an evaluation in Markdown, from its record: accuracies, paired tests, correlations.

Accuracies are shares of 1 in the record and per cent in the tables, as the paper prints them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from coala_jax.reporting.markdown import escape

Record = Mapping[str, Any]

HEADS = {
    "mlp": "one hidden layer of 256",
    "logistic_regression": "logistic regression",
    "svm": "support vector machine",
}
MISSING = "\N{EN DASH}"


def accuracies(record: Record) -> str:
    """The paper's Table 1: a table for each head, a row for each model.

    Tasks of the paper have three columns: the paper's figure, that of the released code, ours. What
    is published and was not evaluated has a row, too.
    """
    parts = [_accuracies_of_head(record, head) for head in record["settings"]["heads"]]
    for task in record["tasks"]:
        if found := record["published"]["tasks"].get(task["name"]):
            quoted = (f"{name} {value}" for name, value in found["literature_percent"].items())
            parts.append(
                f"{task['title']} in the literature, as the paper quotes it: {', '.join(quoted)}."
            )
    return "\n\n".join(parts)


def _accuracies_of_head(record: Record, head: str) -> str:
    outcomes = {
        (one["task"], one["model"]): one for one in record["outcomes"] if one["head"] == head
    }
    cases, models = record["published"]["cases"], record["models"]
    # The published classifier is the MLP: beside another head its figures would mislead.
    published = record["published"]["tasks"] if head == "mlp" else {}
    rows = [(plain(label(record, one["name"])), one["case"]) for one in models]
    if published:
        evaluated = {case for _, case in rows}
        rows += [(f"*{name}*", case) for case, name in cases.items() if case not in evaluated]
    columns = [["model", *(name for name, _ in rows), "*majority*", "*chance*"]]
    for task in record["tasks"]:
        title, theirs = plain(task["title"]), published.get(task["name"])
        if theirs:
            paper = [str(theirs["paper_percent"].get(case, MISSING)) for _, case in rows]
            released = [_percent(theirs["released"].get(case)) for _, case in rows]
            columns += [
                [f"{title}, paper", *paper, "", ""],
                [f"{title}, released code", *released, "", ""],
            ]
            title += ", ours"
        ours = [outcomes[task["name"], one["name"]] for one in models]
        best = max(one["mean"] for one in ours) if len(ours) > 1 else None
        cells = [f"**{_percent(o)}**" if o["mean"] == best else _percent(o) for o in ours]
        cells += [MISSING] * (len(rows) - len(models))
        columns.append(
            [title, *cells, *(f"{100 * task[name]:.1f}" for name in ("majority", "chance"))]
        )
    seeds = len(next(iter(outcomes.values()))["accuracies"])
    interval = f", with its 95 % interval over {seeds} seeds" if seeds > 1 else ""
    text = f"**{HEADS[head].capitalize()}**: accuracy in per cent, the mean over folds{interval}."
    header, *body = zip(*columns, strict=True)
    return f"{text}\n\n{_markdown(header, body)}"


def differences(record: Record) -> str:
    """The paired tests; the significant ones (corrected p < .05) in bold."""
    if not record["differences"]:
        return "There are no two models to compare."
    titles = {task["name"]: plain(task["title"]) for task in record["tasks"]}
    rows = []
    for one in record["differences"]:
        mark = "**" if one["p_corrected"] < 0.05 else ""
        difference, low, high = (100 * one[name] for name in ("difference", "low", "high"))
        rows.append(
            [
                titles[one["task"]],
                HEADS[one["head"]],
                plain(one["first"]),
                plain(one["second"]),
                f"{mark}{difference:+.1f} ({low:+.1f} to {high:+.1f}){mark}",
                _p_value(one["p_value"]),
                _p_value(one["p_corrected"]),
            ]
        )
    header = ["task", "head", "model", "against", "difference", "p", "p, corrected"]
    return (
        "Differences are in percentage points of accuracy on the same clips, a mean over folds as "
        "in the table above (of F folds, a clip weighs 1 / (F x clips in its fold)), with the 95 % "
        "interval over clips (paired bootstrap within folds); p by permuting signs, corrected for "
        "the pairs of a task by Holm's method; below .05 in "
        f"**bold**.\n\n{_markdown(header, rows)}"
    )


def correlations(record: Record) -> str:
    """The paper's Table 2, two descriptors a table, the paper's row below each of its models."""
    found, published = record["correlations"], record["published"]["correlations"]
    values = next(iter(found.values()))["values"]
    descriptors, statistics = list(values), list(next(iter(values.values())))
    parts = [
        "Mean canonical correlation with statistics of acoustic features; in brackets its "
        "permutation baseline: what the same embedding scores where the features are dealt out to "
        "the sounds at random. A value means something as far as it is above its baseline. The "
        "paper prints no baselines."
    ]
    for first in range(0, len(descriptors), 2):
        pair, rows = descriptors[first : first + 2], []
        header = ["model", *(f"{descriptor_title(d)}, {s}" for d in pair for s in statistics)]
        for model, table in found.items():
            cells = [
                f"{table['values'][d][s]:.2f} ({table['baselines'][d][s]:.2f})"
                for d in pair
                for s in statistics
            ]
            rows.append([plain(label(record, model)), *cells])
            case = case_of(record, model)
            if any(case in row for row in published.values()):
                none = dict.fromkeys([case], [None] * len(statistics))
                paper = [value for d in pair for value in published.get(d, none)[case]]
                name = f"*{record['published']['cases'][case]} in the paper*"
                rows.append([name, *(f"{value:.2f}" if value else MISSING for value in paper)])
        parts.append(_markdown(header, rows))
    for model, table in found.items():
        text = f"{plain(model)}: {table['sounds']} sounds, {table['dimensions']} dimensions"
        if table["components"]:
            text += f", reduced to {table['components']} principal components of training sounds"
        parts.append(f"{text}.")
    return "\n\n".join(parts)


def poolings(record: Record) -> str:
    """What to compare models of the pooling `layers` with; "" where there is none."""
    models = [one for one in record["models"] if is_layers(one)]
    if not models:
        return ""
    trained = [_quoted(one) for one in models if one["case"]]
    untrained = [_quoted(one) for one in models if not one["case"]]
    verb = "is" if len(models) == 1 else "are"
    parts = [
        f"{', '.join(trained + untrained)} {verb} of the pooling `layers`; the paper's figures are "
        "of the mean. Most of what `layers` gains is architecture and pooling, not training: "
        "compare a model with the untrained one of the same pooling"
        + (f", {', '.join(untrained)}." if untrained else ".")
    ]
    if not untrained:
        parts.append(
            "**Warning**: no untrained model of the pooling `layers` is in the table, so it does "
            "not show what training gains. Fix: add untrained:FOLDER to --model."
        )
    return "\n\n".join(parts)


def is_layers(model: Record) -> bool:
    """Whether a model of the record has this pooling; before there were two, all had the mean."""
    return model.get("pooling") == "layers"


def case_of(record: Record, model: str) -> str:
    """The published case that a model stands beside, "" for none."""
    return next(one["case"] for one in record["models"] if one["name"] == model)


def label(record: Record, model: str) -> str:
    """The model's own name, and in brackets the published one where that is another."""
    case = record["published"]["cases"].get(case_of(record, model), "")
    is_in_name = model.upper().replace("_", "-").startswith(case)
    return model if is_in_name else f"{model} ({case})"


def descriptor_title(name: str) -> str:
    return "MFCCs" if name == "mfcc" else name.replace("_", " ").capitalize()


def plain(name: str) -> str:
    """A name that is one line, breaks no cell of a table and holds no HTML."""
    return escape(name)


def _quoted(model: Record) -> str:
    return f'"{plain(model["name"])}"'


def _percent(found: Record | None) -> str:
    if found is None:
        return MISSING
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    has_spread = high - low > 1e-9  # one seed, or equal ones, have none
    return f"{mean:.1f}" + (f" ({low:.1f} to {high:.1f})" if has_spread else "")


def _p_value(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])
