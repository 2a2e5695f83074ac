"""preparation.standin_notes: what is played, what is kept, and how a stopped run goes on."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coala_jax.data_prep.proxy_tasks import instruments, soundfonts
from coala_jax.data_prep.proxy_tasks.instruments import make_instruments
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.fake_synth import FakeSynth, clips_of, contents

NOTES = 3  # of each family by each of three fonts


@pytest.fixture
def synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSynth:
    """One family, of three programs, so that a set takes three calls."""
    monkeypatch.setattr(instruments, "FAMILIES", {"vocal": range(52, 55)})
    return FakeSynth(tmp_path / "synth", monkeypatch)


@pytest.fixture
def two_families(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {"organ": range(16, 19), "vocal": range(52, 55)}
    monkeypatch.setattr(instruments, "FAMILIES", families)


def make(out: Path, synth: FakeSynth, **choices: int) -> list[str]:
    said: list[str] = []
    make_instruments(out, synth.packages, said.append, **{"notes": NOTES, **choices})
    return said


def about(out: Path) -> dict:
    return json.loads((out / "instruments" / "about.json").read_text())


def test_ten_families_of_general_midi_do_not_overlap():
    programs = [program for family in instruments.FAMILIES.values() for program in family]
    assert len(instruments.FAMILIES) == 10
    assert len(programs) == len(set(programs)) and set(programs) <= set(range(128))
    # One font plays the tests, and it is in no other part.
    assert Counter(instruments.SPLITS.values()) == {"train": 2, "test": 1}
    assert instruments.SPLITS.keys() == soundfonts.FONTS.keys()


def test_each_clip_is_the_note_of_its_name(tmp_path: Path, synth: FakeSynth, two_families: None):
    make(tmp_path, synth)
    folder = tmp_path / "instruments"
    header, *rows = clips_of(folder)
    assert header == ["file", "label", "split", "group"]
    assert len(rows) == len({row[0] for row in rows}) == 2 * 3 * NOTES
    assert Counter((label, split, font) for _, label, split, font in rows) == {
        (label, split, font): NOTES
        for label in ("organ", "vocal")
        for font, split in instruments.SPLITS.items()
    }
    for file, label, _, font in rows:
        name = Path(file).stem
        assert (Path(file).parent.name, name.split("-")[0]) == (label, font)
        _, program, pitch, velocity = name.split("-")
        assert int(program) in instruments.FAMILIES[label]
        info = soundfile.info(folder / file)
        assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 64_000)
        assert info.subtype == "PCM_16"
        sound, rate = soundfile.read(folder / file)
        # The sine is there from the first moment until it is let go after 3 s.
        loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
        assert loud[0] < 0.01 * rate and abs(loud[-1] - 3.0 * rate) < 0.01 * rate
        hz = np.abs(np.fft.rfft(sound[: 3 * rate])).argmax() / 3
        assert abs(12 * np.log2(hz / 440) + 69 - int(pitch)) < 0.3
        assert np.abs(sound).max() == pytest.approx(
            0.5 * int(velocity) / 127, rel=0.1
        )  # it rings where it ends


def test_what_plays_them_is_told(tmp_path: Path, synth: FakeSynth):
    make(tmp_path, synth)
    found = about(tmp_path)
    assert found["limits"].startswith("Not NSynth")
    assert found["clips"] == {"train": 2 * NOTES, "test": NOTES}
    assert found["labels"]["vocal"] == {"train": 2 * NOTES, "test": NOTES}
    assert found["not_as_drawn"] == []
    sources = found["made_from"]["sources"]
    assert (sources["fluidsynth"], sources["minuet-data"]) == ("9.8.7", "1.0-1")
    # No effects, and not the settings of whoever runs it.
    assert all(" -R 0 -C 0 " in call and "/settings " in call for call in synth.calls)
    assert sorted(p.name for p in (tmp_path / "instruments").iterdir()) == [
        *("about.json", "audio", "clips.csv", "details.csv")
    ]
    assert not [path.name for path in synth.packages.iterdir() if path.name.startswith(".")]


def test_silent_notes_are_replaced_and_told(tmp_path: Path, synth: FakeSynth):
    synth.set_font("timgm6mb", silent_from=70)
    make(tmp_path, synth)
    rows = clips_of(tmp_path / "instruments")[1:]
    assert len(rows) == 3 * NOTES
    pitches = [int(row[0].split("-")[2]) for row in rows if row[3] == "timgm6mb"]
    assert max(pitches) < 70
    remarks = about(tmp_path)["not_as_drawn"]
    assert remarks and all("timgm6mb" in remark for remark in remarks)
    assert remarks[0].endswith(".wav: silent, its peak is 0; another note was drawn")
    # None was written and left behind.
    assert len(list((tmp_path / "instruments" / "audio").rglob("*.wav"))) == len(rows)


def test_family_that_a_font_does_not_have_is_an_error(
    tmp_path: Path, synth: FakeSynth, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(instruments, "PITCHES", [60])
    synth.set_font("timgm6mb", silent_from=0)
    with pytest.raises(CorpusError, match="timgm6mb has only 0 of 3 notes of the family vocal"):
        make(tmp_path, synth)
    assert not (tmp_path / "instruments" / "clips.csv").exists()


def test_notes_that_would_clip_are_turned_down_and_told(tmp_path: Path, synth: FakeSynth):
    synth.set_font("generaluser", level=3.0)
    make(tmp_path, synth)
    remarks = about(tmp_path)["not_as_drawn"]
    assert remarks and all("generaluser" in r and "turned down, its peak" in r for r in remarks)
    for remark in remarks:
        sound, _ = soundfile.read(tmp_path / "instruments" / "audio" / remark.split(":")[0])
        assert np.abs(sound).max() == pytest.approx(0.99, abs=1e-3)


def test_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, synth: FakeSynth):
    make(tmp_path / "whole", synth)
    assert len(synth.calls) == 3
    synth.set_font("timgm6mb", fails=True)
    with pytest.raises(CorpusError, match="exit code 1: fluidsynth: error: it is out of tune"):
        make(tmp_path / "stopped", synth)
    assert not (tmp_path / "stopped" / "instruments" / "clips.csv").exists()
    assert len(synth.calls) == 3 + 2  # of which one was played
    synth.set_font("timgm6mb")
    make(tmp_path / "stopped", synth)
    assert len(synth.calls) == 3 + 2 + 2
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_whole_set_stays_and_needs_no_program(tmp_path: Path, synth: FakeSynth):
    out = tmp_path / "out"
    make(out, synth)
    before, calls = contents(out), len(synth.calls)
    synth.remove("fluidsynth")
    assert make(out, synth)[-1].endswith("is whole already")
    assert contents(out) == before and len(synth.calls) == calls


def test_another_seed_gives_other_notes_and_wants_its_own_folder(tmp_path: Path, synth: FakeSynth):
    make(tmp_path / "a", synth)
    make(tmp_path / "b", synth, seed=1)
    first, second = (clips_of(tmp_path / name / "instruments") for name in "ab")
    assert len({row[0] for row in first} & {row[0] for row in second}) < len(first) / 2
    with pytest.raises(CorpusError, match=r"made from another recipe .*choose another folder"):
        make(tmp_path / "a", synth, seed=1)


def test_fonts_and_families_have_draws_of_their_own(
    tmp_path: Path, synth: FakeSynth, two_families: None
):
    make(tmp_path, synth, notes=8)
    keys: dict[tuple[str, str], set[str]] = {}
    for file, label, _, font in clips_of(tmp_path / "instruments")[1:]:
        keys.setdefault((label, font), set()).add(Path(file).stem.split("-", 2)[2])
    drawn = list(keys.values())
    assert all(a != b for i, a in enumerate(drawn) for b in drawn[:i])


def test_rest_of_a_run_with_other_packages_is_refused(tmp_path: Path, synth: FakeSynth):
    synth.set_font("timgm6mb", fails=True)
    with pytest.raises(CorpusError, match="out of tune"):
        make(tmp_path, synth)
    synth.set_font("timgm6mb")
    (synth.packages / "minuet-data.version").write_text("2.0-1")
    with pytest.raises(CorpusError, match=r"another sources .*'minuet-data': '1\.0-1'"):
        make(tmp_path, synth)


def test_description_that_is_none_is_named(tmp_path: Path, synth: FakeSynth):
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments" / "about.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"about\.json describes no such set .*delete"):
        make(tmp_path, synth)


def test_package_without_its_font_is_named(tmp_path: Path, synth: FakeSynth):
    font = soundfonts.FONTS["generaluser"]
    (synth.packages / font.package / font.path).unlink()
    with pytest.raises(CorpusError, match=r"minuet-data 1\.0-1 holds no usr/share/minuet"):
        make(tmp_path, synth)
