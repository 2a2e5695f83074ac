"""Finds the records in a folder and renders each."""

from collections.abc import Callable
from pathlib import Path

from coala_jax import storage


def render(folder: Path) -> list[Path]:
    """Renders every record that lies in a folder as Markdown and plots; returns what it wrote.

    Raises:
      OSError: a file cannot be read or written.
      ValueError: there is no record in the folder, or it is damaged or of no known kind.
    """
    kinds = _kinds(folder)
    if not kinds:
        raise ValueError(
            f"{folder}: no record found: looked for manifest.json (a dataset), results.json (a "
            "finished training run or an evaluation) and metrics.jsonl (a training run)"
        )
    return [path for kind in kinds for path in RENDERERS[kind](folder)]


def _kinds(folder: Path) -> list[str]:
    kinds = ["dataset"] if (folder / "manifest.json").exists() else []
    results = folder / "results.json"
    if results.exists():
        record = storage.read_json(results)
        kind = record.get("kind") if isinstance(record, dict) else None
        if kind not in ("training", "evaluation"):
            raise ValueError(f'{results}: "kind" is {kind!r}, it must be training or evaluation')
        kinds.append(kind)
    elif (folder / "metrics.jsonl").exists():
        kinds.append("training")
    return kinds


def _render_dataset(folder: Path) -> list[Path]:
    from coala_jax.reporting import dataset_report

    return dataset_report.render(folder)


def _render_training(folder: Path) -> list[Path]:
    from coala_jax.reporting import training_report

    return training_report.render(folder)


def _render_evaluation(folder: Path) -> list[Path]:
    from coala_jax.reporting import evaluation_report

    return evaluation_report.render(folder)


RENDERERS: dict[str, Callable[[Path], list[Path]]] = {
    "dataset": _render_dataset,
    "training": _render_training,
    "evaluation": _render_evaluation,
}
