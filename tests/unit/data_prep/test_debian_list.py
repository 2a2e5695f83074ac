"""Lists of sounds in Debian packages, and the three that the repository holds."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError, CorpusSound
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound, read_list

from tests.corpus_lists import DATA_PREP, listed

HEADER = "package\tpath\tsha256\ttags\tgroup\tlicence"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ROW = f"bells-data\tusr/share/bells/ding.wav\t{SHA256}\tbell ding\tbells-data/ding\tCC0-1.0"


def test_reads_rows_between_comments_and_blank_lines(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text(f"# a comment\twith a tab\n{HEADER}\n\n{ROW}\n# another\n")
    sound = CorpusSound(
        *("bells-data/bells/ding.wav", ("bell", "ding"), "bells-data/ding", "CC0-1.0"),
        source="bells-data",
    )
    assert read_list(path) == [ListedSound("bells-data", "usr/share/bells/ding.wav", SHA256, sound)]


def test_two_lists_are_one_and_share_no_sound(tmp_path):
    one, other = tmp_path / "one.tsv", tmp_path / "other.tsv"
    one.write_text(f"{HEADER}\n{ROW}\n")
    other.write_text(f"{HEADER}\n{ROW.replace('ding', 'dong')}\n")
    assert read_list(one, other) == read_list(one) + read_list(other)
    other.write_text(f"{HEADER}\n{ROW}\n")
    with pytest.raises(CorpusError, match=r"other\.tsv, line 2.*listed twice"):
        read_list(one, other)


CONTAINED = HEADER.replace("package", "package\tcontainer")
IN_FILE = ROW.replace("\t", "\t-\t", 1)
IN_ZIP = ROW.replace("\tusr/share/", "\tusr/share/bells.pk3\t", 1)


def test_a_list_may_name_the_container_of_a_sound(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text(f"{CONTAINED}\n{IN_FILE}\n{IN_ZIP.replace('ding.wav', 'dong.wav')}\n")
    own, inside = read_list(path)
    assert (own.container, own.path) == ("", "usr/share/bells/ding.wav")
    assert (inside.container, inside.path) == ("usr/share/bells.pk3", "bells/dong.wav")
    assert inside.sound.file == "bells-data/bells/dong.wav"


INVALID = {
    "empty": ("", "None"),
    "other column": (HEADER.replace("sha256", "md5"), "md5"),
    "column too many": (f"{HEADER}\n{ROW}\textra", "line 2"),
    "column too few": (f"{HEADER}\nbells-data\tusr/share/a", "line 2"),
    "no tags": (f"{HEADER}\n{ROW.replace('bell ding', '')}", "line 2"),
    "short SHA-256": (f"{HEADER}\n{ROW.replace(SHA256, SHA256[:-1])}", SHA256[:-1]),
    "twice": (f"{HEADER}\n{ROW}\n\n{ROW}", "line 4"),
    "elsewhere": (f"{HEADER}\n{ROW.replace('usr/share', 'etc')}", "etc/"),
    "parent": (f"{HEADER}\n{ROW.replace('/bells/', '/../')}", "/../"),
    "package": (f"{HEADER}\n../{ROW}", "../bells-data"),
    "container elsewhere": (f"{CONTAINED}\n{IN_ZIP.replace('usr/share', 'etc')}", "etc/"),
    "out of the container": (f"{CONTAINED}\n{IN_ZIP.replace('bells/', '../')}", "../ding.wav"),
    "in a file and in a container": (f"{CONTAINED}\n{IN_FILE}\n{IN_ZIP}", "line 3"),
    "no container": (f"{CONTAINED}\n{ROW}", "line 2"),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_malformed_list_is_refused_with_file_and_line(tmp_path, name):
    text, token = INVALID[name]
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(CorpusError) as error:
        read_list(tmp_path / "list.tsv")
    assert str(tmp_path / "list.tsv") in str(error.value) and token in str(error.value)


_SPDX_NAME = (
    r"((LicenseRef-)?(Artistic|CC0|CC-BY|CC-BY-SA|GPL|LGPL|MPL)-\d\.\d(-only|-or-later|-US)?"
    r"|GFDL-1\.3-no-invariants-only|LicenseRef-public-domain|Zlib)"
)


@pytest.fixture(params=["small", "standard", "further"])
def rows(request) -> list[ListedSound]:
    return listed(request.param)


def test_bytes_tags_and_licences(rows):
    assert max(Counter(row.sha256 for row in rows).values()) == 1
    for row in rows:
        assert len(set(row.sound.tags)) == len(row.sound.tags), row.path
        assert all(re.fullmatch(r"[a-zé]{2,}|8bit", tag) for tag in row.sound.tags), row.path
        assert re.fullmatch(f"{_SPDX_NAME}( OR {_SPDX_NAME})*", row.sound.licence), row.path


def test_numbered_takes_share_a_group(rows):
    groups = defaultdict(set)
    for row in rows:
        path = Path(row.path)
        take = re.fullmatch(r"(.*?[^\d_-])[_-]?0?\d", path.stem)
        if take:
            groups[path.parent / take[1]].add(row.sound.group)
    assert len(groups) > 100
    assert {stem: names for stem, names in groups.items() if len(names) > 1} == {}


def test_frequent_tags_span_several_groups(rows):
    """Else a split by groups would leave nothing to validate on."""
    groups = defaultdict(set)
    for row in rows:
        for tag in row.sound.tags:
            groups[tag].add(row.sound.group)
    assert sum(len(names) >= 5 for names in groups.values()) >= len(rows) / 25


def test_sounds_of_the_lists_per_package():
    counts = Counter(row.package for row in listed("standard"))
    assert (len(listed("standard")), len(counts)) == (2087, 24)
    assert (counts["hydrogen-drumkits"], counts["wesnoth-1.16-data"]) == (752, 289)
    further = Counter(row.package for row in listed("further"))
    assert (len(listed("further")), len(further)) == (1501, 24)
    assert (further["hydrogen-drumkits-effects"], further["nexuiz-data"]) == (292, 302)
    assert Counter(row.package for row in listed("small")) == {
        "bucklespring-data": 40,
        "hydrogen-data": 21,
        "lmms-common": 235,
        "oxygen-sounds": 50,
        "simutrans-pak64": 24,
        "sonic-pi-samples": 165,
        "sound-theme-freedesktop": 16,
        "yaru-theme-sound": 14,
    }


def test_standard_list_holds_the_small_one_row_by_row():
    packages = {row.package for row in listed("small")}
    assert [row for row in listed("standard") if row.package in packages] == listed("small")


def test_further_list_shares_no_package_and_no_bytes_with_the_standard_one():
    standard, further = listed("standard"), listed("further")
    assert not {row.package for row in further} & {row.package for row in standard}
    assert not {row.sha256 for row in further} & {row.sha256 for row in standard}


def test_a_copy_of_a_sound_of_the_standard_list_is_in_its_group():
    """Else validation on the two lists together would hold a copy of what was trained on."""
    packages = {row.package for row in listed("further")}
    groups = {row.sound.group for row in listed("further")}
    elsewhere = {group for group in groups if group.partition("/")[0] not in packages}
    assert len(elsewhere) >= 9
    assert elsewhere <= {row.sound.group for row in listed("standard")}


def test_groups_cross_packages_only_where_a_recording_does():
    crossing = {
        (row.sound.file, row.sound.group)
        for row in listed("standard")
        if not row.sound.group.startswith(f"{row.package}/")
    }
    assert crossing == {
        ("gnome-audio/sounds/question.wav", "sound-theme-freedesktop/dialog-information"),
        ("psi-plus-sounds/psi-plus/sound/pepnotify.wav", "gnome-audio/generic"),
    }


def test_layers_of_a_drum_share_a_group():
    groups = defaultdict(set)
    for row in listed("standard"):
        layer = re.fullmatch(r"(.*)-(Soft|Med|Hard)(est)?", Path(row.path).stem)
        if row.package == "hydrogen-drumkits" and layer:
            groups[Path(row.path).parent / layer[1]].add(row.sound.group)
    assert len(groups) == 34
    assert all(len(names) == 1 for names in groups.values())


def test_what_hit_and_what_missed_share_a_group():
    wesnoth = [row for row in listed("standard") if row.package.startswith("wesnoth")]
    groups = {row.path: row.sound.group for row in wesnoth}
    missed = [path for path in groups if "-miss" in path]
    hits = [path.replace("-miss", "") for path in missed]
    pairs = [
        (groups[miss], groups[hit]) for miss, hit in zip(missed, hits, strict=True) if hit in groups
    ]
    assert len(pairs) > 30
    assert all(miss == hit for miss, hit in pairs)


def test_the_docs_have_every_package_with_its_sounds_and_licences():
    page = (DATA_PREP.parent / "docs" / "free-corpus.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+)` \| (\w+) \| ([\d,]+) \| (.+) \|$", page, re.MULTILINE)
    told = {package: (int(count.replace(",", "")), names) for package, _, count, names in rows}
    standard, further = listed("standard"), listed("further")
    by_package: dict[str, list[ListedSound]] = {}
    for row in (*standard, *further):
        by_package.setdefault(row.package, []).append(row)
    for package, sounds in by_package.items():
        licences = ", ".join(sorted({row.sound.licence for row in sounds}))
        assert told.pop(package) == (len(sounds), licences)
    assert told.keys() == {"minuet-data", "timgm6mb-soundfont"}  # of the notes
    notes = sum(count for count, _ in told.values())
    total = len(standard) + len(further) + notes
    assert f"| `free` | {total:,} |" in page
    packages = len({row.package for row in further})
    assert f"{len(further):,} sounds of {packages} more" in page
    assert f"{notes:,} notes of two soundfonts" in page
