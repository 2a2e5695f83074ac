"""Sounds and packages from Debian, with packages built here and an apt-get that is a script."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from coala_jax.data_prep.sample_corpus import apt as apt_module
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.fake_apt import FakeApt, contents, listed, needs_dpkg_deb

pytestmark = needs_dpkg_deb

BELLS = {"bells/ding.wav": b"ding" * 100, "bells/dong.wav": b"dong" * 200}
DRUMS = {"kits/a b/snare 1.ogg": b"snare", "kits/a b/kick!.flac": b"kick" * 50}
CONTENTS = {"bells-data": BELLS, "drums-data": DRUMS}
WANTED = [
    listed(package, path, content)
    for package, files in CONTENTS.items()
    for path, content in files.items()
]
NAMES = [sound.sound.file for sound in WANTED]
BYTES = dict(zip(NAMES, [*BELLS.values(), *DRUMS.values()], strict=True))


@pytest.fixture
def apt(tmp_path, monkeypatch) -> FakeApt:
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    for package, files in CONTENTS.items():
        fake.build(package, files)
    return fake


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "corpus"


def run(out, wanted=WANTED, disk_bytes=0) -> debian.Fetched:
    return debian.fetch(wanted, out / "audio", out / ".fetch", disk_bytes)


def expected(*names) -> dict[str, bytes]:
    return {f"audio/{name}": BYTES[name] for name in names}


def test_the_listed_sounds_are_fetched_once(apt, out):
    (out / ".fetch" / "packages" / "bells-data").mkdir(parents=True)  # of a run that was killed
    result = run(out)
    there = debian.Fetched([sound.sound for sound in WANTED], {})
    assert result == dataclasses.replace(there, versions=dict.fromkeys(CONTENTS, "1:2.0-3"))
    assert contents(out) == expected(*NAMES)
    assert apt.calls == [
        *("update update", "look_up bells-data", "look_up drums-data"),
        *("download bells-data", "download drums-data"),
    ]
    assert run(out) == there
    assert len(apt.calls) == 5
    (out / "audio" / NAMES[3]).write_bytes(b"cut")
    run(out)
    assert apt.calls[5:] == ["update update", "look_up drums-data", "download drums-data"]
    assert contents(out) == expected(*NAMES)


def test_a_damaged_sound_that_is_no_longer_available_is_removed(apt, out):
    run(out)
    (out / "audio" / NAMES[3]).write_bytes(b"cut")
    apt.offline()
    result = run(out)
    cause = "package drums-data: Unable to locate package drums-data"
    assert result.missing == {cause: NAMES[3:]}
    assert result.lists_error == "Failed to fetch lists: no network"
    assert contents(out) == expected(*NAMES[:3])


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_package_that_is_missing_or_broken_leaves_out_its_sounds_alone(apt, out, damage):
    whole = apt.deb("bells-data").read_bytes()
    apt.deb("bells-data").unlink()
    if damage == "cut":
        apt.deb("bells-data").write_bytes(whole[: len(whole) // 2])
    result = run(out)
    ((cause, files),) = result.missing.items()
    assert cause.startswith("package bells-data: ") and files == NAMES[:2]
    assert result.sounds == [sound.sound for sound in WANTED[2:]]
    assert contents(out) == expected(*NAMES[2:])


def test_a_sound_that_is_not_as_listed_leaves_out_itself_alone(apt, out, tmp_path):
    """One that is gone, one of other bytes, and a link out of the package."""
    (tmp_path / "secret").write_bytes(b"secret")
    apt.build("links-data", {"a/b": b"b"}, links={"a/link.wav": str(tmp_path / "secret")})
    gone = listed("bells-data", "bells/gone.wav", b"gone")
    other = listed("bells-data", "bells/dong.wav", b"other")
    link = listed("links-data", "a/link.wav", b"secret")
    result = run(out, [WANTED[0], gone, other, link, *WANTED[2:]])
    assert result.missing == {
        "package bells-data 1:2.0-3: no such file": [gone.sound.file],
        "package bells-data 1:2.0-3: the SHA-256 is not the list's": [other.sound.file],
        "package links-data 1:2.0-3: no such file": [link.sound.file],
    }
    assert contents(out) == expected(NAMES[0], *NAMES[2:])


def test_an_interrupted_run_leaves_whole_sounds_and_continues(apt, out, monkeypatch):
    unpack = apt_module.Apt.unpack

    def interrupted(self, package):
        if package == "drums-data":
            raise KeyboardInterrupt
        return unpack(self, package)

    with monkeypatch.context() as patch:
        patch.setattr(apt_module.Apt, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(out)
    assert contents(out) == expected(*NAMES[:2])
    assert not (out / ".fetch").exists()
    run(out)
    assert [call for call in apt.calls if call.startswith("download")] == [
        *("download bells-data", "download drums-data")
    ]
    assert contents(out) == expected(*NAMES)


@pytest.mark.parametrize(("free_bytes", "enough"), [(2_000_000, True), (1_999_999, False)])
def test_the_disk_needs_room_for_what_is_not_there_yet(apt, out, monkeypatch, free_bytes, enough):
    run(out, WANTED[:2])
    calls, present_bytes = len(apt.calls), sum(map(len, BELLS.values()))
    usage = SimpleNamespace(free=free_bytes)
    monkeypatch.setattr(apt_module.shutil, "disk_usage", lambda path: usage)
    if enough:
        assert run(out, disk_bytes=present_bytes + 2_000_000).missing == {}
    else:
        with pytest.raises(CorpusError, match=f"{out}.* 2 MB"):
            run(out, disk_bytes=present_bytes + 2_000_000)
        assert len(apt.calls) == calls and contents(out) == expected(*NAMES[:2])


def unpack(folder, *packages, disk_bytes=0):
    return apt_module.unpack_packages(packages, folder, folder / ".fetch", disk_bytes)


def test_packages_are_unpacked_once(apt, tmp_path):
    folder = tmp_path / "deep" / "packages"
    (folder / "bells-data" / "usr").mkdir(parents=True)  # of a run that was killed
    assert unpack(folder, "bells-data") == {"bells-data": "1:2.0-3"}
    calls = len(apt.calls)
    assert unpack(folder, "bells-data") == {"bells-data": "1:2.0-3"}
    assert len(apt.calls) == calls
    assert unpack(folder, *CONTENTS) == dict.fromkeys(CONTENTS, "1:2.0-3")
    found = {n: data for n, data in contents(folder).items() if not n.endswith(".version")}
    assert found == {
        f"{package}/usr/share/{path}": content
        for package, files in CONTENTS.items()
        for path, content in files.items()
    }


def test_a_package_that_is_not_available_is_an_error_with_the_cause(apt, tmp_path):
    folder = tmp_path / "packages"
    with pytest.raises(CorpusError, match=r"gongs .*Unable to locate"):
        unpack(folder, "bells-data", "gongs")
    assert (folder / "bells-data.version").exists()  # the next run continues after it
    apt.deb("drums-data").write_bytes(b"no archive")
    with pytest.raises(CorpusError, match="drums-data"):
        unpack(folder, "drums-data")
    apt.offline()
    with pytest.raises(CorpusError, match=r"drums-data .*no network"):
        unpack(folder, "drums-data")
    assert not (folder / "drums-data.version").exists()
    calls = len(apt.calls)
    with pytest.raises(CorpusError, match=f"{folder}.*MB"):
        unpack(folder, "drums-data", disk_bytes=10**18)
    assert len(apt.calls) == calls


def test_missing_programs_are_those_not_on_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    assert apt_module.missing_programs("fluidsynth") == ["fluidsynth", "dpkg-deb"]
