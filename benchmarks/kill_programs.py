"""What benchmarks/kills.py kills: programs on two dozen short sounds, their writes and results."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from coala_jax import storage

# Of `coala train`: as little as trains, saves, evaluates and freezes.
_SETTINGS = {
    "model.filters": 2,
    "model.tag_hidden": 8,
    "train.batch_size": 4,
    "train.epochs": 4,
    "train.steps_per_call": 1,
    "report.samples": 1,
    "report.reconstructions": 1,
}
_SOUNDS, _RATE_HZ = 24, 22_000


@dataclass(frozen=True)
class Program:
    """A command, which is given anew after each kill.

    words: of the command, after `coala`; it runs in a folder beside those of the others.
    writes: by kind of write, patterns of the path of a file that is being written.
    read: what it leaves that no kill may change, by name.
    """

    words: Sequence[str]
    writes: Mapping[str, Sequence[str]]
    read: Callable[[Path], dict[str, bytes]]

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "coala_jax.cli", *self.words]


def make_sounds(folder: Path) -> None:
    """Sounds with their tables: of tags, and of a task with three classes."""
    folder.mkdir(parents=True)
    rng, rows, clips = np.random.default_rng(0), [], []
    for number in range(_SOUNDS):
        seconds = 0.2 + 0.02 * number
        time = np.arange(int(seconds * _RATE_HZ)) / _RATE_HZ
        tone = np.sin(2 * np.pi * 110 * (1 + number % 3) * time) + 0.1 * rng.normal(size=time.size)
        name = f"{number:02}.wav"
        soundfile.write(folder / name, 0.3 * tone / np.abs(tone).max(), _RATE_HZ)
        rows.append((name, f"tag{number % 3} {'odd' if number % 2 else 'even'}"))
        clips.append((name, f"class{number % 3}", number // 3 % 2))
    for name, header, table in (
        ("sounds.csv", ("file", "tags"), rows),
        ("clips.csv", ("file", "label", "fold"), clips),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *table])


def _files(*names: str) -> Callable[[Path], dict[str, bytes]]:
    """Reads files; of a folder, all in it."""

    def read(folder: Path) -> dict[str, bytes]:
        found = {}
        for name in names:
            whole = folder / name
            files = whole.rglob("*") if whole.is_dir() else [whole]
            found |= {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}
        return found

    return read


def _training(folder: Path) -> dict[str, bytes]:
    """Metrics without what the clock says."""
    files = ("run/model", "run/config.json", "run/results.json", "run/reconstructions.npz")
    entries = [
        {key: value for key, value in entry.items() if "second" not in key}
        for entry in storage.read_json_lines(folder / "run" / "metrics.jsonl", "step")
    ]
    return _files(*files)(folder) | {"run/metrics.jsonl": json.dumps(entries).encode()}


def _index(folder: Path) -> dict[str, bytes]:
    """The rows by path: files and ids of the database differ from run to run."""
    from coala_jax.embedding.index_settings import read_settings
    from coala_jax.embedding.index_store import Store

    store = Store(folder / "index", read_settings(folder / "index").table)
    names = [name for name in store.schema.names if name not in ("id", "raw_path")]
    rows = {
        row["path"]: storage.json_text(row).encode()
        for part in store.scan(names)
        for row in part.to_pylist()
    }
    return rows | {"number of rows": str(len(store)).encode()}


def programs() -> dict[str, Program]:
    """In the order in which they need each other's results."""
    sounds, dataset = "../../inputs", "../../prepare/reference/data"
    model = "../../train/reference/run/model"
    settings = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return {
        "prepare": Program(
            [
                *("prepare", f"--audio={sounds}", f"--tags={sounds}/sounds.csv", "--out=data"),
                *("--workers=1", "--validation_fraction=0.25"),
            ],
            {
                "shard": ["data.work/dataset/*tfrecord*"],
                "journal": ["data.work/*.jsonl"],
                "manifest": ["data.work/dataset/*.tmp"],
            },
            _files("data"),
        ),
        "train": Program(
            ["train", "quickstart", f"--data={dataset}", "--workdir=run", *settings],
            {
                "checkpoint": ["run/checkpoints/*orbax-checkpoint-tmp*", "run/checkpoints/*.tmp"],
                "metrics": ["run/metrics.jsonl*", "run/tensorboard/*"],
                "model": ["run/model.tmp*"],
                "record": ["run/results.json.*.tmp", "run/reconstructions.npz.*.tmp"],
            },
            _training,
        ),
        "embed": Program(
            ["embed", sounds, f"--model={model}", "--out=vectors.parquet"],
            {"part": ["vectors.parquet.work/*.tmp"], "table": ["vectors.parquet.tmp"]},
            _files("vectors.parquet"),
        ),
        "index": Program(
            ["index", sounds, f"--model={model}", "--out=index"],
            {"rows": ["index/*.lance/*"], "settings": ["index/*.tmp"]},
            _index,
        ),
        "evaluate": Program(
            [
                *("evaluate", f"--model=coala={model}", f"--task={sounds}/clips.csv"),
                *("--out=results", "--seeds=2", "--head=logistic_regression"),
            ],
            {"vectors": ["results/work/*.tmp"], "record": ["results/results.json.*.tmp"]},
            _files("results/results.json"),
        ),
    }
