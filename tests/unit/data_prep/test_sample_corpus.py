"""coala_jax.data_prep.sample_corpus: the program, on tiny packages and without a network."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus import __main__ as make

from tests.fake_apt import FakeApt, listed, needs_dpkg_deb, write_list

REPOSITORY = Path(__file__).parents[3]
FILES = {f"drums/kick{number}.wav": b"kick" * number for number in range(1, 8)}


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """A small list of two packages, of which the archive has one and a half, and a standard one."""
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    fake.build("drums-data", FILES, links={})
    wanted = [listed("drums-data", path, content) for path, content in FILES.items()]
    wanted.append(listed("drums-data", "drums/kick1.flac", b"not packaged"))
    wanted += [listed("bells-data", f"bells/{number}.wav", b"bell") for number in range(9)]
    write_list(tmp_path / "list.tsv", wanted)
    write_list(tmp_path / "longer.tsv", wanted[:7])
    for size, name in (("small", "list.tsv"), ("standard", "longer.tsv")):
        corpus = make.DebianCorpus(tmp_path / name, disk_bytes=0)
        monkeypatch.setitem(make.SIZES, size, corpus)
    return fake


@pytest.fixture
def no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "corpus"


def read_csv(out: Path) -> list[dict[str, str]]:
    with (out / "sounds.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@needs_dpkg_deb
def test_debian_corpus_and_what_it_left_out(
    apt: FakeApt, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make.main(["--out", str(out)]) == 0

    rows = read_csv(out)
    assert [row["file"] for row in rows] == [f"drums-data/{path}" for path in FILES]
    assert rows[0] == {
        "file": "drums-data/drums/kick1.wav",
        "tags": "drum kick",
        "group": "drums-data/all",
        "licence": "CC0-1.0",
    }
    for row, content in zip(rows, FILES.values(), strict=True):
        assert (out / "audio" / row["file"]).read_bytes() == content

    no_package = "package bells-data: Unable to locate package bells-data"
    no_file = "package drums-data 1:2.0-3: no such file in it"
    description = json.loads((out / "corpus.json").read_text(encoding="utf-8"))
    assert (description["name"], description["sounds"]) == ("debian-small", 7)
    assert description["left_out"] == {no_file: 1, no_package: 9}
    assert description["left_out_files"][no_package] == [
        f"bells-data/bells/{number}.wav" for number in range(9)
    ]

    lines = capsys.readouterr().out.splitlines()
    assert f"left out: 1 sounds, {no_file}: drums-data/drums/kick1.flac" in lines
    named = ", ".join(f"bells-data/bells/{number}.wav" for number in range(5))
    assert f"left out: 9 sounds, {no_package}: {named} and 4 more" in lines
    assert lines[-1] == f"debian corpus: 7 sounds in 1 groups, in {out}"


@needs_dpkg_deb
def test_second_run_gives_the_same_and_fetches_nothing(
    apt: FakeApt, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = [listed("drums-data", path, content) for path, content in FILES.items()]
    write_list(tmp_path / "list.tsv", wanted)
    assert make.main(["--out", str(out), "--corpus=debian"]) == 0
    asked, before = len(apt.calls), (out / "sounds.csv").read_bytes()
    assert make.main(["--out", str(out), "--corpus=debian"]) == 0
    assert len(apt.calls) == asked > 0
    assert (out / "sounds.csv").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == ["audio", "corpus.json", "sounds.csv"]


@needs_dpkg_deb
def test_nothing_fetched_is_an_error_with_cause_and_way_out(
    apt: FakeApt, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apt.offline()
    assert make.main(["--out", str(out)]) == 1
    sentence = capsys.readouterr().err
    assert "not one sound could be fetched (Failed to fetch lists: no network)" in sentence
    assert "--corpus=synthetic" in sentence
    assert not (out / "sounds.csv").exists() and not (out / "corpus.json").exists()


@needs_dpkg_deb
def test_standard_size_has_its_own_list_and_name(
    apt: FakeApt, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make.main(["--out", str(out), "--size=standard"]) == 0
    description = json.loads((out / "corpus.json").read_text(encoding="utf-8"))
    assert (description["name"], description["sounds"]) == ("debian-standard", 7)
    assert (description["made_from"], description["left_out"]) == ({"list": "longer.tsv"}, {})
    asked = len(apt.calls)
    assert make.main(["--out", str(out), "--size=small"]) == 1
    assert f"{out} holds another corpus" in capsys.readouterr().err
    assert len(apt.calls) == asked


@needs_dpkg_deb
def test_full_disk_is_an_error_before_anything_is_fetched(
    apt: FakeApt, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roomless = dataclasses.replace(make.SIZES["standard"], disk_bytes=10**18)
    monkeypatch.setitem(make.SIZES, "standard", roomless)
    assert make.main(["--out", str(out), "--size=standard"]) == 1
    sentence = capsys.readouterr().err
    assert "needs up to 1,000,000,000,000 MB of disk while it runs, " in sentence
    assert "choose another disk with --out" in sentence
    assert apt.calls == [] and not (out / "corpus.json").exists()


def test_without_apt_goes_on_with_synthetic_and_says_so_first_and_last(
    no_apt: None, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make.main(["--out", str(out), "--sounds=21", "--seed=3"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    remark = ": no apt-get and no dpkg-deb on this machine, so --corpus=synthetic"
    assert first == f"no real sounds, but sounds made by formula{remark}"
    assert last == f"synthetic corpus: 21 sounds in 20 groups, in {out}{remark}"
    assert len(read_csv(out)) == 21
    assert json.loads((out / "corpus.json").read_text(encoding="utf-8"))["name"] == "synthetic"


@pytest.mark.parametrize("flag", ["--corpus=debian", "--size=standard", "--size=small"])
def test_debian_asked_for_without_apt_is_an_error(
    flag: str, no_apt: None, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make.main(["--out", str(out), flag]) == 1
    assert "--corpus=debian needs apt-get and dpkg-deb, not found" in capsys.readouterr().err
    assert not out.exists()


@needs_dpkg_deb
def test_two_corpora_do_not_share_a_folder(
    apt: FakeApt, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make.main(["--out", str(out), "--corpus=synthetic", "--sounds=1"]) == 0
    assert make.main(["--out", str(out), "--corpus=debian"]) == 1
    assert f"{out} holds another corpus" in capsys.readouterr().err
    assert apt.calls == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        pytest.param(["--corpus=debia"], "invalid choice: 'debia'", id="corpus"),
        pytest.param(["--corpus=synthetic", "--sounds=0"], "--sounds must be", id="sounds"),
        pytest.param(["--corpus=synthetic", "--seed=-1"], "--seed at least 0", id="seed"),
        pytest.param(["--corpus=debian", "--seed=0"], "are for --corpus=synthetic", id="unused"),
        pytest.param(["--size=large"], "invalid choice: 'large'", id="size"),
        pytest.param(["--corpus=synthetic", "--size=small"], "for --corpus=debian", id="no size"),
        pytest.param(["--size=standard", "--sounds=9"], "are for --corpus=synth", id="no count"),
    ],
)
def test_wrong_flags_are_refused(
    flags: list[str], sentence: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        make.main(["--out", str(out), *flags])
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_out_that_is_a_file_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert make.main(["--out", str(tmp_path / "file"), "--corpus=synthetic"]) == 1
    assert "sample_corpus: " in capsys.readouterr().err


@needs_dpkg_deb
def test_runs_as_a_program_from_another_directory(apt: FakeApt, tmp_path: Path) -> None:
    """It finds its own list there; the archive has none of those packages."""
    script = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nimport runpy\n"
    script += "runpy.run_module('coala_jax.data_prep.sample_corpus', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script, "--out", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("0 of 565 sounds are there already\n")
    assert "not one sound could be fetched" in done.stderr
    assert {call for call in apt.calls if call.startswith("look_up")} == {
        f"look_up {package}"
        for package in (
            "bucklespring-data",
            "hydrogen-data",
            "lmms-common",
            "oxygen-sounds",
            "simutrans-pak64",
            "sonic-pi-samples",
            "sound-theme-freedesktop",
            "yaru-theme-sound",
        )
    }
