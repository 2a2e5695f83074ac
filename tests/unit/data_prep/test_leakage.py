"""No sound of a proxy task is in a training corpus: the lists that the repository holds."""

import re

import pytest
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound
from coala_jax.data_prep.sample_corpus.soundfonts import FONTS

from tests import corpus_lists

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


@pytest.fixture(params=["small", "standard", "further"])
def listed(request) -> list[ListedSound]:
    return corpus_lists.listed(request.param)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda listed: listed.sha256, id="bytes"),
        pytest.param(lambda listed: listed.package, id="package"),
        pytest.param(lambda listed: listed.sound.group, id="group"),
    ],
)
def test_no_sound_of_a_proxy_task_is_in_a_training_corpus(listed, key):
    evaluated = {key(event.listed) for event in corpus_lists.events()}
    assert not {key(sound) for sound in listed} & evaluated


def test_no_freesound_sound_of_a_proxy_task_is_in_a_training_corpus(listed):
    events = corpus_lists.events()
    named = freesound_ids([event.listed for event in events])
    evaluated = named | {number for event in events for number in event.freesound}
    assert len(evaluated) > 20  # or this test would show nothing
    assert not freesound_ids(listed) & evaluated


def test_no_other_version_of_a_package_of_a_proxy_task_is_in_a_training_corpus(listed):
    assert OTHER_VERSIONS.match("openarena-085-data")
    assert not [sound.package for sound in listed if OTHER_VERSIONS.match(sound.package)]


def test_freesound_ids_are_found_in_the_names_of_the_standard_corpus():
    found = freesound_ids(corpus_lists.listed("standard"))
    assert 101450 in found
    assert len(found) > 10


def test_no_soundfont_is_in_a_training_corpus(listed):
    fonts = {font.package for font in FONTS.values()} | set(SOUNDFONT_PACKAGES)
    assert all(SOUNDFONT.search(package) for package in fonts)
    packages = {sound.package for sound in listed}
    assert not packages & fonts
    assert not [package for package in packages if SOUNDFONT.search(package)]
    assert not [sound for sound in listed if SOUNDFONT.search(sound.path.lower())]
