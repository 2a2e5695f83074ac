"""The task events, from packages built here, and the list itself."""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from coala_jax.data_prep.proxy_tasks.events import COLUMNS, VERSIONS, make_events, read_events
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests import corpus_lists
from tests.containers import qt_resource, sound_set
from tests.fake_apt import FakeApt, contents, needs_dpkg_deb

BELL, DRUM, HORN, BANG = b"RIFF bell" * 30, b"OggS drum" * 50, b"RIFF horn" * 9, b"RIFF bang" * 8
GAMES = {"sounds/bell.wav": BELL, "games.cat": sound_set([('"Ship horn"', HORN)])}
KITS = {"kits.rcc": qt_resource({"kits/drum.ogg": (DRUM, True), "kits/bang.wav": (BANG, False)}, 3)}


def row(
    package: str, path: str, content: bytes, label: str, fold: int | str, container: str = "-"
) -> tuple[str, ...]:
    digest = hashlib.sha256(content).hexdigest()
    return (package, container, path, digest, label, str(fold), f"{package}/a", "CC0-1.0", "12 345")


ROWS = [
    row("games-data", "usr/share/sounds/bell.wav", BELL, "signal", 1),
    row("games-data", "000_Ship_horn.wav", HORN, "signal", 1, "usr/share/games.cat"),
    row("kits-data", "kits/bang.wav", BANG, "explosion", 2, "usr/share/kits.rcc"),
    row("kits-data", "kits/drum.ogg", DRUM, "signal", 2, "usr/share/kits.rcc"),
]
CLIPS = [
    "audio/games-data/sounds/bell.wav,signal,1",
    "audio/games-data/000_Ship_horn.wav,signal,1",
    "audio/kits-data/kits/bang.wav,explosion,2",
    "audio/kits-data/kits/drum.ogg,signal,2",
]


@pytest.fixture
def apt(tmp_path, monkeypatch) -> FakeApt:
    fake = FakeApt(tmp_path / "apt", monkeypatch)
    fake.build("games-data", GAMES)
    fake.build("kits-data", KITS)
    return fake


