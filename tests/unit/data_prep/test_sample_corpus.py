"""The program that makes sample corpora, on tiny packages and without a network."""

import csv
import dataclasses
import json
import os

import pytest
from coala_jax.data_prep.sample_corpus import __main__ as program
from coala_jax.data_prep.sample_corpus import notes, soundfonts

from tests.fake_apt import FakeApt, contents, listed, needs_dpkg_deb, write_list
from tests.fake_synth import FakeSynth

FILES = {f"drums/kick{number}.wav": b"kick" * number for number in range(1, 8)}
NAMES = [f"drums-data/{path}" for path in FILES]


@pytest.fixture
def apt(tmp_path, monkeypatch) -> FakeApt:
    """A small list of two packages, of which the archive has one and a half, and a standard one."""
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    fake.build("drums-data", FILES)
    wanted = [listed("drums-data", path, content) for path, content in FILES.items()]
    wanted.append(listed("drums-data", "drums/kick1.flac", b"not packaged"))
    wanted += [listed("bells-data", f"bells/{number}.wav", b"bell") for number in range(9)]
    write_list(tmp_path / "list.tsv", wanted)
    write_list(tmp_path / "longer.tsv", wanted[:7])
    for size, name in (("small", "list.tsv"), ("standard", "longer.tsv")):
        corpus = program.DebianCorpus((tmp_path / name,), disk_bytes=0)
        monkeypatch.setitem(program.SIZES, size, corpus)
    return fake


@pytest.fixture
def out(tmp_path):
    return tmp_path / "deep" / "corpus"


def description(out) -> dict:
    return json.loads((out / "corpus.json").read_text(encoding="utf-8"))


