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


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        pytest.param(
            "path,tags\na.wav,dog\n",
            Columns(),
            "no column 'file', only path, tags; name its columns with --file_column",
            id="no-file-column",
        ),
        pytest.param(
            "file,tags\n/home/me/a.wav,dog\n",
            Columns(),
            "line 2 names /home/me/a.wav",
            id="absolute",
        ),
        pytest.param(
            "file,tags\nb.wav,cat\n../a.wav,dog\n",
            Columns(),
            "line 3 names ../a.wav, which is not below the audio folder; give --audio",
            id="outside",
        ),
        pytest.param(
            "file,tags\na.wav,dog\n",
            Columns(id="sound"),
            "no column 'sound', only file, tags; name its columns .* --id_column",
            id="no-such-id-column",
        ),
        pytest.param("file\na.wav\n", Columns(), "no column 'tags', only file", id="no-tags"),
        pytest.param(
            "file,tags,group\na.wav,dog,g\n",
            Columns(group="kit"),
            "no column 'kit', only file, tags, group",
            id="no-such-group-column",
        ),
        pytest.param("", Columns(), "the file is empty; its first line must", id="empty"),
        pytest.param("file,tags\n", Columns(), "lists no sounds", id="header-alone"),
        pytest.param("file,tags\na.wav,dog\n,cat\n", Columns(), "line 3 has no file", id="no-file"),
        pytest.param(
            "file,tags\na.wav,dog\nb.wav\n", Columns(), "line 3 .* cut short", id="no-tags-cell"
        ),
        pytest.param(
            "file,tags,group\na.wav,dog\n", Columns(), "line 2 .* cut short", id="no-group-cell"
        ),
        pytest.param(
            "file,tags,group\na.wav,dog,loud,g\n",
            Columns(),
            "line 2 has more cells than the header; put tags with commas in quotes",
            id="commas-without-quotes",
        ),
        pytest.param(
            "file,tags\na.wav,dog\nb.wav,cat\na.wav,cow\n",
            Columns(),
            "a.wav is in two rows; keep one",
            id="repeated",
        ),
        pytest.param('file,tags\na.wav,"dog\n', Columns(), "mark that is not closed", id="quote"),
    ],
)
def test_errors_name_table_place_and_way_out(
    tmp_path: Path, text: str, columns: Columns, message: str
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(TableError, match=message) as raised:
        read_table(path, columns)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    path = table(tmp_path, "file,tags\né.wav,dog\n", encoding)
    with pytest.raises(
        TableError, match=r"sounds\.csv: it is not in UTF-8 .* save it as CSV UTF-8"
    ):
        read_table(path, Columns())


def test_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv: there is no such file; give the CSV"):
        read_table(tmp_path / "none.csv", Columns())
