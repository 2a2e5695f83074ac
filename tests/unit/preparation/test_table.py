"""Tables as people write them, and what is said of those that cannot be used."""

import itertools
from pathlib import Path

import pytest

from coala_jax.preparation.table import Columns, Sound, TableError, read_table


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "sounds.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        pytest.param("file,tags\na.wav,dog\n", [("a.wav", ("dog",), "a.wav")], id="no-groups"),
        pytest.param(
            "file,tags,group\na.wav,dog,kit\nb.wav,cat,\n",
            [("a.wav", ("dog",), "kit"), ("b.wav", ("cat",), "b.wav")],
            id="groups-and-an-empty-one",
        ),
        pytest.param(
            "licence,tags,file\nMIT,dog,a.wav\n", [("a.wav", ("dog",), "a.wav")], id="other-columns"
        ),
        pytest.param("file,tags\na.wav,\n", [("a.wav", (), "a.wav")], id="no-tags"),
        pytest.param(
            "file,tags\na.wav,Dogs the  CATS dog\n",
            [("a.wav", ("dog", "cat"), "a.wav")],
            id="words",
        ),
        pytest.param(
            'file,tags\na.wav,"Dog Barks, the; rain"\n',
            [("a.wav", ("dog-bark", "rain"), "a.wav")],
            id="commas-in-quotes",
        ),
        pytest.param(
            'file,tags\n"a, ""b"".wav",dog\n', [('a, "b".wav', ("dog",), 'a, "b".wav')], id="quotes"
        ),
        pytest.param("file,tags\r\na.wav,dog\r\n", [("a.wav", ("dog",), "a.wav")], id="crlf"),
        pytest.param("file,tags\na.wav,dog", [("a.wav", ("dog",), "a.wav")], id="no-last-newline"),
        pytest.param("\ufefffile,tags\né.wav,dog\n", [("é.wav", ("dog",), "é.wav")], id="bom"),
        pytest.param(
            'file;tags\na.wav;"dog;cat"\n', [("a.wav", ("dog", "cat"), "a.wav")], id="semicolons"
        ),
        pytest.param("file\ttags\na.wav\tdog\n", [("a.wav", ("dog",), "a.wav")], id="tabs"),
        pytest.param("file, tags\na.wav,dog\n", [("a.wav", ("dog",), "a.wav")], id="space"),
    ],
)
def test_rows_become_sounds(tmp_path: Path, text: str, sounds: list[tuple]) -> None:
    assert read_table(table(tmp_path, text), Columns()) == [Sound(*sound) for sound in sounds]


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = table(tmp_path, "path,words,take,group\na.wav,dog,t1,g1\n")
    columns = Columns(file="path", tags="words", group="take")
    assert read_table(path, columns) == [Sound("a.wav", ("dog",), "t1")]
    assert read_table(path, Columns("path", "words")) == [Sound("a.wav", ("dog",), "g1")]


def test_ids(tmp_path: Path) -> None:
    path = table(tmp_path, "file,tags,id,number\na.wav,dog,17,18\n")
    assert read_table(path, Columns()) == [Sound("a.wav", ("dog",), "a.wav", "17")]
    assert read_table(path, Columns(id="number")) == [Sound("a.wav", ("dog",), "a.wav", "18")]


def test_tags_as_the_released_code_made_them(tmp_path: Path) -> None:
    path = table(tmp_path, "file,tags\na.wav,Dogs field-recording bass x\n")
    assert read_table(path, Columns())[0].tags == ("dog", "field-recording", "bass", "x")
    assert sorted(read_table(path, Columns(), "released")[0].tags) == ["bas", "dog"]


def test_order_of_the_rows_is_no_matter(tmp_path: Path) -> None:
    rows = ["b.wav,cat", "a.wav,dog", "B.wav,cow", "a/z.wav,hen"]
    for order in itertools.permutations(rows):
        sounds = read_table(table(tmp_path, "\n".join(("file,tags", *order))), Columns())
        assert [sound.file for sound in sounds] == ["B.wav", "a.wav", "a/z.wav", "b.wav"]


def with_columns(header: str, **columns: str) -> tuple[str, Columns]:
    return f"{header}\na.wav,dog\n", Columns(**columns)


@pytest.mark.parametrize(
    ("text", "columns", "token"),
    [
        pytest.param(*with_columns("path,tags"), "'file'", id="no file column"),
        pytest.param(*with_columns("file,words"), "'tags'", id="no tags column"),
        pytest.param(*with_columns("file,tags", group="kit"), "'kit'", id="no group column"),
        pytest.param(*with_columns("file,tags", id="sound"), "'sound'", id="no id column"),
        pytest.param("file,tags\n/home/a.wav,dog\n", Columns(), "line 2: /home", id="absolute"),
        pytest.param(
            "file,tags\nb.wav,cat\n../a.wav,dog\n", Columns(), "line 3: ../a.wav", id="outside"
        ),
        pytest.param("", Columns(), "empty", id="empty"),
        pytest.param("file,tags\n", Columns(), "no sounds", id="header alone"),
        pytest.param("file,tags\na.wav,dog\n,cat\n", Columns(), "line 3", id="no file"),
        pytest.param("file,tags\na.wav,dog\nb.wav\n", Columns(), "line 3", id="no tags cell"),
        pytest.param("file,tags,group\na.wav,dog\n", Columns(), "line 2", id="no group cell"),
        pytest.param(
            "file,tags,group\na.wav,dog,loud,g\n", Columns(), "line 2", id="commas without quotes"
        ),
        pytest.param(
            "file,tags\na.wav,dog\nb.wav,cat\na.wav,cow\n", Columns(), "a.wav", id="twice"
        ),
        pytest.param('file,tags\na.wav,"dog\n', Columns(), "quotation", id="open quote"),
    ],
)
def test_errors_name_the_table_and_the_place(
    tmp_path: Path, text: str, columns: Columns, token: str
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(TableError) as error:
        read_table(path, columns)
    assert str(error.value).startswith(f"{path}: ")
    assert token in str(error.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", None])
def test_other_encodings_and_a_missing_table_are_refused(
    tmp_path: Path, encoding: str | None
) -> None:
    path = tmp_path / "none.csv"
    if encoding:
        path = table(tmp_path, "file,tags\né.wav,dog\n", encoding)
    with pytest.raises(TableError) as error:
        read_table(path, Columns())
    assert str(error.value).startswith(f"{path}: ")
