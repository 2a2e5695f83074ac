"""Single notes of ten instrument families, for when NSynth cannot be downloaded.

General MIDI programs played by soundfonts: two for training, and for testing a third, of which no
recording is in the others. A note is held for 3 s and rings for 1 s, as NSynth's are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import mido
import numpy as np
from coala_jax.data_prep.proxy_tasks import soundfonts
from coala_jax.data_prep.proxy_tasks.rendered_set import Part, RenderedClip, RenderedSet, fit_level
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from jaxtyping import Float32

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
PITCHES = range(36, 85)  # two octaves either way of middle C; beyond, few are themselves
VELOCITIES = (25, 50, 75, 100, 127)
HOLD_SECONDS = 3.0
CLIP_SECONDS = 4.0
SLOT_SECONDS = 4.5  # from note to note
SAMPLE_RATE_HZ = 16_000
TICKS_PER_SECOND = 960
GAIN = 1.0

# A few recordings of GeneralUser are in TimGM6mb too, none of FluidR3 is in either.
SPLITS = {"generaluser": "train", "timgm6mb": "train", "fluidr3": "test"}
LIMITS = (
    "Not NSynth: notes of three free soundfonts, each of which stretches few recordings over many "
    "pitches. Scores on them say which of two models is better here and do not compare with scores "
    "on NSynth. A font that plays test notes must not have been heard in pre-training."
)


@dataclass(frozen=True)
class _Note:
    font: str
    family: str
    program: int
    pitch: int
    velocity: int


def make_instruments(
    out: Path,
    packages: Path,
    say: Callable[[str], None] = print,
    *,
    notes: int = 50,
    seed: int = 0,
) -> None:
    """Makes the set in `out/instruments`; run again, it goes on where it was stopped.

    Args:
        out: the folder of all stand-ins.
        packages: where the unpacked packages are, or go.
        say: receives a line of progress at a time.
        notes: how many of each family by each font.
        seed: of the draw of notes, at least 0.

    Raises:
        CorpusError: something that is needed is missing, or another set is there.
    """
    made = RenderedSet(out / "instruments", {"seed": seed, "notes": notes, "fonts": SPLITS})
    if made.is_whole:
        say(f"instrument notes: {made.folder} is whole already")
        return
    fonts = soundfonts.Soundfonts(packages, say)
    made.begin(fonts.sources)
    parts = []
    for number, (font, family) in enumerate(product(SPLITS, FAMILIES), 1):
        name = f"{font}-{family}"
        part = made.part(name)
        if part is None:
            part = _make_part(made, fonts, _draw(font, family, seed), notes)
            made.keep_part(name, part)
            say(f"instrument notes [{number}/{len(SPLITS) * len(FAMILIES)}] {font}, {family}")
        parts.append(part)
    clips = made.finish(parts, LIMITS)
    say(f"instrument notes: {clips} notes of {len(FAMILIES)} families, in {made.folder}")


def _make_part(
    made: RenderedSet, fonts: soundfonts.Soundfonts, drawn: Sequence[_Note], notes: int
) -> Part:
    """The first of the drawn notes that can be heard, as many as are wanted; one font's."""
    part = Part([], [])
    begin = 0
    while len(part.clips) < notes:
        batch = drawn[begin : begin + notes - len(part.clips)]
        begin += len(batch)
        if not batch:
            raise CorpusError(
                f"the font {drawn[0].font} has only {len(part.clips)} of {notes} notes of the "
                f"family {drawn[0].family}"
            )
        sound = fonts.render(_midi(batch), drawn[0].font, GAIN, room=False)
        for place, note in enumerate(batch):
            start = round(place * SLOT_SECONDS * soundfonts.RENDER_HZ)
            clip = soundfonts.to_clip(sound[start:], CLIP_SECONDS, SAMPLE_RATE_HZ)
            _keep_note(made, part, note, clip)
    return part


def _keep_note(
    made: RenderedSet, part: Part, note: _Note, clip: Float32[np.ndarray, " sample"]
) -> None:
    key = f"{note.program:03d}-{note.pitch:03d}-{note.velocity:03d}"
    file = f"{note.family}/{note.font}-{key}.wav"
    waveform, remark = fit_level(clip)
    if waveform is None:
        # Mostly beyond the keys that the font has for the instrument.
        part.remarks.append(f"{file}: {remark}; another note was drawn")
        return
    if remark:
        part.remarks.append(f"{file}: {remark}")
    made.keep_sound(file, waveform, SAMPLE_RATE_HZ)
    details = {name: getattr(note, name) for name in ("program", "pitch", "velocity")}
    part.clips.append(RenderedClip(file, note.family, SPLITS[note.font], note.font, details))


def _draw(font: str, family: str, seed: int) -> list[_Note]:
    """Every note there is, in the order in which they are wanted."""
    keys = product(FAMILIES[family], PITCHES, VELOCITIES)
    notes = [_Note(font, family, *key) for key in keys]
    rng = np.random.default_rng((seed, *f"{font} {family}".encode()))
    order = rng.permutation(len(notes))
    return [notes[place] for place in order]


def _midi(notes: Sequence[_Note]) -> mido.MidiFile:
    """One note after the other, each silenced before the next."""
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
    return midi
