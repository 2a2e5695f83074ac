"""The programs that an experiment calls, which leave what the real ones would."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import programs, scores

SOUNDS = [
    ("notes/a.flac", "minuet-data"),
    ("notes/b.flac", "timgm6mb-soundfont"),
    ("nexuiz-data/c.ogg", "nexuiz-data"),
    ("chuck-data/d.wav", "chuck-data"),
]


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """The commands; a run whose folder is in `broken` fails."""
    found: list[list[str]] = []

    def program(module: str, *flags: str) -> None:
        found.append([module.rpartition(".")[2], *flags])
        given = dict(flag.split("=", 1) for flag in flags if flag.startswith("--") and "=" in flag)
        folder = Path(given.get("--out") or given["--workdir"])
        folder.mkdir(parents=True, exist_ok=True)
        leave[found[-1][0]](folder, flags)

    monkeypatch.setattr(programs, "program", program)
    leave: dict[str, Callable[[Path, tuple[str, ...]], object]] = {
        "sample_corpus": _corpus,
        "proxy_tasks": _tasks,
        "from_folder": lambda folder, _: (folder / "manifest.json").write_text(
            json.dumps({"counts": {"train": 1000}})
        ),
        "main": _run,
        "run": _evaluation,
    }
    return found


def _corpus(folder: Path, flags: tuple[str, ...]) -> None:
    with (folder / "sounds.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "tags", "group", "licence", "source"])
        writer.writerows([sound, "laser", sound, "x", source] for sound, source in SOUNDS)


def _tasks(folder: Path, flags: tuple[str, ...]) -> None:
    (folder / "instruments").mkdir(exist_ok=True)
    text = "file,label,split,group\na.wav,organ,train,generaluser\nb.wav,organ,train,timgm6mb\n"
    (folder / "instruments" / "clips.csv").write_text(text)


def _run(folder: Path, flags: tuple[str, ...]) -> None:
    if "diverges" in folder.name:
        raise RuntimeError("out of memory")
    (folder / "results.json").write_text(json.dumps({"epochs": 9, "retrieval": {}}))
    (folder / "metrics.jsonl").write_text('{"kind": "train", "seconds": 90.0}\n')


def _evaluation(folder: Path, flags: tuple[str, ...]) -> None:
    """An evaluation in which every model is right at half of the clips."""
    heads = flags[flags.index("--head") + 1 :]
    models = [flag.split("=", 2) for flag in flags if flag.startswith("--model=")]
    tasks = [Path(flag.partition("=")[2]).stem for flag in flags if flag.startswith("--task=")]
    names = [
        name + suffix
        for _, name, model in models
        for suffix in ([""] if model.startswith(scores.HAVE_NONE) else [", mean", ", layers"])
    ]
    outcomes = [
        {
            "task": task,
            "model": name,
            "head": head,
            "mean": 0.5,
            "correct": [1, 0, 0.5, 0.5],
            "fold_sizes": [4],
        }
        for task in tasks
        for name in names
        for head in heads
    ]
    (folder / "results.json").write_text(json.dumps({"outcomes": outcomes}))
