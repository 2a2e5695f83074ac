"""Debian packages without root: apt-get downloads them, dpkg-deb unpacks them.

apt works on package lists of its own in a scratch folder; it neither needs nor touches the
system's. Packages are asked for one at a time, because one unknown name would make apt fetch none
of the others.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import logging
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

TOOLS = ("apt-get", "dpkg-deb")


class PackageError(Exception):
    """A package is not available; the message is the cause."""


def missing_programs(*others: str) -> list[str]:
    """Of the programs this module needs, and the others, those that are not on PATH."""
    return [program for program in (*others, *TOOLS) if shutil.which(program) is None]


def check_free_space(folder: Path, disk_bytes: int) -> None:
    """Raises CorpusError unless the disk has room for what `folder` does not hold yet.

    disk_bytes: the most that the whole work takes on the disk at a time.
    """
    present_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed_mb = max(disk_bytes - present_bytes, 0) / 1e6
    free_mb = shutil.disk_usage(folder).free / 1e6
    if needed_mb > free_mb:
        raise CorpusError(
            f"{folder}: not enough disk space: up to {needed_mb:,.0f} MB are needed and "
            f"{free_mb:,.0f} MB are free. Fix: free some space, or choose another disk with --out"
        )
    logging.info("up to %s MB of disk space needed", f"{needed_mb:,.0f}")


@contextlib.contextmanager
def private_apt(work: Path) -> Iterator["Apt"]:
    """apt-get in the scratch folder `work`, which is emptied first and removed at the end."""
    shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
    try:
        yield Apt(work.resolve())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def unpack_packages(
    packages: Sequence[str], folder: Path, work: Path, disk_bytes: int = 0
) -> dict[str, str]:
    """Unpacks packages into `folder/PACKAGE`; one that is already there is not fetched again.

    Args:
        packages: their names.
        folder: where they go, each with `PACKAGE.version` beside it.
        work: a scratch folder of its own on the same file system. One run at a time.
        disk_bytes: the most that the packages, and what is made of them, take on the disk.

    Returns:
        The version of each package.

    Raises:
        CorpusError: a package is not available, or there is not enough disk space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes = {package: folder / f"{package}.version" for package in packages}
    if wanted := [package for package, note in notes.items() if not note.exists()]:
        check_free_space(folder, disk_bytes)
        with private_apt(work) as apt:
            for package in wanted:
                try:
                    version, size_bytes = apt.look_up(package)
                    logging.info("%s %s: fetching %.1f MB", package, version, size_bytes / 1e6)
                    tree = apt.unpack(package)
                except PackageError as error:
                    raise CorpusError(
                        f"package {package} is not available: {apt.lists_error or error}. "
                        "Fix: check the network and apt's sources, then run again"
                    ) from error
                shutil.rmtree(folder / package, ignore_errors=True)  # of a run that was killed
                tree.replace(folder / package)
                notes[package].write_text(version)  # last: now the package is complete
    return {package: note.read_text() for package, note in notes.items()}


class Apt:
    """apt-get on package lists of its own, read when the object is made.

    Attributes:
        lists_error: why apt could not read all its package lists; empty if it could.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        lists, cache = work / "lists", work / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        options = {
            "Dir::State": work,
            "Dir::State::Lists": lists,
            "Dir::Cache": cache,
            # Container images switch these off; without them every call reads all lists again.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Acquire::Languages": "none",
            # As root apt would drop to the user _apt, who may not be able to enter our folder.
            "APT::Sandbox::User": "root",
            # By default a list that could not be fetched is a warning and exit code 0.
            "APT::Update::Error-Mode": "any",
        }
        self._command = ["apt-get", "-q"]
        for key, value in options.items():
            self._command += ["-o", f"{key}={value}"]
        logging.info("reading the package lists (about 10 MB)")
        self.lists_error = ""
        try:
            _run([*self._command, "update"], work)
        except PackageError as error:
            # Not the end: of several sources, the one that failed may not be the one we need.
            self.lists_error = str(error)
            logging.warning("not all package lists could be read: %s", error)

    def look_up(self, package: str) -> tuple[str, int]:
        """The version, and the bytes to download. Raises PackageError."""
        shown = _run([*self._command, "download", "--print-uris", package], self._work)
        uri = re.search(r"^'[^']*' (\S+) (\d+)", shown, re.MULTILINE)
        if uri is None:
            raise PackageError(f"apt-get names no file to download for {package}")
        return uri[1].removesuffix(".deb").split("_")[1].replace("%3a", ":"), int(uri[2])

    def unpack(self, package: str) -> Path:
        """Downloads and unpacks into a folder that the caller removes. Raises PackageError."""
        folder = self._work / "packages" / package
        folder.mkdir(parents=True)
        try:
            _run([*self._command, "download", package], folder)
            archives = list(folder.glob("*.deb"))
            if len(archives) != 1:
                raise PackageError(f"apt-get downloaded {len(archives)} archives instead of 1")
            _run(["dpkg-deb", "-x", str(archives[0]), "tree"], folder)
            archives[0].unlink()
        except PackageError:
            shutil.rmtree(folder)  # room for the next package
            raise
        return folder / "tree"


def _run(command: list[str], folder: Path) -> str:
    """The standard output of a program. Raises PackageError with its error message."""
    process = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},  # `_error_line` reads English
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if process.returncode:
        raise PackageError(_error_line(process))
    return process.stdout


def _error_line(process: subprocess.CompletedProcess[str]) -> str:
    """The line in which apt-get or dpkg-deb says why it failed."""
    lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
    for mark in ("E: ", "dpkg-deb: error: ", "W: "):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix(mark)
    program = process.args[0]
    return lines[-1] if lines else f"{program} ended with exit code {process.returncode}"
