"""MIDI made audible: three General MIDI soundfonts out of Debian packages, and fluidsynth.

All three hold recordings of real instruments. Compared sample by sample: TimGM6mb has ten short
recordings of GeneralUser's, FluidR3 none of either's. Not taken are fonts that hold FluidR3's
(MuseScore's, FluidR3Mono) or most of TimGM6mb's recordings (csound's).
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mido
import numpy as np
import soundfile
import soxr
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from jaxtyping import Float32

RENDER_HZ = 44_100  # the fonts' own rate: fluidsynth does not filter when it goes below it
TIMEOUT_SECONDS = 600  # a part takes seconds; a note that is never ended would sound for ever


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


DISK_BYTES = 900_000_000  # of packages and sets together, while they are made


def check_programs() -> None:
    """Raises CorpusError if a program that rendering needs is not on PATH."""
    missing = [tool for tool in ("fluidsynth", *debian.TOOLS) if shutil.which(tool) is None]
    if missing:
        hint = "apt-get install fluidsynth"
        if missing != ["fluidsynth"]:
            hint = "on Debian they are in the packages fluidsynth, apt and dpkg"
        raise CorpusError(
            f"instruments need {' and '.join(missing)}, not found on PATH: {hint}; "
            "or go without them: --only events"
        )


class Soundfonts:
    """The fonts on this disk.

    Attributes:
        packages: the folder of unpacked packages, each in one of its own.
        sources: what the sounds come from, with versions.
    """

    def __init__(
        self, packages: Path, say: Callable[[str], None], others: Sequence[str] = ()
    ) -> None:
        """Brings the fonts, and other packages, into the folder `packages`.

        Raises:
            CorpusError: a program is missing, or a package cannot be had or lacks its font.
        """
        check_programs()
        self.packages = packages.resolve()
        names = [*(font.package for font in FONTS.values()), *others]
        versions = debian.unpack_whole(names, packages, packages / ".fetch", say, DISK_BYTES)
        for font in FONTS.values():
            if not self._file(font).is_file():
                raise CorpusError(
                    f"package {font.package} {versions[font.package]} holds no {font.path}"
                )
        self.sources = {**versions, "fluidsynth": _fluidsynth_version(), "soxr": version("soxr")}

    def render(
        self, midi: mido.MidiFile, font: str, gain: float, room: bool
    ) -> Float32[np.ndarray, " sample"]:
        """The sound of a MIDI file, both sides mixed, at RENDER_HZ; may go beyond [-1, 1].

        Args:
            midi: the notes; all must end.
            font: a name in FONTS.
            gain: fluidsynth's, above 0.
            room: with fluidsynth's reverb and chorus.

        Raises:
            CorpusError: fluidsynth failed.
        """
        with TemporaryDirectory(dir=self.packages, prefix=".midi-") as name:
            folder = Path(name)
            midi.save(folder / "in.mid")
            (folder / "settings").touch()  # instead of the user's and the system's
            effects = "1" if room else "0"
            command = ["fluidsynth", "-q", "-n", "-i", "-f", f"{folder}/settings"]
            command += ["-g", str(gain), "-R", effects, "-C", effects, "-r", str(RENDER_HZ)]
            command += ["-o", "synth.cpu-cores=1", "-o", "synth.dynamic-sample-loading=1"]
            command += ["-T", "wav", "-O", "float", "-F", f"{folder}/out.wav"]
            _run([*command, str(self._file(FONTS[font])), f"{folder}/in.mid"])
            both, _ = soundfile.read(folder / "out.wav", dtype="float32", always_2d=True)
        return both.mean(axis=1)

    def _file(self, font: Font) -> Path:
        return self.packages / font.package / font.path


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"fluidsynth does not come to an end ({error})") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
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
