"""Tasks from tiny copies of each published layout, and from your own tables.

The sounds are empty files: nothing here decodes them.
"""

import json
from pathlib import Path

import pytest

from coala_jax.evaluation import layouts
from coala_jax.evaluation.layouts import NSYNTH_FAMILIES, NSYNTH_LIST
from coala_jax.evaluation.tasks import Clip, Task, TaskError, load_task


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def urbansound8k(folder: Path) -> None:
    """Ten folds of a dog's bark and a siren each."""
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        for label in ("dog_bark", "siren"):
            touch(folder / "audio" / f"fold{fold}" / f"{fold}-{label}.wav")
            lines.append(f"{fold}-{label}.wav,1,0,4,1,{fold},3,{label}")
    write(folder / "metadata" / "UrbanSound8K.csv", lines)


def esc50(folder: Path) -> None:
    """Five folds of a dog, rain and a hen each; the hen is not in ESC-10."""
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for label in ("dog", "rain", "hen"):
            touch(folder / "audio" / f"{fold}-{label}.wav")
            lines.append(f"{fold}-{label}.wav,{fold},0,{label},{label != 'hen'},100,A")
    write(folder / "meta" / "esc50.csv", lines)


def gtzan(folder: Path) -> None:
    """Two genres; of each one song to train on, one to test, one of the unused third split."""
    for number, split in enumerate(("train", "test", "valid")):
        songs = [f"{genre}/{genre}.{number:05}.wav" for genre in ("rock", "blues")]
        write(folder / f"{split}_filtered.txt", songs)
        for song in songs if split != "valid" else []:
            touch(folder / "genres" / song)


def nsynth(folder: Path) -> None:
    """Ten families; of each the one note of the authors' list, one that it lacks, one to test."""
    for part, instrument, count in (("train", 1, 2), ("test", 2, 1)):
        names = {
            f"{family}_acoustic_{instrument:03}-{i:03}-100": {"instrument_family_str": family}
            for family in NSYNTH_FAMILIES
            for i in range(count)
        }
        write(folder / f"nsynth-{part}" / "examples.json", [json.dumps(names)])
        for name in names:
            touch(folder / f"nsynth-{part}" / "audio" / f"{name}.wav")
    chosen = {family: [f"{family}_acoustic_001-000-100"] for family in NSYNTH_FAMILIES}
    write(folder / NSYNTH_LIST, [json.dumps(chosen)])


def own(folder: Path, text: str, *, missing: str = "") -> Path:
    """Your own table, with its sounds but the missing ones, which have names of one letter."""
    write(folder / "clips.csv", [text])
    for line in text.splitlines()[1:]:
        if (file := line.partition(",")[0]) not in tuple(missing):
            touch(folder / file)
    return folder


def sides(task: Task) -> dict[str, tuple[list[str], list[str]]]:
    """Fold -> the files that train and those that test."""
    return {
        fold.name: tuple([task.clips[i].file for i in side] for side in (fold.train, fold.test))
        for fold in task.folds
    }


@pytest.mark.parametrize(
    ("make", "name", "labels", "folds"),
    [
        (urbansound8k, "urbansound8k", "dog_bark siren", 10),
        (esc50, "esc50", "dog hen rain", 5),
        (esc50, "esc10", "dog rain", 5),
    ],
)
def test_published_folds_each_test_once_and_train_on_the_others(
    tmp_path, make, name, labels, folds
):
    make(tmp_path)
    task = load_task(f"{name.upper()}:{tmp_path}")
    assert (task.name, task.root, task.labels) == (name, tmp_path, tuple(labels.split()))
    assert list(sides(task)) == [f"fold {fold}" for fold in range(1, folds + 1)]
    files = [clip.file for clip in task.clips]
    assert len(files) == folds * len(task.labels) and files == sorted(files)
    for fold, (train, test) in enumerate(sides(task).values(), 1):
        assert {Path(file).name.partition("-")[0] for file in test} == {str(fold)}
        assert len(test) == len(task.labels)
        assert sorted(train + test) == files
    assert [task.labels[place] for place in task.classes] == [clip.label for clip in task.clips]
    assert f"{len(files)} clips in {folds} folds" in task.remarks[0]


