"""Tasks from tiny copies of each published layout, and from tables of one's own.

The sounds are empty files: nothing here listens to them.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
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
        for number, label in ((3, "dog_bark"), (8, "siren")):
            name = f"{fold}-{number}-0-0.wav"
            touch(folder / "audio" / f"fold{fold}" / name)
            lines.append(f"{name},{fold},0,4,1,{fold},{number},{label}")
    write(folder / "metadata" / "UrbanSound8K.csv", lines)


def esc50(folder: Path) -> None:
    """Five folds of a dog, rain and a hen each; the hen is not in ESC-10."""
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for number, label in ((0, "dog"), (10, "rain"), (6, "hen")):
            name = f"{fold}-100-A-{number}.wav"
            touch(folder / "audio" / name)
            lines.append(f"{name},{fold},{number},{label},{label != 'hen'},100,A")
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
            if not name.endswith("001-100"):
                touch(folder / f"nsynth-{part}" / "audio" / f"{name}.wav")
    chosen = {family: [f"{family}_acoustic_001-000-100"] for family in NSYNTH_FAMILIES}
    write(folder / NSYNTH_LIST, [json.dumps(chosen)])


def own(folder: Path, text: str, *, missing: tuple[str, ...] = ()) -> Path:
    """A table of one's own, with its sounds but the missing ones."""
    write(folder / "clips.csv", [text])
    for line in text.splitlines()[1:]:
        if (file := line.partition(",")[0]) not in missing:
            touch(folder / file)
    return folder


def sides(task: Task) -> dict[str, tuple[list[str], list[str]]]:
    """Round -> the files that train and those that test."""
    return {
        r.name: tuple([task.clips[place].file for place in side] for side in (r.train, r.test))
        for r in task.rounds
    }


def test_urbansound8k(tmp_path: Path) -> None:
    urbansound8k(tmp_path)
    task = load_task(f"urbansound8k:{tmp_path}")
    assert (task.name, task.root, task.labels) == ("urbansound8k", tmp_path, ("dog_bark", "siren"))
    assert [r.name for r in task.rounds] == [f"fold {fold}" for fold in range(1, 11)]
    assert len(task.clips) == 20
    assert task.clips[0] == Clip("audio/fold1/1-3-0-0.wav", "dog_bark")
    for fold, (train, test) in enumerate(sides(task).values(), 1):
        assert test == [f"audio/fold{fold}/{fold}-{number}-0-0.wav" for number in (3, 8)]
        assert sorted(train + test) == [clip.file for clip in task.clips]
    assert task.classes.tolist() == [0, 1] * 10
    assert task.left_out == {}
    assert "20 clips in 10 folds" in task.remarks[0]


@pytest.mark.parametrize(("name", "labels"), [("esc50", "dog hen rain"), ("esc10", "dog rain")])
def test_esc(tmp_path: Path, name: str, labels: str) -> None:
    esc50(tmp_path)
    task = load_task(f"{name.upper()}:{tmp_path}")
    assert (task.name, task.labels) == (name, tuple(labels.split()))
    assert [r.name for r in task.rounds] == [f"fold {fold}" for fold in range(1, 6)]
    assert {clip.label for clip in task.clips} == set(task.labels)
    assert len(task.clips) == 5 * len(task.labels)
    for fold, (train, test) in enumerate(sides(task).values(), 1):
        assert {Path(file).name.partition("-")[0] for file in test} == {str(fold)}
        assert (len(train), len(test)) == (4 * len(task.labels), len(task.labels))


def test_gtzan(tmp_path: Path) -> None:
    gtzan(tmp_path)
    task = load_task(f"gtzan:{tmp_path}")
    assert (task.name, task.labels) == ("gtzan", ("blues", "rock"))
    base = "genres"
    assert sides(task) == {
        "test": (
            [f"{base}/blues/blues.00000.wav", f"{base}/rock/rock.00000.wav"],
            [f"{base}/blues/blues.00001.wav", f"{base}/rock/rock.00001.wav"],
        )
    }
    assert task.classes.tolist() == [0, 0, 1, 1]


