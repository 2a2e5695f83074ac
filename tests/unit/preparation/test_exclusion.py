"""Lists of sounds to keep out, as people write them, and which sounds they name."""

import json
from pathlib import Path

import pytest

from coala_jax.preparation.exclusion import names_of, read_exclusions


def excluded(sound_id: str, file: str, ids: frozenset[str]) -> bool:
    """As a preparation asks it."""
    return bool(ids & names_of(sound_id, file))


def written(folder: Path, content: str, name: str = "ids.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        pytest.param("ids.json", "[248905, 12]", {"248905", "12"}, id="integers"),
        pytest.param("ids.json", '["a/b.wav", " 7 ", 7]', {"a/b.wav", "7"}, id="strings"),
        pytest.param("ids.json", '["a, b.wav", "#1"]', {"a, b.wav", "#1"}, id="json-marks"),
        pytest.param("ids.txt", '\n [12, "0012"]', {"12", "0012"}, id="json-by-content"),
        pytest.param("ids.json", "\ufeff[12]", {"12"}, id="byte-order-mark-json"),
        pytest.param("ids.txt", "12\n34\n", {"12", "34"}, id="lines"),
        pytest.param("ids.csv", "\ufeff12\r\n\r\n 34 \r\n12", {"12", "34"}, id="windows"),
        pytest.param("ids", "# both\n12 # kick\n#34\n56", {"12", "56"}, id="comments"),
        pytest.param("ids.txt", "C#3 bell #2.wav\n", {"C#3 bell #2.wav"}, id="sharps-in-a-name"),
    ],
)
def test_lists_as_people_write_them(tmp_path: Path, name: str, content: str, ids: set[str]) -> None:
    assert read_exclusions(written(tmp_path, content, name)) == ids


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("ids.json", "[]", "it lists no ids; write a JSON list", id="empty-list"),
        pytest.param("ids.txt", "\n# none\n", "it lists no ids; write a JSON list", id="no-lines"),
        pytest.param("ids.json", "", r"it is no JSON \(.*\); write a JSON list", id="empty-json"),
        pytest.param("ids.json", "12\n34", r"it is no JSON \(Extra data", id="lines-called-json"),
        pytest.param("ids.txt", "[12, 34", r"it is no JSON \(Expecting", id="cut-short"),
        pytest.param("ids.json", "[" * 100_000, r"it is no JSON \(.*\); write", id="abyss"),
        pytest.param("ids.json", '{"ids": [12]}', "its JSON is no list of ids; write", id="object"),
        pytest.param("IDS.JSON", "12", "its JSON is no list of ids; write", id="number"),
        pytest.param("ids.json", "[1, [2]]", r"entry 2 of its list is \[2\], no id", id="nested"),
        pytest.param("ids.json", '[{"id": 1}]', 'entry 1 of its list is {"id": 1}', id="objects"),
        pytest.param("ids.json", "[true]", "entry 1 of its list is true, no id", id="boolean"),
        pytest.param("ids.json", "[1.0]", r"entry 1 of its list is 1\.0, no id", id="fraction"),
        pytest.param("ids.json", '[1, " "]', 'entry 2 of its list is " ", no id', id="blank"),
        pytest.param("ids.csv", "1\n2,kick", "line 2 is '2,kick', not one id", id="commas"),
        pytest.param("ids.csv", "1;kick", "line 1 is '1;kick', not one id", id="semicolons"),
        pytest.param("ids.csv", "1\tkick", r"line 1 is '1\\tkick', not one id", id="tabs"),
        pytest.param("ids.csv", '"1"', "line 1 is '\"1\"', not one id", id="quotes"),
    ],
)
def test_what_is_no_list_of_ids(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(ValueError, match=message) as caught:
        read_exclusions(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: there is no such file; give the list"):
        read_exclusions(tmp_path / "none.json")
    with pytest.raises(ValueError, match="there is no such file"):
        read_exclusions(tmp_path)
    sound = tmp_path / "kick.wav"
    sound.write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(ValueError, match=r"kick\.wav: it is no text in UTF-8 \(.*\); write a"):
        read_exclusions(sound)


@pytest.mark.parametrize(
    ("sound_id", "file", "entry"),
    [
        pytest.param("123", "a/kick.wav", "123", id="id"),
        pytest.param("", "a/kick.wav", "a/kick.wav", id="path"),
        pytest.param("", "a/kick.wav", "kick.wav", id="file-name"),
        pytest.param("", "a/kick.wav", "kick", id="file-name-without-extension"),
        pytest.param("", "123.wav", "123", id="freesound-id"),
        pytest.param("", "a/123__user__my__kick.wav", "123", id="freesound-download"),
        pytest.param("456", "123.wav", "123", id="file-though-the-id-differs"),
        pytest.param("123", "456__user__kick.wav", "456", id="download-though-the-id-differs"),
    ],
)
def test_an_entry_names_the_sound(sound_id: str, file: str, entry: str) -> None:
    assert excluded(sound_id, file, frozenset({entry}))
    assert excluded(sound_id, file, frozenset({"other", entry}))
    assert not excluded(sound_id, file, frozenset({"other"}))
    assert not excluded(sound_id, file, frozenset())


@pytest.mark.parametrize(
    ("sound_id", "file"),
    [
        ("1234", "1234.wav"),
        ("0123", "0123.wav"),
        ("12", "a/12.wav"),
        ("", "1234__user__123.wav"),
        ("", "0123__user__kick.wav"),
        ("", "user__123__kick.wav"),
        ("", "a123__user__kick.wav"),
        ("", "123_user_kick.wav"),
        ("", "123/kick.wav"),
        ("", "123__user/kick.wav"),
        ("", "123.wav.flac"),
    ],
)
def test_123_names_no_other_sound(sound_id: str, file: str) -> None:
    assert not excluded(sound_id, file, frozenset({"123"}))


def test_a_list_keeps_its_sounds_out(tmp_path: Path) -> None:
    ids = read_exclusions(written(tmp_path, json.dumps([123, "b/snare.wav"])))
    files = ["123.wav", "1234.wav", "a/123__user__kick.flac", "b/snare.wav", "c/snare.wav"]
    assert [file for file in files if excluded("", file, ids)] == [files[0], files[2], files[3]]
