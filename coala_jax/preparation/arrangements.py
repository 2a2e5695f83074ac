"""Music out of chords: the arrangements of the program mma, out of its Debian package.

Its library holds grooves in files, one style a file. mma is a program in Python; it runs from
where the package was unpacked.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mido

from coala_jax.preparation.corpus_folder import CorpusError

PACKAGE = "mma"
LISTED_VERSION = "21.09"  # that the files of STYLES were listed from
PROGRAM = Path("mma/usr/bin/mma")  # below the packages
LIBRARY = Path("mma/usr/share/mma")
BEATS_PER_BAR = 2  # at least
# Parts of a piece, not its body; pflib marks fills FA, FB and ends E.
NOT_A_LOOP = re.compile(r"[Ii]ntro|End|Fill|Break|F[AB]$|[a-z0-9]E$")


@dataclass(frozen=True)
class Arrangement:
    """What mma is to play.

    Attributes:
        file: of the library, below its lib/ and without .mma.
        groove: one that the file defines.
        tempo: beats a minute.
        transposition: semitones up.
        seed: of the small liberties that mma takes, above 0.
    """

    file: str
    groove: str
    tempo: int
    transposition: int
    seed: int


def grooves(packages: Path, file: str) -> list[str]:
    """The grooves that a file of the library defines, without beginnings, ends and fills."""
    path = packages / LIBRARY / "lib" / f"{file}.mma"
    if not path.is_file():
        raise CorpusError(f"{path} is not there; package mma {LISTED_VERSION} has it")
    text = path.read_text(encoding="utf-8", errors="replace")
    names = re.findall(r"^\s*DefGroove\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    loops = [name for name in dict.fromkeys(names) if not NOT_A_LOOP.search(name)]
    if not loops:
        raise CorpusError(f"{path} defines no groove that can be repeated")
    return loops


def play(
    packages: Path, arrangement: Arrangement, chords: Sequence[str], seconds: float
) -> mido.MidiFile:
    """The chords, a bar each and again from the first, for so many seconds.

    Args:
        packages: the folder of unpacked packages.
        arrangement: how to play them.
        chords: as mma writes them.
        seconds: when all notes are cut off.

    Raises:
        CorpusError: mma failed.
    """
    beats = seconds * arrangement.tempo / 60
    lines = [f"RndSeed {arrangement.seed}", f"Transpose {arrangement.transposition}"]
    lines += [f"Use {arrangement.file}", f"Groove {arrangement.groove}"]
    lines += [f"Tempo {arrangement.tempo}"]  # after the groove: some files set one
    bars = round(beats / BEATS_PER_BAR) + 1
    lines += [f"{bar + 1} {chords[bar % len(chords)]}" for bar in range(bars)]
    with TemporaryDirectory(dir=packages, prefix=".mma-") as name:
        folder = Path(name).resolve()
        (folder / "in.mma").write_text("\n".join(lines) + "\n")
        home = {"MMA_HOME": str((packages / LIBRARY).resolve()), "HOME": str(folder)}
        done = subprocess.run(
            [sys.executable, str((packages / PROGRAM).resolve()), "-f", "out.mid", "in.mma"],
            cwd=folder,
            env={**os.environ, **home},  # without settings of the user's
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or not (folder / "out.mid").exists():
            said = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["it said nothing"]
            raise CorpusError(
                f"mma failed on {arrangement.groove} of {arrangement.file}: {said[0]}"
            )
        midi = mido.MidiFile(folder / "out.mid", clip=True)
    return _cut(midi, round(beats * midi.ticks_per_beat))


def _cut(midi: mido.MidiFile, ticks: int) -> mido.MidiFile:
    """The messages before that time, and silence then."""
    for track in midi.tracks:
        now, kept = 0, []
        for message in track:
            if now + message.time >= ticks or message.type == "end_of_track":
                break
            now += message.time
            kept.append(message)
        # fluidsynth would play on as long as a note that was cut off sounds.
        for channel in range(16):
            kept.append(mido.Message("control_change", channel=channel, control=120))
        kept[-16].time = ticks - now
        track[:] = kept
    return midi
