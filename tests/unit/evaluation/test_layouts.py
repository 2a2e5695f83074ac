"""Each published layout in a few rows, and damaged lists.

Whether the sounds exist is tested in `test_tasks.py`.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from coala_jax.evaluation import layouts
from coala_jax.evaluation.layouts import (
    NSYNTH_FAMILIES,
    NSYNTH_LIST,
    Listing,
    Row,
    TaskError,
    read_esc50,
    read_gtzan,
    read_nsynth,
    read_own,
    read_urbansound8k,
)

URBANSOUND8K = """slice_file_name,fsID,start,end,salience,fold,classID,class
1-3-0-0.wav,1,0.0,0.317551,1,5,3,dog_bark
2-8-2-5.wav,2,55.512464,59.512464,2,10,8,siren
"""
ESC50 = """filename,fold,target,category,esc10,src_file,take
1-1-A-0.wav,1,0,dog,True,1,A
2-2-A-36.wav,5,36,vacuum_cleaner,False,2,A
"""


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_nsynth(folder: Path, train: dict[str, str], test: dict[str, str]) -> Path:
    """Both parts of NSynth, from note -> family."""
    for part, notes in {"train": train, "test": test}.items():
        content = {
            name: {"note_str": name, "instrument_family_str": family, "pitch": 60}
            for name, family in notes.items()
        }
        write(folder / f"nsynth-{part}" / "examples.json", json.dumps(content))
    return folder


def notes(count: int, number: int, families: tuple[str, ...] = NSYNTH_FAMILIES) -> dict[str, str]:
    """So many notes of each family, all of the instrument of that number."""
    return {
        f"{family}_acoustic_{number:03}-{i:03}-100": family
        for family in families
        for i in range(count)
    }


def test_urbansound8k_esc50_and_esc10(tmp_path: Path) -> None:
    source = write(tmp_path / "metadata" / "UrbanSound8K.csv", URBANSOUND8K)
    bark = Row("audio/fold5/1-3-0-0.wav", "dog_bark", "5")
    siren = Row("audio/fold10/2-8-2-5.wav", "siren", "10")
    assert read_urbansound8k(tmp_path) == Listing(
        *("urbansound8k", tmp_path, source, True, (bark, siren)),
        ("UrbanSound8K.csv lists 2 clips in 2 folds, the published table 8,732 in 10",),
    )
    source = write(tmp_path / "meta" / "esc50.csv", ESC50)
    dog = Row("audio/1-1-A-0.wav", "dog", "1")
    cleaner = Row("audio/2-2-A-36.wav", "vacuum_cleaner", "5")
    assert read_esc50(tmp_path) == Listing(
        *("esc50", tmp_path, source, True, (dog, cleaner)),
        ("esc50.csv lists 2 clips in 2 folds, the published table 2,000 in 5",),
    )
    ten = read_esc50(tmp_path, only_esc10=True)
    assert (ten.name, ten.rows) == ("esc10", (dog,))
    assert "400 in 5" in ten.remarks[0]
    write(source, ESC50.replace("False", "no"))
    with pytest.raises(TaskError, match=rf"^{source}: line 3: esc10 is 'no'"):
        read_esc50(tmp_path)


def test_the_published_counts_give_no_remark(tmp_path: Path) -> None:
    header = URBANSOUND8K.splitlines()[0]
    rows = [f"{i}.wav,{i},0,4,1,{i % 10 + 1},{i % 7},c{i % 7}" for i in range(8732)]
    write(tmp_path / "metadata" / "UrbanSound8K.csv", "\n".join([header, *rows]))
    assert read_urbansound8k(tmp_path).remarks == ()
    header = ESC50.splitlines()[0]
    rows = [f"{i}.wav,{i % 5 + 1},{i % 50},c{i % 50},{i % 50 < 10},{i},A" for i in range(2000)]
    write(tmp_path / "meta" / "esc50.csv", "\n".join([header, *rows]))
    assert read_esc50(tmp_path).remarks == ()
    assert read_esc50(tmp_path, only_esc10=True).remarks == ()
    for split, count in {"train": 443, "test": 290}.items():
        songs = "".join(f"rock/rock.{split}{i}.wav\n" for i in range(count))
        write(tmp_path / f"{split}_filtered.txt", songs)
    assert read_gtzan(tmp_path).remarks == ()


@pytest.mark.parametrize(
    ("folder", "suffix", "place"),
    [
        pytest.param("genres", ".wav", "genres/blues/blues.00012.wav", id="genres"),
        pytest.param("genres_original", ".wav", "genres_original/blues/blues.00012.wav", id="orig"),
        pytest.param(".", ".wav", "blues/blues.00012.wav", id="beside-the-lists"),
        pytest.param("genres", ".au", "genres/blues/blues.00012.au", id="au"),
        pytest.param(".", ".au", "blues/blues.00012.au", id="au-beside"),
    ],
)
def test_gtzan(tmp_path: Path, folder: str, suffix: str, place: str) -> None:
    write(tmp_path / folder / "blues" / f"blues.00012{suffix}", b"")
    write(tmp_path / "train_filtered.txt", "blues/blues.00012.wav\n\n rock/rock.00001.wav \n")
    write(tmp_path / "valid_filtered.txt", "nothing reads this")
    write(tmp_path / "test_filtered.txt", "rock/rock.00002.wav")
    base = place.partition("blues")[0]
    listing = read_gtzan(tmp_path)
    assert listing.rows == (
        Row(place, "blues", "train"),
        Row(f"{base}rock/rock.00001.wav", "rock", "train"),
        Row(f"{base}rock/rock.00002.wav", "rock", "test"),
    )
    assert (listing.name, listing.root, listing.in_folds) == ("gtzan", tmp_path, False)
    assert "2 training and 1 test songs" in listing.remarks[0]


@pytest.mark.parametrize("line", ["blues.wav", "/blues.wav", "a/b/c.wav", "blues/", "\x00\x01/x"])
def test_a_damaged_gtzan_list(tmp_path: Path, line: str) -> None:
    write(tmp_path / "train_filtered.txt", "blues/blues.00000.wav\n")
    source = write(tmp_path / "test_filtered.txt", f"blues/blues.00001.wav\n{line}\n")
    with pytest.raises(TaskError) as error:
        read_gtzan(tmp_path)
    assert str(error.value).startswith(f"{source}: line 2 is {line!r}")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_gtzan, "train_filtered.txt"),
        (read_nsynth, "nsynth-train/examples.json"),
        (read_esc50, "meta/esc50.csv"),
        (read_urbansound8k, "metadata/UrbanSound8K.csv"),
        (lambda folder: read_own(folder / "x.csv"), "x.csv"),
    ],
)
def test_a_missing_list(tmp_path: Path, read, name: str) -> None:
    with pytest.raises(TaskError, match=rf"^{tmp_path / name}: no such file"):
        read(tmp_path)


def test_nsynth_with_the_authors_list(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 2)
    train, test = notes(5, number=1), notes(1, number=2)
    write_nsynth(tmp_path, train, test)
    chosen = {
        family: [f"{family}_acoustic_001-{i:03}-100" for i in (4, 1)] for family in NSYNTH_FAMILIES
    }
    write(tmp_path / NSYNTH_LIST, json.dumps(chosen))
    listing = read_nsynth(tmp_path)
    assert set(listing.rows) == {
        *(Row(f"nsynth-train/audio/{n}.wav", f, "train") for f in chosen for n in chosen[f]),
        *(Row(f"nsynth-test/audio/{name}.wav", f, "test") for name, f in test.items()),
    }
    assert len(listing.rows) == 30
    assert (listing.name, listing.root, listing.in_folds) == ("nsynth", tmp_path, False)
    assert "20 training notes" in listing.remarks[0] and NSYNTH_LIST in listing.remarks[0]
    assert "10 notes" in listing.remarks[1] and "4,096" in listing.remarks[1]
    assert read_nsynth(tmp_path, seed=1).rows == listing.rows  # nothing is drawn
    chosen["organ"].pop()
    write(tmp_path / NSYNTH_LIST, json.dumps(chosen))
    assert any("1 to 2 notes per family" in remark for remark in read_nsynth(tmp_path).remarks)


def test_nsynth_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 200)
    train = notes(201, number=1) | notes(250, 1, ("synth_lead", "organ"))
    test = notes(1, number=2) | notes(3, 2, ("synth_lead",))
    write_nsynth(tmp_path, train, test)
    listing = read_nsynth(tmp_path, seed=3)
    assert {row.label for row in listing.rows} == set(NSYNTH_FAMILIES)
    drawn = {Path(row.file).stem: row.label for row in listing.rows if row.fold == "train"}
    assert Counter(drawn.values()) == dict.fromkeys(NSYNTH_FAMILIES, 200)
    assert drawn.items() <= train.items()
    assert "seed 3" in listing.remarks[0]
    assert "synth_lead (3 test notes)" in listing.remarks[1]
    # Of 250 organ notes two draws of 200 have 160 in common, give or take 2.5.
    organ = {note for note, family in drawn.items() if family == "organ"}
    others = {Path(row.file).stem for row in read_nsynth(tmp_path, seed=4).rows} & train.keys()
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
    ("train", "test", "token"),
    [
        pytest.param((1999, 1), (1, 2), "1999 notes of the family bass", id="too few"),
        pytest.param((2, 1), (1, 1), "10 notes .* first is bass_acoustic_001", id="in both"),
    ],
)
def test_unusable_notes(tmp_path: Path, train: tuple, test: tuple, token: str) -> None:
    write_nsynth(tmp_path, notes(*train), notes(*test))
    source = tmp_path / "nsynth-train" / "examples.json"
    with pytest.raises(TaskError, match=rf"^{source}: {token}"):
        read_nsynth(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="list"),
        pytest.param("{}", id="no-notes"),
        pytest.param('{"a": 1}', id="number"),
        pytest.param('{"a": {}}', id="no-family"),
        pytest.param('{"a": {"instrument_family_str": 3}}', id="number-as-family"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_damaged_notes(tmp_path: Path, content: str | bytes) -> None:
    write_nsynth(tmp_path, notes(2, 1), notes(1, 2))
    source = write(tmp_path / "nsynth-test" / "examples.json", content)
    with pytest.raises(TaskError, match=rf"^{source}: .*unpack this part"):
        read_nsynth(tmp_path)


ALL = {family: [f"{family}_acoustic_001-000-100"] for family in NSYNTH_FAMILIES}


@pytest.mark.parametrize(
    ("content", "token"),
    [
        pytest.param("{", "JSON", id="cut"),
        pytest.param("[]", "families", id="list"),
        pytest.param('{"bass": 3}', "families", id="number"),
        pytest.param('{"bass": []}', "brass, flute,", id="families"),
        pytest.param(json.dumps(ALL | {"bass": ["no_such"]}), "'no_such' .* bass", id="note"),
        pytest.param(json.dumps(ALL | {"bass": ALL["brass"]}), "'brass_.* bass", id="family"),
        pytest.param(json.dumps(ALL | {"bass": [["x"]]}), "bass", id="no-name"),
    ],
)
def test_a_damaged_authors_list(tmp_path: Path, content: str, token: str) -> None:
    write_nsynth(tmp_path, notes(2, 1), notes(1, 2))
    source = write(tmp_path / NSYNTH_LIST, content)
    with pytest.raises(TaskError, match=rf"^{source}: .*{token}"):
        read_nsynth(tmp_path)


@pytest.mark.parametrize(
    ("text", "row", "in_folds"),
    [
        pytest.param("file,label,fold\na.wav,dog,1\n", ("dog", "1", ""), True, id="folds"),
        pytest.param("file,label,split\na.wav,dog,train", ("dog", "train", ""), False, id="splits"),
        pytest.param(
            "fold;file;label\r\nA;a.wav;a, b\r\n", ("a, b", "A", ""), True, id="semicolon"
        ),
        pytest.param("file\tlabel\tfold\na.wav\tdog\t1\n", ("dog", "1", ""), True, id="tabs"),
        pytest.param("\ufefffile,label,fold\na.wav,dog,1", ("dog", "1", ""), True, id="bom"),
        pytest.param("file, label , fold\na.wav, dog, 1\n", ("dog", "1", ""), True, id="spaces"),
        pytest.param('file,label,fold\na.wav,"a ""b"", c",1', ('a "b", c', "1", ""), True, id="''"),
        pytest.param(
            "file,label,fold\n\na.wav,a\u2028b,1", ("a\u2028b", "1", ""), True, id="lines"
        ),
        pytest.param("group,file,label,fold\ng,a.wav,dog,1", ("dog", "1", "g"), True, id="group"),
        pytest.param("x,file,label,fold,group\n,a.wav,dog,1,", ("dog", "1", ""), True, id="bare"),
    ],
)
def test_own_tables(tmp_path: Path, text: str, row: tuple, in_folds: bool) -> None:
    path = write(tmp_path / "my sounds" / "any.csv", text)
    listing = read_own(path)
    assert listing.rows == (Row("a.wav", *row),)
    assert (listing.name, listing.root, listing.source) == ("any", path.parent, path)
    assert listing.in_folds is in_folds


def test_an_own_folder(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "my sounds" / "clips.csv", "file,label,fold\na.wav,dog,1")
    for spec in (path, path.parent):
        listing = read_own(spec)
        assert (listing.name, listing.root, listing.source) == ("my sounds", path.parent, path)
    monkeypatch.chdir(path.parent)
    assert read_own(Path()).name == "my sounds"
    with pytest.raises(TaskError, match=rf"^{tmp_path}: no clips\.csv"):
        read_own(tmp_path)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("file,label\na.wav,dog", "neither .* fold and split", id="neither"),
        pytest.param("file,label,fold,split\n", "both .* fold and split", id="both"),
        pytest.param("file,fold\na.wav,1", "no column label, only file, fold", id="no-label"),
        pytest.param("name,fold\na.wav,1", "no column file and no column label", id="no-file"),
        pytest.param("file,fold,fold\n", "'fold'", id="twice"),
        pytest.param("file,label,fold\na.wav,,1", "line 2 has no label", id="label"),
        pytest.param("file,label,fold\na,b,1\na.wav, ,1", "line 3 has no label", id="blank"),
        pytest.param("file,label,fold\n\n,dog,1", "line 3 has no file", id="file"),
        pytest.param("file,label,fold\na.wav,dog,", "line 2 has no fold", id="fold"),
        pytest.param("file,label,split\na.wav,dog,", "line 2 has no split", id="split"),
        pytest.param("file,label,fold\na.wav,dog", "line 2 has 2 cells, the header 3", id="cut"),
        pytest.param("file,label,fold\na,b,dog,1", "line 2 has 4 cells", id="long"),
        pytest.param('file,label,fold\na.wav,"dog,1\n', "quotation mark", id="quote"),
        pytest.param(b"file,label,fold\n\xe9.wav,dog,1", "UTF-8", id="latin"),
        pytest.param(b"RIFF\xff\x00\x00WAVE", "UTF-8", id="sound"),
    ],
)
def test_invalid_own_tables(tmp_path: Path, text: str | bytes, token: str) -> None:
    path = write(tmp_path / "clips.csv", text)
    with pytest.raises(TaskError, match=rf"^{path}: .*{token}"):
        read_own(path)


@pytest.mark.parametrize(
    ("read", "name", "text"),
    [
        (read_urbansound8k, "metadata/UrbanSound8K.csv", URBANSOUND8K),
        (read_esc50, "meta/esc50.csv", ESC50),
    ],
)
@pytest.mark.parametrize(
    ("damage", "token"),
    [
        pytest.param(lambda text: text[:-9], r"line 3 has \d cells", id="cut-short"),
        pytest.param(lambda text: text.replace("fold", "fould"), "no column fold", id="column"),
        pytest.param(lambda text: text.replace(",5,", ",,"), r"line \d has no fold", id="no-fold"),
        pytest.param(lambda text: b"\x80" + text.encode(), "UTF-8", id="bytes"),
        pytest.param(lambda text: "", "empty", id="empty"),
    ],
)
def test_damaged_published_tables(tmp_path: Path, read, name, text, damage, token: str) -> None:
    path = write(tmp_path / name, damage(text))
    with pytest.raises(TaskError, match=rf"^{path}: .*{token}"):
        read(tmp_path)
