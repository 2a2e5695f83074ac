"""Trains every point of a grid of settings, and tables what the validation sounds say of each.

    python -m coala_jax.sweep --config=configs/ae_c.py --workdir=DIR --config.data.path=DATASET \
        --grid='loss.temperature=0.05,0.1,0.2;loss.contrastive_weight=5,10'

Each point is a run of `coala_jax.main` in DIR/points, one after the other in one process. Run again
with the same flags, the sweep goes on where it stopped; with further values in the grid, it trains
the new points.
"""

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from coala_jax import main as training_program
from coala_jax import storage
from coala_jax.data.schema import Manifest
from coala_jax.default_config import is_no_result, result_settings, unknown_keys, validate
from coala_jax.evaluation import sweep_report
from coala_jax.evaluation.sweep_outcomes import Outcome, Value, short

_GRID = flags.DEFINE_string("grid", None, "Settings and their values: 'KEY=VALUE,VALUE;KEY=...'.")
flags.mark_flag_as_required("grid")
flags.adopt_module_key_flags(training_program)

RECORD = "sweep.json"
DIVERGED = "diverged.json"

Grid = dict[str, list[Value]]


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of the sweep."""

    name: str
    changes: dict[str, Value]  # by dotted key
    config: ConfigDict
    folder: Path


def run(config: ConfigDict, grid_text: str, workdir: Path, given: Sequence[str] = ()) -> None:
    """Trains the points that are not finished, and writes the tables after each.

    given: the flags that make `config`, for the command in each point's report.

    Raises:
        ValueError: config, grid, dataset, work folder or device cannot be used; says why.
    """
    grid = parse_grid(grid_text, config)
    grid = _claim(workdir, config, grid)
    points = _points(config, grid, workdir / "points")
    waiting = [point for point in points if not _outcome(point).is_done]
    began, trained = time.monotonic(), 0
    for number, point in enumerate(points, start=1):
        heading = f"[{number}/{len(points)}] {point.name}"
        if point not in waiting:
            print(f"{heading}: done before", flush=True)
            continue
        if trained:
            seconds = (time.monotonic() - began) / trained * (len(waiting) - trained)
            heading += f", about {_in_words(seconds)} left"
        print(heading, flush=True)
        _train(point, given)
        trained += 1
        sweep_report.write(workdir, [_outcome(point) for point in points])
    written = sweep_report.write(workdir, [_outcome(point) for point in points])
    print(storage.read_bytes(written[0]).decode())
    for path in written:
        print(f"  {path}")


def parse_grid(text: str, config: ConfigDict) -> Grid:
    """The values of each key, as what the config holds there: int, float, str or bool.

    Raises:
        ValueError: a key that is none or comes twice, a value that is none, comes twice or is out
            of range, or values that one process cannot train together.
    """
    if not text.strip():
        raise ValueError("--grid is empty; it must be 'KEY=VALUE,VALUE;KEY=VALUE,VALUE'")
    grid: Grid = {}
    for part in text.split(";"):
        key, equals, values = (piece.strip() for piece in part.partition("="))
        if not (key and equals and values):
            raise ValueError(f"--grid: {part.strip()!r} is not KEY=VALUE,VALUE")
        key = key.removeprefix("config.")
        if key in grid:
            raise ValueError(f"--grid: {key} comes twice; give all of its values in one place")
        default = _default(key, config)
        grid[key] = [_value(key, value.strip(), default) for value in values.split(",")]
        for value in grid[key]:
            if grid[key].count(value) > 1:
                raise ValueError(f"--grid: {key} has the value {value!r} twice")
    for changes in _combinations(grid):
        validate(_changed(config, changes))
    if "float64" in grid.get("precision", []) and len(grid["precision"]) > 1:
        raise ValueError(
            "--grid: float64, once switched on, stays on for the runs that follow in a process; "
            "sweep it by itself, in another --workdir"
        )
    return grid


def _default(key: str, config: ConfigDict) -> Value:
    if complaints := unknown_keys([f"--config.{key}="]):
        raise ValueError("--grid: " + complaints[0])
    if key.split(".")[0] == "data" or is_no_result(key):
        raise ValueError(f"--grid: config.{key} must be the same for all points, to compare them")
    section, _, name = key.rpartition(".")
    default = (config[section] if section else config)[name]
    if isinstance(default, ConfigDict):
        raise ValueError(
            f"--grid: config.{key} is a section; its keys are "
            + ", ".join(f"{key}.{inner}" for inner in default)
        )
    return default


def _value(key: str, text: str, default: Value) -> Value:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if not text:
            raise ValueError
        return type(default)(text)
    except (ValueError, KeyError):
        wanted = {bool: "True or False", int: "a whole number", float: "a number", str: "a name"}
        raise ValueError(
            f"--grid: config.{key} is {text!r}; it must be {wanted[type(default)]}"
        ) from None


def _combinations(grid: Grid) -> Iterable[dict[str, Value]]:
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def _changed(config: ConfigDict, changes: dict[str, Value]) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(changes)
    return changed


def _points(config: ConfigDict, grid: Grid, folder: Path) -> list[Point]:
    points = []
    for changes in _combinations(grid):
        name = ",".join(f"{key.split('.')[-1]}={short(value)}" for key, value in changes.items())
        points.append(Point(name, changes, _changed(config, changes), folder / name))
    return points


def _claim(workdir: Path, config: ConfigDict, grid: Grid) -> Grid:
    """Records a new sweep, or checks that this one goes on with the one in the folder.

    Returns the grid with its keys in the order that the points are named by.
    """
    dataset = Path(config.data.path)
    wanted = {
        "data_digest": Manifest.load(dataset).digest,
        "grid": grid,
        "config": config.to_dict(),
    }
    path = workdir / RECORD
    if path.exists():
        try:
            found = storage.read_json(path)
        except ValueError as error:
            raise ValueError(f"{error}; choose another --workdir") from error
        try:
            _compare(workdir, found, wanted)
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{path}: this is no record of a sweep ({error!r}); choose another --workdir"
            ) from error
        wanted["grid"] = grid = {key: grid[key] for key in found["grid"]}
    workdir.mkdir(parents=True, exist_ok=True)
    storage.write_json(path, wanted)
    return grid


def _compare(workdir: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ValueError, saying what differs, when a sweep cannot go on as another."""
    hint = "choose another --workdir, or delete this one"
    if found["data_digest"] != wanted["data_digest"]:
        raise ValueError(
            f"{workdir}: the sweep in this folder was trained on another dataset; {hint}"
        )
    if found["grid"].keys() != wanted["grid"].keys():
        keys = [" and ".join(sweep["grid"]) for sweep in (found, wanted)]
        raise ValueError(
            f"{workdir}: the sweep in this folder is over {keys[0]}, and this one over {keys[1]}; "
            + hint
        )
    for key, values in found["grid"].items():
        if gone := [value for value in values if value not in wanted["grid"][key]]:
            raise ValueError(
                f"{workdir}: the sweep in this folder also has {key}="
                f"{','.join(map(str, gone))}; keep that in --grid (what is trained is not trained "
                f"again), or choose another --workdir"
            )
    before, now = (_compared(sweep) for sweep in (found, wanted))
    for key in sorted(before.keys() | now.keys()):
        if key == "train.epochs" and key in before and before[key] <= now[key]:
            continue
        if before.get(key) != now.get(key):
            raise ValueError(
                f"{workdir}: the sweep in this folder has {key} = {before.get(key)!r}, and this "
                f"one {now.get(key)!r}; {hint}"
            )