def test_published_splits_train_and_test_once(tmp_path: Path, monkeypatch) -> None:
    gtzan(tmp_path)
    task = load_task(f"gtzan:{tmp_path}")
    assert (task.name, task.labels, task.classes.tolist()) == (
        "gtzan",
        ("blues", "rock"),
        [0, 0, 1, 1],
    )
    songs = ("genres/blues/blues.0000{}.wav", "genres/rock/rock.0000{}.wav")
    assert sides(task) == {"test": tuple([song.format(i) for song in songs] for i in (0, 1))}

    monkeypatch.setattr(layouts, "NSYNTH_NOTES_PER_FAMILY", 1)
    nsynth(tmp_path)
    task = load_task(f"nsynth:{tmp_path}")
    assert (task.name, task.labels) == ("nsynth", NSYNTH_FAMILIES)
    expected = [
        [f"nsynth-{part}/audio/{family}_acoustic_00{i}-000-100.wav" for family in NSYNTH_FAMILIES]
        for i, part in enumerate(("train", "test"), 1)
    ]
    assert sides(task) == {"test": tuple(expected)}
    (tmp_path / NSYNTH_LIST).unlink()
    tasks = [load_task(f"nsynth:{tmp_path}", seed=seed) for seed in (0, 0, 1, 2)]
    assert tasks[0].clips == tasks[1].clips and len({task.clips for task in tasks}) == 3


@pytest.mark.parametrize(
    ("make", "name", "file", "fold"),
    [
        (urbansound8k, "urbansound8k", "audio/fold3/3-siren.wav", "fold 3"),
        (esc50, "esc10", "audio/2-dog.wav", "fold 2"),
        (gtzan, "gtzan", "genres/rock/rock.00001.wav", "test"),
        (nsynth, "nsynth", "nsynth-test/audio/organ_acoustic_002-000-100.wav", "test"),
    ],
)
def test_missing_and_extra_files(tmp_path: Path, make, name: str, file: str, fold: str) -> None:
    make(tmp_path)
    whole = load_task(f"{name}:{tmp_path}")
    for extra in ("audio/extra.wav", "audio/fold3/extra.wav", "genres/rock/rock.00002.wav"):
        touch(tmp_path / extra)
    again = load_task(f"{name}:{tmp_path}", allow_missing=True)
    assert (again.clips, again.left_out, again.remarks) == (whole.clips, {}, whole.remarks)

    (tmp_path / file).unlink()
    with pytest.raises(TaskError) as error:
        load_task(f"{name}:{tmp_path}")
    for expected in (f"1 of {len(whole.clips)} ", f"({fold}: 1): {file}.", "--allow_missing"):
        assert expected in str(error.value)
    task = load_task(f"{name}:{tmp_path}", allow_missing=True)
    assert task.left_out == {fold: [file]}
    assert task.clips == tuple(clip for clip in whole.clips if clip.file != file)
    for fold_name, whole_sides in sides(whole).items():
        kept = tuple([each for each in side if each != file] for side in whole_sides)
        assert sides(task)[fold_name] == kept


FOUR = "file,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2"


def test_twenty_missing_files_are_named_and_all_are_counted(tmp_path: Path) -> None:
    rows = [f"{i:02},{'ab'[i % 2]},{i % 3}" for i in range(60)]
    own(tmp_path / "many", "\n".join(["file,label,fold", *rows]))
    for i in range(30):
        (tmp_path / "many" / f"{i:02}").unlink()
    own(tmp_path / "none", FOUR, missing="abcd")
    own(tmp_path / "folder", FOUR, missing="c")
    (tmp_path / "folder" / "c").mkdir()
    named = ", ".join(f"{i:02}" for i in range(20))
    for name, token in {
        "many": f"30 of 60 .. (fold 0: 10, fold 1: 10, fold 2: 10): {named} and 10 more",
        "none": "4 of 4 .. (fold 1: 2, fold 2: 2): a, b, c, d",
        "folder": "1 of 4 .. (fold 2: 1): c",
    }.items():
        with pytest.raises(TaskError) as error:
            load_task(str(tmp_path / name))
        assert all(part in str(error.value) for part in token.split(".."))
        assert ("--allow_missing" in str(error.value)) == (name != "none")
    with pytest.raises(TaskError, match="4 of 4"):
        load_task(str(tmp_path / "none"), allow_missing=True)


