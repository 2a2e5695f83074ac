"""Reads the files, classes and folds that a data set lists, in its published layout.

Whether the sounds exist is checked in `tasks.py`; only GTZAN's extension is looked up here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coala_jax import storage
from coala_jax.evaluation.task_files import TaskError, read_csv, read_header, read_json, read_text

URBANSOUND8K_CLIPS, URBANSOUND8K_FOLDS = 8732, 10
ESC50_CLIPS, ESC10_CLIPS, ESC_FOLDS = 2000, 400, 5
GTZAN_TRAIN, GTZAN_TEST = 443, 290  # fault-filtered; paper, section 3.2
NSYNTH_NOTES_PER_FAMILY = 2000  # paper, section 3.2
NSYNTH_TEST = 4096
# The families of the paper's list; the eleventh, synth_lead, has no test notes.
NSYNTH_FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "vocal"
)  # fmt: skip
NSYNTH_LIST = "nsynth_selected_sounds_per_class.json"
OWN_TABLE = "clips.csv"


@dataclass(frozen=True)
class Row:
    """One listed clip; clips of one `group` must not be in different folds."""

    file: str  # relative to the listing's root, forward slashes
    label: str
    fold: str  # of a data set without folds the split: "train", "test" or another
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """What a data set lists."""

    name: str
    root: Path
    source: Path  # the file that lists them, for messages
    in_folds: bool  # for cross-validation; otherwise a fixed split into train and test
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


def read_urbansound8k(folder: Path) -> Listing:
    """UrbanSound8K: metadata/UrbanSound8K.csv, audio/fold1 to audio/fold10; ten folds."""
    source = folder / "metadata" / "UrbanSound8K.csv"
    rows = tuple(
        Row(f"audio/fold{cells['fold']}/{cells['slice_file_name']}", cells["class"], cells["fold"])
        for _, cells in read_csv(source, ("slice_file_name", "fold", "class"))
    )
    remarks = _unlike_published(source, rows, URBANSOUND8K_CLIPS, URBANSOUND8K_FOLDS)
    return Listing("urbansound8k", folder, source, True, rows, remarks)


def read_esc50(folder: Path, *, only_esc10: bool = False) -> Listing:
    """ESC-50: meta/esc50.csv and audio/; five folds. ESC-10 is its rows with esc10 True."""
    source = folder / "meta" / "esc50.csv"
    rows = []
    for line, cells in read_csv(source, ("filename", "fold", "category", "esc10")):
        if cells["esc10"] not in ("True", "False"):
            raise TaskError(
                f"{source}: line {line}: esc10 is {cells['esc10']!r}, not True or False. Fix: copy "
                "the table again from the data set"
            )
        if cells["esc10"] == "True" or not only_esc10:
            rows.append(Row(f"audio/{cells['filename']}", cells["category"], cells["fold"]))
    name, published = ("esc10", ESC10_CLIPS) if only_esc10 else ("esc50", ESC50_CLIPS)
    remarks = _unlike_published(source, rows, published, ESC_FOLDS)
    return Listing(name, folder, source, True, tuple(rows), remarks)


def read_gtzan(folder: Path) -> Listing:
    """GTZAN, fault-filtered: train_filtered.txt and test_filtered.txt beside the genres' folders.

    The genres lie in genres, genres_original or the folder itself; songs are .wav or .au. The songs
    of valid_filtered.txt are not used, as in the paper.
    """
    rows = []
    for split in ("train", "test"):
        source = folder / f"{split}_filtered.txt"
        hint = "copy it from the folder GTZAN_split of github.com/jongpillee/music_dataset_split"
        for line, text in enumerate(read_text(source, hint).splitlines(), 1):
            song = text.strip()
            if not song:
                continue
            genre, _, name = song.partition("/")
            if not genre or "/" in name or not name.endswith((".wav", ".au")):
                raise TaskError(
                    f"{source}: line {line} is {song!r}, not genre/song.wav. Fix: {hint}"
                )
            rows.append(Row(_find_song(folder, song), genre, split))
    found = tuple(sum(row.fold == split for row in rows) for split in ("train", "test"))
    remarks = ()
    if found != (GTZAN_TRAIN, GTZAN_TEST):
        remarks = (
            f"the lists have {found[0]} training and {found[1]} test songs, "
            f"the published lists {GTZAN_TRAIN} and {GTZAN_TEST}",
        )
    return Listing("gtzan", folder, source, False, tuple(rows), remarks)


def read_nsynth(folder: Path, *, seed: int = 0) -> Listing:
    """NSynth: ten families; 2,000 training notes per family (paper, section 3.2), all test notes.

    The training notes are those of the authors' list where it is in the folder, and otherwise a
    draw: the notes whose SHA-256 with the seed comes first, the same in every version of every
    library and for every order of the notes.
    """
    source = folder / "nsynth-train" / "examples.json"
    train = _read_families(source)
    test = _read_families(folder / "nsynth-test" / "examples.json")
    both = sorted(train.keys() & test.keys())
    if both:
        raise TaskError(
            f"{source}: {len(both)} notes are in the test set, too, the first is {both[0]}. Fix: "
            "unpack nsynth-train and nsynth-test again"
        )
    if (folder / NSYNTH_LIST).is_file():
        source = folder / NSYNTH_LIST
        names, remarks = _listed_notes(source, train)
    else:
        names = _drawn_notes(source, train, seed)
        remarks = [f"{NSYNTH_NOTES_PER_FAMILY:,} notes per family drawn with seed {seed}"]
    other = sorted({*train.values(), *test.values()} - set(NSYNTH_FAMILIES))
    if other:
        lost = sum(family in other for family in test.values())
        remarks.append(
            f"left out, not among the paper's ten families: {', '.join(other)} ({lost} test notes)"
        )
    if len(test) != NSYNTH_TEST:
        remarks.append(
            f"nsynth-test lists {len(test):,} notes, the published data set {NSYNTH_TEST:,}"
        )
    rows = [Row(f"nsynth-train/audio/{name}.wav", train[name], "train") for name in names]
    rows += [
        Row(f"nsynth-test/audio/{name}.wav", family, "test")
        for name, family in test.items()
        if family in NSYNTH_FAMILIES
    ]
    return Listing("nsynth", folder, source, False, tuple(rows), tuple(remarks))


def read_own(path: Path) -> Listing:
    """A folder with clips.csv, or a CSV, with columns file, label, fold or split, optionally group.

    Files are relative to the CSV's folder. Each value in column fold is a fold; column split is
    train, test, or anything else for clips that are not used.
    """
    source = path / OWN_TABLE if path.is_dir() else path
    if path.is_dir() and not source.is_file():
        raise TaskError(
            f"{path}: no {OWN_TABLE} in this folder. Fix: write one with the columns file, label "
            "and fold or split, or name the published layout, such as esc50:DIR"
        )
    header = read_header(source)
    if ("fold" in header) == ("split" in header):
        raise TaskError(
            f"{source}: it has {'both' if 'fold' in header else 'neither'} a column fold "
            f"{'and' if 'fold' in header else 'nor'} a column split. "
            "Fix: give fold for cross-validation, or split with train and test"
        )
    column = "fold" if "fold" in header else "split"
    rows = tuple(
        Row(cells["file"], cells["label"], cells[column], cells.get("group", ""))
        for _, cells in read_csv(source, ("file", "label", column))
    )
    own_folder = source.name == OWN_TABLE
    name = source.resolve().parent.name if own_folder else source.stem
    return Listing(name, source.parent, source, column == "fold", rows)


def _unlike_published(source: Path, rows: Sequence[Row], clips: int, folds: int) -> tuple[str, ...]:
    found = len({row.fold for row in rows})
    if (len(rows), found) == (clips, folds):
        return ()
    return (
        f"{source.name} lists {len(rows):,} clips in {found} folds, "
        f"the published table {clips:,} in {folds}",
    )


def _find_song(folder: Path, song: str) -> str:
    """The song's path below the folder; of a missing song, the first path looked for."""
    stem = song.rpartition(".")[0]
    bases = [base for base in ("genres/", "genres_original/") if (folder / base).is_dir()] + [""]
    paths = [f"{base}{stem}{suffix}" for base in bases for suffix in (".wav", ".au")]
    return next((path for path in paths if storage.is_file(folder / path)), paths[0])


