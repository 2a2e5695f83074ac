"""No sound of a proxy task is in a training corpus: the lists that the repository holds."""

import re
from pathlib import Path

import pytest
from coala_jax.data_prep.proxy_tasks.events import read_events
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound, read_list
from coala_jax.data_prep.sample_corpus.soundfonts import FONTS

DATA_PREP = Path(__file__).parents[3] / "data_prep"
PRE_TRAINING = {
    name: read_list(DATA_PREP / "sample_corpus" / name)
    for name in ("small.tsv", "standard.tsv", "further.tsv")
}
EVENTS = read_events()
# Whatever Debian calls other versions and parts of these packages: openarena-085-data.
OTHER_VERSIONS = re.compile(
    r"openarena|ufoai|scorched3d|btanks|openttd|gcompris|lugaru|minetest-data"
)

# Whatever holds recordings of General MIDI instruments, by the names Debian has for it; and what
# is derived from FluidR3, whose recordings several fonts share.
SOUNDFONT = re.compile(r"soundfont|fluidr3|musescore|minuet|timgm6mb|freepats|\bsf[23z]\b|opl3-sf")
SOUNDFONT_PACKAGES = (
    *("fluid-soundfont-gm", "fluid-soundfont-gs", "minuet-data", "timgm6mb-soundfont"),
    *("csound-soundfont", "musescore-general-soundfont", "fluidr3mono-gm-soundfont"),
    *("musescore-general-soundfont-small", "musescore-general-soundfont-lossless"),
)


def freesound_ids(sounds: list[ListedSound]) -> set[int]:
    """The ids with which Freesound begins the names of its files: 101450__menegass__tomh.wav."""
    names = (sound.path.rpartition("/")[2] for sound in sounds)
    return {int(found[1]) for name in names if (found := re.match(r"(\d{2,})__", name))}


@pytest.fixture(params=PRE_TRAINING)
def listed(request) -> list[ListedSound]:
    return PRE_TRAINING[request.param]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda listed: listed.md5, id="bytes"),
        pytest.param(lambda listed: listed.package, id="package"),
        pytest.param(lambda listed: listed.sound.group, id="group"),
    ],
)
def test_no_sound_of_a_proxy_task_is_in_a_training_corpus(listed, key):
    assert not {key(sound) for sound in listed} & {key(event.listed) for event in EVENTS}


def test_no_freesound_sound_of_a_proxy_task_is_in_a_training_corpus(listed):
    named = freesound_ids([event.listed for event in EVENTS])
    evaluated = named | {number for event in EVENTS for number in event.freesound}
    assert len(evaluated) > 20  # or this test would show nothing
    assert not freesound_ids(listed) & evaluated


def test_no_other_version_of_a_package_of_a_proxy_task_is_in_a_training_corpus(listed):
    assert OTHER_VERSIONS.match("openarena-085-data")
    assert not [sound.package for sound in listed if OTHER_VERSIONS.match(sound.package)]


def test_freesound_ids_are_found_in_the_names_of_the_standard_corpus():
    assert 101450 in freesound_ids(PRE_TRAINING["standard.tsv"])
    assert len(freesound_ids(PRE_TRAINING["standard.tsv"])) > 10


def test_no_soundfont_is_in_a_training_corpus(listed):
    fonts = {font.package for font in FONTS.values()} | set(SOUNDFONT_PACKAGES)
    assert all(SOUNDFONT.search(package) for package in fonts)
    packages = {sound.package for sound in listed}
    assert not packages & fonts
    assert not [package for package in packages if SOUNDFONT.search(package)]
    assert not [sound for sound in listed if SOUNDFONT.search(sound.path.lower())]
