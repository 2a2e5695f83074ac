"""A comparison as files to be read: report.md, report.json and pictures."""

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from coala_jax import __version__, storage
from coala_jax.evaluation import class_pictures, tables
from coala_jax.evaluation import comparison_pictures as pictures
from coala_jax.evaluation.cca import CcaTable
from coala_jax.evaluation.comparison import Compared, Settings, majority
from coala_jax.evaluation.evaluators import Evaluator, ModelEvaluator
from coala_jax.evaluation.probe_result import Difference, ProbeResult, differences

REPORT = "report.json"
READABLE = "report.md"
_FORMAT = 2
_PACKAGES = ("jax", "flax", "numpy", "scipy", "scikit-learn", "librosa", "soxr", "soundfile")


@dataclass(frozen=True)
class Comparison:
    """All that a comparison found, and what it takes to make it again.

    Attributes:
        correlations: by a model's name; empty where none were asked for.
        seed: of the draw of clips, bootstrap, permutations and the maps.
        command: that made it.
    """

    evaluators: Sequence[Evaluator]
    compared: Sequence[Compared]
    correlations: Mapping[str, CcaTable]
    settings: Settings
    seed: int
    command: str

    @property
    def cases(self) -> dict[str, str]:
        """The published case that each model stands beside; what is not of the paper has none."""
        cases = {one.name: getattr(one, "case", "") for one in self.evaluators}
        return {name: case for name, case in cases.items() if case}

    @property
    def outcomes(self) -> list[ProbeResult]:
        return [outcome for found in self.compared for outcome in found.outcomes]

    @property
    def majorities(self) -> dict[str, float]:
        return {found.task.name: majority(found.task) for found in self.compared}


def write(comparison: Comparison, out: Path) -> list[Path]:
    """Writes the files into `out`, `report.json` last; returns them."""
    out.mkdir(parents=True, exist_ok=True)
    _remove_report(out)
    drawn = _draw(comparison, out)
    found = differences(comparison.outcomes, comparison.evaluators[0].name, comparison.seed)
    readable = out / READABLE
    storage.write_text(readable, _text(comparison, found, drawn))
    content = {
        "format": _FORMAT,
        "command": comparison.command,
        "device": jax.devices()[0].device_kind,
        "versions": _versions(),
        "settings": asdict(comparison.settings) | {"seed": comparison.seed},
        "models": [
            {"name": one.name, "case": comparison.cases.get(one.name, ""), "digest": one.digest}
            for one in comparison.evaluators
        ],
        "tasks": [
            {
                "name": one.task.name,
                "clips": len(one.task.clips),
                "labels": list(one.task.labels),
                "digest": one.data_digest,
                "left_out": one.task.left_out,
                "remarks": list(one.task.remarks),
                "majority": comparison.majorities[one.task.name],
            }
            for one in comparison.compared
        ],
        "outcomes": [outcome.to_dict() for outcome in comparison.outcomes],
        "differences": [asdict(difference) for difference in found],
        "correlations": {name: asdict(t) for name, t in comparison.correlations.items()},
        "pictures": [path.name for path in drawn],
    }
    storage.write_json(out / REPORT, content)
    return [readable, *drawn, out / REPORT]


def _remove_report(out: Path) -> None:
    """Old figures beside new pictures, or old pictures beside new figures, would look whole."""
    try:
        pictured = storage.read_json(out / REPORT)["pictures"]
    except (OSError, ValueError, KeyError):
        pictured = []
    (out / REPORT).unlink(missing_ok=True)
    for name in pictured:
        if name == Path(name).name and name.endswith(".png"):
            (out / name).unlink(missing_ok=True)


def _draw(comparison: Comparison, out: Path) -> list[Path]:
    cases, drawn = comparison.cases, []

    def to(name: str) -> Path:
        drawn.append(out / f"{name}.png")
        return drawn[-1]

    if comparison.compared:
        outcomes = comparison.outcomes
        pictures.accuracies(outcomes, cases, comparison.majorities, to("accuracy"))
    first_head = comparison.settings.heads[0]
    first = comparison.evaluators[0].name  # that the user named is what is looked at
    for found in comparison.compared:
        task, name = found.task, _file_name(found.task.name)
        outcomes = [outcome for outcome in found.outcomes if outcome.head == first_head]
        class_pictures.confusions(outcomes, to(f"confusion-{name}"))
        for other in outcomes[1:]:
            pair = _file_name(f"{first} {other.model}")
            class_pictures.class_differences(outcomes[0], other, to(f"classes-{name}-{pair}"))
        tested = sorted({int(place) for part in task.folds for place in part.test})
        if len(tested) >= 3:  # fewer are no map
            class_pictures.class_map(
                found.vectors[first][tested],
                [task.clips[place].label for place in tested],
                f"{tables.title(task.name)}: test clips as {first} hears them",
                to(f"map-{name}"),
                comparison.seed,
            )
    if comparison.correlations:
        pictures.correlations(comparison.correlations, cases, to("correlation"))
    return drawn


def _text(comparison: Comparison, found: Sequence[Difference], drawn: Sequence[Path]) -> str:
    parts = ["# Evaluation with frozen parameters"]
    if comparison.compared:
        parts += [
            "## Classification (the paper's Table 1)",
            tables.table1(comparison.outcomes, comparison.cases, comparison.majorities).strip(),
            _tasks(comparison),
            "### Paired tests",
            tables.difference_table(found).strip(),
        ]
    if comparison.correlations:
        parts += [
            "## Correlation with acoustic features (the paper's Table 2)",
            tables.table2(comparison.correlations, comparison.cases).strip(),
        ]
    parts += ["## Pictures", *(f"![{path.stem}]({path.name})" for path in drawn)]
    parts += ["## How to make this again", _provenance(comparison)]
    return "\n\n".join(parts) + "\n"


def _tasks(comparison: Comparison) -> str:
    lines = []
    for found in comparison.compared:
        task = found.task
        rounds = f"{len(task.folds)} folds"
        if len(task.folds) == 1:
            part = task.folds[0]
            rounds = f"{len(part.train)} to train on and {len(part.test)} to test"
        lines.append(f"- {tables.plain(task.name)}: {len(task.clips)} clips, {rounds}.")
        lines += [f"  - {remark}" for remark in task.remarks]
        for part, files in task.left_out.items():
            named = ", ".join(files[:5]) + (" …" if len(files) > 5 else "")
            lines.append(f"  - left out of {part}: {len(files)} ({named})")
    return "\n".join(lines)


def _provenance(comparison: Comparison) -> str:
    settings = comparison.settings
    seeds = ", ".join(map(str, settings.seeds))
    lines = [
        f"    {comparison.command}",
        "",
        f"- padding of clips: {settings.policy}; their level: {settings.level}; seeds of the "
        f"classifiers: {seeds}; of everything else: {comparison.seed}",
        f"- device: {jax.devices()[0].device_kind}",
        f"- versions: {', '.join(f'{name} {found}' for name, found in _versions().items())}",
    ]
    lines += [f"- model {one.name}: {one.digest}" for one in comparison.evaluators]
    lines += [
        f"- {one.name} was trained at a peak of 1 and hears every clip so, whatever the others "
        "hear; --level=peak compares all alike"
        for one in comparison.evaluators
        if isinstance(one, ModelEvaluator) and one.embedder.level == "peak" != settings.level
    ]
    lines += [f"- data of {found.task.name}: {found.data_digest}" for found in comparison.compared]
    return "\n".join(lines)


def _versions() -> dict[str, Any]:
    packages = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "coala_jax": __version__, **packages}


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
