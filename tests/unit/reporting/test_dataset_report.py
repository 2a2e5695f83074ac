"""The report of a dataset, from made-up records."""

import copy
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from coala_jax.reporting.dataset_report import markdown, remarks, render

MANIFEST = {
    "name": "made-up",
    "vocabulary": ["dog", "cat", "rain"],
    "settings": {"seed": 3, "columns": {"file": "path", "group": ""}},
    "front_end": {"hop_samples": 512},
    "preparation": {
        "sounds": {
            "listed": 4000, "excluded": 900, "untagged": 60, "failed": 30, "copies": 10,
            "kept": 3000,
        },
        "failures": {"WrongName": 20, "EmptyFile": 10},
        "splits": {
            "train": {"sounds": 2700, "patches": 5400, "groups": 1300},
            "validation": {"sounds": 300, "patches": 600, "groups": 150},
        },
        "wanted_fraction": 0.1,
        "sources": {"field": [2000, 250], "studio": [700, 50]},
        "source_count": 2,
        "seconds": {
            "total": 9000.0,
            "quantiles": {"0": 0.25, "0.5": 2.5, "1": 1234.5},
            "bin_edges": [0.25, 1.0, 10.0, 1500.0],
            "bin_sounds": [1000, 1500, 500],
            "patch": 2.234,
            "shorter_than_patch": 1200,
            "clip": 10.0,
            "longer_than_clip": 500,
        },
        "tag_sounds": {"train": [1200, 900, 600], "validation": [150, 90, 60]},
        "tags_per_sound": [0, 3000],
        "tags_left_out": {"too_frequent": 1, "too_rare": 2000, "beyond_vocabulary_size": 0},
        "value_range": [-15.94, 8.11],
    },
}  # fmt: skip


def changed(**changes: Any) -> dict[str, Any]:
    """The manifest with values of its record replaced, by path: sounds__kept=1."""
    manifest = copy.deepcopy(MANIFEST)
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = manifest["preparation"]
        for parent in parents:
            place = place[parent]
        place[key] = value
    return manifest


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the Markdown tables, by the first of each row."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {first.split(":")[0]: rest for first, *rest in cells}


def test_every_count_is_in_the_tables() -> None:
    text = markdown(MANIFEST)
    expected = {
        "listed": ["4,000", "100 %"],
        "excluded by id": ["900", "22.5 %"],
        "without a tag of the vocabulary (untagged.csv)": ["60", "1.5 %"],
        "not decoded (failures.csv)": ["30", "0.75 %"],
        "kept": ["3,000", "75 %"],
        "train": ["2,700", "90 %", "5,400", "1,300"],
        "validation": ["300", "10 %", "600", "150"],
        "studio": ["700", "50"],
        "seconds": ["0.25", "2.5", "1,234"],
        "cat": ["900", "90", "9.09 %"],
    }
    assert rows(text) | expected == rows(text)
    for part in ("20 WrongName, 10 EmptyFile", "2.5 hours", "2,000 too rare", "`seed=3`",
                 "`columns.file=path`", "`front_end.hop_samples=512`"):  # fmt: skip
        assert part in text
    assert "`columns.group" not in text
    assert "loudest" not in text
    loud = markdown(changed(loudest=["<b>.wav", 0.75]))
    assert r"The loudest sound is \<b\>.wav, with a peak of 0.75." in loud


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"sounds__failed": 200}, None, id="5 % not decoded"),
        pytest.param({"sounds__failed": 201}, "5.03 %", id="more not decoded"),
        pytest.param({"sounds__excluded": 2000}, None, id="exclusion is intended"),
        pytest.param({"splits__train__sounds": 999}, "999", id="few training sounds"),
        pytest.param({"wanted_fraction": 0.12}, None, id="fraction off by 0.02"),
        pytest.param({"wanted_fraction": 0.121}, "12.1 %", id="fraction off by more"),
        pytest.param({"splits__validation__groups": 9}, "groups", id="few groups"),
        pytest.param({"loudest": ["a.wav", 1.5]}, None, id="as loud as a lossy format may be"),
        pytest.param({"loudest": ["a.wav", 7.2]}, "a.wav reaches 7.2", id="a loud sound"),
        pytest.param({"seconds__shorter_than_patch": 1501}, "50 %", id="short sounds"),
        pytest.param({"tag_sounds__train": [1351, 900, 600]}, "dog", id="common tag"),
        pytest.param({"tag_sounds__train": [1350, 900, 0]}, "rain", id="tag not in training"),
        pytest.param({"tag_sounds__validation": [150, 0, 60]}, "cat", id="tag not in validation"),
    ],
)
def test_what_looks_wrong_is_remarked(changes: dict[str, Any], token: str | None) -> None:
    found = remarks(changed(**changes))
    assert len(found) == (token is not None)
    assert token is None or token in found[0]


def test_both_files_are_written_with_equal_bytes_for_equal_records(tmp_path: Path) -> None:
    """Also for one sound of one tag, in a script that the font lacks."""
    one = changed(
        sounds={"listed": 1, "excluded": 0, "untagged": 0, "failed": 0, "copies": 0, "kept": 1},
        tag_sounds={"train": [1], "validation": [0]},
        seconds=MANIFEST["preparation"]["seconds"] | {"bin_edges": [1, 2], "bin_sounds": [1]},
    ) | {"vocabulary": ["雨"]}  # fmt: skip
    for name, manifest in (("a", MANIFEST), ("b", MANIFEST), ("one", one)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        report, figure = render(tmp_path / name)
        assert (report.name, figure.name) == ("report.md", "report.png")
        assert figure.name in report.read_text()
        assert struct.unpack(">II", figure.read_bytes()[16:24]) == (1200, 750)
    for file in ("report.md", "report.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_names_cannot_change_the_page_and_a_manifest_without_a_record_is_refused(tmp_path) -> None:
    text = markdown(MANIFEST | {"name": "a\n# b", "vocabulary": ["x|y", "_em_ *b*", "<img>"]})
    assert text.splitlines()[0] == "# Dataset a # b"
    for escaped in (r"| x\|y |", r"| \_em\_ \*b\* |", r"| \<img\> |"):
        assert escaped in text
    for content in ("{", "[]", '{"preparation": {}}', '{"preparation": {"sounds": 1}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(ValueError) as error:
            render(tmp_path)
        assert str(tmp_path / "manifest.json") in str(error.value)
