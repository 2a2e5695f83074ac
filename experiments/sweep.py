"""Trains every point of a grid of settings, and tabulates and plots what each of them reaches.

    python -m experiments.sweep --config=configs/ae_c.py --workdir=DIR --config.data.path=DATASET \
        --grid='loss.temperature=0.05,0.1,0.2;loss.contrastive_weight=5,10'

Each point is a run of `coala_jax.main` in DIR/points, one after the other in one process. The same
command resumes an interrupted sweep; more values in the grid, or more epochs, train what is new.
A point that diverges is a row of the table; delete its folder to try it again. Leaves
DIR/results.md, results.csv, results.json and results.png.
"""

import csv
import functools
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from matplotlib.figure import Figure
from ml_collections import ConfigDict, config_flags

from coala_jax import config_keys, logs, storage, training_run
from coala_jax import flags as program_flags
from coala_jax import main as training_program
from coala_jax.data.schema import Manifest
from coala_jax.default_config import flat, result_settings, validate
from coala_jax.reporting import style, training_report

_GRID = flags.DEFINE_string("grid", None, "Settings and their values: 'KEY=VALUE,VALUE;KEY=...'.")
flags.mark_flag_as_required("grid")
flags.adopt_module_key_flags(training_program)

RECORD = "results.json"  # of a run, which `coala_jax.main` writes last; and of the sweep
DIVERGED = "diverged.json"
LOSSES = ("loss", "audio_loss", "tag_loss", "signed_contrastive_loss", "contrastive_loss")
RETRIEVAL = {"macro_auc": "Macro AUC", "mrr": "MRR", "map": "MAP", "recall_at_10": "Recall at 10"}
COLUMNS = ("epoch", *LOSSES, *RETRIEVAL, "best_mrr", "best_epoch", "untrained_mrr", "seconds")
BASELINES = {"chance": ":", "popularity": "-."}  # of the sounds alone, the same for all points

Value = config_keys.Value
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Point:
    """One run of the sweep; `changes` are its settings by dotted key."""

    changes: dict[str, Value]
    config: ConfigDict
    folder: Path

    def record(self) -> dict[str, Any]:
        """What `coala_jax.main` recorded of the finished run; empty before."""
        path = self.folder / RECORD
        return storage.read_json(path) if path.exists() else {}

    def is_done(self) -> bool:
        record = self.record()
        is_finished = record.get("epochs") == self.config.train.epochs
        return (
            is_finished or record.get("stopped_early", False) or (self.folder / DIVERGED).exists()
        )

    def row(self) -> dict[str, Any]:
        """Its row of the table; None where nothing was measured."""
        row = {"point": self.folder.name, **self.changes, "status": "not trained"}
        row |= dict.fromkeys(COLUMNS)
        if (self.folder / DIVERGED).exists():
            cause = storage.read_json(self.folder / DIVERGED)
            return row | {"status": f"diverged at step {cause['step']}", "epoch": cause["epoch"]}
        if not self.is_done():
            return row
        record = self.record()
        entries = training_report.read_entries(self.folder, record)
        validated = {e["epoch"]: e for e in entries if e["kind"] == "validation"}
        kept = validated[record["kept"]["epoch"]]
        best = max((e for e in entries if "mrr" in e), key=lambda entry: entry["mrr"])
        figures = {name: kept.get(name) for name in ("epoch", *LOSSES)}
        # Of the sounds that did not choose the epoch, as those of the baselines.
        figures |= {name: record["retrieval"]["trained"][name] for name in RETRIEVAL}
        figures |= {"best_mrr": best["mrr"], "best_epoch": best["epoch"]}
        figures["untrained_mrr"] = record["retrieval"]["untrained"]["mrr"]
        figures["seconds"] = math.fsum(e["seconds"] for e in entries if e["kind"] == "train")
        return row | {"status": "finished", **figures}


def run(config: ConfigDict, grid: str, workdir: Path, flags_given: Sequence[str] = ()) -> None:
    """Trains the points that are not done, and writes the results after each.

    flags_given: those that make `config`, for the command in each point's record.

    Raises:
        ValueError: config, grid, dataset, work folder or device cannot be used; says why.
    """
    points = make_points(config, grid, workdir / "points")
    _check_folders(points, Manifest.load(config.data.path).digest)
    for number, point in enumerate(points, start=1):
        done = ", done already" if point.is_done() else ""
        logging.info("[%d/%d] %s%s", number, len(points), point.folder.name, done)
        if not done:
            _train(point, flags_given)
        written = write_results(workdir, points)
    print(storage.read_bytes(written[0]).decode())
    print(*written, sep="\n")


