"""MIDI to audio: three General MIDI soundfonts out of Debian packages, played by fluidsynth.

All three hold recordings of real instruments. Compared sample by sample: TimGM6mb has ten short
recordings of GeneralUser's, FluidR3 none of either's. Not taken are fonts that hold FluidR3's
(MuseScore's, FluidR3Mono) or most of TimGM6mb's recordings (csound's).
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from coala_jax.data_prep.sample_corpus import apt
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from jaxtyping import Float32

RENDER_HZ = 44_100  # the fonts' own rate: fluidsynth does not filter when it goes below it
TIMEOUT_SECONDS = 600  # a call takes seconds; a note that never ends would sound for ever
DISK_BYTES = 900_000_000  # of packages and clips together, while they are made
_FLUIDSYNTH_FLAGS = (
    *("-q", "-n", "-i", "-R", "0", "-C", "0", "-T", "wav", "-O", "float"),
    *("-o", "synth.cpu-cores=1", "-o", "synth.dynamic-sample-loading=1"),
)


@dataclass(frozen=True)
class Font:
    """A soundfont in a Debian package."""

    package: str
    path: str


FONTS = {
    "fluidr3": Font("fluid-soundfont-gm", "usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "generaluser": Font("minuet-data", "usr/share/minuet/soundfonts/GeneralUser-v1.47.sf2"),
    "timgm6mb": Font("timgm6mb-soundfont", "usr/share/sounds/sf2/TimGM6mb.sf2"),
}


def check_requirements() -> None:
    """Raises CorpusError if a program or a package that rendering needs is missing."""
    hint = "or make the other task alone: --only events"
    if missing := apt.missing_programs("fluidsynth"):
        packages = "fluidsynth" if missing == ["fluidsynth"] else "fluidsynth, apt and dpkg"
        raise CorpusError(
            f"the task instruments needs {' and '.join(missing)}, not found on PATH. Fix: install "
            f"{packages} (Debian's names, apt-get install fluidsynth); {hint}"
        )
    if find_spec("mido") is None:
        raise CorpusError(
            "the task instruments needs mido, which is not installed. Fix: "
            f"pip install 'coala_jax[proxy-tasks]'; {hint}"
        )


class Soundfonts:
    """The fonts on this disk.

    Attributes:
        sources: what the sounds come from, with versions.
    """

    def __init__(self, packages: Path) -> None:
        """Brings the fonts into the folder `packages`, each package in a folder of its own.

        Raises:
            CorpusError: a program or package is not available, or a package lacks its font.
        """
        check_requirements()
        self._packages = packages.resolve()
        names = [font.package for font in FONTS.values()]
        versions = apt.unpack_packages(names, packages, packages / ".fetch", DISK_BYTES)
        for font in FONTS.values():
            if not self._file(font).is_file():
                package = f"package {font.package} {versions[font.package]}"
                raise CorpusError(f"{package}: it holds no {font.path}")
        self.sources = {**versions, "fluidsynth": _fluidsynth_version(), "soxr": version("soxr")}

    def render(self, midi: bytes, font: str, gain: float) -> Float32[np.ndarray, " sample"]:
        """The sound of a MIDI file, mono, at RENDER_HZ; may go beyond [-1, 1].

        Args:
            midi: the content of the file; all of its notes must end.
            font: a name in FONTS.
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


def to_clip(
    waveform: Float32[np.ndarray, " sample"], seconds: float, sample_rate_hz: int
) -> Float32[np.ndarray, " resampled"]:
    """The first seconds at the clip's rate; zeros where the sound is shorter."""
    wanted = round(seconds * RENDER_HZ)
    cut = np.zeros(wanted, np.float32)
    cut[: min(wanted, waveform.size)] = waveform[:wanted]
    return soxr.resample(cut, RENDER_HZ, sample_rate_hz).astype(np.float32)


def _fluidsynth_version() -> str:
    said = subprocess.run(["fluidsynth", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "unknown"
