"""The proxy task `instruments`: single notes of ten instrument families.

General MIDI programs played by soundfonts: two for training, and for testing a third one, of which
no recording is in the others. A note is held for 3 s and rings for 1 s, as NSynth's are.

    OUT/instruments/audio/...       FAMILY/FONT-PROGRAM-PITCH-VELOCITY.wav: mono 16 bit, 4 s, 16 kHz
    OUT/instruments/about.json      what they are made from, what the task is not, what was replaced
    OUT/instruments/clips.csv       file (relative to its own folder), label, split, group

`clips.csv` is written last: a folder that has it is complete. Until then `.rendered` holds a record
of each font's family that is done.
"""

import io
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from absl import logging
from coala_jax.data_prep.proxy_tasks import soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    check_same_origin,
    csv_text,
)
from jaxtyping import Float32

from coala_jax import storage

# General MIDI programs, from 0.
FAMILIES = {
    "bass": range(32, 40),
    "brass": range(56, 64),
    "flute": range(72, 80),
    "guitar": range(24, 32),
    "keyboard": range(0, 8),
    "mallet": range(8, 16),
    "organ": range(16, 21),
    "reed": range(64, 72),
    "string": (*range(40, 47), 48, 49),
    "vocal": range(52, 55),
}
PITCHES = range(36, 85)  # two octaves either way of middle C; beyond, few sound like themselves
VELOCITIES = (25, 50, 75, 100, 127)
HOLD_SECONDS = 3.0
CLIP_SECONDS = 4.0
SLOT_SECONDS = 4.5  # from note to note
SAMPLE_RATE_HZ = 16_000
TICKS_PER_SECOND = 960
GAIN = 1.0
FULL_SCALE = 0.99  # a louder clip is turned down to it; 16 bit would cut its peaks off
SILENT_PEAK = 1e-3  # -60 dB: a quieter clip counts as silent

# A few recordings of GeneralUser are in TimGM6mb too, none of FluidR3 is in either.
SPLITS = {"generaluser": "train", "timgm6mb": "train", "fluidr3": "test"}
LIMITS = (
    "Not NSynth: notes of three free soundfonts, each of which stretches few recordings over many "
    "pitches. A score says which of two models is better here and does not compare with a score "
    "on NSynth. A font that plays test notes must not have been heard in pre-training."
)


@dataclass(frozen=True)
class Note:
    """A note, and how its clip is named."""

    font: str
    family: str
    program: int
    pitch: int
    velocity: int

    @property
    def file(self) -> str:
        key = f"{self.program:03d}-{self.pitch:03d}-{self.velocity:03d}"
        return f"{self.family}/{self.font}-{key}.wav"


@dataclass(frozen=True)
class Rendered:
    """The notes of one family by one font whose clips are written.

    remarks: what was not as drawn, and why: one line each.
    """

    notes: list[Note]
    remarks: list[str]


def make_instruments(out: Path, packages: Path, *, notes: int = 50, seed: int = 0) -> Path:
    """Makes the task in `out/instruments`, which it returns; re-running continues it.

    Args:
        out: the folder of all proxy tasks.
        packages: where the unpacked packages are, or go.
        notes: how many of each family by each font.
        seed: of the draw of notes, at least 0.

    Raises:
        CorpusError: something that is needed is missing, or another task is there.
    """
    folder, recipe = out / "instruments", {"seed": seed, "notes": notes, "fonts": SPLITS}
    check_same_origin(folder / "about.json", recipe)
    if (folder / "clips.csv").exists():
        logging.info("instruments: %s is complete already", folder)
        return folder
    fonts = soundfonts.Soundfonts(packages)
    check_same_origin(folder / "about.json", fonts.sources, "sources")
    origin = {"made_from": recipe, "sources": fonts.sources}
    (folder / ".rendered").mkdir(parents=True, exist_ok=True)
    storage.write_json(folder / "about.json", origin)
    parts = []
    for number, (font, family) in enumerate(product(SPLITS, FAMILIES), 1):
        record = folder / ".rendered" / f"{font}-{family}.json"
        if not record.exists():
            part = _render(folder / "audio", fonts, draw(font, family, seed), notes)
            storage.write_json(record, asdict(part))
            total = len(SPLITS) * len(FAMILIES)
            logging.info("instruments [%d/%d] %s, %s", number, total, font, family)
        found = storage.read_json(record)
        parts.append(Rendered([Note(**note) for note in found["notes"]], found["remarks"]))
    _write_tables(folder, origin, parts)
    shutil.rmtree(folder / ".rendered")
    return folder


