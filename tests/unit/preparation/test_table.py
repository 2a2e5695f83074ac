"""Tables as people write them, and what is said of those that cannot be used."""

import itertools
from pathlib import Path

import pytest

from coala_jax.preparation.table import Columns, Sound, TableError, read_table


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "sounds.csv"
    path.write_bytes(text.encode(encoding))
    return path


DOG = [Sound("a.wav", ("dog",), "a.wav")]
TABLES = {
    "no groups": ("file,tags\na.wav,dog\n", DOG),
    "other columns": ("licence,tags,file\nMIT,dog,a.wav\n", DOG),
    "CRLF": ("file,tags\r\na.wav,dog\r\n", DOG),
    "no last newline": ("file,tags\na.wav,dog", DOG),
    "tabs": ("file\ttags\na.wav\tdog\n", DOG),
    "space": ("file, tags\na.wav,dog\n", DOG),
    "byte order mark": ("\ufefffile,tags\na.wav,dog\n", DOG),
    "no tags": ("file,tags\na.wav,\n", [Sound("a.wav", (), "a.wav")]),
    "words": ("file,tags\na.wav,Dogs the  CATS dog\n", [Sound("a.wav", ("dog", "cat"), "a.wav")]),
    "semicolons": ('file;tags\na.wav;"dog;cat"\n', [Sound("a.wav", ("dog", "cat"), "a.wav")]),
    "quotes": ('file,tags\n"a, ""b"".wav",dog\n', [Sound('a, "b".wav', ("dog",), 'a, "b".wav')]),
    "commas in quotes": (
        'file,tags\na.wav,"Dog Barks, the; rain"\n',
        [Sound("a.wav", ("dog-bark", "rain"), "a.wav")],
    ),
    "groups, one empty": (
        "file,tags,group\na.wav,dog,kit\nb.wav,cat,\n",
        [Sound("a.wav", ("dog",), "kit"), Sound("b.wav", ("cat",), "b.wav")],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_become_sounds(tmp_path: Path, name: str) -> None:
    text, sounds = TABLES[name]
    assert read_table(table(tmp_path, text), Columns()) == sounds


def test_columns_ids_and_the_processing_that_are_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, "path,words,take,group,id,number\na.wav,Dogs bass x,t1,g1,17,18\n")
    sound = Sound("a.wav", ("dog", "bass", "x"), "g1", "17")
    columns = Columns(file="path", tags="words")
    assert read_table(path, columns) == [sound]
    columns = Columns(file="path", tags="words", group="take", id="number")
    assert read_table(path, columns) == [Sound("a.wav", sound.tags, "t1", "18")]
    assert sorted(read_table(path, columns, "released")[0].tags) == ["bas", "dog"]


def test_order_of_the_rows_is_no_matter(tmp_path: Path) -> None:
    rows = ["b.wav,cat", "a.wav,dog", "B.wav,cow", "a/z.wav,hen"]
    for order in itertools.permutations(rows):
        sounds = read_table(table(tmp_path, "\n".join(("file,tags", *order))), Columns())
        assert [sound.file for sound in sounds] == ["B.wav", "a.wav", "a/z.wav", "b.wav"]


ROW, DEFAULT = "\na.wav,dog\n", Columns()
# The text, the columns, and what is named.
INVALID = {
    "no file column": (f"path,tags{ROW}", DEFAULT, "'file'"),
    "no tags column": (f"file,words{ROW}", DEFAULT, "'tags'"),
    "no group column": (f"file,tags{ROW}", Columns(group="kit"), "'kit'"),
    "no id column": (f"file,tags{ROW}", Columns(id="sound"), "'sound'"),
    "absolute": ("file,tags\n/home/a.wav,dog\n", DEFAULT, "line 2: /home"),
    "outside": ("file,tags\nb.wav,cat\n../a.wav,dog\n", DEFAULT, "line 3: ../a.wav"),
    "empty": ("", DEFAULT, ""),
    "header alone": ("file,tags\n", DEFAULT, ""),
    "no file": (f"file,tags{ROW},cat\n", DEFAULT, "line 3"),
    "no tags cell": (f"file,tags{ROW}b.wav\n", DEFAULT, "line 3"),
    "no group cell": (f"file,tags,group{ROW}", DEFAULT, "line 2"),
    "commas, no quotes": ("file,tags,group\na.wav,dog,loud,g\n", DEFAULT, "line 2"),
    "twice": (f"file,tags{ROW}b.wav,cat\na.wav,cow\n", DEFAULT, "lines 2 and 4: a.wav"),
    "two columns of one name": (f"file,tags,tags{ROW}", DEFAULT, "'tags'"),
    "two columns after stripping": (f"file, file,tags{ROW}", DEFAULT, "'file'"),
    "a cell without end": (f"file,tags\na.wav,{'x' * 131_073}\n", DEFAULT, "131072"),
    "open quote": ('file,tags\na.wav,"dog\n', DEFAULT, ""),
}


@pytest.mark.parametrize("name", INVALID)
def test_errors_name_the_table_and_the_place(tmp_path: Path, name: str) -> None:
    text, columns, token = INVALID[name]
    path = table(tmp_path, text)
    with pytest.raises(TableError) as error:
        read_table(path, columns)
    assert str(error.value).startswith(f"{path}: ")
    assert token in str(error.value)


def test_other_encodings_and_a_missing_table_are_refused(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", None):
        path = table(tmp_path, "file,tags\né.wav,dog\n", encoding or "utf-8")
        if not encoding:
            path.unlink()
        with pytest.raises(TableError) as error:
            read_table(path, Columns())
        assert str(error.value).startswith(f"{path}: ")
