"""The report of an evaluation, from its record alone: report.md and plots."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from coala_jax import storage
from coala_jax.reporting import evaluation_plots, style, tables
from coala_jax.reporting.markdown import escape

FORMAT = 1
REPORT = "report.md"
# What is said of a model's clips.
_LEVELS = {"recorded": "", "peak": ", clips at a peak of 1", "unknown": ", vectors of a file"}

Record = Mapping[str, Any]


def render(folder: Path) -> list[Path]:
    """Makes report.md and the plots of `folder`/results.json; returns their paths.

    Those of an earlier record are removed.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the record is damaged or of another format.
    """
    record = storage.read_json(folder / "results.json")
    if record["format"] != FORMAT:
        raise ValueError(
            f"{folder / 'results.json'}: format {record['format']}, this version reads {FORMAT}. "
            "Fix: evaluate again"
        )
    drawn = figures(record)
    remove(folder)
    # The text names the plots, so it comes first: whatever stops this, `remove` finds them all.
    storage.write_text(folder / REPORT, _text(record, list(drawn)))
    for name, draw in drawn.items():
        with style.styled():
            style.write(draw(), folder / name)
    return [folder / name for name in (REPORT, *drawn)]


def figures(record: Record) -> dict[str, Callable[[], Figure]]:
    """File name -> a function that draws the figure, for each plot of the record."""
    found: dict[str, Callable[[], Figure]] = {}

    def add(name: str, draw: Callable[..., Figure], *task: Record) -> None:
        name = re.sub(r"\W+", "-", name.lower()).strip("-")
        while f"{name}.png" in found:  # "a b" and "a-b"
            name += "-2"
        found[f"{name}.png"] = partial(draw, record, *task)

    if record["tasks"]:
        add("accuracy", evaluation_plots.accuracy)
    for task in record["tasks"]:
        add(f"confusion-{task['name']}", evaluation_plots.confusion, task)
        if len(record["models"]) > 1:
            add(f"class-difference-{task['name']}", evaluation_plots.class_difference, task)
        if task["map"]["points"]:
            add(f"map-{task['name']}", evaluation_plots.class_map, task)
    if record["correlations"]:
        add("correlation", evaluation_plots.correlation)
    return found


def remove(folder: Path) -> None:
    """Removes the report in the folder, if there is one, and the plots that it shows."""
    if (folder / REPORT).exists():
        text = storage.read_bytes(folder / REPORT).decode()
        for name in re.findall(r"^!\[.*\]\(([\w-]+\.png)\)$", text, re.MULTILINE):
            (folder / name).unlink(missing_ok=True)
        (folder / REPORT).unlink()


def tables_text(record: Record) -> str:
    """What was found, without plots: Markdown."""
    parts = ["# Evaluation with frozen parameters"]
    if record["tasks"]:
        parts += ["## Classification (the paper's Table 1)", tables.accuracies(record)]
        parts += filter(None, [tables.poolings(record)])
        parts += [_tasks(record), "### Paired tests", tables.differences(record)]
    if record["correlations"]:
        parts += ["## Correlation with acoustic features (the paper's Table 2)"]
        parts += [tables.correlations(record)]
        if any(map(tables.is_layers, record["models"])):
            parts.append("This table is of the latents of single patches, whatever the pooling.")
    return "\n\n".join(parts)


def _text(record: Record, plots: list[str]) -> str:
    shown = [f"![{name.removesuffix('.png')}]({name})" for name in plots]
    parts = [tables_text(record), "## Plots", *shown, "## How to reproduce", _provenance(record)]
    return "\n\n".join(parts) + "\n"


def _tasks(record: Record) -> str:
    lines = []
    for task in record["tasks"]:
        folds = task["folds"]
        split = f"{len(folds)} folds"
        if len(folds) == 1:
            split = f"{folds[0]['train']} to train on and {folds[0]['test']} to test"
        lines.append(f"- {tables.plain(task['title'])}: {task['clips']} clips, {split}.")
        lines += [f"  - {escape(remark)}" for remark in task["remarks"]]
        for part, files in task["left_out"].items():
            named = ", ".join(map(escape, files[:5])) + (" …" if len(files) > 5 else "")
            lines.append(f"  - left out of {part}: {len(files)} ({named})")
    return "\n".join(lines)


def _provenance(record: Record) -> str:
    settings, versions = record["settings"], record["versions"].items()
    lines = [
        f"    {' '.join(record['command'].split())}",
        "",
        f"- padding of clips: {settings['policy']}; seeds of the classifiers: "
        f"{', '.join(map(str, settings['seeds']))}; of everything else: {settings['seed']}",
        f"- device: {record['device']}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in versions)}",
        *(
            f"- model {escape(one['name'])}: {one['digest']}"
            + (", pooling layers" if tables.is_layers(one) else "")
            + _LEVELS[one["level"]]
            for one in record["models"]
        ),
        *(f"- data of {escape(task['name'])}: {task['digest']}" for task in record["tasks"]),
    ]
    if {one["level"] for one in record["models"]} >= {"recorded", "peak"}:
        lines.append(
            "- those that are not said to hear clips at a peak of 1 hear how loud a clip was "
            "recorded, too; the MFCCs beside the others are mfcc:peak"
        )
    return "\n".join(lines)
