"""data_prep.proxy_tasks, the command; and debian.unpack_whole, which brings what it needs.

No apt and no dpkg are needed: the packages of these tests are tar files.
"""

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from coala_jax.data_prep.proxy_tasks import __main__ as make
from coala_jax.data_prep.proxy_tasks import instruments
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.fake_apt import FakeApt
from tests.fake_synth import FakeSynth


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    program = tmp_path / "apt" / "programs" / "dpkg-deb"
    program.write_text('#!/bin/sh\nmkdir "$3" && exec tar -xf "$2" -C "$3"\n')
    program.chmod(0o755)
    for package in ("bells", "drums"):
        (tmp_path / package).write_text(f"sound of {package}")
        with tarfile.open(fake.deb(package), "w") as deb:
            deb.add(tmp_path / package, f"usr/share/{package}.sf2")
    return fake


def unpack(folder: Path, *packages: str, disk_bytes: int = 0) -> dict[str, str]:
    return debian.unpack_whole(packages, folder, folder / ".fetch", lambda line: None, disk_bytes)


def test_packages_are_unpacked_once(tmp_path: Path, apt: FakeApt):
    folder = tmp_path / "deep" / "packages"
    assert unpack(folder, "bells") == {"bells": "1:2.0-3"}
    asked = len(apt.calls)
    assert unpack(folder, "bells") == {"bells": "1:2.0-3"}
    assert len(apt.calls) == asked
    assert unpack(folder, "bells", "drums") == {"bells": "1:2.0-3", "drums": "1:2.0-3"}
    assert [call for call in apt.calls if call.startswith("download")] == [
        *("download bells", "download drums")
    ]
    for package in ("bells", "drums"):
        file = folder / package / "usr/share" / f"{package}.sf2"
        assert file.read_text() == f"sound of {package}"
    assert not (folder / ".fetch").exists()


def test_package_of_a_run_that_was_killed_is_fetched_again(tmp_path: Path, apt: FakeApt):
    (tmp_path / "packages" / "bells" / "usr").mkdir(parents=True)
    (tmp_path / "packages" / ".fetch" / "lists").mkdir(parents=True)
    unpack(tmp_path / "packages", "bells")
    assert (tmp_path / "packages/bells/usr/share/bells.sf2").exists()


def test_package_that_cannot_be_had_is_named_with_its_cause(tmp_path: Path, apt: FakeApt):
    with pytest.raises(CorpusError, match=r"package gongs cannot be had .*Unable to locate"):
        unpack(tmp_path / "packages", "bells", "gongs")
    assert (tmp_path / "packages" / "bells.version").exists()  # the next run goes on after it
    apt.offline()
    with pytest.raises(CorpusError, match=r"package drums cannot be had .*no network"):
        unpack(tmp_path / "packages", "drums")
    apt.deb("drums").write_bytes(b"no archive")
    with pytest.raises(CorpusError, match="package drums cannot be had"):
        unpack(tmp_path / "packages", "drums")
    assert not (tmp_path / "packages" / "drums.version").exists()


def test_full_disk_is_an_error_before_anything_is_fetched(tmp_path: Path, apt: FakeApt):
    with pytest.raises(CorpusError, match="choose another disk"):
        unpack(tmp_path / "packages", "bells", disk_bytes=10**18)
    assert apt.calls == []


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sets that the command has made; each is a clips.csv, and some packages."""
    names: list[str] = []

    def maker(name: str) -> Callable[..., None]:
        def make(out: Path, *others: object) -> None:
            names.append(name)
            (out / name).mkdir(parents=True, exist_ok=True)
            (out / name / "clips.csv").touch()
            (out / make.PACKAGES / "mma").mkdir(parents=True, exist_ok=True)

        return make

    for name in make.SETS:
        monkeypatch.setattr(make, f"make_{name}", maker(name))
    return names


def test_all_sets_are_made_and_the_packages_go(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
):
    FakeSynth(tmp_path / "synth", monkeypatch)
    assert make.main(["--out", str(tmp_path / "out")]) == 0
    assert made == ["instruments", "events"]
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["events", "instruments"]


def test_only_some_sets(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch):
    FakeSynth(tmp_path / "synth", monkeypatch)
    assert make.main(["--out", str(tmp_path / "out"), "--only", "events"]) == 0
    assert made == ["events"]


def test_unknown_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        make.main(["--out", str(tmp_path / "out"), "--only", "events,gtzan"])
    assert "'gtzan' is not among instruments, genre, events" in capsys.readouterr().err


def test_without_fluidsynth_one_sentence_says_how_to_get_it(
    tmp_path: Path,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    synth = FakeSynth(tmp_path / "synth", monkeypatch)
    synth.remove("fluidsynth")
    assert make.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "proxy_tasks: instruments need fluidsynth, not found on PATH: "
        "apt-get install fluidsynth; or go without them: --only events\n"
    )
    assert made == [] and not (tmp_path / "out").exists()
    # Sound events need none.
    assert make.main(["--out", str(tmp_path / "out"), "--only", "events"]) == 0
    synth.remove("apt-get")
    assert make.main(["--out", str(tmp_path / "out"), "--only", "genre"]) == 1
    assert "need fluidsynth and apt-get, not found" in capsys.readouterr().err


def test_sets_that_are_there_need_no_fluidsynth(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
):
    FakeSynth(tmp_path / "synth", monkeypatch).remove("fluidsynth")
    for name in ("instruments", "genre"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clips.csv").touch()
    assert make.main(["--out", str(tmp_path), "--only", "instruments,genre"]) == 0
    assert made == ["instruments", "genre"]  # which look at what is there


def test_error_of_a_maker_is_a_sentence_and_keeps_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The real maker, whose packages are already where the command puts them."""
    monkeypatch.setattr(instruments, "FAMILIES", {"vocal": range(52, 55)})
    synth = FakeSynth(tmp_path / "synth", monkeypatch)
    synth.set_font("generaluser", fails=True)
    (tmp_path / "out").mkdir()
    synth.packages.rename(tmp_path / "out" / make.PACKAGES)
    assert make.main(["--out", str(tmp_path / "out"), "--only=instruments"]) == 1
    assert capsys.readouterr().err == (
        "proxy_tasks: fluidsynth failed with exit code 1: fluidsynth: error: it is out of tune\n"
    )
    assert (tmp_path / "out" / make.PACKAGES / "mma.version").exists()


def test_help_says_what_the_sets_are_not():
    done = subprocess.run(
        [sys.executable, "-m", "coala_jax.data_prep.proxy_tasks", "--help"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no NSynth, no GTZAN, no UrbanSound8K" in done.stdout
    assert "apt-get install fluidsynth" in done.stdout
