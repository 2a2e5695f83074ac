"""Sounds out of Debian packages: fetch, unpack, verify, keep what a list names.

Needs `apt-get` and `dpkg-deb`, no root: apt works on private package lists in a folder of our
own, so that it neither needs nor touches the system's. Packages are asked for one at a time,
because one unknown name would make apt fetch none of the others.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError, CorpusSound
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound
from coala_jax.data_prep.sample_corpus.resource import ContainerError, read_members

TOOLS = ("apt-get", "dpkg-deb")


@dataclass
class Fetched:
    """What came of a fetch.

    Attributes:
        sounds: the listed sounds that are there, in the list's order.
        left_out: cause -> files (relative to the audio folder) that are not.
        packages: the packages downloaded in this run.
        downloaded_bytes: their size.
        lists_complaint: why apt could not read all its package lists; empty if it could.
    """

    sounds: list[CorpusSound] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    downloaded_bytes: int = 0
    lists_complaint: str = ""


@dataclass(frozen=True)
class _Offer:
    """A package that apt can download, or in `refusal` why it cannot."""

    version: str = ""
    size_bytes: int = 0
    refusal: str = ""


class _PackageError(Exception):
    """A package cannot be had; the message is the cause."""


def missing_tools() -> list[str]:
    """The programs this module needs that are not on PATH."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def fetch(
    listed: Sequence[ListedSound],
    audio: Path,
    work: Path,
    say: Callable[[str], None] = print,
    disk_bytes: int = 0,
) -> Fetched:
    """Brings the listed sounds into `audio`, downloading only packages with a sound not yet there.

    A package, a file or a checksum that is not as listed costs those sounds and no others. A sound
    stands in `audio` only when its MD5 is right; a run that was interrupted goes on with the
    next package.

    Args:
        listed: the sounds wanted.
        audio: where they go, as `package/path without usr/share`.
        work: an own scratch folder on the same file system, emptied first and removed at the end.
            One run at a time.
        say: receives a line of progress at a time.
        disk_bytes: the most that a fetch of the whole list has on the disk at a time.

    Raises:
        CorpusError: the disk has not the room that the sounds still wanted need.
    """
    audio.mkdir(parents=True, exist_ok=True)
    result = Fetched()
    wanted = [sound for sound in listed if not _is_there(sound, audio)]
    causes: dict[str, str] = {}
    for sound in wanted:
        (audio / sound.sound.file).unlink(missing_ok=True)  # other bytes than the list's
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    if wanted:
        say(f"{len(listed) - len(wanted)} of {len(listed)} sounds are there already")
        _check_room(audio, disk_bytes, say)
        try:
            causes = _fetch_packages(wanted, audio, work, say, result)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    for sound in listed:
        name = sound.sound.file
        if name in causes:
            result.left_out.setdefault(causes[name], []).append(name)
        else:
            result.sounds.append(sound.sound)
    return result


