"""Lists of sounds to leave out, as people write them, and which sounds they match."""

from pathlib import Path

import pytest

from coala_jax.preparation.exclusion import exclude, read_exclusions
from coala_jax.preparation.table import Sound


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
    (tmp_path / name).write_bytes(content.encode())
    assert read_exclusions(tmp_path / name) == ids


INVALID = {
    "ids.txt": ["\n# none\n", "[12, 34"],
    "ids.json": ["[]", "12\n34", "[" * 100_000, '{"ids": [12]}', "[1, [2]]", "[true]", "[1.0]",
                 '[1, " "]'],
    "IDS.JSON": ["12"],
    "ids.csv": ["1\n2,kick", "1;kick", "1\tkick", '"1"'],
    "kick.wav": [b"RIFF\xff\xfe".decode("latin-1")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name in INVALID for content in INVALID[name]],
    ids=lambda text: text[:9],
)
def test_invalid_lists_are_refused(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    for invalid in (path, tmp_path / "none.json", tmp_path):
        with pytest.raises(ValueError) as error:
            read_exclusions(invalid)
        assert str(error.value).startswith(f"{invalid}: ")


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
    assert matches(sound_id, file, "other", entry)
    assert not matches(sound_id, file, "other")
    assert not matches(sound_id, file)


def test_123_matches_no_other_sound() -> None:
    assert not matches("1234", "1234.wav", "123")
    assert not matches("0123", "a/12.wav", "123")
    files = (
        "1234__user__123.wav 0123__user__kick.wav user__123__kick.wav a123__user__kick.wav "
        "123_user_kick.wav 123/kick.wav 123__user/kick.wav 123.wav.flac"
    )
    assert not any(matches("", file, "123") for file in files.split())


def test_the_ids_that_match_are_counted() -> None:
    sounds = [Sound(f"{number:02d}.wav", (), "", str(number)) for number in range(16)]
    kept, matched = exclude(sounds, frozenset({"3", "07.wav", "99", "7"}))
    assert [sound.id for sound in kept] == [str(n) for n in range(16) if n not in (3, 7)]
    assert matched == 3
