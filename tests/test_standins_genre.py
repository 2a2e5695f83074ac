"""preparation.standin_genre and arrangements: what mma is told, the split, and what is kept."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.preparation import arrangements, standin_genre
from coala_jax.preparation.corpus_folder import CorpusError
from coala_jax.preparation.standin_genre import make_genre
from tests.fake_synth import FakeSynth, clips_of, contents

CLIPS = 3  # of each of two styles


@pytest.fixture
def synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSynth:
    """A library of two styles in three files each, every file with a groove of its name."""
    styles = {style: tuple(f"lib/{style}{n}" for n in range(3)) for style in ("polka", "tango")}
    monkeypatch.setattr(standin_genre, "STYLES", styles)
    monkeypatch.setattr(standin_genre, "CLIP_SECONDS", 2.0)
    fake = FakeSynth(tmp_path / "synth", monkeypatch)
    for files in styles.values():
        for file in files:
            fake.add_grooves(file, Path(file).name.title())
    return fake


def make(out: Path, synth: FakeSynth, **choices: int) -> list[str]:
    said: list[str] = []
    make_genre(out, synth.packages, said.append, **{"clips": CLIPS, **choices})
    return said


def about(out: Path) -> dict:
    return json.loads((out / "genre" / "about.json").read_text())


def details(out: Path) -> list[dict[str, str]]:
    header, *rows = ((out / "genre" / "details.csv").read_text()).splitlines()
    return [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]


def test_ten_styles_share_no_file():
    files = [file for own in standin_genre.STYLES.values() for file in own]
    assert len(standin_genre.STYLES) == 10 and len(files) == len(set(files))
    assert all(len(own) >= 8 for own in standin_genre.STYLES.values())
    assert standin_genre.CLIP_SECONDS == 15.0


def test_real_plan_has_no_file_on_both_sides_and_uses_all():
    jobs = standin_genre._plan(40, 0)
    assert len({job.name for job in jobs}) == len(jobs) == 400
    assert Counter((job.style, job.split) for job in jobs) == {
        (style, split): count
        for style in standin_genre.STYLES
        for split, count in (("train", 27), ("test", 13))
    }
    sides = {(job.file, job.split) for job in jobs}
    assert len(sides) == len({file for file, _ in sides})
    for style, files in standin_genre.STYLES.items():
        assert {job.file for job in jobs if job.style == style} == set(files)
        test = {job.file for job in jobs if (job.style, job.split) == (style, "test")}
        assert len(test) == round(len(files) / 3)
    assert {job.file: job.split for job in standin_genre._plan(40, 1)} != dict(sides)


def test_clips_are_as_their_rows_say(tmp_path: Path, synth: FakeSynth):
    make(tmp_path, synth)
    header, *rows = clips_of(tmp_path / "genre")
    assert header == ["file", "label", "split", "group"]
    assert Counter((label, split) for _, label, split, _ in rows) == {
        (label, split): count
        for label in ("polka", "tango")
        for split, count in (("train", 2), ("test", 1))
    }
    assert len({row[3] for row in rows}) == 6  # each file of the library once
    for row, made in zip(rows, details(tmp_path), strict=True):
        file, label, split, group = row
        assert Path(file).parts[:2] == ("audio", label) and split in Path(file).stem
        assert made["file"] == file and made["groove"] == Path(group).name.title()
        info = soundfile.info(tmp_path / "genre" / file)
        assert (info.samplerate, info.channels, info.frames) == (22_050, 1, 44_100)
        assert info.subtype == "PCM_16"
        sound, rate = soundfile.read(tmp_path / "genre" / file)
        # The first chord sounds at its pitch (one key a letter, see the fake mma) to the end.
        first = sound[: round(rate * 60 / int(made["tempo"]))]
        spectrum = np.abs(np.fft.rfft(first * np.hanning(first.size), 8 * rate))
        key = 12 * np.log2(spectrum.argmax() / 8 / 440) + 69
        chord = made["chords"].split()[0]
        assert abs(key - 60 - len(chord) - int(made["transposition"])) < 0.3
        assert np.abs(sound[-rate // 10 :]).max() > 0.1


def test_mma_is_told_what_is_drawn_and_where_its_library_is(tmp_path: Path, synth: FakeSynth):
    make(tmp_path, synth)
    scripts = {call.split("Groove ")[1].split(";")[0]: call for call in synth.mma_calls}
    assert len(scripts) == 6
    for made, row in zip(details(tmp_path), clips_of(tmp_path / "genre")[1:], strict=True):
        *lines, home = scripts[made["groove"]].split("; ")
        assert lines[:5] == [
            f"RndSeed {made['mma_seed']}",
            f"Transpose {made['transposition']}",
            f"Use {row[3]}",
            f"Groove {made['groove']}",
            f"Tempo {made['tempo']}",
        ]
        chords = made["chords"].split()
        assert len(chords) == 8 and set(chords) <= set(standin_genre.CHORDS)
        assert lines[5:] == [f"{n + 1} {chords[n % 8]}" for n in range(len(lines) - 5)]
        # Bars of two beats are the shortest there are.
        assert (len(lines) - 5) * 2 * 60 / int(made["tempo"]) >= 2.0
        assert home == str((synth.packages / "mma/usr/share/mma").resolve())
    assert all(" -R 1 -C 1 " in call for call in synth.calls)
    assert about(tmp_path)["limits"].startswith("Not GTZAN")
    assert about(tmp_path)["made_from"]["sources"]["mma"] == "1.0-1"


def test_silent_draw_is_drawn_again_and_told(tmp_path: Path, synth: FakeSynth):
    synth.add_grooves("lib/tango1", "Quiet", "Tango")
    make(tmp_path, synth, clips=6)
    remarks = about(tmp_path)["not_as_drawn"]
    assert remarks and all(
        "Quiet of lib/tango1: silent, its peak is 0; drawn again" in remark for remark in remarks
    )
    assert {row["groove"] for row in details(tmp_path) if "tango" in row["file"]} >= {"Tango"}
    assert "Quiet" not in {row["groove"] for row in details(tmp_path)}
    assert len(clips_of(tmp_path / "genre")) == 1 + 12


def test_file_that_is_always_silent_is_an_error(tmp_path: Path, synth: FakeSynth):
    synth.add_grooves("lib/polka2", "Quiet")
    with pytest.raises(CorpusError, match="lib/polka2: 10 draws in a row are silent"):
        make(tmp_path, synth)
    assert not (tmp_path / "genre" / "clips.csv").exists()


def test_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, synth: FakeSynth):
    make(tmp_path / "whole", synth)
    synth.add_grooves("lib/tango2", "Broken")
    with pytest.raises(CorpusError, match="mma failed on Broken of lib/tango2: ERROR: no such"):
        make(tmp_path / "stopped", synth)
    synth.add_grooves("lib/tango2", "Tango2")
    done = len(list((tmp_path / "stopped" / "genre" / ".parts").iterdir()))
    assert 3 <= done < 6
    before = len(synth.calls)
    make(tmp_path / "stopped", synth)
    assert len(synth.calls) == before + 6 - done
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_beginnings_ends_and_fills_are_no_grooves_to_repeat(tmp_path: Path, synth: FakeSynth):
    loops = ["DescendingJazz", "BluesSus", "metal1A", "R&B-Ballad", "kbossaB"]
    parts = ["BluesIntro", "RockWaltz1intro8", "BluesEnd", "JazzBasieEndingA", "SlowBluesFill1"]
    parts += ["MamboBreakAA", "metal1FA", "metal1FB", "slowrockE"]
    synth.add_grooves("lib/mixed", *parts, *loops, "BluesSus")
    assert arrangements.grooves(synth.packages, "lib/mixed") == loops
    synth.add_grooves("lib/parts", *parts)
    with pytest.raises(CorpusError, match=r"parts\.mma defines no groove that can be repeated"):
        arrangements.grooves(synth.packages, "lib/parts")
    with pytest.raises(CorpusError, match=r"none\.mma is not there; package mma 21\.09 has it"):
        arrangements.grooves(synth.packages, "lib/none")
