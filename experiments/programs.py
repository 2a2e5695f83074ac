"""The programs of this project, called one after the other as a reader would call them.

Each call logs its command. What is already there is not made again, so that an experiment that was
stopped goes on where it was.
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import logs, storage
from coala_jax.flags import Parser, at_least, run
from experiments import scores

ROOT = Path(__file__).parents[1]


def program(module: str, *flags: str) -> None:
    """Runs a program. Raises RuntimeError if it fails; it has said why."""
    logging.info("%s", shlex.join(["python", "-m", module, *flags]))
    _run(module, [sys.executable, "-m", module, *flags])


def call(*command: str) -> None:
    """Runs what is no program of this project, such as pip. Raises as `program`."""
    logging.info("%s", shlex.join(command))
    _run(shlex.join(command[:4]), command)


def _run(name: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with exit code {done.returncode}; see its last lines")


def make_corpus(corpus: Path) -> None:
    """The free corpus."""
    if not (corpus / "sounds.csv").exists():
        program("coala_jax.data_prep.sample_corpus", "--size=free", f"--out={corpus}")


def make_dataset(corpus: Path, dataset: Path, *flags: str) -> int:
    """A dataset of the corpus; returns its number of training patches."""
    if not (dataset / "manifest.json").exists():
        sounds = [f"--audio={corpus / 'audio'}", f"--tags={corpus / 'sounds.csv'}"]
        program("coala_jax.data_prep.from_folder", *sounds, f"--out={dataset}", *flags)
    return storage.read_json(dataset / "manifest.json")["counts"]["train"]


def train(workdir: Path, dataset: Path, config: str, settings: Mapping[str, Any]) -> None:
    """A finished run of one of `configs/`; settings by dotted key."""
    if (workdir / "results.json").exists():
        return
    given = [f"--config.{key}={value}" for key, value in settings.items()]
    where = [f"--workdir={workdir}", f"--config.data.path={dataset}"]
    program("coala_jax.main", f"--config={ROOT}/configs/{config}.py", *where, *given)


def evaluate(
    out: Path,
    work: Path,
    models: Mapping[str, str],
    tasks: Sequence[Path],
    heads: Sequence[str] = ("mlp",),
    seeds: int = 10,
) -> dict[str, Any]:
    """The record of `coala evaluate` on the models, by name, with both poolings; replaces `out`.

    heads: classifiers of the vectors.
    seeds: trainings of each classifier.
    """
    named = [f"--model={name}={model}" for name, model in models.items()]
    places = [f"--cache={work}", f"--out={out}", "--overwrite"]
    chosen = [f"--task={task}" for task in tasks]
    settings = [f"--seeds={seeds}", "--pooling", *scores.POOLINGS, "--head", *heads]
    program("coala_jax.evaluation.run", *named, *chosen, *places, *settings)
    return storage.read_json(out / "results.json")


def epochs(steps: int, examples: int, batch_size: int) -> int:
    """The number of epochs nearest to so many steps."""
    return max(1, round(steps / -(-examples // batch_size)))


def minutes(workdir: Path) -> float:
    """Of the training of a finished run, without evaluations."""
    entries = storage.read_json_lines(workdir / "metrics.jsonl", "kind")
    return round(sum(entry["seconds"] for entry in entries if entry["kind"] == "train") / 60, 1)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Markdown; the first line is the heading."""
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in ruled)


def slug(text: str) -> str:
    """As a file's name has it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def add_minutes(parser: Parser) -> None:
    """The flag by which an experiment is done in pieces."""
    parser.add_argument(
        "--minutes",
        type=at_least(0),
        default=100_000,
        help="after which no other training begins; what is trained is evaluated (no limit)",
    )


def record_results(
    program: str,
    argv: Sequence[str],
    flags: argparse.Namespace,
    compute: Callable[[argparse.Namespace], dict[str, Any]],
    markdown: Callable[[dict[str, Any]], str],
) -> int:
    """Computes an experiment, writes OUT/results.json and OUT/results.md, and prints the table.

    Args:
        program: `experiments.KIND`, whose record says that kind.
        argv: the words of the command.
        compute: the record, of the flags.
        markdown: its table.

    Returns:
        The program's exit code.
    """
    logs.start()

    def work() -> None:
        record = {"kind": program.rpartition(".")[2]} | compute(flags)
        record["command"] = shlex.join(["python", "-m", program, *argv])
        table = markdown(record)
        storage.write_json(flags.out / "results.json", record)
        storage.write_text(flags.out / "results.md", table)
        print(table)

    return run(program, work, "the same command resumes it")
