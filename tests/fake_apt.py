"""A Debian archive of tiny packages, and an apt-get that serves it without a network."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusSound
from coala_jax.data_prep.sample_corpus.debian_list import COLUMNS, ListedSound

needs_dpkg_deb = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="the packages of this test are built by dpkg-deb"
)

# As apt-get 2.6 answers: one package a call, --print-uris in its format, errors on stderr.
_SCRIPT = """#!/bin/sh
for last; do :; done
case "$*" in *--print-uris*) verb=look_up ;; *" update") verb=update ;; *) verb=download ;; esac
echo "$verb $last" >> "{archive}/calls"
if [ $verb = update ]; then
    [ -e "{archive}/offline" ] || exit 0
    echo "W: Some index files failed to download." >&2
    echo "E: Failed to fetch lists: no network" >&2
    exit 100
fi
deb="{archive}/${{last}}_1%3a2.0-3_all.deb"
if [ ! -e "$deb" ]; then echo "E: Unable to locate package $last" >&2; exit 100; fi
if [ $verb = look_up ]; then
    echo "'file:$deb' ${{last}}_1%3a2.0-3_all.deb $(wc -c < "$deb") SHA256:0"
else
    cp "$deb" .
fi
"""


class FakeApt:
    """Puts the script on PATH before the real tools; `calls` are the commands it got."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.archive = folder / "archive"
        programs = folder / "programs"
        self.archive.mkdir(parents=True)
        programs.mkdir()
        (programs / "apt-get").write_text(_SCRIPT.format(archive=self.archive))
        (programs / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    @property
    def calls(self) -> list[str]:
        log = self.archive / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def deb(self, package: str) -> Path:
        return self.archive / f"{package}_1%3a2.0-3_all.deb"

    def build(
        self, package: str, files: Mapping[str, bytes], links: Mapping[str, str] | None = None
    ) -> None:
        """Builds the package with these files below usr/share; `links` are path -> target."""
        tree = self.archive / "trees" / package
        for path, content in files.items():
            (tree / "usr/share" / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / "usr/share" / path).write_bytes(content)
        for path, target in (links or {}).items():
            (tree / "usr/share" / path).symlink_to(target)
        control = tree / "DEBIAN" / "control"
        control.parent.mkdir(mode=0o755)
        control.write_text(
            f"Package: {package}\nVersion: 1:2.0-3\nArchitecture: all\n"
            "Maintainer: nobody <nobody@localhost>\nDescription: sounds of a test\n"
        )
        command = ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(self.deb(package))]
        subprocess.run(command, check=True, capture_output=True)

    def offline(self) -> None:
        """From now on neither lists nor packages are available."""
        (self.archive / "offline").touch()
        for deb in self.archive.glob("*.deb"):
            deb.unlink()


def listed(package: str, path: str, content: bytes) -> ListedSound:
    """The row of a list for a file below usr/share with this content."""
    tags, group = ("drum", "kick"), f"{package}/all"
    sound = CorpusSound(f"{package}/{path}", tags, group, "CC0-1.0", package)
    return ListedSound(package, f"usr/share/{path}", hashlib.sha256(content).hexdigest(), sound)


def write_list(path: Path, sounds: list[ListedSound]) -> None:
    """Writes the list as `read_list` reads it."""
    rows = [
        (s.package, s.path, s.sha256, " ".join(s.sound.tags), s.sound.group, s.sound.licence)
        for s in sounds
    ]
    lines = ["# a comment", *("\t".join(row) for row in [COLUMNS, *rows])]
    path.write_text("\n".join(lines) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too: name -> bytes."""
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
