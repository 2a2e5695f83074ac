"""A fluidsynth that plays sines, and unpacked packages with its soundfonts.

The real ones are not needed: what is tested is what they are told and what is made of their sound.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.sample_corpus import soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError


class FakeSynth:
    """Programs on PATH, packages that are unpacked already, and a `run_fluidsynth` in Python.

    Attributes:
        packages: the folder of unpacked packages.
        calls: the arguments of each call of fluidsynth.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages, self.calls = folder / "packages", []
        self._programs = folder / "programs"
        self._programs.mkdir(parents=True)
        for name in ("fluidsynth", "apt-get", "dpkg-deb"):
            (self._programs / name).write_text("#!/bin/sh\necho FluidSynth version 9.8.7\nexit 1\n")
            (self._programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(self._programs))
        monkeypatch.setattr(soundfonts, "run_fluidsynth", self._play)
        for name, font in soundfonts.FONTS.items():
            self.font_file(name).parent.mkdir(parents=True)
            (self.packages / f"{font.package}.version").write_text("1.0-1")
            self.set_font(name)

    def font_file(self, name: str) -> Path:
        font = soundfonts.FONTS[name]
        return self.packages / font.package / font.path

    def set_font(
        self, name: str, level: float = 0.5, silent_from: int = 127, fails: bool = False
    ) -> None:
        """level: of a note at full velocity; silent_from: the lowest key that has no sound."""
        font = {"level": level, "silent_from": silent_from, "fails": fails}
        self.font_file(name).write_text(json.dumps(font))

    def remove(self, program: str) -> None:
        (self._programs / program).unlink()

    def _play(self, arguments: Sequence[str]) -> None:
        self.calls.append(" ".join(arguments))
        font = json.loads(Path(arguments[-2]).read_text())
        if font["fails"]:
            raise CorpusError("out of tune")
        rate_hz = int(arguments[arguments.index("-r") + 1])
        notes, sounding, now = [], {}, 0.0
        for message in mido.MidiFile(file=io.BytesIO(Path(arguments[-1]).read_bytes())):
            now += message.time
            if message.type == "note_on":
                sounding[message.note] = (now, message.velocity)
            elif message.type == "note_off":
                notes.append((message.note, *sounding.pop(message.note), now))
        assert not sounding, "a note never ends"
        sound = np.zeros((round(now * rate_hz) + 100, 2), np.float32)
        for pitch, begin, velocity, end in notes:
            if pitch < font["silent_from"]:
                time = np.arange(round((end - begin) * rate_hz)) / rate_hz
                wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)
                # Nothing on the right: half of it is left when both sides are mixed.
                level = 2 * font["level"] * velocity / 127
                sound[round(begin * rate_hz) :][: time.size, 0] += level * wave
        out = arguments[arguments.index("-F") + 1]
        soundfile.write(out, sound, rate_hz, subtype="FLOAT")
