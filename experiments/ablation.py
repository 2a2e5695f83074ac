"""The paper's ablation on data that anyone can have: AE-C, E-C and CNN, trained and evaluated.

    python -m experiments.ablation --out=runs/ablation     # some two hours on 2 cores

Makes the standard corpus, a dataset of it in each mode, and the proxy tasks; trains every case in
every mode for the same epochs, narrower than the paper's and with Adam, so that a CPU can; and
evaluates all models beside MFCCs and untrained encoders, with clips as loud as they were recorded
and at a peak of 1. Each step is a program of this project, whose command is logged. Re-running
continues where it stopped. Leaves OUT/evaluation-LEVEL and, of both, OUT/results.json.
"""

import argparse
import itertools
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import logs, storage
from coala_jax.default_config import CASES, MODES
from coala_jax.flags import Parser, at_least, run

PROGRAM = "experiments.ablation"
ROOT = Path(__file__).parents[1]
TASKS = ("instruments", "events")
LEVELS = ("recorded", "peak")  # as the paper has clips, and without what loudness says


def ablation(flags: argparse.Namespace) -> dict[str, Any]:
    """Does what is not done yet; returns accuracies by level, task and model.

    Raises:
        RuntimeError: a program failed; it has said why.
    """
    out, corpus = flags.out, flags.out / "corpus"
    datasets = {mode: out / f"dataset-{mode}" for mode in flags.mode}
    if not (corpus / "sounds.csv").exists():
        _program("coala_jax.data_prep.sample_corpus", "--size=standard", f"--out={corpus}")
    _program("coala_jax.data_prep.proxy_tasks", f"--out={out / 'tasks'}")
    for mode, dataset in datasets.items():
        if not (dataset / "manifest.json").exists():
            sounds = [f"--audio={corpus / 'audio'}", f"--tags={corpus / 'sounds.csv'}"]
            what = [*sounds, f"--mode={mode}", f"--out={dataset}"]
            _program("coala_jax.data_prep.from_folder", *what)
    for seed, mode, case in itertools.product(flags.seed, flags.mode, CASES):
        workdir = _workdir(flags, mode, case, seed)
        if not (workdir / "results.json").exists():
            what = [f"--config={ROOT}/configs/{case}.py:{mode}", f"--workdir={workdir}"]
            data = [f"--config.data.path={datasets[mode]}", f"--config.seed={seed}"]
            _program("coala_jax.main", *what, *data, *_training(flags))
    models = [f"--model={model}" for model in _models(flags)]
    tasks = [f"--task={out / 'tasks' / task}" for task in TASKS]
    figures = {}
    for level in LEVELS:
        report = out / f"evaluation-{level}"
        # The reports are this program's: those of fewer seeds or modes are replaced.
        places = [f"--cache={out / 'work'}", f"--out={report}", "--overwrite"]
        if level == LEVELS[0]:  # Table 2 does not depend on the level
            places += [f"--data={dataset}" for dataset in datasets.values()]
            places += [f"--audio={corpus / 'audio'}"]
        _program("coala_jax.evaluation.run", *models, *tasks, f"--level={level}", *places)
        figures[level] = _accuracies(report)
    return figures


def _training(flags: argparse.Namespace) -> list[str]:
    """What all models share; the CNN too, which the paper trained for fewer epochs."""
    return [
        f"--config.model.filters={flags.filters}",
        "--config.optimizer.name=adam",
        f"--config.optimizer.learning_rate={flags.learning_rate}",
        f"--config.train.batch_size={flags.batch_size}",
        f"--config.train.epochs={flags.epochs}",
        "--config.checkpoint.every_epochs=10",
        "--config.train.keep_epoch=last",  # in both modes
    ]


def _workdir(flags: argparse.Namespace, mode: str, case: str, seed: int) -> Path:
    """The folder of one run; other settings have another folder."""
    size = f"{flags.filters}x{flags.epochs}-{flags.batch_size}-{flags.learning_rate}"
    return flags.out / "runs" / f"{mode}-{case}-{size}-seed{seed}"


def _models(flags: argparse.Namespace) -> Iterator[str]:
    """All that is compared, as NAME=MODEL; the others are compared with the first."""

    def name(what: str, mode: str, seed: int) -> str:
        return f"{what} {mode}" + (f", seed {seed}" if len(flags.seed) > 1 else "")

    for mode in flags.mode:
        for case, seed in itertools.product(CASES, flags.seed):
            title = name(case.upper().replace("_", "-"), mode, seed)
            yield f"{title}={_workdir(flags, mode, case, seed) / 'model'}"
        for seed in flags.seed:
            model = _workdir(flags, mode, "ae_c", seed) / "model"
            yield f"{name('untrained', mode, seed)}=untrained:{model}:{seed}"
        yield f"MFCC {mode}=mfcc:{mode}"


def _program(module: str, *flags: str) -> None:
    logging.info("%s", shlex.join(["python", "-m", module, *flags]))
    done = subprocess.run([sys.executable, "-m", module, *flags], cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} ended with exit code {done.returncode}; see its last lines")


def _accuracies(report: Path) -> dict[str, dict[str, float]]:
    """By task and model, mean over the seeds of the classifier."""
    found: dict[str, dict[str, float]] = {}
    for outcome in storage.read_json(report / "results.json")["outcomes"]:
        found.setdefault(outcome["task"], {})[outcome["model"]] = round(outcome["mean"], 4)
    return found


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for all of it (3 GB)"
    )
    parser.add_argument(
        "--filters", type=int, default=64, help="filters of each convolution (64; paper: 128)"
    )
    parser.add_argument("--epochs", type=int, default=60, help="epochs of each training (60)")
    parser.add_argument("--batch_size", type=int, default=64, help="pairs a step (64)")
    parser.add_argument("--learning_rate", type=float, default=0.001, help="rate of Adam (0.001)")
    parser.add_argument(
        "--mode", nargs="+", default=list(MODES), choices=MODES, help="modes to train (both)"
    )
    parser.add_argument(
        "--seed", nargs="+", type=at_least(0), default=[0], help="seeds of the training (0)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    logs.start()

    def work() -> None:
        record = {"kind": "ablation", "accuracies": ablation(flags)}
        record["command"] = shlex.join(["python", "-m", PROGRAM, *argv])
        storage.write_json(flags.out / "results.json", record)
        print(storage.json_text(record))

    return run(PROGRAM, work, "the same command resumes it")


if __name__ == "__main__":
    sys.exit(main())
