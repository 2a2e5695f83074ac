"""Kills each program at seeded moments, resumes it, and compares what it leaves with a whole run.

    python -m benchmarks.kills --kills=50 --minutes=20 --seed=0 --out=kills.jsonl

The programs take turns, and so do the kinds of write of each, of which it has at most four: the
kill comes when such a write begins, or up to 3 ms later. Each gets at least a fifth of the kills,
as does any moment. The same command is then run until it ends, and its results are compared byte
for byte. Results are appended to --out as they come; started again, it goes on with the next kill.
The last line is a JSON object.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kill_programs import Program, make_sounds, programs
from benchmarks.kill_watch import Aim, fits, run_and_kill
from benchmarks.measure import BenchmarkError, say
from benchmarks.result import finish
from coala_jax import storage
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.kills"
ANY_MOMENT = "any moment"
_LIMIT_S = 600.0  # of one run of a program
_LATER_S = 0.003  # at most, after a write has begun
_STARTS = 3  # after a kill, before a program that fails counts as broken

Trial = dict[str, Any]


class Reference:
    """What a run that nobody killed leaves, and what it wrote."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._file = folder / "reference.json"
        if not self._file.exists():
            shutil.rmtree(folder / "reference", ignore_errors=True)
            (folder / "reference").mkdir(parents=True)
            began, events = time.monotonic(), []
            arguments = (program.command, folder / "reference", folder / "log.txt", _LIMIT_S)
            code, _ = run_and_kill(*arguments, events=events)
            if code:
                raise BenchmarkError(f"{' '.join(program.words)}: {code}; see {folder}/log.txt")
            writes = {
                kind: sum(fits(path, patterns) for path in events)
                for kind, patterns in program.writes.items()
            }
            found = {"seconds": time.monotonic() - began, "writes": writes}
            storage.write_json(
                self._file, found | {"digests": digests(program, folder / "reference")}
            )
        content = storage.read_json(self._file)
        self.seconds: float = content["seconds"]
        self.writes: dict[str, int] = content["writes"]
        self.digests: dict[str, str] = content["digests"]


def digests(program: Program, folder: Path) -> dict[str, str]:
    """SHA-256 of all that the program leaves, by name."""
    return {name: storage.sha256(content) for name, content in program.read(folder).items()}


def aim_at(
    reference: Reference, program: Program, turn: int, rng: np.random.Generator
) -> tuple[str, Aim]:
    """The kind of write whose turn it is, or any moment, and when exactly to kill."""
    kinds = [kind for kind in program.writes if reference.writes[kind]]
    place = turn % (len(kinds) + 1)
    if place == len(kinds):
        return ANY_MOMENT, Aim((), 0, rng.uniform(0, reference.seconds))
    kind = kinds[place]
    number = int(rng.integers(1, reference.writes[kind] + 1))
    delay_s = rng.uniform(0, _LATER_S) if rng.random() < 0.5 else 0.0
    return kind, Aim(tuple(program.writes[kind]), number, delay_s)


def kill_once(
    name: str, program: Program, folder: Path, reference: Reference, turn: int, seed: Sequence[int]
) -> Trial:
    """One kill, the program's number `turn`, and its outcome."""
    trial, log = folder / "trial", folder / "log.txt"
    shutil.rmtree(trial, ignore_errors=True)
    trial.mkdir()
    kind, aim = aim_at(reference, program, turn, np.random.default_rng(seed))
    began = time.monotonic()
    code, killed = run_and_kill(program.command, trial, log, _LIMIT_S, aim)
    left = [str(path.relative_to(trial)) for path in trial.rglob("*")]
    within = killed and bool(aim.patterns) and any(fits(path, aim.patterns) for path in left)
    starts = 0
    while code and starts < _STARTS:
        starts += 1
        code, _ = run_and_kill(program.command, trial, log, _LIMIT_S)
    differing, found = [f"exit code {code}"] if code else [], {}
    if not code:
        found = digests(program, trial)
        names = reference.digests.keys() | found.keys()
        differing = sorted(n for n in names if reference.digests.get(n) != found.get(n))
    return {
        "program": name,
        "kind": kind,
        "killed": killed,
        "within_write": within,
        "starts": starts,
        "identical": not differing,
        "differing": differing[:5],
        "seconds": round(time.monotonic() - began, 1),
    }


