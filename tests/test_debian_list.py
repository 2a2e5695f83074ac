"""coala_jax.preparation.debian_list, and the list that the repository holds."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from coala_jax.preparation.corpus_folder import CorpusError, CorpusSound
from coala_jax.preparation.debian_list import ListedSound, read_list

LIST = Path(__file__).parents[1] / "data_prep" / "sample_corpus.tsv"
HEADER = "package\tpath\tmd5\ttags\tgroup\tlicence"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
ROW = f"bells-data\tusr/share/bells/ding.wav\t{MD5}\tbell ding\tbells-data/ding\tCC0-1.0"


def test_reads_rows_between_remarks_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text(f"# a remark\twith a tab\n{HEADER}\n\n{ROW}\n# another\n")
    sound = CorpusSound("bells-data/bells/ding.wav", ("bell", "ding"), "bells-data/ding", "CC0-1.0")
    assert read_list(path) == [ListedSound("bells-data", "usr/share/bells/ding.wav", MD5, sound)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "has the columns None", id="empty"),
        pytest.param(HEADER.replace("md5", "sha1"), "has the columns", id="other column"),
        pytest.param(f"{HEADER}\n{ROW}\textra", "line 2: 6 filled columns", id="column too many"),
        pytest.param(f"{HEADER}\nbells-data\tusr/share/a", "line 2: 6 filled", id="too few"),
        pytest.param(f"{HEADER}\n{ROW.replace('bell ding', '')}", "line 2: 6 filled", id="no tags"),
        pytest.param(f"{HEADER}\n{ROW.replace(MD5, MD5[:-1])}", "is no MD5", id="short MD5"),
        pytest.param(f"{HEADER}\n{ROW}\n\n{ROW}", "line 4: .* listed twice", id="twice"),
        pytest.param(f"{HEADER}\n{ROW.replace('usr/share', 'etc')}", "not below", id="elsewhere"),
        pytest.param(f"{HEADER}\n{ROW.replace('/bells/', '/../')}", "not below", id="parent"),
        pytest.param(f"{HEADER}\n../{ROW}", "is no package name", id="package"),
    ],
)
def test_malformed_list_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "list.tsv"
    path.write_text(text)
    with pytest.raises(CorpusError, match=sentence) as error:
        read_list(path)
    assert str(path) in str(error.value)


class TestCommittedList:
    """What the quickstart counts on."""

    def test_sounds_per_package(self) -> None:
        counts = Counter(row.package for row in read_list(LIST))
        assert counts == {
            "bucklespring-data": 40,
            "hydrogen-data": 21,
            "lmms-common": 235,
            "oxygen-sounds": 50,
            "simutrans-pak64": 24,
            "sonic-pi-samples": 165,
            "sound-theme-freedesktop": 16,
            "yaru-theme-sound": 14,
        }

    def test_no_bytes_twice(self) -> None:
        assert max(Counter(row.md5 for row in read_list(LIST)).values()) == 1

    def test_licences_are_free_and_spdx(self) -> None:
        assert {row.sound.licence for row in read_list(LIST)} == {
            "Artistic-1.0",
            "CC-BY-3.0",
            "CC-BY-SA-3.0",
            "CC-BY-SA-4.0",
            "CC0-1.0",
            "GPL-2.0-only",
            "GPL-2.0-or-later",
            "LGPL-3.0-or-later",
        }

    def test_groups_stay_in_their_package(self) -> None:
        for row in read_list(LIST):
            assert row.sound.group.startswith(f"{row.package}/"), row.path

    def test_numbered_takes_share_a_group(self) -> None:
        groups = defaultdict(set)
        for row in read_list(LIST):
            path = Path(row.path)
            take = re.fullmatch(r"(.*?[^\d_-])[_-]?0?\d", path.stem)
            if take:
                groups[path.parent / take[1]].add(row.sound.group)
        assert len(groups) > 100
        assert {stem: names for stem, names in groups.items() if len(names) > 1} == {}

    @pytest.mark.parametrize(
        ("folder", "group"),
        [
            ("drumkits/TR808EmulationKit/", "hydrogen-data/TR808EmulationKit"),
            ("drumkits/GMRockKit/", "hydrogen-data/GMRockKit"),
            ("share/buckle/wav/", "bucklespring-data/keyboard"),
            ("samples/tabla_", "sonic-pi-samples/tabla"),
        ],
    )
    def test_one_instrument_is_one_group(self, folder: str, group: str) -> None:
        assert {r.sound.group for r in read_list(LIST) if folder in r.path} == {group}

    def test_groups_are_many_and_small(self) -> None:
        sizes = Counter(row.sound.group for row in read_list(LIST))
        assert len(sizes) > 250
        assert max(sizes.values()) == 40

    def test_frequent_tags_span_several_groups(self) -> None:
        """Else a split by groups would leave nothing to validate on."""
        groups = defaultdict(set)
        for row in read_list(LIST):
            for tag in row.sound.tags:
                groups[tag].add(row.sound.group)
        assert sum(len(names) >= 5 for names in groups.values()) >= 25