FOLDS = "file,label,fold\nd,y,10\na,x,2\nb,y,2\n./sub//c,x,10\nf,y,one\ne,x,one"


def test_own_folds_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    task = load_task(str(own(tmp_path / "a", FOLDS)))
    assert task.name == "a"
    pairs = zip(["a", "b", "d", "e", "f", "sub/c"], "xyyxyx", strict=True)
    assert task.clips == tuple(Clip(*pair) for pair in pairs)
    assert task.classes.tolist() == [0, 1, 1, 0, 1, 0]
    assert sides(task) == {
        "fold 2": (["d", "e", "f", "sub/c"], ["a", "b"]),
        "fold 10": (["a", "b", "e", "f"], ["d", "sub/c"]),
        "fold one": (["a", "b", "d", "sub/c"], ["e", "f"]),
    }
    assert task.remarks == ()
    header, *rows = FOLDS.splitlines()
    other = load_task(str(own(tmp_path / "b", "\n".join([header, *reversed(rows)]))))
    assert (other.clips, other.labels, sides(other)) == (task.clips, task.labels, sides(task))


def test_own_splits_with_groups_within_a_split(tmp_path: Path) -> None:
    rows = ["a,x,Train,g", "b,y,train,g", "c,x,test,", "d,z,train,", "e,q,validation,h"]
    own(tmp_path, "\n".join(["file,label,split,group", *rows, "f,x,validation,g"]), missing="ef")
    task = load_task(str(tmp_path / "clips.csv"))
    assert sides(task) == {"test": (["a", "b", "d"], ["c"])}
    assert task.labels == ("x", "y", "z")  # only unused clips have q
    unused, untested = task.remarks
    assert "2 clips of the split validation" in unused and "y, z" in untested


