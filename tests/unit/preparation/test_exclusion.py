"""Lists of sounds to leave out, as people write them, and which sounds they match."""

from pathlib import Path

import pytest

from coala_jax.preparation.exclusion import exclude, read_exclusions
from coala_jax.preparation.table import Sound


def written(folder: Path, content: str, name: str = "ids.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        pytest.param("ids.json", "[248905, 12]", {"248905", "12"}, id="integers"),
        pytest.param("ids.json", '["a/b.wav", " 7 ", 7]', {"a/b.wav", "7"}, id="strings"),
        pytest.param("ids.json", '["a, b.wav", "#1"]', {"a, b.wav", "#1"}, id="marks in JSON"),
        pytest.param("ids.txt", '\n [12, "0012"]', {"12", "0012"}, id="JSON by content"),
        pytest.param("ids.json", "\ufeff[12]", {"12"}, id="byte order mark"),
        pytest.param("ids.csv", "\ufeff12\r\n\r\n 34 \r\n12", {"12", "34"}, id="lines of Windows"),
        pytest.param("ids", "# both\n12 # kick\n#34\n56", {"12", "56"}, id="comments"),
        pytest.param("ids.txt", "C#3 bell #2.wav\n", {"C#3 bell #2.wav"}, id="sharps in a name"),
    ],
)
def test_lists_as_people_write_them(tmp_path: Path, name: str, content: str, ids: set[str]) -> None:
    assert read_exclusions(written(tmp_path, content, name)) == ids


@pytest.mark.parametrize(
    ("name", "content", "token"),
    [
        pytest.param("ids.json", "[]", "no ids", id="empty list"),
        pytest.param("ids.txt", "\n# none\n", "no ids", id="no lines"),
        pytest.param("ids.json", "12\n34", "JSON", id="lines called JSON"),
        pytest.param("ids.txt", "[12, 34", "JSON", id="cut short"),
        pytest.param("ids.json", "[" * 100_000, "JSON", id="nested too deep"),
        pytest.param("ids.json", '{"ids": [12]}', "JSON", id="object"),
        pytest.param("IDS.JSON", "12", "JSON", id="number"),
        pytest.param("ids.json", "[1, [2]]", "entry 2", id="list in a list"),
        pytest.param("ids.json", "[true]", "entry 1", id="boolean"),
        pytest.param("ids.json", "[1.0]", "entry 1", id="fraction"),
        pytest.param("ids.json", '[1, " "]', "entry 2", id="blank"),
        pytest.param("ids.csv", "1\n2,kick", "line 2", id="commas"),
        pytest.param("ids.csv", "1;kick", "line 1", id="semicolons"),
        pytest.param("ids.csv", "1\tkick", "line 1", id="tabs"),
        pytest.param("ids.csv", '"1"', "line 1", id="quotes"),
    ],
)
def test_invalid_lists_are_refused(tmp_path: Path, name: str, content: str, token: str) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(ValueError, match=token) as error:
        read_exclusions(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_file_that_is_missing_or_not_a_text(tmp_path: Path) -> None:
    (tmp_path / "kick.wav").write_bytes(b"RIFF\xff\xfe")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "kick.wav"):
        with pytest.raises(ValueError) as error:
            read_exclusions(path)
        assert str(error.value).startswith(f"{path}: ")


def matches(sound_id: str, file: str, *ids: str) -> bool:
    sound = Sound(file, (), file, sound_id)
    kept, matched = exclude([sound], frozenset(ids))
    assert (kept == []) == (matched > 0)
    return not kept


@pytest.mark.parametrize(
    ("sound_id", "file", "entry"),
    [
        pytest.param("123", "a/kick.wav", "123", id="id"),
        pytest.param("", "a/kick.wav", "a/kick.wav", id="path"),
        pytest.param("", "a/kick.wav", "kick.wav", id="file name"),
        pytest.param("", "a/kick.wav", "kick", id="file name without extension"),
        pytest.param("", "a/123__user__my__kick.wav", "123", id="download from Freesound"),
        pytest.param("456", "123.wav", "123", id="file though the id differs"),
        pytest.param("123", "456__user__kick.wav", "456", id="download though the id differs"),
    ],
)
def test_an_entry_matches_the_sound(sound_id: str, file: str, entry: str) -> None:
    assert matches(sound_id, file, entry)
    assert matches(sound_id, file, "other", entry)
    assert not matches(sound_id, file, "other")
    assert not matches(sound_id, file)


@pytest.mark.parametrize(
    ("sound_id", "file"),
    [
        ("1234", "1234.wav"),
        ("0123", "a/12.wav"),
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
def test_123_matches_no_other_sound(sound_id: str, file: str) -> None:
    assert not matches(sound_id, file, "123")


def test_the_ids_that_match_are_counted() -> None:
    sounds = [Sound(f"{number:02d}.wav", (), "", str(number)) for number in range(16)]
    kept, matched = exclude(sounds, frozenset({"3", "07.wav", "99", "7"}))
    assert [sound.id for sound in kept] == [str(n) for n in range(16) if n not in (3, 7)]
    assert matched == 3
