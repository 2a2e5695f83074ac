"""Runs a command and kills it: after a time, or when it begins to write a certain file (Linux)."""

import ctypes
import fnmatch
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_CREATED, _MODIFIED, _MOVED_HERE, _IS_FOLDER = 0x100, 0x2, 0x80, 0x40000000
_EVENT = struct.Struct("iIII")  # inotify_event, before the name


@dataclass(frozen=True)
class Aim:
    """When to kill.

    patterns: of the path of a file, relative to the folder that is watched; none for a time alone.
    number: which of the events that fit, from 1.
    delay_s: after that event, or after the start.
    """

    patterns: Sequence[str]
    number: int
    delay_s: float


class Watch:
    """Tells of files that are created or written below a folder, with `inotify`."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify cannot be used")
        self._folder, self._names = folder, {}
        self._add(folder)

    def close(self) -> None:
        os.close(self._descriptor)

    def changed(self, limit_s: float) -> list[str]:
        """The paths of files that were created or written, waiting for one at most so long."""
        if not select.select([self._descriptor], [], [], max(limit_s, 0))[0]:
            return []
        data, found, start = os.read(self._descriptor, 1 << 16), [], 0
        while start < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, start)
            start += _EVENT.size + length
            name = data[start - length : start].rstrip(b"\0").decode(errors="replace")
            path = self._names.get(number, self._folder) / name
            if mask & _IS_FOLDER:
                found += self._add(path)
            found.append(str(path.relative_to(self._folder)))
        return found

    def _add(self, folder: Path) -> list[str]:
        """Watches a folder and those in it; returns what is in it by now."""
        flags = _CREATED | _MODIFIED | _MOVED_HERE
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), flags)
        if number < 0:  # it is gone again
            return []
        self._names[number], found = folder, []
        try:
            for path in folder.iterdir():
                found.append(str(path.relative_to(self._folder)))
                if path.is_dir():
                    found += self._add(path)
        except OSError:
            pass
        return found


def fits(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path is of one of the patterns, in which `*` takes anything."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def run_and_kill(
    command: Sequence[str],
    folder: Path,
    log: Path,
    limit_s: float,
    aim: Aim | None = None,
    events: list[str] | None = None,
) -> tuple[int, bool]:
    """Runs a command in a folder; returns its exit code, and whether it was killed as aimed at.

    events: gets the paths of the files that were written, one for each write that was seen.

    Raises:
        TimeoutError: it neither ended nor was killed within the limit.
    """
    watch, seen, killed = Watch(folder), 0, False
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        due = began + aim.delay_s if aim and not aim.patterns else None
        while process.poll() is None:
            now = time.monotonic()
            if due is not None and now >= due:
                os.killpg(process.pid, signal.SIGKILL)
                killed = process.wait() == -signal.SIGKILL
                break
            if now - began > limit_s:
                raise TimeoutError(f"{' '.join(command)}: no end after {limit_s:.0f} s; see {log}")
            for path in watch.changed(min(0.02, (due or now + 1) - now)):
                if events is not None:
                    events.append(path)
                if aim and due is None and fits(path, aim.patterns):
                    seen += 1
                    if seen == aim.number:
                        due = time.monotonic() + aim.delay_s
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        watch.close()
    return process.returncode, killed
