"""A program watched while it runs: wall time, CPU time, memory of its whole process tree."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


class BenchmarkError(RuntimeError):
    """It cannot be measured; the message is a sentence with the cause and the way out."""


def say(line: str) -> None:
    print(line, flush=True)  # a pipe would hold progress back


@dataclass(frozen=True)
class Run:
    """One run of a program.

    Attributes:
        seconds: from start to end.
        cpu_seconds: of all its processes; less moved by what else the machine does.
        memory_mb: (seconds since the start, PSS of all its processes), every 30 ms or so. Where
            the kernel tells no PSS, which counts shared pages once, resident size, which is more.
        largest_process_mb: the kernel's own peak resident size of one process, files it maps
            included; not below the size of the program that started it.
    """

    seconds: float
    cpu_seconds: float
    memory_mb: list[tuple[float, float]]
    largest_process_mb: float

    @property
    def peak_mb(self) -> float:
        return max((megabytes for _, megabytes in self.memory_mb), default=0.0)


def measure(command: Sequence[str], log: Path) -> Run:
    """Runs a command in a session of its own; raises BenchmarkError if it fails."""
    memory_mb: list[tuple[float, float]] = []
    ended = threading.Event()
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def watch() -> None:
        cost = 0.0
        while not ended.wait(min(max(0.03, 10 * cost), 0.3)):  # a tenth of one core at most
            before = time.perf_counter()
            memory_mb.append((before - began, session_mb(process.pid)))
            cost = time.perf_counter() - before

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
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise BenchmarkError(
            f"{' '.join(command)} ended with {process.returncode}: {' '.join(said)}"
        )
    return Run(seconds, usage.ru_utime + usage.ru_stime, memory_mb, usage.ru_maxrss * 1024 / 1e6)


def session_mb(session: int) -> float:
    """Memory of all processes of a session."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in brackets, may hold anything; the session is the fourth field after it.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                rollup = folder / "smaps_rollup"
                known = rollup.exists()
                text = (rollup if known else folder / "status").read_text()
                total_kb += int(text.split("Pss:" if known else "VmRSS:")[1].split()[0])
        except (OSError, IndexError):  # it has just ended
            continue
    return total_kb * 1024 / 1e6
