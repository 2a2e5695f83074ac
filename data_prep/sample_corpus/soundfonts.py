"""MIDI to audio: General MIDI soundfonts out of Debian packages, played by fluidsynth.

All three hold recordings of real instruments. Compared by waveform (experiments/soundfonts.py):
TimGM6mb has 30 recordings of GeneralUser's. FluidR3 shares the vibraslap, the CP-80 (otherwise
tuned) and perhaps a kick with GeneralUser, the seashore and a high choir note with TimGM6mb. Not
taken are fonts that hold FluidR3's (MuseScore's, FluidR3Mono) or most of TimGM6mb's (csound's).
"""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from coala_jax.data_prep.sample_corpus import apt
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from jaxtyping import Float32

RENDER_HZ = 44_100  # the fonts' own rate: fluidsynth does not filter when it goes below it
TIMEOUT_SECONDS = 600  # a call takes seconds; a note that never ends would sound for ever
_FLUIDSYNTH_FLAGS = (
    *("-q", "-n", "-i", "-R", "0", "-C", "0", "-T", "wav", "-O", "float"),
    *("-o", "synth.cpu-cores=1", "-o", "synth.dynamic-sample-loading=1"),
)


@dataclass(frozen=True)
class Font:
    """A soundfont in a Debian package.

    Attributes:
        package: the package's name.
        path: where the font is in it.
        licence: SPDX identifier of the font's own licence.
    """

    package: str
    path: str
    licence: str


FONTS = {
    "fluidr3": Font("fluid-soundfont-gm", "usr/share/sounds/sf2/FluidR3_GM.sf2", "MIT"),
    # The package's copyright file does not speak of the font; its licence is a comment inside it,
    # which allows every use in music and software.
    "generaluser": Font(
        "minuet-data",
        "usr/share/minuet/soundfonts/GeneralUser-v1.47.sf2",
        "LicenseRef-GeneralUser-GS",
    ),
    "timgm6mb": Font("timgm6mb-soundfont", "usr/share/sounds/sf2/TimGM6mb.sf2", "GPL-2.0-only"),
}


def check_requirements(user: str, hint: str) -> None:
    """Raises CorpusError if a program or a package that rendering needs is missing.

    Args:
        user: who needs them, for the message: "the task instruments".
        hint: what to do without them: "or make the other task alone: --only events".
    """
    if missing := apt.missing_programs("fluidsynth"):
        packages = "fluidsynth" if missing == ["fluidsynth"] else "fluidsynth, apt and dpkg"
        raise CorpusError(
            f"{user} needs {' and '.join(missing)}, not found on PATH. Fix: install "
            f"{packages} (Debian's names, apt-get install fluidsynth); {hint}"
        )
    if find_spec("mido") is None:
        raise CorpusError(
            f"{user} needs mido, which is not installed. Fix: pip install 'coala_jax[notes]'; "
            f"{hint}"
        )


class Soundfonts:
    """Fonts on this disk.

    Attributes:
        sources: what the sounds come from, with versions.
    """

    def __init__(self, packages: Path, names: Iterable[str], disk_bytes: int) -> None:
        """Brings the fonts into the folder `packages`, each package in a folder of its own.

        Args:
            packages: the folder.
            names: which of FONTS.
            disk_bytes: the most that the packages, and what is made of them, take on the disk.

        Raises:
            CorpusError: a package is not available, or lacks its font.
        """
        self._packages = packages.resolve()
        wanted = [FONTS[name] for name in names]
        versions = apt.unpack_packages(
            [font.package for font in wanted], packages, packages / ".fetch", disk_bytes
        )
        for font in wanted:
            if not self._file(font).is_file():
                package = f"package {font.package} {versions[font.package]}"
                raise CorpusError(f"{package}: it holds no {font.path}")
        self.sources = {**versions, "fluidsynth": _fluidsynth_version(), "soxr": version("soxr")}

    def render(self, midi: bytes, font: str, gain: float) -> Float32[np.ndarray, " sample"]:
        """The sound of a MIDI file, mono, at RENDER_HZ; may go beyond [-1, 1].

        Args:
            midi: the content of the file; all of its notes must end.
            font: one of the names that were given.
            gain: fluidsynth's, above 0.

        Raises:
            CorpusError: fluidsynth failed.
        """
        with TemporaryDirectory(dir=self._packages, prefix=".midi-") as name:
            folder = Path(name)
            (folder / "in.mid").write_bytes(midi)
            (folder / "settings").touch()  # instead of the user's and the system's
            places = ["-f", f"{folder}/settings", "-F", f"{folder}/out.wav"]
            levels = ["-g", str(gain), "-r", str(RENDER_HZ)]
            files = [str(self._file(FONTS[font])), f"{folder}/in.mid"]
            run_fluidsynth([*_FLUIDSYNTH_FLAGS, *levels, *places, *files])
            stereo, _ = soundfile.read(folder / "out.wav", dtype="float32", always_2d=True)
        return stereo.mean(axis=1)

    def _file(self, font: Font) -> Path:
        return self._packages / font.package / font.path


def run_fluidsynth(arguments: Sequence[str]) -> None:
    """Runs fluidsynth. Raises CorpusError if it fails or does not end."""
    try:
        done = subprocess.run(
            ["fluidsynth", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"fluidsynth did not end within {error.timeout} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise CorpusError(f"fluidsynth failed with exit code {done.returncode}: {said[0]}")


def _fluidsynth_version() -> str:
    said = subprocess.run(["fluidsynth", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "unknown"