def _render(
    audio: Path, fonts: soundfonts.Soundfonts, drawn: Sequence[Note], count: int
) -> Rendered:
    """Writes the clips of the first `count` of the drawn notes that can be heard."""
    part, begin = Rendered([], []), 0
    while len(part.notes) < count:
        batch = drawn[begin : begin + count - len(part.notes)]
        begin += len(batch)
        if not batch:
            raise CorpusError(
                f"the font {drawn[0].font} has only {len(part.notes)} of {count} notes of the "
                f"family {drawn[0].family}"
            )
        sound = fonts.render(midi_file(batch), drawn[0].font, GAIN)
        for place, note in enumerate(batch):
            start = round(place * SLOT_SECONDS * soundfonts.RENDER_HZ)
            clip = soundfonts.to_clip(sound[start:], CLIP_SECONDS, SAMPLE_RATE_HZ)
            waveform, remark = fit_level(clip)
            if waveform is None:
                # Mostly beyond the keys that the font has for the instrument.
                part.remarks.append(f"{note.file}: {remark}; another note was drawn")
                continue
            if remark:
                part.remarks.append(f"{note.file}: {remark}")
            path = audio / note.file
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, waveform, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
            part.notes.append(note)
    return part


def draw(font: str, family: str, seed: int) -> list[Note]:
    """Every note of a family, in the order in which they are wanted."""
    keys = product(FAMILIES[family], PITCHES, VELOCITIES)
    notes = [Note(font, family, *key) for key in keys]
    rng = np.random.default_rng((seed, *f"{font} {family}".encode()))
    return [notes[place] for place in rng.permutation(len(notes))]


def midi_file(notes: Sequence[Note]) -> bytes:
    """A MIDI file of one note after the other, each silenced before the next."""
    import mido  # of the extra proxy-tasks

    midi = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2)  # at 120 beats a minute
    track = midi.add_track()
    hold = round(HOLD_SECONDS * TICKS_PER_SECOND)
    ring = round((CLIP_SECONDS - HOLD_SECONDS) * TICKS_PER_SECOND)
    pause = round(SLOT_SECONDS * TICKS_PER_SECOND) - hold - ring
    for note in notes:
        track.append(mido.Message("program_change", program=note.program))
        track.append(mido.Message("note_on", note=note.pitch, velocity=note.velocity))
        track.append(mido.Message("note_off", note=note.pitch, time=hold))
        track.append(mido.Message("control_change", control=120, time=ring))  # all sound off
        # Something to wait for: the next note begins when this comes.
        track.append(mido.Message("control_change", control=121, time=pause))
    content = io.BytesIO()
    midi.save(file=content)
    return content.getvalue()


def fit_level(
    waveform: Float32[np.ndarray, " sample"],
) -> tuple[Float32[np.ndarray, " sample"] | None, str]:
    """The sound as it can be written, and a remark if it had to be changed.

    Returns:
        (None, why) for a sound that is silent; (the sound turned down, why) for one that would
        clip; else (the sound, "").
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENT_PEAK:
        return None, f"silent, its peak is {peak:.1g}"
    if peak > FULL_SCALE:
        return waveform * np.float32(FULL_SCALE / peak), f"turned down, its peak was {peak:.2f}"
    return waveform, ""


def _write_tables(folder: Path, origin: Mapping[str, Any], parts: Sequence[Rendered]) -> None:
    """Writes about.json and, last, clips.csv."""
    notes = [note for part in parts for note in part.notes]
    sizes = Counter((note.family, SPLITS[note.font]) for note in notes)
    about = {
        "name": "instruments (proxy task)",
        "limits": LIMITS,
        **origin,
        "clips": dict(Counter(SPLITS[note.font] for note in notes)),
        "labels": {
            family: {split: sizes[family, split] for split in ("train", "test")}
            for family in sorted({note.family for note in notes})
        },
        "not_as_drawn": [remark for part in parts for remark in part.remarks],
    }
    clips = [(f"audio/{n.file}", n.family, SPLITS[n.font], n.font) for n in notes]
    storage.write_json(folder / "about.json", about)
    header = ("file", "label", "split", "group")
    storage.write_text(folder / "clips.csv", csv_text([header, *clips]))
