"""Puts one known bug after the other into a copy of the code, and counts those that tests notice.

    python -m benchmarks.seeded_faults --out=faults.json               # about half an hour
    python -m benchmarks.seeded_faults --only not_clipped temperature_forgotten

The bugs are in `benchmarks/fault_table.py`, each with the test files that should fail. First these
are run without a bug, where they must pass. Started again with the same --out, it goes on with the
bugs that are not there yet. The last line is a JSON object.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fault_table import FAULTS, Fault
from benchmarks.measure import ROOT, BenchmarkError, say
from benchmarks.result import finish
from coala_jax import storage
from coala_jax.flags import Parser, run

PROGRAM = "benchmarks.seeded_faults"
VERDICTS = {1: "caught", 0: "missed"}  # by pytest's exit status; otherwise: error
LIMIT_S = 3600  # for the tests of one fault: a bug may make them wait for ever
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

# What the tests said of a fault: verdict, seconds, and by: the test that failed, or the last words.
Trial = dict[str, Any]


def copy_tree(root: Path, folder: Path) -> str:
    """Copies what git knows or would add; a digest of it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise BenchmarkError(f"{root}: not a git checkout: {listed.stderr.strip()}")
    digests = {}
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        if (root / name).is_file():  # deleted files stay listed until they are committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
            digests[name] = storage.file_sha256(root / name)
    return storage.fingerprint(digests)


def run_python(folder: Path, arguments: Sequence[str], limit_s: float) -> tuple[int, str]:
    """The exit status and output of Python in the copy, which hides an installed coala_jax."""
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",  # a stale one would hide a fault of the same length
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return -1, f"stopped after {limit_s:.0f} s"
    finally:
        if process.poll() is None:  # the tests may have started others
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, output


def run_tests(folder: Path, tests: Iterable[str]) -> Trial:
    """Runs the tests until one fails."""
    began = time.perf_counter()
    status, output = run_python(folder, ["-m", "pytest", "-x", "-q", *tests], LIMIT_S)
    failed = _FAILED.search(output)
    words = f"pytest ended with {status}: {output[-2000:].strip()}"
    return {
        "verdict": VERDICTS.get(status, "error"),
        "seconds": round(time.perf_counter() - began, 1),
        "by": words if status not in VERDICTS else failed[1] if failed else "",
    }


@contextmanager
def planted(fault: Fault, folder: Path) -> Iterator[None]:
    """The copy with the fault, until the end of the block."""
    path = folder / fault.file
    text = path.read_text(encoding="utf-8")
    path.write_text(fault.applied(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def read_trials(path: Path | None, tree: str) -> dict[str, Trial]:
    """The trials of earlier starts on the same code and tests, but for errors."""
    if path is None or not path.exists():
        return {}
    content = storage.read_json(path)
    if content["tree"] != tree:
        raise BenchmarkError(f"{path}: results of other code or tests. Fix: another --out")
    trials = content["trials"].items()
    return {name: trial for name, trial in trials if trial["verdict"] != "error"}


def run_trials(
    faults: Sequence[Fault], folder: Path, path: Path | None, tree: str
) -> dict[str, Trial]:
    """Each fault on its own; with a path, what is done is kept there and not run again."""
    for fault in faults:
        fault.applied((folder / fault.file).read_text(encoding="utf-8"))
    status, output = run_python(folder, ["-c", "import coala_jax; print(coala_jax.__file__)"], 60)
    if status or not Path(output.strip()).is_relative_to(folder):
        raise BenchmarkError(f"Python does not import the copy in {folder}, but {output.strip()}")
    trials = read_trials(path, tree)

    def keep(name: str, trial: Trial) -> None:
        trials[name] = trial
        if path is not None:
            storage.write_json(path, {"tree": tree, "trials": trials})

    guards = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    passed = f"no fault: {' '.join(guards)}"
    if passed not in trials:
        say(f"without a fault: {len(guards)} test files")
        trial = run_tests(folder, guards)
        if trial["verdict"] != "missed":
            raise BenchmarkError(f"the tests do not pass without a fault: {trial['by']}")
        keep(passed, trial)
    for number, fault in enumerate(faults, start=1):
        if fault.name not in trials:
            with planted(fault, folder):
                keep(fault.name, run_tests(folder, fault.tests))
        trial = trials[fault.name]
        say(f"[{number}/{len(faults)}] {fault.name}: {trial['verdict']}, {trial['seconds']:.0f} s")
        if trial["verdict"] != "caught":
            say(f"  {fault.intent}\n  {trial['by']}")
    return {fault.name: trials[fault.name] for fault in faults}


def summary(trials: dict[str, Trial]) -> dict[str, Any]:
    """How many of the faults were caught, and which were not."""
    names = {
        verdict: [name for name, trial in trials.items() if trial["verdict"] == verdict]
        for verdict in ("caught", "missed", "error")
    }
    return {
        "faults": len(trials),
        "caught": len(names["caught"]),
        "missed": names["missed"],
        "errors": names["error"],
        "trials": trials,
    }


def parser() -> Parser:
    names = [fault.name for faults in FAULTS.values() for fault in faults]
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        metavar="NAME",
        help="faults to try (all): " + ", ".join(names),
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file that keeps the results as they come"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code: 0 if every fault could be tried."""
    flags = parser().parse_args(argv)
    everything = [fault for faults in FAULTS.values() for fault in faults]
    faults = [fault for fault in everything if not flags.only or fault.name in flags.only]

    def work() -> int:
        with tempfile.TemporaryDirectory(prefix="seeded-faults-") as folder:
            copy = Path(folder).resolve()
            trials = run_trials(faults, copy, flags.out, copy_tree(ROOT, copy))
        figures = summary(trials)
        finish("seeded_faults", figures, argv)
        return 1 if figures["errors"] else 0

    return run(PROGRAM, work, "with --out, run it again; it goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