def _compared(record: dict[str, Any]) -> dict[str, Any]:
    """The settings that all points share, by dotted key, less those that are free to change."""
    shared = result_settings(record["config"])
    return {key: value for key, value in shared.items() if key not in record["grid"]}


def _train(point: Point, given: Sequence[str]) -> None:
    """Trains a point to its end, from its newest checkpoint; or records that it diverged."""
    from coala_jax.evaluation.validation import RECORD as REPORT
    from coala_jax.training.loop import DivergedError

    # A report of fewer epochs, left in place, would pass for that of the run that follows.
    (point.folder / REPORT).unlink(missing_ok=True)
    changes = [f"--config.{key}={value}" for key, value in point.changes.items()]
    try:
        training_program.run(
            point.config, point.folder, [*given, f"--workdir={point.folder}", *changes]
        )
    except DivergedError as error:
        print(f"{point.name} diverged: {error}", flush=True)
        cause = {"step": error.step, "epoch": error.epoch, "message": str(error)}
        storage.write_json(point.folder / DIVERGED, cause)


def _outcome(point: Point) -> Outcome:
    """What became of a point. It is finished with its report, which a run writes last."""
    from coala_jax.evaluation.validation import RECORD as REPORT
    from coala_jax.training import metric_writer

    if (point.folder / DIVERGED).exists():
        cause = storage.read_json(point.folder / DIVERGED)
        return Outcome(point.name, point.changes, diverged=cause)
    if (point.folder / REPORT).exists():
        entries = metric_writer.read(point.folder)
        if entries[-1]["epoch"] == point.config.train.epochs:
            report = storage.read_json(point.folder / REPORT)
            return Outcome(point.name, point.changes, entries, report)
    return Outcome(point.name, point.changes)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"coala_jax.sweep: it takes flags only, not {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # Orbax tells thirty lines a checkpoint
    config_flag = flags.FLAGS["config"]
    overrides = config_flags.get_override_values(config_flag)
    given = [f"--config={config_flags.get_config_filename(config_flag)}"]
    given += [f"--config.{key}={value}" for key, value in overrides.items()]
    try:
        run(config_flag.value, _GRID.value, Path(flags.FLAGS.workdir), given)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"coala_jax.sweep: {error}")
    except KeyboardInterrupt:
        sys.exit("coala_jax.sweep: interrupted; the same command goes on from the last checkpoint")


# A key that does not exist gets a sentence in place of a traceback.
parse_flags = functools.partial(training_program.parse, program="coala_jax.sweep")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
