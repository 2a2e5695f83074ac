"""The card of the built-in model: `model_card.md` with the figures of a record."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from experiments import development, scores
from experiments.programs import table

TEMPLATE = Path(__file__).with_suffix(".md")
_CASES = {"ae_c": "an AE-C", "e_c": "an E-C", "cnn": "a CNN"}
_RETRIEVAL = {"vote": "this model", "untrained": "untrained", "popularity": "most frequent tags"}


def markdown(record: Mapping[str, Any]) -> str:
    """The card.

    record: of `experiments.default_model`.
    """
    training, sources, speed = record["training"], record["sources"], record["speed"]
    heard, filters = record["heard"], record["filters"]
    notes = [sources[font]["sounds"] for font in development.FONTS if font in sources]
    return TEMPLATE.read_text(encoding="utf-8").format(
        case=_CASES[record["case"]],
        filters=filters,
        tags=f"{record['tags']:,}",
        digest=record["digest"],
        sounds=f"{sum(one['sounds'] for one in sources.values()):,}",
        packages=len(sources),
        notes=f"{sum(notes):,}",
        **{split: f"{count:,}" for split, count in training["sounds"].items()},
        epochs=training["epochs"],
        near_duplicates=training["bank"]["near_duplicates"],
        minutes=f"{training['minutes']:.0f}",
        device=training["device"],
        versions=", ".join(f"{name} {number}" for name, number in training["versions"].items()),
        accuracies=_accuracies(record["accuracies"]),
        retrieval=_retrieval(training["retrieval"]),
        tags_counted=heard["tags_counted"],
        **{key: ", ".join(f"{t} {p:.2f}" for t, p, _ in heard[key]) for key in ("best", "worst")},
        megabytes=f"{sum(record['files'].values()) / 1e6:.1f}",
        parameters=f"{speed['parameters']:,}",
        layers_size=f"{30 * filters:,}",
        mean_size=9 * filters,
        clip_seconds=f"{speed['audio_seconds'] / speed['clips']:.1f}",
        rate=f"{speed['audio_seconds'] / speed['cpu_seconds']:.0f}",
        sources=_sources(sources),
    )


def _accuracies(of_row: Mapping[str, Any]) -> str:
    columns = list(product(next(iter(of_row.values())), scores.POOLINGS))
    lines = [["", *(f"{task}, {pooling}" for task, pooling in columns)]]
    for row, of_task in of_row.items():
        lines.append([row, *(_cell(of_task[task][pooling]) for task, pooling in columns)])
    return table(lines)


def _cell(entry: Mapping[str, Any]) -> str:
    text = f"{100 * entry['accuracy']:.1f} ± {100 * entry['standard_error']:.1f}"
    if "below" not in entry:
        return text
    difference, low, high = (
        f"{100 * entry['below'][k]:+.1f}" for k in ("difference", "low", "high")
    )
    p_value = entry["below"]["p_value"]
    shown = "p < .001" if p_value < 0.001 else f"p {p_value:.3f}".replace("0.", ".")
    return f"{text} ({difference}, {low} to {high}, {shown})"


def _retrieval(found: Mapping[str, Any]) -> str:
    measures = ("macro_auc", "map", "recall_at_10")
    lines = [["", "macro AUC", "MAP", "recall at 10"]]
    for key, name in _RETRIEVAL.items():
        lines.append([name, *(f"{found[key][measure]:.3f}" for measure in measures)])
    return table(lines)


def _sources(sources: Mapping[str, Any]) -> str:
    lines = [["package", "sounds", "licences"]]
    for package, one in sources.items():
        lines.append([f"`{package}`", f"{one['sounds']:,}", ", ".join(one["licences"])])
    return table(lines)
