"""The record of an evaluation, `results.json`: all that its tables and plots show."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coala_jax import __version__, storage
from coala_jax.embedding import map_projection
from coala_jax.evaluation import published, significance
from coala_jax.evaluation.cca import CcaTable
from coala_jax.evaluation.comparison import EvaluationSettings, TaskResult, majority
from coala_jax.evaluation.evaluators import Evaluator
from coala_jax.evaluation.probe_result import differences
from coala_jax.evaluation.tasks import Task
from coala_jax.evaluation.vector_table import VectorTable

RESULTS = "results.json"
FORMAT = 1
_PACKAGES = ("jax", "flax", "numpy", "scipy", "scikit-learn", "librosa", "soxr", "soundfile")
_TITLES = {**published.TASKS, "esc50": "ESC-50", "esc10": "ESC-10"}

Record = dict[str, Any]


def request(
    evaluators: Sequence[Evaluator | VectorTable],
    tasks: Sequence[Task],
    settings: EvaluationSettings,
    datasets: Sequence[Path],
) -> Record:
    """The part of the record that is known before anything is computed.

    The first model is the reference: the others are tested against it.
    """
    models = []
    for one in evaluators:
        embedder = getattr(one, "embedder", None)  # of a model, trained or not
        models.append(
            {
                "name": one.name,
                "case": getattr(one, "case", ""),
                "digest": one.digest,
                "level": getattr(embedder or one, "level", "recorded"),
                "pooling": getattr(embedder, "pooling", ""),
            }
        )
    folders = [str(folder.resolve()) for folder in datasets]
    return {
        "kind": "evaluation",
        "format": FORMAT,
        "settings": asdict(settings) | {"datasets": folders},
        "models": models,
        "tasks": [{"name": task.name, "root": str(task.root.resolve())} for task in tasks],
    }


def check_out(out: Path, requested: Record) -> None:
    """Raises ValueError where `out` holds the results of another evaluation; says what differs."""
    if not (out / RESULTS).exists():
        return
    old, new = (_identity(record) for record in (storage.read_json(out / RESULTS), requested))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if names:
        if "first model" not in old:  # another kind of record has nothing else to compare
            names = [name for name in names if name in old]
        told = [f"{n} is {old.get(n, 'absent')}, not {new.get(n, 'absent')}" for n in names]
        raise ValueError(
            f"{out / RESULTS} holds the results of another evaluation: {'; '.join(told)}. "
            "Fix: give another --out, or --overwrite to replace them"
        )


def _identity(record: Any) -> dict[str, str]:
    """What two evaluations must have in common to be the same, under names that a user knows."""
    is_record = isinstance(record, dict)  # or another program's file of that name
    kind = {name: record.get(name) if is_record else None for name in ("kind", "format")}
    if kind != {"kind": "evaluation", "format": FORMAT}:
        return {name: json.dumps(value) for name, value in kind.items()}
    models = record["models"]
    content = kind | {"first model": models[0]["name"]}
    content |= {f"setting {name}": value for name, value in record["settings"].items()}
    content |= {f"model {model['name']}": model["digest"][:12] for model in models}
    content |= {f"task {task['name']}": task["root"] for task in record["tasks"]}
    return {name: json.dumps(value) for name, value in content.items()}


def complete(
    requested: Record,
    results: Sequence[TaskResult],
    correlations: Mapping[str, CcaTable],
    command: str,
) -> Record:
    """The whole record.

    Args:
        requested: of `request`.
        correlations: by a model's name; empty where none were asked for.
        command: that computed all this.
    """
    reference, seed = requested["models"][0]["name"], requested["settings"]["seed"]
    outcomes = [outcome for result in results for outcome in result.outcomes]
    tasks = zip(requested["tasks"], results, strict=True)
    return requested | {
        "command": command,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version(), "coala_jax": __version__}
        | {name: version(name) for name in _PACKAGES},
        "tasks": [task | _describe(result, reference, seed) for task, result in tasks],
        "outcomes": [outcome.to_dict() for outcome in outcomes],
        "differences": [asdict(one) for one in differences(outcomes, reference, seed)],
        "correlations": {
            name: {
                "values": table.values,
                "baselines": table.permutation_baselines,
                "sounds": table.sounds,
                "dimensions": table.dimensions,
                "components": table.components,
            }
            for name, table in correlations.items()
        },
        "published": {
            "cases": published.CASES,
            "tasks": {
                result.task.name: _published(result.task.name)
                for result in results
                if result.task.name in published.TASKS
            },
            "correlations": published.CORRELATIONS if correlations else {},  # mean, var, skew
        },
    }


def _describe(result: TaskResult, reference: str, seed: int) -> Record:
    task, classes = result.task, result.task.classes
    tested = np.concatenate([fold.test for fold in task.folds])
    return {
        "title": _TITLES.get(task.name, task.name),
        "digest": result.data_digest,
        "clips": len(task.clips),
        "folds": [
            {"name": fold.name, "train": len(fold.train), "test": len(fold.test)}
            for fold in task.folds
        ],
        "labels": list(task.labels),
        "tested": np.bincount(classes[tested], minlength=len(task.labels)).tolist(),
        "majority": majority(task),
        "chance": 1 / len(task.labels),
        "left_out": task.left_out,
        "remarks": list(task.remarks),
        "map": _map(result, np.unique(tested), reference, seed),
    }


def _map(result: TaskResult, tested: np.ndarray, reference: str, seed: int) -> Record:
    """Test clips in two dimensions, as the first model embeds them."""
    tested = tested[map_projection.choose(len(tested), seed)]
    points = np.empty((0, 2))
    if len(tested) >= 3:  # too few to map
        points = map_projection.project(result.vectors[reference][tested], seed)
    labels = [result.task.clips[place].label for place in tested[: len(points)]]
    return {"points": points.round(3).tolist(), "labels": labels}


def _published(task: str) -> Record:
    """Figures of the paper and of its released code: shares of 1, as all accuracies here."""
    released = {}
    for case, runs in published.RELEASED_ACCURACIES[task].items():
        mean, low, high = significance.mean_interval(np.array(runs))
        released[case] = {"mean": mean, "low": low, "high": high}
    return {
        "paper_percent": published.ACCURACIES_PERCENT[task],
        "released": released,
        "literature_percent": published.LITERATURE_PERCENT[task],
    }