def write_list(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("\n".join(["# a comment", *("\t".join(r) for r in [COLUMNS, *rows])]) + "\n")
    return path


def make(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    return make_events(folder, write_list(folder / "list.tsv", rows))


@needs_dpkg_deb
def test_the_task_is_made_from_files_and_containers_and_made_again_it_is_the_same(apt, tmp_path):
    folder = make(tmp_path, ROWS)
    first = contents(folder)
    header, *clips = first["clips.csv"].decode().splitlines()
    assert (header, clips) == ("file,label,fold", CLIPS)
    sounds = dict(
        zip((clip.split(",")[0] for clip in CLIPS), (BELL, HORN, BANG, DRUM), strict=True)
    )
    about = json.loads(first["about.json"])
    assert first == sounds | {name: first[name] for name in ("about.json", "clips.csv")}
    digest = hashlib.sha256((tmp_path / "list.tsv").read_bytes()).hexdigest()
    assert about["made_from"] == {"list": "list.tsv", "sha256": digest}
    assert (about["clips"], about["folds"]) == (4, {"1": 2, "2": 2})
    assert about["labels"] == {"explosion": 1, "signal": 3}
    calls = len(apt.calls)
    make(tmp_path, ROWS)
    assert contents(folder) == first and len(apt.calls) == calls
    (folder / "audio/kits-data/kits/bang.wav").write_bytes(b"cut")
    make(tmp_path, ROWS)
    assert contents(folder) == first
    assert [c for c in apt.calls[calls:] if "download" in c] == ["download kits-data"]


def inside(package: str, content: bytes) -> tuple[str, ...]:
    return row(package, "kits/bang.wav", content, "signal", 2, "usr/share/kits.rcc")


@needs_dpkg_deb
@pytest.mark.parametrize(
    ("sound", "cause"),
    [
        pytest.param(inside("kits-data", b"another"), "SHA-256", id="other bytes"),
        pytest.param(inside("cut-data", BANG), "kits.rcc: damaged", id="damaged container"),
        pytest.param(inside("links-data", BANG), "no such file", id="container is a link"),
        pytest.param(
            row("kits-data", "kits/gone.wav", b"gone", "signal", 2, "usr/share/kits.rcc"),
            "no such file",
            id="not in the container",
        ),
    ],
)
def test_a_sound_that_is_not_available_is_an_error(apt, tmp_path, sound, cause):
    (tmp_path / "secret.rcc").write_bytes(KITS["kits.rcc"])
    apt.build("links-data", {"a": b"a"}, links={"kits.rcc": str(tmp_path / "secret.rcc")})
    apt.build("cut-data", {"kits.rcc": KITS["kits.rcc"][:30]})
    with pytest.raises(CorpusError, match="1 of 3") as error:
        make(tmp_path, [*ROWS[:2], sound])
    assert f"package {sound[0]} 1:2.0-3" in str(error.value) and cause in str(error.value)
    assert contents(tmp_path / "events").keys() == {clip.split(",")[0] for clip in CLIPS[:2]}


@needs_dpkg_deb
def test_a_task_of_another_list_or_without_a_network_or_apt_is_refused(apt, tmp_path, monkeypatch):
    folder = make(tmp_path, ROWS)
    before = contents(folder)
    with pytest.raises(CorpusError, match=str(folder)):
        make(tmp_path, ROWS[:3])
    assert contents(folder) == before
    apt.offline()
    (tmp_path / "new").mkdir()
    with pytest.raises(CorpusError, match="4 of 4"):
        make(tmp_path / "new", ROWS)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match="apt-get and dpkg-deb"):
        make(tmp_path / "none", ROWS)
    assert not (tmp_path / "none" / "events").exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param(1, "etc/games.cat", id="container elsewhere"),
        pytest.param(2, "../a.wav", id="parent"),
        pytest.param(2, "/a.wav", id="absolute"),
        pytest.param(2, "kits/drum.ogg", id="file twice"),
        pytest.param(3, ROWS[3][3], id="SHA-256 twice"),
        pytest.param(4, "", id="no label"),
        pytest.param(5, "0", id="fold 0"),
        pytest.param(5, "a", id="fold a"),
    ],
)
def test_a_malformed_list_is_refused_with_its_line(tmp_path, column, value):
    changed = (*ROWS[2][:column], value, *ROWS[2][column + 1 :])
    path = write_list(tmp_path / "list.tsv", [*ROWS[:2], ROWS[3], changed])
    with pytest.raises(CorpusError, match=f"{path}, line 6"):
        read_events(path)


def test_no_package_group_or_copy_is_in_two_folds_and_every_class_is_in_all():
    events = corpus_lists.events()
    assert {event.listed.package for event in events} == VERSIONS.keys()
    folds, packages = defaultdict(set), defaultdict(set)
    for event in events:
        folds["package", event.listed.package].add(event.fold)
        folds["group", event.listed.sound.group].add(event.fold)
        folds["label", event.label].add(event.fold)
        packages[event.label].add(event.listed.package)
    for (kind, name), found in folds.items():
        assert found == {1, 2, 3} if kind == "label" else len(found) == 1, name
    assert len(packages) == 13
    assert all(len(found) >= 3 for found in packages.values())
    sizes = Counter(event.fold for event in events)
    assert max(sizes.values()) < 1.25 * min(sizes.values())
    counts = Counter(event.label for event in events)
    assert max(counts.values()) < 0.15 * len(events) and min(counts.values()) >= 19


def test_the_word_fire_is_a_shot_where_a_weapon_fires_and_a_flame_elsewhere():
    labels = {event.listed.sound.file: event.label for event in corpus_lists.events()}
    fire = {file: label for file, label in labels.items() if "fire" in file.lower()}
    shots = {name for name, label in fire.items() if "weapons/" in name and label == "shot"}
    assert len(shots) >= 6
    kinds = Counter(label for name, label in fire.items() if name not in shots)
    assert kinds.keys() == {"fire", "explosion", "signal"}  # explosion-fire, a fire truck's siren
    assert kinds["explosion"] == kinds["signal"] == 1 and kinds["fire"] >= 15
