"""data_prep.sample_corpus.debian, against packages built here and an apt-get that is a script."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound

from tests.fake_apt import FakeApt, listed, needs_dpkg_deb

pytestmark = needs_dpkg_deb

BELLS = {"bells/ding.wav": b"ding" * 100, "bells/dong.wav": b"dong" * 200}
DRUMS = {"kits/a b/snare 1.ogg": b"snare", "kits/a b/kick!.flac": b"kick" * 50}
WANTED = [listed("bells-data", path, content) for path, content in BELLS.items()] + [
    listed("drums-data", path, content) for path, content in DRUMS.items()
]
NAMES = [sound.sound.file for sound in WANTED]
CONTENTS = {"bells-data": BELLS, "drums-data": DRUMS}


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    for package, files in CONTENTS.items():
        fake.build(package, files, links={})
    return fake


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "corpus"


def run(
    out: Path,
    wanted: list[ListedSound] = WANTED,
    say: Callable[[str], None] = print,
    disk_bytes: int = 0,
) -> debian.Fetched:
    return debian.fetch(wanted, out / "audio", out / ".fetch", say, disk_bytes)


def contents(out: Path) -> dict[str, bytes]:
    """Every file below `out`, hidden ones too: name -> bytes."""
    files = [path for path in out.rglob("*") if not path.is_dir()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def expected(*names: str) -> dict[str, bytes]:
    whole = {f"{p}/{path}": data for p, files in CONTENTS.items() for path, data in files.items()}
    return {f"audio/{name}": whole[name] for name in names}


def test_brings_the_listed_sounds_and_nothing_else(apt: FakeApt, out: Path) -> None:
    lines: list[str] = []
    result = run(out, say=lines.append)
    assert result.sounds == [sound.sound for sound in WANTED]
    assert result.left_out == {}
    assert contents(out) == expected(*NAMES)
    assert result.packages == ["bells-data", "drums-data"]
    assert result.downloaded_bytes == sum(apt.deb(p).stat().st_size for p in CONTENTS)
    megabytes = apt.deb("drums-data").stat().st_size / 1e6
    assert f"[2/2] drums-data 1:2.0-3: fetching {megabytes:.1f} MB for 2 sounds" in lines


def test_says_the_whole_before_the_first_package(apt: FakeApt, out: Path) -> None:
    noise = bytes(np.random.default_rng(0).integers(0, 256, 300_000, np.uint8))
    apt.build("noise-data", {"noise.wav": noise}, links={})
    missing = listed("gone-data", "gone.wav", b"gone")
    lines: list[str] = []
    run(out, [missing, listed("noise-data", "noise.wav", noise), *WANTED], say=lines.append)
    assert apt.calls[1:5] == [
        f"look_up {package}" for package in ("gone-data", "noise-data", "bells-data", "drums-data")
    ]
    whole = sum(apt.deb(p).stat().st_size for p in ("noise-data", "bells-data", "drums-data"))
    total = f"{whole / 1e6:.1f} MB to fetch, in 3 packages"
    assert whole > 300_000 and lines[lines.index(total) + 1].startswith("[1/4] gone-data: Unable")


@pytest.mark.parametrize(("free_bytes", "enough"), [(2_000_000, True), (1_999_999, False)])
def test_disk_must_have_the_room_that_is_still_needed(
    free_bytes: int, enough: bool, apt: FakeApt, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(out, WANTED[:2])
    there_bytes = sum(map(len, BELLS.values()))
    asked = len(apt.calls)
    usage = SimpleNamespace(free=free_bytes)
    monkeypatch.setattr(debian.shutil, "disk_usage", lambda path: usage)
    lines: list[str] = []
    if enough:
        assert run(out, say=lines.append, disk_bytes=there_bytes + 2_000_000).left_out == {}
        assert "needs up to 2 MB of disk while it runs, 2 MB are free" in lines
    else:
        with pytest.raises(CorpusError, match=r"needs up to 2 MB of disk .* make room"):
            run(out, disk_bytes=there_bytes + 2_000_000)
        assert len(apt.calls) == asked
        assert contents(out) == expected(*NAMES[:2])


def test_full_disk_matters_no_more_when_all_is_there(
    apt: FakeApt, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(out)
    monkeypatch.setattr(debian.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert run(out, disk_bytes=10**9).left_out == {}


def test_second_run_asks_apt_for_nothing(apt: FakeApt, out: Path) -> None:
    first = run(out)
    asked = len(apt.calls)
    second = run(out)
    assert len(apt.calls) == asked > 0
    assert (second.sounds, second.packages) == (first.sounds, [])


def test_damaged_sound_is_fetched_anew_alone(apt: FakeApt, out: Path) -> None:
    run(out)
    (out / "audio" / NAMES[3]).write_bytes(b"cut")
    asked = len(apt.calls)
    assert run(out).packages == ["drums-data"]
    assert apt.calls[asked:] == ["update update", "look_up drums-data", "download drums-data"]
    assert contents(out) == expected(*NAMES)


def test_damaged_sound_that_cannot_be_had_again_goes(apt: FakeApt, out: Path) -> None:
    run(out)
    (out / "audio" / NAMES[3]).write_bytes(b"cut")
    apt.offline()
    result = run(out)
    assert result.left_out == {"package drums-data: Unable to locate package drums-data": NAMES[3:]}
    assert result.lists_complaint == "Failed to fetch lists: no network"
    assert contents(out) == expected(*NAMES[:3])


def test_missing_package_costs_its_sounds(apt: FakeApt, out: Path) -> None:
    apt.deb("bells-data").unlink()
    result = run(out)
    cause = "package bells-data: Unable to locate package bells-data"
    assert result.left_out == {cause: NAMES[:2]}
    assert result.sounds == [sound.sound for sound in WANTED[2:]]
    assert contents(out) == expected(*NAMES[2:])


def test_broken_package_costs_its_sounds(apt: FakeApt, out: Path) -> None:
    whole = apt.deb("bells-data").read_bytes()
    apt.deb("bells-data").write_bytes(whole[: len(whole) // 2])
    on_disk: list[bool] = []
    result = run(out, say=lambda line: on_disk.append((out / ".fetch/packages").exists()))
    assert on_disk[-1] is False  # what came of it makes room for the next package
    (cause, files), *others = result.left_out.items()
    assert cause.startswith("package bells-data: ") and files == NAMES[:2] and not others
    assert contents(out) == expected(*NAMES[2:])


def test_missing_file_costs_itself(apt: FakeApt, out: Path) -> None:
    gone = listed("bells-data", "bells/gone.wav", b"gone")
    result = run(out, [WANTED[0], gone, *WANTED[1:]])
    cause = "package bells-data 1:2.0-3: no such file in it"
    assert result.left_out == {cause: ["bells-data/bells/gone.wav"]}
    assert [sound.file for sound in result.sounds] == NAMES
    assert contents(out) == expected(*NAMES)


def test_wrong_checksum_costs_itself(apt: FakeApt, out: Path) -> None:
    other = listed("bells-data", "bells/dong.wav", b"another dong")
    result = run(out, [WANTED[0], other, *WANTED[2:]])
    cause = "package bells-data 1:2.0-3: the MD5 is not the list's"
    assert result.left_out == {cause: [NAMES[1]]}
    assert contents(out) == expected(NAMES[0], *NAMES[2:])


def test_link_out_of_the_package_is_not_followed(apt: FakeApt, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    apt.build("links-data", {"a/b": b"b"}, links={"a/link.wav": str(tmp_path / "secret")})
    result = run(out, [listed("links-data", "a/link.wav", b"secret")])
    assert list(result.left_out.values()) == [["links-data/a/link.wav"]]
    assert contents(out) == {}


def test_interrupted_run_leaves_whole_sounds_and_goes_on(apt: FakeApt, out: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("[2/2]"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out, say=interrupt)
    assert contents(out) == expected(*NAMES[:2])
    assert not (out / ".fetch").exists()
    assert run(out).packages == ["drums-data"]
    assert contents(out) == expected(*NAMES)


def test_leftovers_of_a_killed_run_go(apt: FakeApt, out: Path) -> None:
    (out / ".fetch" / "packages" / "bells-data").mkdir(parents=True)
    (out / ".fetch" / "packages" / "bells-data" / "half.deb").write_bytes(b"half")
    run(out)
    assert contents(out) == expected(*NAMES)
    (out / ".fetch").mkdir()
    run(out)
    assert not (out / ".fetch").exists()


def test_missing_tools_are_those_not_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("dpkg-deb") is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.missing_tools() == ["apt-get", "dpkg-deb"]
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    assert debian.missing_tools() == ["dpkg-deb"]
