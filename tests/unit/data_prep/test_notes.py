"""Notes for pre-training: what is played, how it is tagged, how a stopped run goes on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.proxy_tasks.instruments import SPLITS
from coala_jax.data_prep.sample_corpus import general_midi, notes, soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from coala_jax.data_prep.sample_corpus.notes import CorpusNote, draw, make_notes, to_sound

from coala_jax.tags.normalize import normalize_tags
from tests.fake_apt import contents
from tests.fake_synth import FakeSynth

PACKAGES = {"minuet-data", "timgm6mb-soundfont"}


@pytest.fixture
def synth(tmp_path, monkeypatch) -> FakeSynth:
    """Three notes of each of two programs and of three drums, by two fonts: six calls."""
    monkeypatch.setattr(notes, "PROGRAMS", (0, 73))
    monkeypatch.setattr(notes, "PER_PROGRAM", 3)
    monkeypatch.setattr(notes, "DRUMS", general_midi.DRUMS[:3])
    monkeypatch.setattr(notes, "DRUM_VELOCITIES", (100,))
    return FakeSynth(tmp_path / "synth", monkeypatch)


def make(folder: Path, synth: FakeSynth):
    return make_notes(folder / "audio", folder / "records", synth.packages)


def test_no_font_of_pre_training_plays_test_notes():
    test = {font for font, split in SPLITS.items() if split == "test"}
    assert test == {"fluidr3"} and not test & set(notes.FONTS)


def test_what_a_font_shares_with_the_test_font_is_not_played(tmp_path, synth, monkeypatch):
    monkeypatch.setattr(notes, "PROGRAMS", (2, 3, 52, 122))
    monkeypatch.setattr(notes, "DRUMS", general_midi.DRUMS)
    sounds, _ = make(tmp_path, synth)
    keys = {(s.source, *Path(s.file).stem.split("-")[:2]) for s in sounds}
    programs = {(source, key) for source, key, _ in keys if key != "drum"}
    assert programs == {
        *(("minuet-data", key) for key in ("003", "052", "122")),
        *(("timgm6mb-soundfont", key) for key in ("002", "003")),
    }
    drums = {(source, pitch) for source, key, pitch in keys if key == "drum"}
    every = {(package, f"{pitch:03d}") for package in PACKAGES for pitch in range(35, 82)}
    assert every - drums == {("minuet-data", "036"), ("minuet-data", "058")}


def test_the_draw_is_the_recorded_one_and_differs_by_font_and_program():
    drawn = draw("timgm6mb", 33)
    assert len(drawn) == len(set(drawn)) == 41 * 5
    assert [(note.pitch, note.velocity) for note in drawn[:3]] == [(48, 25), (54, 75), (36, 75)]
    others = [draw("generaluser", 33), draw("timgm6mb", 34)]
    keys = [[(note.pitch, note.velocity) for note in notes[:8]] for notes in (drawn, *others)]
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])


def test_each_clip_is_the_note_of_its_name(tmp_path, synth):
    sounds, versions = make(tmp_path, synth)
    assert Counter((sound.source, sound.group) for sound in sounds) == {
        (package, f"{package}/{group}"): count
        for package in PACKAGES
        # GeneralUser's kick on key 36 may be FluidR3's.
        for group, count in (
            *(("000", 3), ("073", 3), ("stick", 1)),
            ("drum", 1 if package == "minuet-data" else 2),
        )
    }
    assert versions["minuet-data"] == "1.0-1" and versions["fluidsynth"] == "9.8.7"
    assert {sound.file for sound in sounds} == contents(tmp_path / "audio").keys()
    for sound in sounds:
        key, pitch, velocity = Path(sound.file).stem.split("-")
        assert Path(sound.file).parent == Path("notes", sound.source)
        path = tmp_path / "audio" / sound.file
        waveform, rate = soundfile.read(path)
        assert (rate, waveform.shape) == (22_050, (66_150,))
        about = soundfile.info(path)
        assert (about.format, about.subtype) == ("FLAC", "PCM_16")
        # The sine is there from the first moment until it is let go after 2 s.
        loud = np.flatnonzero(np.abs(waveform) > 0.1 * np.abs(waveform).max())
        assert loud[0] < 0.01 * rate and abs(loud[-1] - 2.0 * rate) < 0.01 * rate
        hz = np.abs(np.fft.rfft(waveform[: 2 * rate])).argmax() / 2
        assert abs(12 * np.log2(hz / 440) + 69 - int(pitch)) < 0.3
        assert np.abs(waveform).max() == pytest.approx(0.5 * int(velocity) / 127, rel=0.1)
        assert (key == "drum") == ("drum" in sound.tags)


def test_drums_are_played_on_their_channel(synth, tmp_path, monkeypatch):
    played = []
    write = soundfonts.Soundfonts.render
    monkeypatch.setattr(
        soundfonts.Soundfonts, "render", lambda *a: played.append(a[1]) or write(*a)
    )
    make(tmp_path, synth)
    channels = [{byte & 15 for byte in midi if 0x90 <= byte < 0xA0} for midi in played]
    assert channels == [{0}, {0}, {9}] * 2


TAGS = {
    (0, 47, 100): "acoustic grand piano keyboard low note loud",
    (0, 48, 75): "acoustic grand piano keyboard middle note",
    (24, 71, 50): "acoustic nylon guitar middle note soft",
    (127, 72, 99): "gunshot effect high note",
}


@pytest.mark.parametrize("key", TAGS)
def test_tags_of_a_note(key):
    sound = to_sound(CorpusNote("generaluser", *key))
    assert " ".join(sound.tags) == TAGS[key]
    assert (sound.licence, sound.source) == ("LicenseRef-GeneralUser-GS", "minuet-data")


@pytest.mark.parametrize(
    ("pitch", "tags"),
    [
        (35, "acoustic kick bass drum percussion loud"),
        (42, "closed hihat drum percussion loud"),
        (81, "open triangle drum percussion loud"),
    ],
)
def test_tags_of_a_drum(pitch, tags):
    sound = to_sound(CorpusNote("timgm6mb", 0, pitch, 100, is_drum=True))
    assert " ".join(sound.tags) == tags and sound.licence == "GPL-2.0-only"


def test_every_tag_survives_normalising():
    sounds = [to_sound(draw("timgm6mb", number)[0]) for number in notes.PROGRAMS]
    keys = range(35, 82)
    sounds += [to_sound(CorpusNote("timgm6mb", 0, key, 75, is_drum=True)) for key in keys]
    tags = tuple({tag: None for sound in sounds for tag in sound.tags})
    assert normalize_tags(tags) == tags
    assert len({sound.group for sound in sounds}) == 128 + 22
    assert [len(family.programs) for family in general_midi.FAMILIES] == [8] * 16


def test_silent_notes_are_replaced_and_a_silent_font_is_an_error(tmp_path, synth, monkeypatch):
    monkeypatch.setattr(notes, "VELOCITIES", (100,))
    synth.set_font("timgm6mb", silent_from=60)
    sounds, _ = make(tmp_path, synth)
    assert len(sounds) == 2 * (2 * 3 + 3) - 1
    pitches = [
        int(Path(s.file).stem.split("-")[1]) for s in sounds if s.source == "timgm6mb-soundfont"
    ]
    assert max(pitches) < 60
    synth.set_font("timgm6mb", silent_from=0)
    with pytest.raises(CorpusError, match="timgm6mb is silent"):
        make(tmp_path / "silent", synth)


def test_a_stopped_run_goes_on_to_the_same_bytes_and_a_lost_clip_is_played_again(tmp_path, synth):
    whole = make(tmp_path / "whole", synth)
    synth.set_font("timgm6mb", fails=True)
    stopped = tmp_path / "stopped"
    with pytest.raises(CorpusError, match="out of tune"):
        make(stopped, synth)
    synth.set_font("timgm6mb")
    calls = len(synth.calls)
    assert make(stopped, synth) == whole
    assert len(synth.calls) == calls + 3  # the first font is not played again
    assert contents(stopped) == contents(tmp_path / "whole")
    (stopped / "audio" / whole[0][0].file).unlink()
    make(stopped, synth)
    assert contents(stopped) == contents(tmp_path / "whole")
    assert len(synth.calls) == calls + 4
    synth.remove("fluidsynth")  # complete notes need no program
    assert make(stopped, synth) == whole


def test_notes_of_another_draw_or_package_are_refused(tmp_path, synth, monkeypatch):
    sounds, _ = make(tmp_path, synth)
    (tmp_path / "audio" / sounds[0].file).unlink()
    (synth.packages / "minuet-data.version").write_text("2.0-1")
    with pytest.raises(CorpusError, match=r"'minuet-data': '2\.0-1'"):
        make(tmp_path, synth)
    monkeypatch.setattr(notes, "SEED", 1)
    with pytest.raises(CorpusError, match="'seed': 1"):
        make(tmp_path, synth)
