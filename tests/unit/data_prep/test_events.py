"""coala_jax.data_prep.proxy_tasks.events, against packages built here, and the list itself."""

import csv
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from coala_jax.data_prep.proxy_tasks.events import (
    COLUMNS,
    VERSIONS,
    make_events,
    read_events,
)
from coala_jax.data_prep.sample_corpus import debian
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.containers import qt_resource, sound_set
from tests.fake_apt import FakeApt, needs_dpkg_deb

BELL, DRUM, HORN, BANG = b"RIFF bell" * 30, b"OggS drum" * 50, b"RIFF horn" * 9, b"RIFF bang" * 8
GAMES = {"sounds/bell.wav": BELL, "games.cat": sound_set([('"Ship horn"', HORN)])}
KITS = {"kits.rcc": qt_resource({"kits/drum.ogg": (DRUM, True), "kits/bang.wav": (BANG, False)}, 3)}


def row(
    package: str, path: str, content: bytes, label: str, fold: int | str, container: str = "-"
) -> tuple[str, ...]:
    md5 = hashlib.md5(content).hexdigest()
    return (package, container, path, md5, label, str(fold), f"{package}/a", "CC0-1.0", "12 345")


ROWS = [
    row("games-data", "usr/share/sounds/bell.wav", BELL, "signal", 1),
    row("games-data", "000_Ship_horn.wav", HORN, "signal", 1, "usr/share/games.cat"),
    row("kits-data", "kits/bang.wav", BANG, "explosion", 2, "usr/share/kits.rcc"),
    row("kits-data", "kits/drum.ogg", DRUM, "signal", 2, "usr/share/kits.rcc"),
]
CLIPS = [
    ["audio/games-data/sounds/bell.wav", "signal", "1"],
    ["audio/games-data/000_Ship_horn.wav", "signal", "1"],
    ["audio/kits-data/kits/bang.wav", "explosion", "2"],
    ["audio/kits-data/kits/drum.ogg", "signal", "2"],
]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    fake.build("games-data", GAMES, links={})
    fake.build("kits-data", KITS, links={})
    return fake


def write_list(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("\n".join(["# a remark", *("\t".join(r) for r in [COLUMNS, *rows])]) + "\n")
    return path


def make(folder: Path, rows: list[tuple[str, ...]], allow_missing: bool = False) -> list[str]:
    said: list[str] = []
    path = write_list(folder / "list.tsv", rows)
    make_events(folder, said.append, allow_missing=allow_missing, list_path=path)
    return said


def clips(folder: Path) -> list[list[str]]:
    with (folder / "events/clips.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", "fold"]
    return rows


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "events").rglob("*")
        if path.is_file()
    }


@needs_dpkg_deb
def test_makes_the_set_from_files_and_containers(apt: FakeApt, tmp_path: Path) -> None:
    said = make(tmp_path, ROWS)
    assert clips(tmp_path) == CLIPS
    made = files(tmp_path)
    assert {name: made.pop(f"events/{name}") for name, _, _ in CLIPS} == dict(
        zip((name for name, _, _ in CLIPS), (BELL, HORN, BANG, DRUM), strict=True)
    )
    assert made.keys() == {"events/about.json", "events/clips.csv"}
    about = json.loads(made["events/about.json"])
    assert about["clips"] == 4 and about["left_out"] == {}
    assert about["labels"] == {"explosion": 1, "signal": 3}
    assert about["folds"] == {"1": 2, "2": 2}
    assert about["packages"]["kits-data"] == {"sounds": 2, "listed_version": "unknown"}
    digest = hashlib.sha256((tmp_path / "list.tsv").read_bytes()).hexdigest()
    assert about["list"] == {"name": "list.tsv", "sha256": digest}
    assert said[-1] == f"sound events: 4 clips in 2 classes, in {tmp_path / 'events'}"


