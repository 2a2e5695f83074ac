"""What benchmarks share: taking turns, and programs watched while they run (time, memory)."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parent.parent
T = TypeVar("T")
_SAMPLE_S = 0.1  # between two looks at the memory


class BenchmarkError(RuntimeError):
    """Nothing can be measured; the message says why and how to fix it."""


def say(line: str) -> None:
    print(line, flush=True)  # otherwise a pipe holds progress back


def in_turn(runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each run returns in each round; every second round starts with the last of them."""
    results: dict[str, list[T]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            results[name].append(runs[name]())
    return results


@dataclass(frozen=True)
class ProgramRun:
    """One run of a program.

    Attributes:
        seconds: wall time.
        cpu_seconds: of all its processes.
        peak_mb: of the memory of all its processes together, sampled; shared pages count once.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(command: Sequence[str], log: Path) -> ProgramRun:
    """Runs a command from the repository root, its output in `log`.

    Raises:
        BenchmarkError: the command fails; with its last words.
    """
    samples_mb, ended = [0.0], threading.Event()
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            samples_mb.append(session_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        ended.set()
        if process.returncode is None:  # this program is being stopped
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        watcher.join()
    if process.returncode:
        words = " ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        raise BenchmarkError(f"{' '.join(command)}: exit code {process.returncode}: {words}")
    return ProgramRun(seconds, usage.ru_utime + usage.ru_stime, max(samples_mb))


def session_mb(session: int) -> float:
    """Memory (PSS) of all processes of a session."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in brackets, may hold anything; the session is the fourth field after it.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                rollup = (folder / "smaps_rollup").read_text()
                total_kb += int(rollup.split("Pss:")[1].split()[0])
        except (OSError, IndexError):  # it has just ended
            continue
    return total_kb * 1024 / 1e6
