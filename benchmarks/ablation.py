"""The paper's ablation on data that anyone can have: AE-C, E-C and CNN, trained and evaluated.

    python -m benchmarks.ablation --out=runs/ablation     # some two hours on 2 cores

Makes the standard corpus, a dataset of it in each mode, and the three stand-ins for the paper's
tasks; trains every case in every mode for the same epochs, narrower than the paper's and by Adam,
so that a CPU can; and evaluates all models beside MFCCs and untrained encoders, with
`coala_jax.evaluation.run`, with clips as loud as they were recorded and at a peak of 1. Each
step is a program of this project, whose command is told. Run again, it goes on where it was
stopped. The figures go to benchmarks/results too; the last line is a JSON object.
"""

import argparse
import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROOT, BenchmarkError, say
from benchmarks.result import RESULTS, finish
from coala_jax.default_config import CASES, MODES

STANDINS = ("instruments", "genre", "events")
LEVELS = ("recorded", "peak")  # as the paper has clips, and without what loudness says


@dataclass(frozen=True)
class Training:
    """What all models of the ablation share.

    Attributes:
        filters: of each convolution; the embedding has 9 times as many values.
        epochs: the same for every case, CNN too, for which the paper took fewer.
    """

    filters: int
    epochs: int
    batch_size: int
    learning_rate: float

    def flags(self) -> list[str]:
        return [
            f"--config.model.filters={self.filters}",
            "--config.optimizer.name=adam",
            f"--config.optimizer.learning_rate={self.learning_rate}",
            f"--config.train.batch_size={self.batch_size}",
            f"--config.train.epochs={self.epochs}",
            "--config.checkpoint.every_epochs=10",
        ]

    def folder(self, out: Path, mode: str, case: str, seed: int) -> Path:
        """Of one run; another setting is another folder."""
        name = f"{mode}-{case}-{self.filters}x{self.epochs}-{self.batch_size}-{self.learning_rate}"
        return out / "runs" / f"{name}-seed{seed}"


def ablation(out: Path, training: Training, modes: Sequence[str], seeds: Sequence[int]) -> None:
    """Does what is not done yet; leaves the reports in `out`.

    Raises:
        BenchmarkError: a program failed; it has said why.
    """
    corpus = out / "corpus"
    if not (corpus / "sounds.csv").exists():
        _program("coala_jax.data_prep.sample_corpus", "--size=standard", f"--out={corpus}")
    _program("coala_jax.data_prep.proxy_tasks", f"--out={out / 'standins'}")
    for mode in modes:
        dataset = out / f"standard-{mode}"
        if not (dataset / "manifest.json").exists():
            sounds = [f"--audio={corpus / 'audio'}", f"--tags={corpus / 'sounds.csv'}"]
            _program(
                "coala_jax.data_prep.from_folder", *sounds, f"--mode={mode}", f"--out={dataset}"
            )
    for seed, mode, case in itertools.product(seeds, modes, CASES):
        workdir = training.folder(out, mode, case, seed)
        if not (workdir / "report.json").exists():
            what = [f"--config=configs/{case}.py:{mode}", f"--workdir={workdir}"]
            data = f"--config.data.path={out / f'standard-{mode}'}"
            _program("coala_jax.main", *what, data, f"--config.seed={seed}", *training.flags())
    models = [f"--model={model}" for model in _models(out, training, modes, seeds)]
    tasks = [f"--task={out / 'standins' / name}" for name in STANDINS]
    kept = f"--cache={out / 'work'}"
    for level in LEVELS:
        flags = [*models, *tasks, kept, f"--level={level}", f"--out={out / f'report-{level}'}"]
        if level == LEVELS[0]:  # Table 2 knows no level
            flags += [f"--dataset={out / f'standard-{mode}'}" for mode in modes]
            flags += [f"--audio={corpus / 'audio'}"]
        _program("coala_jax.evaluation.run", *flags)


def _models(out: Path, training: Training, modes: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """All that is compared, under names of their own; the first is what others stand beside."""
    models = []
    for mode in modes:
        folders = [training.folder(out, mode, "ae_c", seed) / "model" for seed in seeds]
        for case, seed in itertools.product(CASES, seeds):
            name = _name(case.upper().replace("_", "-"), mode, seed, seeds)
            models.append(f"{name}={training.folder(out, mode, case, seed) / 'model'}")
        for folder, seed in zip(folders, seeds, strict=True):
            models.append(f"{_name('untrained', mode, seed, seeds)}=untrained:{folder}:{seed}")
        models.append(f"MFCC {mode}=mfcc:{mode}")
    return models


def _name(what: str, mode: str, seed: int, seeds: Sequence[int]) -> str:
    return f"{what} {mode}" + (f", seed {seed}" if len(seeds) > 1 else "")


def _program(module: str, *flags: str) -> None:
    command = [sys.executable, "-m", module, *flags]
    say(shlex.join(["python", *command[1:]]))
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise BenchmarkError(f"{module} ended with exit code {code}; see its last lines above")


def _accuracies(report: Path) -> dict[str, dict[str, float]]:
    """By task and model, mean over the seeds of the classifier."""
    outcomes = json.loads((report / "report.json").read_text(encoding="utf-8"))["outcomes"]
    found: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        found.setdefault(outcome["task"], {})[outcome["model"]] = round(outcome["mean"], 4)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder for all of it (3 GB)")
    parser.add_argument(
        "--filters", type=int, default=64, help="of each convolution (64; the paper: 128)"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=0.001, help="of Adam")
    parser.add_argument("--mode", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--seed", nargs="+", type=int, default=[0], help="of the training")
    flags = parser.parse_args(argv)
    training = Training(flags.filters, flags.epochs, flags.batch_size, flags.learning_rate)
    try:
        ablation(flags.out.resolve(), training, flags.mode, flags.seed)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.ablation: {error}", file=sys.stderr)
        return 1
    figures = {level: _accuracies(flags.out / f"report-{level}") for level in LEVELS}
    finish("ablation", figures, sys.argv[1:] if argv is None else argv, RESULTS)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("benchmarks.ablation: interrupted; run it again")