def test_nsynth(tmp_path: Path) -> None:
    nsynth(tmp_path)
    task = load_task(f"nsynth:{tmp_path}")
    assert (task.name, task.labels) == ("nsynth", NSYNTH_FAMILIES)
    families = sorted(NSYNTH_FAMILIES)
    assert sides(task) == {
        "test": (
            [f"nsynth-train/audio/{family}_acoustic_001-000-100.wav" for family in families],
            [f"nsynth-test/audio/{family}_acoustic_002-000-100.wav" for family in families],
        )
    }


def test_the_seed_draws_the_notes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(layouts, "NSYNTH_NOTES_A_FAMILY", 1)
    nsynth(tmp_path)
    (tmp_path / NSYNTH_LIST).unlink()
    for family in NSYNTH_FAMILIES:
        touch(tmp_path / "nsynth-train" / "audio" / f"{family}_acoustic_001-001-100.wav")
    tasks = [load_task(f"nsynth:{tmp_path}", seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert tasks[0].clips == tasks[1].clips
    assert len({task.clips for task in tasks}) == 4
    assert "seed 3" in tasks[-1].remarks[0]


PUBLISHED = [
    (urbansound8k, "urbansound8k", "audio/fold3/3-8-0-0.wav", "fold 3"),
    (esc50, "esc50", "audio/2-100-A-6.wav", "fold 2"),
    (esc50, "esc10", "audio/2-100-A-0.wav", "fold 2"),
    (gtzan, "gtzan", "genres/rock/rock.00001.wav", "test"),
    (nsynth, "nsynth", "nsynth-test/audio/organ_acoustic_002-000-100.wav", "test"),
]


@pytest.mark.parametrize(("make", "name", "file", "part"), PUBLISHED)
def test_missing_and_extra_files(tmp_path: Path, make, name: str, file: str, part: str) -> None:
    make(tmp_path)
    whole = load_task(f"{name}:{tmp_path}")
    for extra in ("audio/extra.wav", "audio/fold3/extra.wav", "genres/rock/rock.00002.wav"):
        touch(tmp_path / extra)
    touch(tmp_path / "nsynth-train" / "audio" / "organ_acoustic_001-001-100.wav")
    again = load_task(f"{name}:{tmp_path}", allow_missing=True)
    assert again.clips == whole.clips
    assert (again.left_out, again.remarks) == ({}, whole.remarks)

    (tmp_path / file).unlink()
    count = len(whole.clips)
    with pytest.raises(TaskError) as error:
        load_task(f"{name}:{tmp_path}")
    assert f"1 of its {count} files are not in {tmp_path} ({part}: 1): {file};" in str(error.value)
    assert "--allow-missing" in str(error.value)
    task = load_task(f"{name}:{tmp_path}", allow_missing=True)
    assert task.left_out == {part: [file]}
    assert task.clips == tuple(clip for clip in whole.clips if clip.file != file)
    for r, (train, test) in sides(whole).items():
        kept = tuple([each for each in side if each != file] for side in (train, test))
        assert sides(task)[r] == kept


def test_twenty_missing_files_are_named(tmp_path: Path) -> None:
    rows = [f"{i:02}.wav,{'ab'[i % 2]},{i % 3}" for i in range(60)]
    missing = tuple(f"{i:02}.wav" for i in range(30))
    own(tmp_path, "\n".join(["file,label,fold", *rows]), missing=missing)
    with pytest.raises(TaskError) as error:
        load_task(str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path / 'clips.csv'}: 30 of its 60 files are not in {tmp_path} "
        f"(fold 0: 10, fold 1: 10, fold 2: 10): {', '.join(missing[:20])} and 10 more; "
        "check the folder, or go on without them: --allow-missing"
    )
    task = load_task(str(tmp_path), allow_missing=True)
    assert {part: len(files) for part, files in task.left_out.items()} == dict.fromkeys(
        ["fold 0", "fold 1", "fold 2"], 10
    )


def test_when_nothing_is_there(tmp_path: Path) -> None:
    own(tmp_path, "file,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2", missing=("a", "b", "c", "d"))
    for allow in (False, True):
        with pytest.raises(TaskError, match=r"4 of its 4 files .*: a, b, c, d; check the folder$"):
            load_task(str(tmp_path), allow_missing=allow)


def test_a_folder_is_no_sound(tmp_path: Path) -> None:
    own(tmp_path, "file,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2", missing=("c",))
    (tmp_path / "c").mkdir()
    with pytest.raises(TaskError, match=r"1 of its 4 files .* \(fold 2: 1\): c;"):
        load_task(str(tmp_path))


FOLDS = "file,label,fold\nd,y,10\na,x,2\nb,y,2\n./sub//c,x,10\nf,y,one\ne,x,one"


def test_own_folds(tmp_path: Path) -> None:
    task = load_task(str(own(tmp_path, FOLDS)))
    assert task.name == tmp_path.name
    pairs = zip(["a", "b", "d", "e", "f", "sub/c"], "xyyxyx", strict=True)
    assert task.clips == tuple(Clip(*pair) for pair in pairs)
    assert task.classes.tolist() == [0, 1, 1, 0, 1, 0]
    assert task.classes.dtype == np.int64
    assert sides(task) == {
        "fold 2": (["d", "e", "f", "sub/c"], ["a", "b"]),
        "fold 10": (["a", "b", "e", "f"], ["d", "sub/c"]),
        "fold one": (["a", "b", "d", "sub/c"], ["e", "f"]),
    }
    assert task.remarks == ()


def test_order_of_the_rows_is_no_matter(tmp_path: Path) -> None:
    header, *rows = FOLDS.splitlines()
    task = load_task(str(own(tmp_path / "a", FOLDS)))
    other = load_task(str(own(tmp_path / "b", "\n".join([header, *reversed(rows)]))))
    assert (other.clips, other.labels, sides(other)) == (task.clips, task.labels, sides(task))


def test_own_splits(tmp_path: Path) -> None:
    rows = ["a,x,Train", "b,y,train", "c,x,test", "d,z,train", "e,q,validation", "f,x,validation"]
    own(tmp_path, "\n".join(["file,label,split", *rows]), missing=("e", "f"))
    task = load_task(str(tmp_path / "clips.csv"))
    assert sides(task) == {"test": (["a", "b", "d"], ["c"])}
    assert task.labels == ("x", "y", "z")  # q has unused clips alone
    assert task.remarks == (
        "not used: 2 clips of the split validation",
        "no test clips of: y, z",
    )


def test_a_home_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    gtzan(tmp_path / "music")
    own(tmp_path / "own", FOLDS)
    assert load_task("gtzan:~/music").root == tmp_path / "music"
    assert load_task("~/own").root == tmp_path / "own"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "the task '' names no folder; give one of urbansound8k:DIR, gtzan:DIR,"),
        ("gtzan:", "the task 'gtzan:' names no folder; give one of"),
        ("gtzan:/nowhere", "/nowhere: there is no such folder; a task is one of"),
        ("fsd50k:/nowhere", "fsd50k:/nowhere: there is no such folder; a task is one of"),
        ("/nowhere", "/nowhere: there is no such folder; a task is one of"),
    ],
)
def test_a_task_that_is_none(spec: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load_task(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("file,label,fold\n", "it lists no clips; .* fill it", id="no-rows"),
        pytest.param("file,label,fold\na,x,1\n./a,y,2", "lists a twice; keep one", id="twice"),
        pytest.param(
            "file,label,split\na,x,train\nb,y,test\na,x,validation", "lists a twice", id="unused"
        ),
        pytest.param("file,label,fold\n../a,x,1", r"names \.\./a, which is not below", id="above"),
        pytest.param("file,label,fold\n/a,x,1", "names /a, which is not below", id="absolute"),
        pytest.param("file,label,fold\na,x,1\nb,y,1", "1 fold; .* two or more", id="one-fold"),
        pytest.param("file,label,fold\na,x,1\nb,x,2", "are all 'x'; .* two classes", id="class"),
        pytest.param(
            "file,label,split\na,x,train\nb,y,dev",
            "no clip has the split test, only dev, train; the splits that are used",
            id="no-test",
        ),
        pytest.param("file,label,split\na,x,test\nb,y,test", "the split train, on", id="no-train"),
        pytest.param(
            "file,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2\ne,z,2",
            "the round fold 2 has no training clips of z; give every class clips in two folds",
            id="class-in-one-fold",
        ),
        pytest.param(
            "file,label,split\na,x,train\nb,y,test\nc,x,test",
            "the round test has no training clips of y; give every class clips",
            id="class-in-test-alone",
        ),
        pytest.param(
            "file,label,fold,group\na,x,1,g\nb,y,1,\nc,x,2,g\nd,y,2,",
            "the group 'g' is on both sides of a round: a in 1, c in 2; sounds",
            id="group-of-two-folds",
        ),
        pytest.param(
            "file,label,split,group\na,x,train,g\nb,y,train,h\nc,x,test,h",
            "the group 'h' is on both sides of a round: b in train, c in test; sounds",
            id="group-of-two-splits",
        ),
    ],
)
def test_tables_that_make_no_task(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(TaskError, match=rf"^{tmp_path / 'clips.csv'}: .*{message}"):
        load_task(str(tmp_path))


def test_groups_on_one_side(tmp_path: Path) -> None:
    rows = ["a,x,train,g", "b,y,train,g", "c,x,test,h", "d,y,test,", "e,y,train,", "f,x,dev,g"]
    task = load_task(str(own(tmp_path, "\n".join(["file,label,split,group", *rows]))))
    assert sides(task) == {"test": (["a", "b", "e"], ["c", "d"])}


NINE = "file,label,fold\n" + "\n".join(f"{i},{'xyz'[i % 3]},{i // 3}" for i in range(9))


def test_without(tmp_path: Path) -> None:
    whole = load_task(str(own(tmp_path, NINE)))
    task = whole.without(["4"]).without({"8": "cannot be read", "0": "cannot be read"})
    assert [clip.file for clip in task.clips] == ["1", "2", "3", "5", "6", "7"]
    assert task.labels == ("x", "y", "z")
    assert task.classes.tolist() == [1, 2, 0, 2, 0, 1]
    assert sides(task) == {
        "fold 0": (["3", "5", "6", "7"], ["1", "2"]),
        "fold 1": (["1", "2", "6", "7"], ["3", "5"]),
        "fold 2": (["1", "2", "3", "5"], ["6", "7"]),
    }
    assert task.left_out == {"fold 1": ["4"], "fold 2": ["8"], "fold 0": ["0"]}
    assert (len(whole.clips), whole.left_out) == (9, {})  # it stays what it was
    assert whole.without([]) is whole


def test_without_adds_to_what_was_missing(tmp_path: Path) -> None:
    rows = ["a,x,train", "b,y,train", "c,x,train", "d,x,test", "e,y,test", "f,x,test", "g,z,train"]
    own(tmp_path, "\n".join(["file,label,split", *rows]), missing=("a", "d"))
    there = load_task(str(tmp_path), allow_missing=True)
    read = there.without({"e"})
    assert there.left_out == {"train": ["a"], "test": ["d"]}
    assert there.remarks == ("no test clips of: z",)
    assert read.left_out == {"train": ["a"], "test": ["d", "e"]}
    assert read.remarks == ("no test clips of: z", "no test clips of: y")
    assert read.labels == ("x", "y", "z")
    assert sides(read) == {"test": (["b", "c", "g"], ["f"])}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(
            "345", "without 3 clips: the round fold 1 has no test clips; repair", id="test"
        ),
        pytest.param("14", "2 clips: the round fold 2 has no training clips of y; rep", id="class"),
        pytest.param("012345678", "the round fold 0 has no test clips; repair them", id="all"),
    ],
)
def test_without_too_many(tmp_path: Path, files: str, message: str) -> None:
    task = load_task(str(own(tmp_path, NINE)))
    with pytest.raises(TaskError, match=rf"^{tmp_path}: .*{message}"):
        task.without(set(files))
    for file in files[:-1] if len(files) == 9 else files:
        (tmp_path / file).unlink()
    with pytest.raises(TaskError, match=r"without \d clips: the round"):
        load_task(str(tmp_path), allow_missing=True)


def test_without_what_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 files are no clips of it: \['no'\]"):
        load_task(str(own(tmp_path, NINE))).without({"no", "1"})


def test_a_task_cannot_be_changed(tmp_path: Path) -> None:
    task = load_task(str(own(tmp_path, NINE)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "other"


def test_an_own_folder_called_as_a_published_set_is_not_taken_for_it(tmp_path):
    (tmp_path / "gtzan").mkdir()
    rows = ["file,label,fold", *(f"{n}.wav,{'ab'[n % 2]},{n // 2}" for n in range(4))]
    (tmp_path / "gtzan" / "clips.csv").write_text("\n".join(rows))
    for number in range(4):
        (tmp_path / "gtzan" / f"{number}.wav").touch()
    assert load_task(str(tmp_path / "gtzan")).name == "my gtzan"