@needs_dpkg_deb
def test_made_again_it_fetches_nothing_and_is_the_same(apt: FakeApt, tmp_path: Path) -> None:
    make(tmp_path, ROWS)
    first, asked = files(tmp_path), len(apt.calls)
    make(tmp_path, ROWS)
    assert files(tmp_path) == first and len(apt.calls) == asked > 0
    (tmp_path / "events/audio/kits-data/kits/bang.wav").write_bytes(b"cut")
    make(tmp_path, ROWS)
    assert files(tmp_path) == first
    assert [call for call in apt.calls[asked:] if "download" in call] == ["download kits-data"]


@needs_dpkg_deb
def test_sounds_that_cannot_be_had_are_told(apt: FakeApt, tmp_path: Path) -> None:
    other = row("kits-data", "kits/gone.wav", b"gone", "signal", 2, "usr/share/kits.rcc")
    with pytest.raises(CorpusError, match=r"1 of 5 sound events cannot be had .*no such file"):
        make(tmp_path, [*ROWS, other])
    assert not (tmp_path / "events/clips.csv").exists()
    said = make(tmp_path, [*ROWS, other], allow_missing=True)
    assert clips(tmp_path) == CLIPS
    cause = "package kits-data 1:2.0-3: no such file in it"
    assert f"left out: 1 sounds, {cause}" in said
    about = json.loads((tmp_path / "events/about.json").read_text())
    assert about["left_out"] == {cause: ["kits-data/kits/gone.wav"]} and about["clips"] == 4


@needs_dpkg_deb
def test_a_damaged_container_costs_its_sounds(apt: FakeApt, tmp_path: Path) -> None:
    apt.build("cut-data", {"kits.rcc": KITS["kits.rcc"][:30], "whole.wav": b"whole"}, links={})
    inside = row("cut-data", "kits/bang.wav", BANG, "signal", 2, "usr/share/kits.rcc")
    outside = row("cut-data", "usr/share/whole.wav", b"whole", "signal", 2)
    make(tmp_path, [*ROWS[:2], inside, outside], allow_missing=True)
    assert clips(tmp_path) == [*CLIPS[:2], ["audio/cut-data/whole.wav", "signal", "2"]]
    about = json.loads((tmp_path / "events/about.json").read_text())
    ((cause, names),) = about["left_out"].items()
    assert cause.startswith("package cut-data 1:2.0-3: kits.rcc is damaged")
    assert names == ["cut-data/kits/bang.wav"]


@needs_dpkg_deb
def test_a_container_that_is_a_link_is_not_followed(apt: FakeApt, tmp_path: Path) -> None:
    (tmp_path / "secret.rcc").write_bytes(KITS["kits.rcc"])
    apt.build("links-data", {"a": b"a"}, links={"kits.rcc": str(tmp_path / "secret.rcc")})
    linked = row("links-data", "kits/bang.wav", BANG, "signal", 2, "usr/share/kits.rcc")
    make(tmp_path, [*ROWS[:2], linked], allow_missing=True)
    assert clips(tmp_path) == CLIPS[:2]


@needs_dpkg_deb
def test_a_member_of_other_bytes_is_left_out(apt: FakeApt, tmp_path: Path) -> None:
    other = row("kits-data", "kits/bang.wav", b"another", "signal", 2, "usr/share/kits.rcc")
    make(tmp_path, [*ROWS[:2], other], allow_missing=True)
    assert clips(tmp_path) == CLIPS[:2]
    cause = "package kits-data 1:2.0-3: the MD5 is not the list's"
    about = json.loads((tmp_path / "events/about.json").read_text())
    assert about["left_out"] == {cause: ["kits-data/kits/bang.wav"]}


@needs_dpkg_deb
def test_nothing_to_be_had_is_an_error_even_if_some_may_be_missing(
    apt: FakeApt, tmp_path: Path
) -> None:
    apt.offline()
    with pytest.raises(CorpusError, match=r"4 of 4 .*Failed to fetch lists: no network"):
        make(tmp_path, ROWS, allow_missing=True)


