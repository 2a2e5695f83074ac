"""The proxy task `instruments`: single notes of ten instrument families.

General MIDI programs played by soundfonts: two for training, and for testing a third one, of which
few recordings are in the others (see SPLITS). A note is held for 3 s and rings for 1 s, as NSynth's
are.

    OUT/instruments/audio/...       FAMILY/FONT-PROGRAM-PITCH-VELOCITY.wav: mono 16 bit, 4 s, 16 kHz
    OUT/instruments/about.json      what they are made from, what the task is not, what was replaced
    OUT/instruments/clips.csv       file (relative to its own folder), label, split, group

`clips.csv` is written last: a folder that has it is complete. Until then `.rendered` holds a record
of each font's family that is done.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    check_same_origin,
    csv_text,
)
from coala_jax.data_prep.sample_corpus.rendering import ClipForm, Note, Rendered, render_heard
from coala_jax.data_prep.sample_corpus.soundfonts import Soundfonts, check_requirements

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
FORM = ClipForm(hold_seconds=3.0, ring_seconds=1.0, sample_rate_hz=16_000, format="WAV")
DISK_BYTES = 900_000_000  # of packages and clips together, while they are made
REQUIRED_BY = ("the task instruments", "or make the other task alone: --only events")

# Thirty recordings of GeneralUser are in TimGM6mb, too. Of FluidR3's, GeneralUser has those of the
# electric grand piano, tuned otherwise, and TimGM6mb the highest one of the choir. They are played
# nevertheless: without them scores would not compare with those that are there.
SPLITS = {"generaluser": "train", "timgm6mb": "train", "fluidr3": "test"}
LIMITS = (
    "Not NSynth: notes of three free soundfonts, each of which stretches few recordings over many "
    "pitches. A score says which of two models is better here and does not compare with a score "
    "on NSynth. A font that plays test notes must not have been heard in pre-training."
)


@dataclass(frozen=True)
class FamilyNote(Note):
    """A note of a family."""

    family: str

    @property
    def file(self) -> str:
        key = f"{self.program:03d}-{self.pitch:03d}-{self.velocity:03d}"
        return f"{self.family}/{self.font}-{key}.wav"


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
    check_requirements(*REQUIRED_BY)
    fonts = Soundfonts(packages, SPLITS, DISK_BYTES)
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
        parts.append(Rendered([FamilyNote(**note) for note in found["notes"]], found["remarks"]))
    _write_tables(folder, origin, parts)
    shutil.rmtree(folder / ".rendered")
    return folder


def _render(
    audio: Path, fonts: Soundfonts, drawn: Sequence[FamilyNote], count: int
) -> Rendered[FamilyNote]:
    part = render_heard(audio, fonts, drawn, count, FORM)
    if len(part.notes) < count:
        raise CorpusError(
            f"the font {drawn[0].font} has only {len(part.notes)} of {count} notes of the "
            f"family {drawn[0].family}"
        )
    return part


def draw(font: str, family: str, seed: int) -> list[FamilyNote]:
    """Every note of a family, in the order in which they are wanted."""
    keys = product(FAMILIES[family], PITCHES, VELOCITIES)
    notes = [FamilyNote(font, *key, family) for key in keys]
    rng = np.random.default_rng((seed, *f"{font} {family}".encode()))
    return [notes[place] for place in rng.permutation(len(notes))]


def _write_tables(
    folder: Path, origin: Mapping[str, Any], parts: Sequence[Rendered[FamilyNote]]
) -> None:
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