def make_points(config: ConfigDict, grid: str, folder: Path) -> list[Point]:
    """The points of 'KEY=VALUE,VALUE;KEY=...', each with a valid config.

    Raises:
        ValueError: a key or value that does not exist, is out of range or is given twice, or
            values that one process cannot train together.
    """
    settings, values = result_settings(config.to_dict()), {}
    for part in grid.split(";"):
        key, found = _values_of(part, config, settings)
        if key in values or len(set(found)) < len(found):
            raise ValueError(f"--grid: config.{key} or one of its values is given twice")
        values[key] = found
    if "float64" in values.get("precision", []) and len(values["precision"]) > 1:
        raise ValueError("--grid: float64 stays on in a process. Fix: sweep precision by itself")
    points = []
    for choice in itertools.product(*(values[key] for key in sorted(values))):
        changes = dict(zip(sorted(values), choice, strict=True))  # a name for any order of keys
        name = ",".join(f"{key.split('.')[-1]}={_short(value)}" for key, value in changes.items())
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(changes)
        validate(changed)
        points.append(Point(changes, changed, folder / name))
    return points


def _values_of(
    part: str, config: ConfigDict, settings: Mapping[str, Value]
) -> tuple[str, list[Value]]:
    """The key and the values of 'KEY=VALUE,VALUE', as `make_points` takes it."""
    key, _, text = (piece.strip() for piece in part.partition("="))
    key = key.removeprefix("config.")
    words = [word.strip() for word in text.split(",")]
    if not (key and all(words)):
        raise ValueError(f"--grid: {part.strip()!r} is not KEY=VALUE,VALUE")
    if key not in settings and (key in config or key in flat(config.to_dict())):
        raise ValueError(
            f"--grid: config.{key} is a section, or the same for all points by its nature"
        )
    try:
        return key, [config_keys.parse_value(key, word, settings) for word in words]
    except ValueError as error:
        raise ValueError(f"--grid: {error}") from error


def _check_folders(points: Sequence[Point], data_digest: str) -> None:
    """Raises ValueError if a point's folder holds a run of another config, dataset or length."""
    from coala_jax.training import initialize, run_config

    for point in points:
        if (point.folder / run_config.CONFIG).exists():
            init_model = initialize.load(point.config)
            init_digest = "" if init_model is None else init_model.digest
            run_config.check_or_write_config(point.folder, point.config, data_digest, init_digest)
        if point.record().get("epochs", 0) > (epochs := point.config.train.epochs):
            raise ValueError(
                f"{point.folder}: this run has more epochs than config.train.epochs = {epochs}. "
                "Fix: raise it, or choose another --workdir"
            )


def _train(point: Point, flags_given: Sequence[str]) -> None:
    """Trains a point to its end, from its newest checkpoint; or records that it diverged."""
    from coala_jax.training.loop import DivergedError

    # The record of fewer epochs must not pass for that of the run that follows.
    (point.folder / RECORD).unlink(missing_ok=True)
    changes = [f"--config.{key}={value}" for key, value in point.changes.items()]
    command = ["python", "-m", "coala_jax.main", *flags_given]
    command += [f"--workdir={point.folder}", *changes]
    try:
        training_run.train(point.config, point.folder, command)
    except DivergedError as error:
        logging.warning("%s diverged: %s", point.folder.name, error)
        cause = {"step": error.step, "epoch": error.epoch, "message": str(error)}
        storage.write_json(point.folder / DIVERGED, cause)


def write_results(workdir: Path, points: Sequence[Point]) -> list[Path]:
    """Writes results.md, .csv and .json, and results.png once a point is finished."""
    keys, rows = list(points[0].changes), [point.row() for point in points]
    if retrieval := next((record["retrieval"] for p in points if (record := p.record())), None):
        for name in BASELINES:
            figures = {measure: retrieval[name][measure] for measure in RETRIEVAL}
            rows.append(dict.fromkeys(rows[0]) | {"point": name, "status": "baseline"} | figures)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    written = [workdir / f"results.{end}" for end in ("md", "csv", "json")]
    storage.write_text(written[0], markdown(keys, rows))
    storage.write_text(written[1], table.getvalue())
    storage.write_json(written[2], {"kind": "sweep", "keys": keys, "rows": rows})
    if retrieval:
        written.append(workdir / "results.png")
        with style.styled():
            style.write(plot(keys, rows), written[-1])
    return written