def _read_families(source: Path) -> dict[str, str]:
    """Note -> family."""
    hint = "unpack this part of NSynth (json/wav files) again"
    content = read_json(source, hint)
    try:
        families = {name: note["instrument_family_str"] for name, note in content.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise TaskError(f"{source}: not a table of notes ({error!r}). Fix: {hint}") from error
    if not families or not all(isinstance(family, str) for family in families.values()):
        raise TaskError(f"{source}: no notes, or one without a family. Fix: {hint}")
    return families


def _listed_notes(source: Path, train: dict[str, str]) -> tuple[list[str], list[str]]:
    """The notes of the authors' list, and remarks on it."""
    hint = "copy the authors' list again, or remove it for a seeded draw"
    content = read_json(source, hint)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise TaskError(f"{source}: not a table of families and their notes. Fix: {hint}")
    if content.keys() != set(NSYNTH_FAMILIES):
        odd = ", ".join(sorted(content.keys() ^ set(NSYNTH_FAMILIES)))
        raise TaskError(f"{source}: missing or unknown families: {odd}. Fix: {hint}")
    names = [(name, family) for family, notes in content.items() for name in notes]
    for name, family in names:
        if not isinstance(name, str) or train.get(name) != family:
            raise TaskError(
                f"{source}: {name!r} is listed as {family}, but not in nsynth-train/examples.json. "
                f"Fix: unpack nsynth-train whole, or {hint}"
            )
    counts = {len(notes) for notes in content.values()}
    remarks = [f"the {len(names):,} training notes of {source.name}"]
    if counts != {NSYNTH_NOTES_PER_FAMILY}:
        remarks.append(
            f"that list has {min(counts):,} to {max(counts):,} notes per family, "
            f"the authors' {NSYNTH_NOTES_PER_FAMILY:,}"
        )
    return [name for name, _ in names], remarks


def _drawn_notes(source: Path, train: dict[str, str], seed: int) -> list[str]:
    drawn = []
    for family in NSYNTH_FAMILIES:
        notes = [name for name, of in train.items() if of == family]
        if len(notes) < NSYNTH_NOTES_PER_FAMILY:
            raise TaskError(
                f"{source}: {len(notes)} notes of the family {family}, a draw needs "
                f"{NSYNTH_NOTES_PER_FAMILY:,}. Fix: unpack nsynth-train whole, or put the authors' "
                f"{NSYNTH_LIST} beside nsynth-train"
            )
        drawn += sorted(notes, key=lambda note: _shuffled(note, seed))[:NSYNTH_NOTES_PER_FAMILY]
    return drawn


def _shuffled(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