def unpack_whole(
    packages: Sequence[str],
    folder: Path,
    work: Path,
    say: Callable[[str], None] = print,
    disk_bytes: int = 0,
) -> dict[str, str]:
    """Unpacks whole packages into `folder/PACKAGE`; one that is there is not fetched again.

    Args:
        packages: their names.
        folder: where they go, each with `PACKAGE.version` beside it.
        work: as in `fetch`.
        say: receives a line of progress at a time.
        disk_bytes: the most that the packages, and what is made of them, have on the disk.

    Returns:
        The version of each package.

    Raises:
        CorpusError: a package cannot be had, or the disk has not the room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes = {package: folder / f"{package}.version" for package in packages}
    wanted = [package for package, note in notes.items() if not note.exists()]
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    if wanted:
        _check_room(folder, disk_bytes, say)
    try:
        apt = _Apt(work) if wanted else None
        for package in wanted:
            offer = apt.look_up(package)
            try:
                if offer.refusal:
                    raise _PackageError(offer.refusal)
                say(f"{package} {offer.version}: fetching {offer.size_bytes / 1e6:.1f} MB")
                tree = apt.unpack(package)
            except _PackageError as error:
                cause = apt.lists_complaint or str(error)
                raise CorpusError(
                    f"package {package} cannot be had ({cause}); look to the network and to "
                    "apt's sources, then run again"
                ) from error
            shutil.rmtree(folder / package, ignore_errors=True)  # of a run that was killed
            tree.replace(folder / package)
            notes[package].write_text(offer.version)  # last: now it is whole
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {package: note.read_text() for package, note in notes.items()}


def _check_room(audio: Path, disk_bytes: int, say: Callable[[str], None]) -> None:
    there_bytes = sum(path.stat().st_size for path in audio.rglob("*") if path.is_file())
    need_mb = max(disk_bytes - there_bytes, 0) / 1e6
    free_mb = shutil.disk_usage(audio).free / 1e6
    room = f"up to {need_mb:,.0f} MB of disk while it runs, {free_mb:,.0f} MB are free"
    if need_mb > free_mb:
        raise CorpusError(f"{audio} needs {room}; make room, or choose another disk with --out")
    say(f"needs {room}")


def _fetch_packages(
    wanted: Sequence[ListedSound],
    audio: Path,
    work: Path,
    say: Callable[[str], None],
    result: Fetched,
) -> dict[str, str]:
    """Fetches package after package; gives file -> cause for the sounds that did not come."""
    by_package: dict[str, list[ListedSound]] = {}
    for sound in wanted:
        by_package.setdefault(sound.package, []).append(sound)
    say("reading the package lists (about 10 MB)")
    apt = _Apt(work)
    # Not the end: of several sources, the one that failed may not be the one we need.
    if apt.lists_complaint:
        result.lists_complaint = apt.lists_complaint
        say(f"not all package lists could be read: {apt.lists_complaint}")
    offers = {package: apt.look_up(package) for package in by_package}
    sizes_bytes = [offer.size_bytes for offer in offers.values() if not offer.refusal]
    say(f"{sum(sizes_bytes) / 1e6:.1f} MB to fetch, in {len(sizes_bytes)} packages")
    causes: dict[str, str] = {}
    for number, (package, sounds) in enumerate(by_package.items(), 1):
        offer, step = offers[package], f"[{number}/{len(by_package)}] {package}"
        try:
            if offer.refusal:
                raise _PackageError(offer.refusal)
            size_mb = offer.size_bytes / 1e6
            say(f"{step} {offer.version}: fetching {size_mb:.1f} MB for {len(sounds)} sounds")
            tree = apt.unpack(package)
        except _PackageError as error:
            say(f"{step}: {error}")
            causes.update({s.sound.file: f"package {package}: {error}" for s in sounds})
            shutil.rmtree(work / "packages", ignore_errors=True)  # a part of it may have come
            continue
        result.packages.append(package)
        result.downloaded_bytes += offer.size_bytes
        causes.update(_keep(sounds, tree, audio, f"package {package} {offer.version}"))
        shutil.rmtree(tree.parent)
    return causes


def _keep(sounds: Sequence[ListedSound], tree: Path, audio: Path, package: str) -> dict[str, str]:
    """Moves the sounds with the right MD5 into `audio`; gives file -> cause for the others."""
    causes = {}
    broken = _unpack_members(sounds, tree)
    for listed in sounds:
        source = _place(listed.container, listed.path, tree)
        if listed.container in broken:
            causes[listed.sound.file] = f"{package}: {broken[listed.container]}"
        elif source.is_symlink() or not source.is_file():
            causes[listed.sound.file] = f"{package}: no such file in it"
        elif _md5(source) != listed.md5:
            causes[listed.sound.file] = f"{package}: the MD5 is not the list's"
        else:
            target = audio / listed.sound.file
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    return causes


def _unpack_members(sounds: Iterable[ListedSound], tree: Path) -> dict[str, str]:
    """Writes the sounds that sit in containers to `_place`; gives container -> what is wrong."""
    by_container: dict[str, set[str]] = {}
    for listed in sounds:
        if listed.container:
            by_container.setdefault(listed.container, set()).add(listed.path)
    broken = {}
    for container, paths in by_container.items():
        source = tree / container
        if source.is_symlink() or not source.is_file():
            continue  # `_keep` misses each of its sounds
        try:
            members = read_members(source, paths)
        except ContainerError as error:
            broken[container] = str(error)
            continue
        for path, content in members.items():
            place = _place(container, path, tree)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return broken


def _place(container: str, path: str, tree: Path) -> Path:
    """Where a sound lies once its package, and its container if it sits in one, are unpacked."""
    return tree.with_name("members") / container / path if container else tree / path


class _Apt:
    """apt-get on package lists of its own, read when the object is made."""

    def __init__(self, work: Path) -> None:
        self._work = work.resolve()
        lists, cache = self._work / "lists", self._work / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        options = {
            "Dir::State": self._work,
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
        update = self._run([*self._command, "update"])
        self.lists_complaint = "" if update.returncode == 0 else _complaint(update)

    def look_up(self, package: str) -> _Offer:
        """What apt would download for the package."""
        shown = self._run([*self._command, "download", "--print-uris", package])
        uri = re.search(r"^'[^']*' (\S+) (\d+)", shown.stdout, re.MULTILINE)
        if shown.returncode != 0 or uri is None:
            return _Offer(refusal=_complaint(shown))
        version = uri[1].removesuffix(".deb").split("_")[1].replace("%3a", ":")
        return _Offer(version, int(uri[2]))

    def unpack(self, package: str) -> Path:
        """Downloads the package and unpacks it into a folder, which is the caller's to remove."""
        folder = self._work / "packages" / package
        folder.mkdir(parents=True)
        got = self._run([*self._command, "download", package], folder)
        archives = list(folder.glob("*.deb"))
        if got.returncode != 0 or len(archives) != 1:
            raise _PackageError(_complaint(got))
        unpacked = self._run(["dpkg-deb", "-x", str(archives[0]), "tree"], folder)
        if unpacked.returncode != 0:
            raise _PackageError(_complaint(unpacked))
        archives[0].unlink()
        return folder / "tree"

    def _run(self, command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self._work,
            env={**os.environ, "LC_ALL": "C"},  # `_complaint` reads English
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def _complaint(process: subprocess.CompletedProcess[str]) -> str:
    """The line in which apt-get or dpkg-deb says why it failed."""
    lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
    for mark in ("E: ", "dpkg-deb: error: ", "W: "):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix(mark)
    program = process.args[0]
    return lines[-1] if lines else f"{program} ended with exit code {process.returncode}"


def _is_there(listed: ListedSound, audio: Path) -> bool:
    path = audio / listed.sound.file
    return path.is_file() and _md5(path) == listed.md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # MD5 tells versions of a file apart here; apt has checked the package's signature.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
