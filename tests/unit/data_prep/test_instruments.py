"""The task instruments: what is played, what is kept, and how a stopped run continues."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.proxy_tasks import instruments
from coala_jax.data_prep.proxy_tasks.instruments import make_instruments
from coala_jax.data_prep.sample_corpus import soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.fake_apt import contents
from tests.fake_synth import FakeSynth

NOTES = 2  # of each family by each of three fonts


@pytest.fixture
def synth(tmp_path, monkeypatch) -> FakeSynth:
    """One family, of three programs, so that a task takes three calls."""
    monkeypatch.setattr(instruments, "FAMILIES", {"vocal": range(52, 55)})
    return FakeSynth(tmp_path / "synth", monkeypatch)


def about(out: Path) -> dict:
    return json.loads((out / "instruments" / "about.json").read_text())


def clips_of(out: Path) -> list[list[str]]:
    lines = (out / "instruments" / "clips.csv").read_text().splitlines()
    assert lines[0] == "file,label,split,group"
    return [line.split(",") for line in lines[1:]]


def test_families_do_not_overlap_and_the_test_font_is_for_testing_alone():
    programs = [program for family in instruments.FAMILIES.values() for program in family]
    assert len(instruments.FAMILIES) == 10
    assert len(programs) == len(set(programs)) and set(programs) <= set(range(128))
    assert Counter(instruments.SPLITS.values()) == {"train": 2, "test": 1}
    assert instruments.SPLITS.keys() == soundfonts.FONTS.keys()


def test_the_draw_is_the_recorded_one_and_differs_by_font_family_and_seed():
    first = instruments.draw("fluidr3", "bass", 0)
    assert len(first) == len(set(first)) == 8 * 49 * 5
    found = [(note.program, note.pitch, note.velocity) for note in first[:3]]
    assert found == [(39, 69, 25), (34, 40, 75), (35, 44, 25)]  # or scores compare no more
    keys = [
        [(n.pitch, n.velocity) for n in instruments.draw(*key)[:8]]
        for key in (("fluidr3", "bass", 0), ("fluidr3", "bass", 1), ("timgm6mb", "bass", 0))
    ]
    keys.append([(n.pitch, n.velocity) for n in instruments.draw("fluidr3", "reed", 0)[:8]])
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])


def test_each_clip_is_the_note_of_its_name_and_its_origin_is_recorded(tmp_path, synth):
    folder = make_instruments(tmp_path, synth.packages, notes=NOTES)
    rows = clips_of(tmp_path)
    assert len({row[0] for row in rows}) == 3 * NOTES
    assert Counter((label, split, font) for _, label, split, font in rows) == {
        ("vocal", split, font): NOTES for font, split in instruments.SPLITS.items()
    }
    for file, label, _, font in rows:
        assert Path(file).parent == Path("audio", label)
        assert Path(file).stem.split("-")[0] == font
        program, pitch, velocity = map(int, Path(file).stem.split("-")[1:])
        assert program in instruments.FAMILIES[label]
        sound, rate = soundfile.read(folder / file)
        assert (rate, sound.shape) == (16_000, (64_000,))
        assert soundfile.info(folder / file).subtype == "PCM_16"
        # The sine is there from the first moment until it is let go after 3 s.
        loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
        assert loud[0] < 0.01 * rate and abs(loud[-1] - 3.0 * rate) < 0.01 * rate
        hz = np.abs(np.fft.rfft(sound[: 3 * rate])).argmax() / 3
        assert abs(12 * np.log2(hz / 440) + 69 - pitch) < 0.3
        assert np.abs(sound).max() == pytest.approx(0.5 * velocity / 127, rel=0.1)
    found = about(tmp_path)
    assert found["labels"] == {"vocal": {"train": 2 * NOTES, "test": NOTES}}
    assert (found["sources"]["fluidsynth"], found["sources"]["minuet-data"]) == ("9.8.7", "1.0-1")
    assert found["not_as_drawn"] == []
    # No effects, and not the settings of whoever runs it.
    assert all(" -R 0 -C 0 " in call and "/settings " in call for call in synth.calls)
    names = ["about.json", "audio", "clips.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_silent_notes_are_replaced_and_loud_ones_turned_down_and_both_recorded(tmp_path, synth):
    synth.set_font("timgm6mb", silent_from=60)
    synth.set_font("generaluser", level=3.0)
    folder = make_instruments(tmp_path, synth.packages, notes=6)
    rows = clips_of(tmp_path)
    assert len(rows) == 3 * 6 == len(list(folder.rglob("*.wav")))
    assert max(int(row[0].split("-")[2]) for row in rows if row[3] == "timgm6mb") < 60
    silent, loud = [], []
    for remark in about(tmp_path)["not_as_drawn"]:
        (silent if "silent" in remark else loud).append(remark.split(":")[0])
    assert silent and all("timgm6mb" in file for file in silent)
    assert loud and all("generaluser" in file for file in loud)
    for file in loud:
        sound, _ = soundfile.read(folder / "audio" / file)
        assert np.abs(sound).max() == pytest.approx(0.99, abs=1e-3)


def test_a_font_without_enough_notes_is_an_error(tmp_path, synth, monkeypatch):
    monkeypatch.setattr(instruments, "PITCHES", [60])
    synth.set_font("timgm6mb", silent_from=0)
    with pytest.raises(CorpusError, match="timgm6mb has only 0 of 2 notes"):
        make_instruments(tmp_path, synth.packages, notes=NOTES)
    assert not (tmp_path / "instruments" / "clips.csv").exists()


def test_a_stopped_run_continues_to_the_same_bytes(tmp_path, synth):
    make_instruments(tmp_path / "whole", synth.packages, notes=NOTES)
    synth.set_font("timgm6mb", fails=True)
    with pytest.raises(CorpusError, match="out of tune"):
        make_instruments(tmp_path / "stopped", synth.packages, notes=NOTES)
    assert not (tmp_path / "stopped" / "instruments" / "clips.csv").exists()
    calls = len(synth.calls)
    synth.set_font("timgm6mb")
    make_instruments(tmp_path / "stopped", synth.packages, notes=NOTES)
    assert len(synth.calls) == calls + 2  # the first font is not played again
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    synth.remove("fluidsynth")  # a complete task needs no program
    make_instruments(tmp_path / "stopped", synth.packages, notes=NOTES)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_a_task_made_from_something_else_is_refused(tmp_path, synth):
    synth.set_font("timgm6mb", fails=True)
    with pytest.raises(CorpusError, match="out of tune"):
        make_instruments(tmp_path, synth.packages, notes=NOTES)
    with pytest.raises(CorpusError, match="'seed': 1"):
        make_instruments(tmp_path, synth.packages, notes=NOTES, seed=1)
    (synth.packages / "minuet-data.version").write_text("2.0-1")
    with pytest.raises(CorpusError, match=r"'minuet-data': '2\.0-1'"):
        make_instruments(tmp_path, synth.packages, notes=NOTES)
    synth.font_file("generaluser").unlink()
    with pytest.raises(CorpusError, match=r"minuet-data 2\.0-1.*GeneralUser"):
        make_instruments(tmp_path / "new", synth.packages, notes=NOTES)