@needs_dpkg_deb
def test_the_corpus_lists_its_sounds_and_what_is_missing(apt, out, caplog, capsys):
    assert program.main(["--out", str(out)]) == 0
    with (out / "sounds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == NAMES
    assert list(rows[0].values())[1:] == ["drum kick", "drums-data/all", "CC0-1.0", "drums-data"]
    assert contents(out / "audio") == dict(zip(NAMES, FILES.values(), strict=True))
    no_package = "package bells-data: Unable to locate package bells-data"
    no_file = "package drums-data 1:2.0-3: no such file"
    found = description(out)
    assert (found["name"], found["sounds"]) == ("debian-small", 7)
    assert found["missing"] == {no_file: 1, no_package: 9}
    about = {"sounds": 7, "licences": {"CC0-1.0": 7}, "version": "1:2.0-3"}
    assert found["sources"] == {"drums-data": about}
    missing = [f"bells-data/bells/{number}.wav" for number in range(9)]
    assert found["missing_files"][no_package] == missing
    assert f"{no_file}: drums-data/drums/kick1.flac" in caplog.text
    assert f"{no_package}: {', '.join(missing[:5])} and 4 more" in caplog.text
    assert capsys.readouterr().out == f"debian corpus: 7 sounds in 1 groups, in {out}\n"


@needs_dpkg_deb
def test_a_size_has_its_own_list_and_name_and_a_second_run_fetches_nothing(apt, out, capsys):
    assert program.main(["--out", str(out), "--size=standard"]) == 0
    found, calls, before = description(out), len(apt.calls), contents(out)
    assert (found["name"], found["made_from"]) == ("debian-standard", {"list": "longer.tsv"})
    assert program.main(["--out", str(out), "--size=standard"]) == 0
    for other in ("--size=small", "--corpus=synthetic"):
        assert program.main(["--out", str(out), other]) == 1
        assert str(out) in capsys.readouterr().err
    assert contents(out) == before and len(apt.calls) == calls


@needs_dpkg_deb
def test_without_a_network_or_room_there_is_an_error_and_no_corpus(apt, out, monkeypatch, capsys):
    apt.offline()
    assert program.main(["--out", str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no network" in error and "--corpus=synthetic" in error
    calls = len(apt.calls)
    roomless = dataclasses.replace(program.SIZES["standard"], disk_bytes=10**18)
    monkeypatch.setitem(program.SIZES, "standard", roomless)
    assert program.main(["--out", str(out), "--size=standard"]) == 1
    assert "1,000,000,000,000 MB" in capsys.readouterr().err
    assert len(apt.calls) == calls and contents(out) == {}


@pytest.fixture
def free(tmp_path, apt, out, monkeypatch) -> FakeSynth:
    """A corpus of two lists and of two notes and a drum by two fonts, whose packages are there."""
    lists = (tmp_path / "one.tsv", tmp_path / "two.tsv")
    for path, file in zip(lists, FILES.items(), strict=False):
        write_list(path, [listed("drums-data", *file)])
    corpus = program.DebianCorpus(lists, disk_bytes=0, has_notes=True)
    monkeypatch.setitem(program.SIZES, "free", corpus)
    small = {"PROGRAMS": (0,), "PER_PROGRAM": 2, "DRUMS": ("snare",), "DRUM_VELOCITIES": (75,)}
    for name, value in small.items():
        monkeypatch.setattr(notes, name, value)
    path = os.environ["PATH"]
    synth = FakeSynth(tmp_path / "synth", monkeypatch)
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    out.mkdir(parents=True)
    synth.packages.rename(out / program.PACKAGES)
    return synth


@needs_dpkg_deb
def test_the_free_corpus_is_lists_and_notes_and_prints_its_sources(apt, free, out, capsys):
    assert program.main(["--out", str(out), "--size=free"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "drums-data              2  CC0-1.0",
        "minuet-data             3  LicenseRef-GeneralUser-GS",
        "timgm6mb-soundfont      3  GPL-2.0-only",
        "",
        f"debian corpus: 8 sounds in 5 groups, in {out}",
    ]
    found = description(out)
    assert (found["name"], found["sounds"]) == ("debian-free", 8)
    assert found["made_from"]["list"] == "one.tsv two.tsv"
    assert found["made_from"]["notes"]["per_program"] == 2
    versions = [source["version"] for source in found["sources"].values()]
    assert versions == ["1:2.0-3", "1.0-1", "1.0-1"]
    assert not (out / program.PACKAGES).exists()
    before, played = contents(out), len(free.calls)
    assert program.main(["--out", str(out), "--size=free"]) == 0
    assert contents(out) == before and len(free.calls) == played


@needs_dpkg_deb
def test_what_notes_need_is_checked_before_a_sound_is_fetched(apt, free, out, monkeypatch, capsys):
    monkeypatch.setattr(soundfonts, "find_spec", {}.get)
    assert program.main(["--out", str(out), "--size=free"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "coala_jax[notes]" in error and "--size=standard" in error
    assert apt.calls == [] and not (out / "audio").exists()


def test_without_apt_the_sounds_are_synthetic_and_debian_is_an_error(
    tmp_path, monkeypatch, out, caplog, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    for flag in ("--corpus=debian", "--size=standard", "--size=small"):
        assert program.main(["--out", str(out), flag]) == 1
        assert "apt-get and dpkg-deb" in capsys.readouterr().err
        assert not out.exists()
    assert program.main(["--out", str(out), "--sounds=21", "--seed=3"]) == 0
    assert "apt-get and no dpkg-deb" in caplog.text and "synthetic" in caplog.text
    assert capsys.readouterr().out == f"synthetic corpus: 21 sounds in 20 groups, in {out}\n"
    assert description(out)["name"] == "synthetic"
    (tmp_path / "file").touch()
    assert program.main(["--out", str(tmp_path / "file"), "--corpus=synthetic"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "token"),
    [
        ("--corpus=debia", "'debia'"),
        ("--size=large", "'large'"),
        ("--corpus=synthetic --sounds=0", "--sounds"),
        ("--corpus=synthetic --seed=-1", "--seed"),
        ("--corpus=debian --seed=0", "--corpus=synthetic"),
        ("--corpus=synthetic --size=small", "--corpus=debian"),
        ("--size=standard --sounds=9", "--corpus=synthetic"),
    ],
)
def test_wrong_flags_are_refused(out, capsys, flags, token):
    with pytest.raises(SystemExit, match="2"):
        program.main(["--out", str(out), *flags.split()])
    assert token in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()
