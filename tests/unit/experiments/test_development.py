"""Development data: which sounds are held out, and how they are labelled."""

import csv
from pathlib import Path

import pytest

from experiments import development
from tests.corpus_lists import listed

SOUNDS = """file,tags,group,licence,source
notes/a.flac,piano,g1,x,minuet-data
notes/b.flac,piano,g2,x,timgm6mb-soundfont
nexuiz-data/shot.ogg,game laser shot,shared,x,nexuiz-data
nexuiz-data/odd.ogg,game laser water,n,x,nexuiz-data
warmux-data/pain.wav,game pain,w,x,warmux-data
chuck-data/copy.wav,laser,shared,x,chuck-data
chuck-data/kick.wav,kick,k,x,chuck-data
"""
NOTES = """file,label,split,group
audio/a.wav,organ,train,generaluser
audio/b.wav,organ,train,timgm6mb
audio/c.wav,organ,test,fluidr3
"""


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    for name, (file, text) in {
        "corpus": ("sounds.csv", SOUNDS),
        "instruments": ("clips.csv", NOTES),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    return tmp_path / "corpus", tmp_path / "instruments"


def test_no_test_clip_of_a_proxy_task_is_in_a_development_task(folders):
    instruments, events = development.make_tasks(*folders)
    rows = list(csv.reader(instruments.read_text().splitlines()))
    assert rows == [
        ["file", "label", "split"],
        ["audio/a.wav", "organ", "train"],
        ["audio/b.wav", "organ", "test"],
    ]
    assert list(csv.reader(events.read_text().splitlines())) == [
        ["file", "label", "fold"],
        ["audio/nexuiz-data/shot.ogg", "shot", "1"],
        ["audio/warmux-data/pain.wav", "voice", "3"],
    ]


def test_pre_training_hears_no_sound_of_a_development_task_nor_of_its_group(folders):
    sounds = development.read_sounds(folders[0])
    kept = {row["file"] for row in sounds} - set(development.held_out(sounds))
    assert kept == {"notes/a.flac", "chuck-data/kick.wav"}
    kept -= set(development.held_out(sounds, development.FONTS))
    assert kept == {"chuck-data/kick.wav"}


def test_every_package_of_further_sounds_that_holds_games_is_held_out():
    games = {sound.package for sound in listed("further")} - {"hydrogen-drumkits-effects"}
    folds = [package for fold in development.FOLDS for package in fold]
    assert sorted(folds) == sorted(games)


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ("game laser shot", "shot"),
        ("game laser water", ""),
        ("game", ""),
        ("water splash", "water"),
        ("watering", ""),
    ],
)
def test_a_label_is_given_where_the_tags_name_one_class(tags, label):
    assert development.label_of(tags) == label
