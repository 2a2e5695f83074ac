"""The published layouts and your own tables: files, classes, folds, remarks, and damaged lists.

The folds of whole published layouts, and sounds that do not exist, are tested in `test_tasks.py`.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from coala_jax.evaluation import layouts
from coala_jax.evaluation.layouts import (
    NSYNTH_FAMILIES,
    NSYNTH_LIST,
    Row,
    TaskError,
    read_esc50,
    read_gtzan,
    read_nsynth,
    read_own,
    read_urbansound8k,
)

URBANSOUND8K = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ESC50 = "filename,fold,target,category,esc10,src_file,take"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_nsynth(folder: Path, train: dict[str, str], test: dict[str, str]) -> Path:
    """Both parts of NSynth, from note -> family."""
    for part, notes in {"train": train, "test": test}.items():
        content = {name: {"instrument_family_str": family} for name, family in notes.items()}
        write(folder / f"nsynth-{part}" / "examples.json", json.dumps(content))
    return folder


def notes(count: int, number: int, families: tuple[str, ...] = NSYNTH_FAMILIES) -> dict[str, str]:
    """So many notes of each family, all of the instrument of that number."""
    return {
        f"{family}_acoustic_{number:03}-{i:03}-100": family
        for family in families
        for i in range(count)
    }


def test_the_published_counts_alone_give_no_remark(tmp_path: Path) -> None:
    rows = [f"{i}.wav,{i},0,4,1,{i % 10 + 1},{i % 7},c{i % 7}" for i in range(8732)]
    write(tmp_path / "metadata" / "UrbanSound8K.csv", "\n".join([URBANSOUND8K, *rows]))
    rows = [f"{i}.wav,{i % 5 + 1},{i % 50},c{i % 50},{i % 50 < 10},{i},A" for i in range(2000)]
    esc = write(tmp_path / "meta" / "esc50.csv", "\n".join([ESC50, *rows]))
    for split, count in {"train": 443, "test": 290}.items():
        songs = "".join(f"rock/rock.{split}{i}.wav\n" for i in range(count))
        gtzan = write(tmp_path / f"{split}_filtered.txt", songs)
    assert read_urbansound8k(tmp_path).remarks == ()
    assert read_esc50(tmp_path).remarks == read_gtzan(tmp_path).remarks == ()
    assert read_esc50(tmp_path, only_esc10=True).remarks == ()
    write(esc, "\n".join([ESC50, *rows[:-50]]))
    write(gtzan, "rock/rock.0.wav")
    assert "1,950 clips in 5 folds" in read_esc50(tmp_path).remarks[0]
    assert "390 clips in 5 folds" in read_esc50(tmp_path, only_esc10=True).remarks[0]
    assert "443 training and 1 test songs" in read_gtzan(tmp_path).remarks[0]


@pytest.mark.parametrize(
    ("base", "suffix"),
    [("genres/", ".wav"), ("genres_original/", ".wav"), ("", ".wav"), ("genres/", ".au")],
)
def test_gtzan_in_either_folder_and_format(tmp_path: Path, base: str, suffix: str) -> None:
    write(tmp_path / f"{base}blues" / f"blues.00012{suffix}", b"")
    write(tmp_path / "train_filtered.txt", "blues/blues.00012.wav\n\n rock/rock.00001.wav \n")
    write(tmp_path / "valid_filtered.txt", "nothing reads this")
    write(tmp_path / "test_filtered.txt", "rock/rock.00002.wav")
    assert read_gtzan(tmp_path).rows == (
        Row(f"{base}blues/blues.00012{suffix}", "blues", "train"),
        Row(f"{base}rock/rock.00001.wav", "rock", "train"),
        Row(f"{base}rock/rock.00002.wav", "rock", "test"),
    )


def test_nsynth_with_the_authors_list(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 2)
    train, test = notes(5, number=1), notes(1, number=2)
    write_nsynth(tmp_path, train, test)
    chosen = {f: [f"{f}_acoustic_001-{i:03}-100" for i in (4, 1)] for f in NSYNTH_FAMILIES}
    write(tmp_path / NSYNTH_LIST, json.dumps(chosen))
    listing = read_nsynth(tmp_path)
    expected = [Row(f"nsynth-train/audio/{n}.wav", f, "train") for f in chosen for n in chosen[f]]
    expected += [Row(f"nsynth-test/audio/{name}.wav", f, "test") for name, f in test.items()]
    assert sorted(listing.rows, key=str) == sorted(expected, key=str)
    assert "20 training notes" in listing.remarks[0] and NSYNTH_LIST in listing.remarks[0]
    assert "10 notes" in listing.remarks[1] and "4,096" in listing.remarks[1]
    assert read_nsynth(tmp_path, seed=1).rows == listing.rows  # nothing is drawn
    chosen["organ"].pop()
    write(tmp_path / NSYNTH_LIST, json.dumps(chosen))
    assert any("1 to 2 notes" in remark for remark in read_nsynth(tmp_path).remarks)


def test_nsynth_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 200)
    train = notes(201, number=1) | notes(250, 1, ("synth_lead", "organ"))
    test = notes(1, number=2) | notes(3, 2, ("synth_lead",))
    write_nsynth(tmp_path, train, test)
    listing = read_nsynth(tmp_path, seed=3)
    drawn = {Path(row.file).stem: row.label for row in listing.rows if row.fold == "train"}
    assert Counter(drawn.values()) == dict.fromkeys(NSYNTH_FAMILIES, 200)
    assert drawn.items() <= train.items()
    assert "seed 3" in listing.remarks[0]
    assert "synth_lead (3 test notes)" in listing.remarks[1]
    assert len(listing.rows) == 2010  # without the notes of synth_lead
    # Of 250 organ notes two draws of 200 have 160 in common, give or take 2.5.
    organ = {note for note, family in drawn.items() if family == "organ"}
    others = {Path(row.file).stem for row in read_nsynth(tmp_path, seed=4).rows}
    assert 148 < len(organ & others) < 172
    # The order of the notes does not matter, and each family is drawn by itself.
    write_nsynth(tmp_path, dict(reversed(train.items())), test)
    assert set(read_nsynth(tmp_path, seed=3).rows) == set(listing.rows)


def test_the_draw_never_changes(tmp_path: Path, monkeypatch) -> None:
    """Results depend on it: by sha256sum of "SEED NAME", the lowest first."""
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 2)
    write_nsynth(tmp_path, notes(9, number=1), notes(1, number=2))
    rows = [row for row in read_nsynth(tmp_path).rows if row.label == "bass"]
    drawn = sorted(row.file.split("-")[2] for row in rows if row.fold == "train")
    assert drawn == ["001", "002"]


@pytest.mark.parametrize(
    ("text", "row", "in_folds"),
    [
        pytest.param("file,label,fold\na.wav,dog,1\n", ("dog", "1"), True, id="folds"),
        pytest.param("file,label,split\na.wav,dog,train", ("dog", "train"), False, id="splits"),
        pytest.param("fold;file;label\r\nA;a.wav;a, b\r\n", ("a, b", "A"), True, id="semicolon"),
        pytest.param("file\tlabel\tfold\na.wav\tdog\t1\n", ("dog", "1"), True, id="tabs"),
        pytest.param("\ufefffile,label,fold\na.wav,dog,1", ("dog", "1"), True, id="bom"),
        pytest.param("file, label , fold\na.wav, dog, 1\n", ("dog", "1"), True, id="spaces"),
        pytest.param('file,label,fold\na.wav,"a ""b"", c",1', ('a "b", c', "1"), True, id="quotes"),
        pytest.param("file,label,fold\n\na.wav,a\u2028b,1", ("a\u2028b", "1"), True, id="lines"),
        pytest.param("group,file,label,fold\ng,a.wav,dog,1", ("dog", "1", "g"), True, id="group"),
    ],
)
def test_own_tables(tmp_path: Path, text: str, row: tuple, in_folds: bool) -> None:
    path = write(tmp_path / "my sounds" / "any.csv", text)
    listing = read_own(path)
    assert listing.rows == (Row("a.wav", *row),)
    assert (listing.name, listing.root, listing.source) == ("any", path.parent, path)
    assert listing.in_folds is in_folds


def test_an_own_folder_gives_its_name(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "my sounds" / "clips.csv", "file,label,fold\na.wav,dog,1")
    for spec in (path, path.parent):
        listing = read_own(spec)
        assert (listing.name, listing.root, listing.source) == ("my sounds", path.parent, path)
    monkeypatch.chdir(path.parent)
    assert read_own(Path()).name == "my sounds"


def own(folder: Path):
    return read_own(folder / "clips.csv")


US8K_FILE, ESC50_FILE = "metadata/UrbanSound8K.csv", "meta/esc50.csv"
TEST_NOTES = "nsynth-test/examples.json"
ALL = {family: [f"{family}_acoustic_001-000-100"] for family in NSYNTH_FAMILIES}
DAMAGED = [
    ("clips.csv", own, "", ""),
    ("clips.csv", own, "file,label\na.wav,dog", "neither"),
    ("clips.csv", own, "file,label,fold,split\n", "both"),
    ("clips.csv", own, "name,fold\na.wav,1", "file and no column label"),
    ("clips.csv", own, "file,fold,fold\n", "'fold'"),
    ("clips.csv", own, "file,label,fold\na,b,1\na.wav, ,1", "line 3 has no label"),
    ("clips.csv", own, "file,label,fold\n\n,dog,1", "line 3 has no file"),
    ("clips.csv", own, "file,label,split\na.wav,dog,", "line 2 has no split"),
    ("clips.csv", own, "file,label,fold\na.wav,dog", "line 2 has 2 cells"),
    ("clips.csv", own, "file,label,fold\na,b,dog,1", "line 2 has 4 cells"),
    ("clips.csv", own, 'file,label,fold\na.wav,"dog,1\n', "line 2"),
    ("clips.csv", own, b"file,label,fold\n\xe9.wav,dog,1", "UTF-8"),
    (US8K_FILE, read_urbansound8k, f"{URBANSOUND8K}\n1.wav,1,0,4,1,,3,dog", "line 2 has no fold"),
    (US8K_FILE, read_urbansound8k, "slice_file_name,fould,class", "fold"),
    (ESC50_FILE, read_esc50, f"{ESC50}\n1.wav,1,0,dog,True", "line 2 has 5 cells"),
    (ESC50_FILE, read_esc50, f"{ESC50}\n1.wav,1,0,dog,no,1,A", "line 2: esc10 is 'no'"),
    *(
        ("test_filtered.txt", read_gtzan, f"blues/1.wav\n{line}\n", f"line 2 is {line!r}")
        for line in ("blues.wav", "/blues.wav", "a/b/c.wav", "blues/", "\x00\x01/x")
    ),
    *(
        (TEST_NOTES, read_nsynth, content, "unpack")
        for content in ("", "{", "[]", "{}", '{"a": 1}', '{"a": {}}', b"\xff", "[" * 100_000)
    ),
    (TEST_NOTES, read_nsynth, '{"a": {"instrument_family_str": 3}}', "unpack"),
    (NSYNTH_LIST, read_nsynth, "{", "JSON"),
    (NSYNTH_LIST, read_nsynth, "[]", ""),
    (NSYNTH_LIST, read_nsynth, '{"bass": 3}', ""),
    (NSYNTH_LIST, read_nsynth, '{"bass": []}', "brass, flute"),
    (NSYNTH_LIST, read_nsynth, json.dumps(ALL | {"bass": ["no_such"]}), "'no_such'"),
    (NSYNTH_LIST, read_nsynth, json.dumps(ALL | {"bass": ALL["brass"]}), "'brass_"),
    (NSYNTH_LIST, read_nsynth, json.dumps(ALL | {"bass": [["x"]]}), "bass"),
    *(
        (name, read, None, "no such file")
        for name, read in (
            ("clips.csv", own),
            (US8K_FILE, read_urbansound8k),
            (ESC50_FILE, read_esc50),
            ("test_filtered.txt", read_gtzan),
            (TEST_NOTES, read_nsynth),
        )
    ),
]


@pytest.mark.parametrize(("name", "read", "content", "token"), DAMAGED)
def test_a_missing_or_damaged_list_is_named_with_the_line(
    tmp_path: Path, name, read, content, token: str
) -> None:
    write(tmp_path / "train_filtered.txt", "blues/blues.00000.wav\n")
    write_nsynth(tmp_path, notes(2, 1), notes(1, 2))
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(TaskError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and token in str(error.value)


def test_too_few_notes_and_notes_in_both_parts_are_errors(tmp_path: Path) -> None:
    for train, token in ((notes(1999, 1), "1999"), (notes(1, 2), "bass_acoustic_002-000-100")):
        write_nsynth(tmp_path, train, notes(1, 2))
        with pytest.raises(TaskError, match=token) as error:
            read_nsynth(tmp_path)
        assert str(tmp_path / "nsynth-train" / "examples.json") in str(error.value)
