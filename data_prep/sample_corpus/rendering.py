"""Clips of single notes: one MIDI file of many notes, cut into a sound file for each."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import soundfile
import soxr
from coala_jax.data_prep.sample_corpus.soundfonts import RENDER_HZ, Soundfonts
from jaxtyping import Float32

PAUSE_SECONDS = 0.5  # from one clip to the next
TICKS_PER_SECOND = 960
GAIN = 1.0
FULL_SCALE = 0.99  # a louder clip is turned down to it; 16 bit would cut its peaks off
SILENT_PEAK = 1e-3  # -60 dB: a quieter clip counts as silent
DRUMS = 9  # the channel of General MIDI's drums, from 0: every key is an instrument


@dataclass(frozen=True)
class Note:
    """A note by a soundfont; a subclass says how its clip is named.

    Attributes:
        font: a name in `soundfonts.FONTS`.
        program: the instrument, 0 to 127.
        pitch: MIDI's number, 0 to 127; middle C is 60.
        velocity: how hard it is struck, 1 to 127.
    """

    font: str
    program: int
    pitch: int
    velocity: int

    @property
    def channel(self) -> int:
        """0, or DRUMS."""
        return 0

    @property
    def file(self) -> str:
        """Path of the clip, with forward slashes."""
        raise NotImplementedError


N = TypeVar("N", bound=Note)


@dataclass(frozen=True)
class ClipForm:
    """What all clips have in common.

    Attributes:
        hold_seconds: from the beginning of a note until it is let go.
        ring_seconds: from there to the end of the clip.
        sample_rate_hz: the clip's, at most RENDER_HZ.
        format: "WAV" or "FLAC", of 16 bit.
    """

    hold_seconds: float
    ring_seconds: float
    sample_rate_hz: int
    format: str

    @property
    def clip_seconds(self) -> float:
        return self.hold_seconds + self.ring_seconds


@dataclass(frozen=True)
class Rendered(Generic[N]):
    """The notes whose clips are written.

    remarks: what was not as drawn, and why: one line each.
    """

    notes: list[N]
    remarks: list[str]


def render_heard(
    audio: Path, fonts: Soundfonts, drawn: Sequence[N], count: int, form: ClipForm
) -> Rendered[N]:
    """Writes the clips of the first `count` of the drawn notes, all of one font, that can be heard.

    They are fewer where not so many of the drawn ones can be heard.

    Raises:
        CorpusError: fluidsynth failed.
    """
    part, begin = Rendered([], []), 0
    while len(part.notes) < count and begin < len(drawn):
        batch = drawn[begin : begin + count - len(part.notes)]
        begin += len(batch)
        sound = fonts.render(midi_file(batch, form), batch[0].font, GAIN)
        for place, note in enumerate(batch):
            start = round(place * (form.clip_seconds + PAUSE_SECONDS) * RENDER_HZ)
            waveform, remark = fit_level(to_clip(sound[start:], form))
            if waveform is None:
                # Mostly beyond the keys that the font has for the instrument.
                part.remarks.append(f"{note.file}: {remark}; another note was drawn")
                continue
            if remark:
                part.remarks.append(f"{note.file}: {remark}")
            _write(audio / note.file, waveform, form)
            part.notes.append(note)
    return part


def midi_file(notes: Sequence[Note], form: ClipForm) -> bytes:
    """A MIDI file of one note after the other, each silenced before the next."""
    import mido  # of the extra notes

    midi = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2)  # at 120 beats a minute
    track = midi.add_track()
    hold = round(form.hold_seconds * TICKS_PER_SECOND)
    ring = round(form.ring_seconds * TICKS_PER_SECOND)
    pause = round(PAUSE_SECONDS * TICKS_PER_SECOND)
    for note in notes:
        key = {"channel": note.channel, "note": note.pitch}
        change = {"type": "control_change", "channel": note.channel}
        track.append(mido.Message("program_change", channel=note.channel, program=note.program))
        track.append(mido.Message("note_on", velocity=note.velocity, **key))
        track.append(mido.Message("note_off", time=hold, **key))
        track.append(mido.Message(control=120, time=ring, **change))  # all sound off
        # Something to wait for: the next note begins when this comes.
        track.append(mido.Message(control=121, time=pause, **change))
    content = io.BytesIO()
    midi.save(file=content)
    return content.getvalue()


def to_clip(
    waveform: Float32[np.ndarray, " sample"], form: ClipForm
) -> Float32[np.ndarray, " resampled"]:
    """The first seconds at the clip's rate; zeros where the sound is shorter."""
    wanted = round(form.clip_seconds * RENDER_HZ)
    cut = np.zeros(wanted, np.float32)
    cut[: min(wanted, waveform.size)] = waveform[:wanted]
    return soxr.resample(cut, RENDER_HZ, form.sample_rate_hz).astype(np.float32)


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


def _write(path: Path, waveform: Float32[np.ndarray, " sample"], form: ClipForm) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")  # renamed when whole
    soundfile.write(part, waveform, form.sample_rate_hz, format=form.format, subtype="PCM_16")
    part.replace(path)
