"""The tables of `experiments.peers`, from its record."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from experiments import scores
from experiments.programs import table


def markdown(record: Mapping[str, Any]) -> str:
    """The tables of results.md: accuracies, few labels, sizes and speeds."""
    columns = list(product(record["few_labels"], record["heads"]))
    accuracies = [["", *(f"{task}, {head.replace('_', ' ')}" for task, head in columns)]]
    for line, of_task in record["accuracies"].items():
        cells = [_cell(of_task[task][head]) for task, head in columns]
        accuracies.append([line, *cells])
    parts = [table(accuracies)]
    for task, of_line in record["few_labels"].items():
        shots = [one["shots"] or "all" for one in next(iter(of_line.values()))]
        lines = [[f"{task}: labelled clips a class", *map(str, shots)]]
        lines += [[line, *map(_few_cell, curve)] for line, curve in of_line.items()]
        parts.append(table(lines))
    head = ["", "values", "parameters", "weights, MB", "times real time on one core", "licence"]
    sizes = [[name, *_size_cells(size)] for name, size in record["sizes"].items()]
    return "\n".join([*parts, table([head, *sizes])])


def _cell(entry: Mapping[str, Any]) -> str:
    """Accuracy in per cent, and the difference to the first row."""
    beside = entry["over_reference"]
    shown = f" ({scores.difference(beside)})" if beside["difference"] else ""
    return f"{100 * entry['accuracy']:.1f}{shown}"


def _few_cell(entry: Mapping[str, Any]) -> str:
    """Accuracy in per cent, and its standard error over draws."""
    error = entry["standard_error"]
    return f"{100 * entry['accuracy']:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _size_cells(size: Mapping[str, Any]) -> list[str]:
    has_weights = "parameters" in size
    return [
        str(size["dimensions"]),
        f"{size['parameters']:,}" if has_weights else "-",
        f"{size['weights_bytes'] / 1e6:.1f}" if has_weights else "-",
        f"{size['audio_seconds'] / size['cpu_seconds']:.1f}",
        size.get("licence", ""),
    ]