def test_home_folders_and_own_folders_named_like_a_published_set(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    gtzan(tmp_path / "music")
    own(tmp_path / "gtzan", FOUR)
    assert load_task("gtzan:~/music").root == tmp_path / "music"
    mine = load_task("~/gtzan")
    assert (mine.root, mine.name) == (tmp_path / "gtzan", "my gtzan")


@pytest.mark.parametrize("spec", ["", "gtzan:", "gtzan:/nowhere", "fsd50k:/nowhere", "/nowhere"])
def test_an_unknown_task_is_an_error_that_lists_the_known_ones(spec: str) -> None:
    with pytest.raises(TaskError) as error:
        load_task(spec)
    for token in (spec.removeprefix("gtzan:/"), "urbansound8k:DIR", "clips.csv"):
        assert token in str(error.value)


@pytest.mark.parametrize(
    ("columns", "rows", "token"),
    [
        pytest.param("fold", "", "no clips", id="no-rows"),
        pytest.param("fold", "a,x,1 ./a,y,2", "a is listed twice", id="twice"),
        pytest.param("split", "a,x,train b,y,test a,x,dev", "a is listed", id="unused"),
        pytest.param("fold", "../a,x,1", "../a", id="above"),
        pytest.param("fold", "/a,x,1", "/a", id="absolute"),
        pytest.param("fold", "a,x,1 b,y,1", "one fold", id="one-fold"),
        pytest.param("fold", "a,x,1 b,x,2", "'x'", id="one-class"),
        pytest.param("split", "a,x,train b,y,dev", "test, only dev, train", id="no-test"),
        pytest.param("split", "a,x,test b,y,test", "train, only test", id="no-train"),
        pytest.param("fold", "a,x,1 b,y,1 c,x,2 d,y,2 e,z,2", "clips of z", id="one-fold-class"),
        pytest.param("split", "a,x,train b,y,test c,x,test", "clips of y", id="only-tested-class"),
        pytest.param(
            "fold,group", "a,x,1,g b,y,1, c,x,2,g d,y,2,", "a in 1, c in 2", id="group-of-two-folds"
        ),
        pytest.param(
            "split,group",
            "a,x,train,g b,y,train,h c,x,test,h",
            "b in train, c in test",
            id="group-of-two-splits",
        ),
    ],
)
def test_invalid_tables(tmp_path: Path, columns: str, rows: str, token: str) -> None:
    write(tmp_path / "clips.csv", [f"file,label,{columns}", *rows.split(" ")])
    with pytest.raises(TaskError) as error:
        load_task(str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path / 'clips.csv'}: ") and token in str(error.value)


NINE = "file,label,fold\n" + "\n".join(f"{i},{'xyz'[i % 3]},{i // 3}" for i in range(9))


def test_without(tmp_path: Path) -> None:
    whole = load_task(str(own(tmp_path, NINE)))
    task = whole.without(["4"]).without({"8": "damaged", "0": "damaged"})
    assert [clip.file for clip in task.clips] == ["1", "2", "3", "5", "6", "7"]
    assert task.labels == ("x", "y", "z")
    assert task.classes.tolist() == [1, 2, 0, 2, 0, 1]
    assert sides(task) == {
        "fold 0": (["3", "5", "6", "7"], ["1", "2"]),
        "fold 1": (["1", "2", "6", "7"], ["3", "5"]),
        "fold 2": (["1", "2", "3", "5"], ["6", "7"]),
    }
    assert task.left_out == {"fold 1": ["4"], "fold 2": ["8"], "fold 0": ["0"]}
    assert (len(whole.clips), whole.left_out) == (9, {})  # unchanged
    with pytest.raises(ValueError, match=r"\['no'\]"):
        whole.without({"no", "1"})


def test_without_adds_to_what_was_missing(tmp_path: Path) -> None:
    rows = ["a,x,train", "b,y,train", "c,x,train", "d,x,test", "e,y,test", "f,x,test", "g,z,train"]
    own(tmp_path, "\n".join(["file,label,split", *rows]), missing="ad")
    there = load_task(str(tmp_path), allow_missing=True)
    read = there.without({"e"})
    assert there.left_out == {"train": ["a"], "test": ["d"]}
    assert read.left_out == {"train": ["a"], "test": ["d", "e"]}
    assert read.remarks == ("no test clips of: z", "no test clips of: y")
    assert read.labels == ("x", "y", "z")
    assert sides(read) == {"test": (["b", "c", "g"], ["f"])}


@pytest.mark.parametrize(
    ("files", "token"),
    [
        pytest.param("345", "3 clips: fold 1 has no test clips", id="a fold"),
        pytest.param("14", "2 clips: fold 2 has no training clips of y", id="a class"),
    ],
)
def test_without_too_many_is_an_error_also_of_missing_files(tmp_path: Path, files, token) -> None:
    task = load_task(str(own(tmp_path, NINE)))
    with pytest.raises(TaskError) as error:
        task.without(set(files))
    assert str(tmp_path) in str(error.value) and token in str(error.value)
    for file in files:
        (tmp_path / file).unlink()
    with pytest.raises(TaskError, match=token):
        load_task(str(tmp_path), allow_missing=True)


def test_a_path_that_the_system_refuses_is_a_missing_file(tmp_path: Path) -> None:
    own(tmp_path, FOUR)
    with (tmp_path / "clips.csv").open("a") as table:
        table.write(f"\n{'x' * 300},x,2")
    with pytest.raises(TaskError, match="1 of 5"):
        load_task(str(tmp_path))
    assert load_task(str(tmp_path), allow_missing=True).left_out == {"fold 2": ["x" * 300]}