@needs_dpkg_deb
def test_a_set_of_another_list_is_not_mixed_in(apt: FakeApt, tmp_path: Path) -> None:
    make(tmp_path, ROWS)
    with pytest.raises(CorpusError, match="was made from another list"):
        make(tmp_path, ROWS[:3])
    (tmp_path / "events/about.json").write_text("[]")
    with pytest.raises(CorpusError, match="describes no such set"):
        make(tmp_path, ROWS)


def test_without_apt_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "missing_tools", lambda: ["apt-get"])
    with pytest.raises(CorpusError, match="the sound events need apt-get, not found on PATH"):
        make(tmp_path, ROWS)
    assert not (tmp_path / "events").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({1: "etc/games.cat"}, "is not below usr/share/", id="container elsewhere"),
        pytest.param({2: "../a.wav"}, "leads out of its container", id="parent"),
        pytest.param({2: "/a.wav"}, "leads out of its container", id="absolute"),
        pytest.param({2: "kits/drum.ogg"}, "is listed twice", id="file twice"),
        pytest.param({3: ROWS[3][3]}, "is listed twice", id="MD5 twice"),
        pytest.param({5: "0"}, "the fold 0 is no number", id="fold 0"),
        pytest.param({5: "a"}, "the fold a is no number", id="fold a"),
        pytest.param({4: ""}, "9 filled columns", id="no label"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path: Path, change: dict[int, str], sentence: str) -> None:
    changed = [change.get(at, value) for at, value in enumerate(ROWS[2])]
    path = write_list(tmp_path / "list.tsv", [*ROWS[:2], ROWS[3], tuple(changed)])
    with pytest.raises(CorpusError, match=sentence) as error:
        read_events(path)
    assert f"{path}, line 6" in str(error.value)


EVENTS = read_events()


def test_the_list_s_packages_have_versions() -> None:
    assert {event.listed.package for event in EVENTS} == VERSIONS.keys()


def test_the_list_s_folds_are_of_packages_and_alike_in_size() -> None:
    folds = defaultdict(set)
    for event in EVENTS:
        folds[event.listed.package].add(event.fold)
    assert all(len(found) == 1 for found in folds.values())
    sizes = Counter(event.fold for event in EVENTS)
    assert sorted(sizes) == [1, 2, 3]
    assert max(sizes.values()) < 1.25 * min(sizes.values())


def test_every_class_is_in_three_packages_and_in_every_fold() -> None:
    packages, folds = defaultdict(set), defaultdict(set)
    for event in EVENTS:
        packages[event.label].add(event.listed.package)
        folds[event.label].add(event.fold)
    assert len(packages) == 13
    assert all(len(found) >= 3 for found in packages.values())
    assert all(found == {1, 2, 3} for found in folds.values())
    counts = Counter(event.label for event in EVENTS)
    assert max(counts.values()) < 0.15 * len(EVENTS) and min(counts.values()) >= 19


def test_no_group_is_in_two_folds() -> None:
    folds = defaultdict(set)
    for event in EVENTS:
        folds[event.listed.sound.group].add(event.fold)
    assert all(len(found) == 1 for found in folds.values())


def test_the_word_fire_is_a_shot_where_a_weapon_fires_and_a_flame_elsewhere() -> None:
    fire = {e.listed.sound.file: e.label for e in EVENTS if "fire" in e.listed.sound.file.lower()}
    shots = {name for name, label in fire.items() if "weapons/" in name and label == "shot"}
    assert len(shots) >= 6
    kinds = Counter(label for name, label in fire.items() if name not in shots)
    assert kinds.keys() == {"fire", "explosion", "signal"}  # explosion-fire, a fire truck's siren
    assert kinds["explosion"] == kinds["signal"] == 1 and kinds["fire"] >= 15