def run_trials(
    chosen: Mapping[str, Program], work: Path, out: Path, kills: int, limit_s: float, seed: int
) -> list[Trial]:
    """The trials of this seed, those of earlier starts among them, in order."""
    inputs, ends = work / "inputs", time.monotonic() + limit_s
    if not inputs.exists():
        make_sounds(inputs)
    references = {}
    for name, program in programs().items():  # which need each other's results
        say(f"{name}: a run that nobody kills")
        references[name] = Reference(program, work / name)
    earlier = storage.read_json_lines(out, "trial") if out.exists() else []
    trials = [t for t in earlier if t["seed"] == seed and t["programs"] == sorted(chosen)]
    with storage.path(out).open("a") as file:
        for number in range(len(trials), kills):
            if time.monotonic() > ends:
                break
            turn, place = divmod(number, len(chosen))
            name = list(chosen)[place]
            trial = {"seed": seed, "trial": number, "programs": sorted(chosen)}
            parts = (name, chosen[name], work / name, references[name], turn, (seed, number))
            trial |= kill_once(*parts)
            trials.append(trial)
            file.write(storage.json_text(trial).replace("\n", "") + "\n")
            file.flush()
            what = "identical" if trial["identical"] else f"DIFFERENT: {trial['differing']}"
            say(f"[{number + 1}/{kills}] {name}, {trial['kind']}: {what}, {trial['seconds']:.0f} s")
    return trials


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Counts by program and kind of write; a run that ended before its kill does not count."""
    counted = [trial for trial in trials if trial["killed"]]
    by_program: dict[str, dict[str, dict[str, int]]] = {}
    for trial in counted:
        kinds = by_program.setdefault(trial["program"], {})
        counts = kinds.setdefault(
            trial["kind"], {"kills": 0, "within_write": 0, "identical": 0, "different": 0}
        )
        counts["kills"] += 1
        counts["within_write"] += trial["within_write"]
        counts["identical" if trial["identical"] else "different"] += 1
    return {
        "kills": len(counted),
        "ended_before": len(trials) - len(counted),
        "identical": sum(trial["identical"] for trial in counted),
        "different": [trial for trial in trials if not trial["identical"]],
        "programs": by_program,
    }


def parser() -> Parser:
    names = list(programs())
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument("--kills", type=at_least(1), default=50, help="number of them (%(default)s)")
    flags.add_argument(
        "--minutes", type=float, default=60.0, help="after which no kill begins (%(default)s)"
    )
    flags.add_argument(
        "--seed", type=at_least(0), default=0, help="seed of the moments (%(default)s)"
    )
    flags.add_argument(
        "--only", nargs="+", choices=names, default=names, help=f"programs ({', '.join(names)})"
    )
    flags.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="file that keeps the results"
    )
    flags.add_argument(
        "--work", type=Path, metavar="FOLDER", help="keeps what the next start needs too (none)"
    )
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code: 0 if every resumed run left the same bytes."""
    flags = parser().parse_args(argv)
    chosen = {name: program for name, program in programs().items() if name in flags.only}

    def work() -> int:
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            place = (flags.work or Path(folder)).resolve()
            os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(place / "compiled"))
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
            trials = run_trials(
                chosen, place, flags.out, flags.kills, 60 * flags.minutes, flags.seed
            )
        figures = summary(trials)
        finish("kills", figures, argv)
        return 1 if figures["different"] else 0

    return run(PROGRAM, work, "run it again; it goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
