"""Single notes for pre-training: General MIDI's programs and drums, played by soundfonts.

The fonts are those of FONTS. FluidR3 is not among them: it plays the test notes of the proxy task
`instruments`. What they play of its recordings is left out. A note is held for 2 s and rings for
1 s.

    AUDIO/notes/PACKAGE/PROGRAM-PITCH-VELOCITY.flac   mono 16 bit, 3 s, 22,050 Hz
    AUDIO/notes/PACKAGE/drum-PITCH-VELOCITY.flac

A folder of records, one for each font's program, says what is done; re-running continues it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from absl import logging
from coala_jax.data_prep.sample_corpus import rendering
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_origin,
)
from coala_jax.data_prep.sample_corpus.general_midi import (
    DRUMS,
    FIRST_DRUM,
    drum_name,
    family_of,
    program_name,
)
from coala_jax.data_prep.sample_corpus.rendering import ClipForm, Note, render_heard
from coala_jax.data_prep.sample_corpus.soundfonts import FONTS as ALL_FONTS
from coala_jax.data_prep.sample_corpus.soundfonts import Soundfonts, check_requirements

from coala_jax import storage

FONTS = ("generaluser", "timgm6mb")
# Programs and drums of recordings that FluidR3 has, too, or may have: the CP-80 is tuned otherwise,
# and of kick 3 only the name and most of the waveform agree (experiments/soundfonts.py).
SHARED_PROGRAMS = {"generaluser": {2}, "timgm6mb": {52, 122}}  # CP-80; choir, seashore
SHARED_DRUMS = {"generaluser": {36, 58}, "timgm6mb": set()}  # kick 3, vibraslap
PROGRAMS = range(128)
PER_PROGRAM = 19  # notes of each program by each font: 5,083 with the drums
VELOCITIES = (25, 50, 75, 100, 127)
DRUM_VELOCITIES = (50, 100, 127)
SOFT, LOUD = 50, 100  # velocities up to, and from
LOW, HIGH = 48, 72  # pitches below C3 and from C5
# The paper's front end hears up to 11,000 Hz: a higher rate would be resampled away.
FORM = ClipForm(hold_seconds=2.0, ring_seconds=1.0, sample_rate_hz=22_050, format="FLAC")
SEED = 0
DISK_BYTES = 500_000_000  # of packages and notes together, while they are made
REQUIRED_BY = ("the notes of the free corpus", "or take --size=standard, which has no notes")
EVERY = 16  # programs between two lines of the log


@dataclass(frozen=True)
class CorpusNote(Note):
    """A note of a program; of the drums, if `is_drum`, where the pitch says which drum."""

    is_drum: bool = False

    @property
    def channel(self) -> int:
        return rendering.DRUMS if self.is_drum else 0

    @property
    def file(self) -> str:
        key = "drum" if self.is_drum else f"{self.program:03d}"
        place = f"notes/{ALL_FONTS[self.font].package}"
        return f"{place}/{key}-{self.pitch:03d}-{self.velocity:03d}.flac"


def origin() -> dict[str, object]:
    """What determines the notes, besides the versions of packages and programs."""
    return {"fonts": list(FONTS), "per_program": PER_PROGRAM, "seed": SEED}


def make_notes(audio: Path, records: Path, packages: Path) -> tuple[list[CorpusSound], dict]:
    """Renders the notes into `audio`; those that a record names are not rendered again.

    Args:
        audio: the audio folder of the corpus.
        records: a folder for the records, kept for the next run.
        packages: where the unpacked packages are, or go; the caller may remove it.

    Returns:
        The notes, and the versions of what they were made from (packages, programs).

    Raises:
        CorpusError: something that is needed is missing, the records are of other notes, or a
            font has no sound at all.
    """
    about = records / "about.json"
    check_same_origin(about, origin())
    parts = [
        (font, program)
        for font in FONTS
        for program in (*PROGRAMS, None)
        if program not in SHARED_PROGRAMS[font]
    ]
    done = {part: _read(records, audio, *part) for part in parts}
    missing = [part for part in parts if done[part] is None]
    if missing:
        check_requirements(*REQUIRED_BY)
        fonts = Soundfonts(packages, FONTS, DISK_BYTES)
        check_same_origin(about, fonts.sources, "sources")
        records.mkdir(parents=True, exist_ok=True)
        storage.write_json(about, {"made_from": origin(), "sources": fonts.sources})
        for part in missing:
            done[part] = _render(records, audio, fonts, *part)
            if (number := parts.index(part) + 1) % EVERY == 0 or part is missing[-1]:
                logging.info("notes [%d/%d programs] %s", number, len(parts), part[0])
    heard = {font for (font, program), made in done.items() if made and program is not None}
    if silent := [font for font in FONTS if font not in heard]:
        raise CorpusError(f"the font {silent[0]} is silent. Fix: is its package whole?")
    sounds = [to_sound(note) for part in parts for note in done[part] or ()]
    return sounds, storage.read_json(about)["sources"]


def _render(
    records: Path, audio: Path, fonts: Soundfonts, font: str, program: int | None
) -> list[CorpusNote]:
    """Renders the notes of a program, or the drums (None), and writes their record last."""
    if program is None:
        keys = sorted({*range(FIRST_DRUM, FIRST_DRUM + len(DRUMS))} - SHARED_DRUMS[font])
        drawn = [CorpusNote(font, 0, *key, is_drum=True) for key in product(keys, DRUM_VELOCITIES)]
        part = render_heard(audio, fonts, drawn, len(drawn), FORM)
    else:
        part = render_heard(audio, fonts, draw(font, program), PER_PROGRAM, FORM)
    storage.write_json(_record(records, font, program), asdict(part))
    return part.notes


def _record(records: Path, font: str, program: int | None) -> Path:
    return records / f"{font}-{'drums' if program is None else f'{program:03d}'}.json"


def _read(records: Path, audio: Path, font: str, program: int | None) -> list[CorpusNote] | None:
    """The notes of a record, or None where there is none or one of its clips is gone."""
    record = _record(records, font, program)
    if not record.exists():
        return None
    notes = [CorpusNote(**note) for note in storage.read_json(record)["notes"]]
    return notes if all((audio / note.file).is_file() for note in notes) else None


def draw(font: str, program: int) -> list[CorpusNote]:
    """Every note of a program, in the order in which they are wanted."""
    keys = list(product(family_of(program).pitches, VELOCITIES))
    rng = np.random.default_rng((SEED, program, *font.encode()))
    return [CorpusNote(font, program, *keys[place]) for place in rng.permutation(len(keys))]


def to_sound(note: CorpusNote) -> CorpusSound:
    """The note as the corpus lists it; the pitches of a program stay on one side of a split."""
    font = ALL_FONTS[note.font]
    if note.is_drum:
        name = drum_name(note.pitch)
        group, tags = name.split()[-1], (*name.split(), "drum", "percussion")
    else:
        name, family = program_name(note.program), family_of(note.program)
        group, tags = f"{note.program:03d}", (*name.split(), *family.tags, *_register(note))
    tags = tuple(dict.fromkeys((*tags, *_loudness(note))))  # each once
    return CorpusSound(
        note.file, tags, f"{font.package}/{group}", font.licence, source=font.package
    )


def _register(note: CorpusNote) -> Iterator[str]:
    yield "low" if note.pitch < LOW else "high" if note.pitch >= HIGH else "middle"
    yield "note"


def _loudness(note: CorpusNote) -> Sequence[str]:
    return ("soft",) * (note.velocity <= SOFT) + ("loud",) * (note.velocity >= LOUD)