def markdown(keys: Sequence[str], rows: Rows) -> str:
    """The text of results.md."""
    shown = [name for name in COLUMNS if any(row[name] is not None for row in rows)]
    trained = [row for row in rows if row["status"] == "finished"]
    values = {name: [r[name] for r in trained if r[name] is not None] for name in RETRIEVAL}
    best = {name: max(found) for name, found in values.items() if found}
    lines = [["point", "status", *shown], ["---"] * (len(shown) + 2)]
    for row in rows:
        cells = [_cell(row[name]) for name in shown]
        for place, name in enumerate(shown):
            if row in trained and name in best and row[name] == best[name]:
                cells[place] = f"**{cells[place]}**"
        lines.append([row["point"], row["status"], *cells])
    parts = [
        f"# Sweep over {' and '.join(keys)}",
        "Figures of the validation sounds after the kept epoch, retrieval of those that did not "
        "choose it; the best in **bold**; best_mrr by epoch is of those that did; seconds of "
        "training alone. Losses compare only where the case, the batch size and the "
        "settings of the loss are equal.",
        "\n".join(f"| {' | '.join(cells)} |" for cells in lines),
    ]
    if "seed" not in keys:
        parts.append("All points have one seed; a sweep over `seed=0,1,2` shows how much is luck.")
    if trained:
        parts.append("![Retrieval over the grid](results.png)")
    return "\n\n".join(parts) + "\n"


def plot(keys: Sequence[str], rows: Rows) -> Figure:
    """A panel for each measure of retrieval: the key with most values along x, a curve for the
    rest; a gap where a point diverged."""
    points = [row for row in rows if row["status"] != "baseline"]
    along = max(keys, key=lambda key: len({row[key] for row in points}))
    ticks = list(dict.fromkeys(row[along] for row in points))
    ticks = ticks if isinstance(ticks[0], str) else sorted(ticks)
    curves: dict[str, dict[Value, Mapping[str, Any]]] = {}
    for row in points:
        rest = [f"{key.split('.')[-1]} {_short(row[key])}" for key in keys if key != along]
        curves.setdefault(", ".join(rest) or "trained", {})[row[along]] = row
    figure = Figure(figsize=(12, 6.5), dpi=style.DPI, layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 2).ravel(), RETRIEVAL.items(), strict=True):
        for number, (label, curve) in enumerate(curves.items()):
            found = [curve[tick][name] if tick in curve else None for tick in ticks]
            heights = [math.nan if value is None else value for value in found]
            color = style.COLOURS[number % len(style.COLOURS)]
            # So that 81 curves at least differ in colour or marker.
            marker = style.MARKERS[(number + number // len(style.COLOURS)) % len(style.MARKERS)]
            axes.plot(range(len(ticks)), heights, color=color, marker=marker, label=label)
        for row in rows:
            line = BASELINES.get(row["point"])
            if line and row[name] is not None:
                axes.axhline(row[name], color="#888888", linestyle=line, label=row["point"])
        axes.set_xticks(range(len(ticks)), [_short(tick) for tick in ticks])
        axes.set(title=title, xlabel=along.split(".")[-1], xlim=(-0.4, len(ticks) - 0.6))
    lines, labels = axes.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _short(value: Value) -> str:
    """A value as names and labels have it: 5 for 5.0."""
    return str(value).removesuffix(".0")


def main(argv: list[str]) -> int:
    """Runs the program; returns its exit code."""
    logs.start()
    config_flag = flags.FLAGS["config"]
    overrides = config_flags.get_override_values(config_flag)
    given = [f"--config={config_flags.get_config_filename(config_flag)}"]
    given += [f"--config.{key}={value}" for key, value in overrides.items()]

    def sweep() -> None:
        if argv[1:]:
            raise ValueError(f"unexpected arguments {' '.join(argv[1:])}: it takes flags only")
        run(config_flag.value, _GRID.value, Path(flags.FLAGS.workdir), given)

    return program_flags.run("experiments.sweep", sweep, "the same command resumes it")


if __name__ == "__main__":
    parse = functools.partial(training_program.parse, program="experiments.sweep", about=__doc__)
    app.run(main, flags_parser=parse)
