"""A fluidsynth that plays sines, an mma that plays a note a bar, and packages with their data.

The real ones are not needed: what is tested is what they are told and what becomes of their sound.
"""

import json
import sys
from pathlib import Path

import pytest
from coala_jax.data_prep.proxy_tasks import soundfonts

# "Fonts" are JSON: the level of a note at full velocity, and the lowest key that has no sound.
_FLUIDSYNTH = """#!{python}
import json, os, sys
import mido, numpy, soundfile
arguments = sys.argv[1:]
if "--version" in arguments:
    sys.exit("FluidSynth runtime version 9.8.7")
with open("{log}", "a") as log:
    log.write(" ".join(arguments) + "\\n")
font = json.load(open(arguments[-2]))
if font.get("fails"):
    sys.exit("fluidsynth: error: it is out of tune")
rate = int(arguments[arguments.index("-r") + 1])
notes, sounding, now = [], dict(), 0.0
for message in mido.MidiFile(arguments[-1]):
    now += message.time
    ended = []
    if message.type == "note_on" and message.velocity > 0:
        sounding[message.channel, message.note] = (now, message.velocity)
    elif message.type in ("note_on", "note_off"):
        ended = [(message.channel, message.note)]
    elif message.type == "control_change" and message.control == 120:
        ended = [key for key in sounding if key[0] == message.channel]
    for key in ended:
        if key in sounding:
            notes.append((*sounding.pop(key), now, key[1]))
if sounding:
    sys.exit("fluidsynth: a note never ends")
sound = numpy.zeros((round(now * rate) + 100, 2), numpy.float32)
for begin, velocity, end, pitch in notes:
    if pitch < font["silent_from"]:
        time = numpy.arange(round((end - begin) * rate)) / rate
        wave = numpy.sin(2 * numpy.pi * 440 * 2 ** ((pitch - 69) / 12) * time)
        # Nothing on the right: half of it is left when both sides are mixed.
        sound[round(begin * rate):][:time.size, 0] += 2 * font["level"] * velocity / 127 * wave
soundfile.write(arguments[arguments.index("-F") + 1], sound, rate, subtype="FLOAT")
"""

_MMA = """
import os, sys
import mido
lines = [line.split() for line in open("in.mma")]
with open("{log}", "a") as log:
    log.write(open("in.mma").read().replace("\\n", "; ") + os.environ["MMA_HOME"] + "\\n")
told = dict((line[0], line[1]) for line in lines)
if told["Groove"] == "Broken":
    sys.exit("ERROR: no such groove")
midi = mido.MidiFile(type=1, ticks_per_beat=192)
tempo, track = midi.add_track(), midi.add_track()
tempo.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(int(told["Tempo"]))))
track.append(mido.Message("note_on", channel=9, note=127, velocity=1))  # and never off
for bar in [line for line in lines if line[0].isdecimal() and told["Groove"] != "Quiet"]:
    note = 60 + len(bar[1]) + int(told["Transpose"])
    track.append(mido.Message("note_on", note=note, velocity=100))
    track.append(mido.Message("note_off", note=note, time=384))
midi.save("out.mid")
"""


class FakeSynth:
    """Programs on PATH, and packages that are unpacked already.

    Attributes:
        packages: the folder of unpacked packages, as the makers of sets take it.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages = folder / "packages"
        self._log, self._mma_log = folder / "calls", folder / "mma-calls"
        self._programs = folder / "programs"
        self._programs.mkdir(parents=True)
        script = _FLUIDSYNTH.format(python=sys.executable, log=self._log)
        for name, text in {
            "fluidsynth": script,
            "apt-get": "#!/bin/sh\nexit 100\n",
            "dpkg-deb": "#!/bin/sh\nexit 100\n",
        }.items():
            (self._programs / name).write_text(text)
            (self._programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(self._programs))
        for font in soundfonts.FONTS.values():
            self._put(font.package, font.path, "")
        for name in soundfonts.FONTS:
            self.set_font(name)
        self._put("mma", "usr/bin/mma", _MMA.format(log=self._mma_log))

    @property
    def calls(self) -> list[str]:
        """What fluidsynth was asked to play, one line a call."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def mma_calls(self) -> list[str]:
        """The scripts that mma was given, one line each, its MMA_HOME last."""
        return self._mma_log.read_text().splitlines() if self._mma_log.exists() else []

    def set_font(
        self, name: str, level: float = 0.5, silent_from: int = 127, fails: bool = False
    ) -> None:
        """Makes the font this loud, silent from this key on, or broken."""
        font = {"level": level, "silent_from": silent_from, "fails": fails}
        package = soundfonts.FONTS[name]
        (self.packages / package.package / package.path).write_text(json.dumps(font))

    def add_grooves(self, file: str, *names: str) -> None:
        """Puts a file that defines these grooves into mma's library."""
        text = "// DefGroove NotThis\n" + "".join(
            f"  DefGroove {name} its text\n" for name in names
        )
        self._put("mma", f"usr/share/mma/lib/{file}.mma", text)

    def remove(self, program: str) -> None:
        (self._programs / program).unlink()

    def _put(self, package: str, path: str, text: str) -> None:
        file = self.packages / package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (self.packages / f"{package}.version").write_text("1.0-1")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def clips_of(folder: Path) -> list[list[str]]:
    """The rows of clips.csv, its header first."""
    return [line.split(",") for line in (folder / "clips.csv").read_text().splitlines()]
