"""Which files, classes and folds a data set lists, in the layout that it is published in.

The files themselves are not looked at here (but for GTZAN's extension); `tasks.py` does that.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coala_jax.evaluation.task_files import TaskError, read_csv, read_header, read_json, read_text

URBANSOUND8K_CLIPS, URBANSOUND8K_FOLDS = 8732, 10
ESC50_CLIPS, ESC10_CLIPS, ESC_FOLDS = 2000, 400, 5
GTZAN_TRAIN, GTZAN_TEST = 443, 290  # fault-filtered; paper, section 3.2
NSYNTH_NOTES_A_FAMILY = 2000  # paper, section 3.2
NSYNTH_TEST = 4096
# The families of the paper's list; the eleventh, synth_lead, has no test notes.
NSYNTH_FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "vocal"
)  # fmt: skip
NSYNTH_LIST = "nsynth_selected_sounds_per_class.json"
OWN_TABLE = "clips.csv"


@dataclass(frozen=True)
class Row:
    """One listed clip. `part` is its fold, or its split; clips of one `group` belong together."""

    file: str  # relative to the listing's root, forward slashes
    label: str
    part: str
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """All that a data set lists, its files not yet looked for."""

    name: str
    root: Path
    source: Path  # the file that lists them, for messages
    in_folds: bool  # or in splits, of which train and test are used
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
                f"{source}: line {line} says esc10 {cells['esc10']!r}, which is neither True nor "
                "False; copy the table again from the data set"
            )
        if cells["esc10"] == "True" or not only_esc10:
            rows.append(Row(f"audio/{cells['filename']}", cells["category"], cells["fold"]))
    name, published = ("esc10", ESC10_CLIPS) if only_esc10 else ("esc50", ESC50_CLIPS)
    remarks = _unlike_published(source, rows, published, ESC_FOLDS)
    return Listing(name, folder, source, True, tuple(rows), remarks)


def read_gtzan(folder: Path) -> Listing:
    """GTZAN, fault-filtered: train_filtered.txt and test_filtered.txt beside the genres' folders.

    These lie in genres, genres_original or the folder itself; songs are .wav or .au. The songs of
    valid_filtered.txt are not used, as in the paper.
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
                    f"{source}: line {line} is {song!r}, which is no genre/song.wav; {hint}"
                )
            rows.append(Row(_find_song(folder, song), genre, split))
    found = tuple(sum(row.part == split for row in rows) for split in ("train", "test"))
    remarks = ()
    if found != (GTZAN_TRAIN, GTZAN_TEST):
        remarks = (
            f"the lists hold {found[0]} training and {found[1]} test songs, "
            f"the published ones {GTZAN_TRAIN} and {GTZAN_TEST}",
        )
    return Listing("gtzan", folder, source, False, tuple(rows), remarks)


def read_nsynth(folder: Path, *, seed: int = 0) -> Listing:
    """NSynth: the notes of ten families; 2,000 training notes a family, all test notes.

    Which training notes is said by the authors' list where it lies in the folder, and is a draw
    otherwise. The draw takes the notes whose SHA-256 with the seed comes first: the same in every
    version of every library, and in whatever order the notes are listed.
    """
    source = folder / "nsynth-train" / "examples.json"
    train = _read_families(source)
    test = _read_families(folder / "nsynth-test" / "examples.json")
    both = sorted(train.keys() & test.keys())
    if both:
        raise TaskError(
            f"{source}: {len(both)} of its notes are in the test set, too, the first is {both[0]}; "
            "unpack nsynth-train and nsynth-test again"
        )
    if (folder / NSYNTH_LIST).is_file():
        source = folder / NSYNTH_LIST
        names, remarks = _listed_notes(source, train)
    else:
        names = _drawn_notes(source, train, seed)
        remarks = [f"a seeded draw of {NSYNTH_NOTES_A_FAMILY:,} notes a family, seed {seed}"]
    other = sorted({*train.values(), *test.values()} - set(NSYNTH_FAMILIES))
    if other:
        lost = sum(family in other for family in test.values())
        remarks.append(
            f"left out, as it is not one of the paper's ten families: {', '.join(other)} "
            f"({lost} test notes)"
        )
    if len(test) != NSYNTH_TEST:
        remarks.append(f"nsynth-test lists {len(test):,} notes, the published one {NSYNTH_TEST:,}")
    rows = [Row(f"nsynth-train/audio/{name}.wav", train[name], "train") for name in names]
    rows += [
        Row(f"nsynth-test/audio/{name}.wav", family, "test")
        for name, family in test.items()
        if family in NSYNTH_FAMILIES
    ]
    return Listing("nsynth", folder, source, False, tuple(rows), tuple(remarks))


def read_own(path: Path) -> Listing:
    """A folder with clips.csv, or a CSV: file, label, fold or split, and a group where it has one.

    Files are relative to the CSV's folder. Every value of fold is one; split says train, test, or
    something else for clips that are not used.
    """
    source = path / OWN_TABLE if path.is_dir() else path
    if path.is_dir() and not source.is_file():
        raise TaskError(
            f"{path}: this folder has no {OWN_TABLE}; write one with the columns file, label and "
            "fold or split, or say which published layout it has, such as esc50:DIR"
        )
    header = read_header(source)
    if ("fold" in header) == ("split" in header):
        raise TaskError(
            f"{source}: it has {'both a column fold and a' if 'fold' in header else 'no'} column "
            f"{'split' if 'fold' in header else 'fold or split'}; give fold for cross-validation, "
            "or split with train and test"
        )
    part = "fold" if "fold" in header else "split"
    rows = tuple(
        Row(cells["file"], cells["label"], cells[part], cells.get("group", ""))
        for _, cells in read_csv(source, ("file", "label", part))
    )
    own_folder = source.name == OWN_TABLE
    name = source.resolve().parent.name if own_folder else source.stem
    return Listing(name, source.parent, source, part == "fold", rows)


def _unlike_published(source: Path, rows: Sequence[Row], clips: int, folds: int) -> tuple[str, ...]:
    found = len({row.part for row in rows})
    if (len(rows), found) == (clips, folds):
        return ()
    return (
        f"{source.name} lists {len(rows):,} clips in {found} folds, "
        f"the published one {clips:,} in {folds}",
    )


def _find_song(folder: Path, song: str) -> str:
    """Where the song lies below the folder; where it would lie, if it is nowhere."""
    stem = song.rpartition(".")[0]
    bases = [base for base in ("genres/", "genres_original/") if (folder / base).is_dir()] + [""]
    places = [f"{base}{stem}{suffix}" for base in bases for suffix in (".wav", ".au")]
    return next((place for place in places if (folder / place).is_file()), places[0])


def _read_families(source: Path) -> dict[str, str]:
    """Note -> family."""
    hint = "unpack this part of NSynth (json/wav files) again"
    content = read_json(source, hint)
    try:
        families = {name: note["instrument_family_str"] for name, note in content.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise TaskError(f"{source}: it does not describe notes ({error!r}); {hint}") from error
    if not families or not all(isinstance(family, str) for family in families.values()):
        raise TaskError(f"{source}: it has no notes, or one without a family; {hint}")
    return families


def _listed_notes(source: Path, train: dict[str, str]) -> tuple[list[str], list[str]]:
    """The notes of the authors' list, and what is to be said of it."""
    hint = "copy the authors' list again, or remove it for a seeded draw"
    content = read_json(source, hint)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise TaskError(f"{source}: it is no table of families and their notes; {hint}")
    if content.keys() != set(NSYNTH_FAMILIES):
        odd = ", ".join(sorted(content.keys() ^ set(NSYNTH_FAMILIES)))
        raise TaskError(f"{source}: families that are missing or unknown: {odd}; {hint}")
    names = [(name, family) for family, notes in content.items() for name in notes]
    for name, family in names:
        if not isinstance(name, str) or train.get(name) != family:
            raise TaskError(
                f"{source}: it lists {name!r} as {family}, which nsynth-train/examples.json does "
                f"not; unpack nsynth-train whole, or {hint}"
            )
    counts = {len(notes) for notes in content.values()}
    remarks = [f"the {len(names):,} training notes of {source.name}"]
    if counts != {NSYNTH_NOTES_A_FAMILY}:
        remarks.append(
            f"that list has {min(counts):,} to {max(counts):,} notes a family, "
            f"the authors' {NSYNTH_NOTES_A_FAMILY:,}"
        )
    return [name for name, _ in names], remarks


def _drawn_notes(source: Path, train: dict[str, str], seed: int) -> list[str]:
    drawn = []
    for family in NSYNTH_FAMILIES:
        notes = [name for name, of in train.items() if of == family]
        if len(notes) < NSYNTH_NOTES_A_FAMILY:
            raise TaskError(
                f"{source}: it has {len(notes)} notes of the family {family}, a draw takes "
                f"{NSYNTH_NOTES_A_FAMILY:,} of each; unpack nsynth-train whole, or put the "
                f"authors' {NSYNTH_LIST} beside nsynth-train"
            )
        drawn += sorted(notes, key=lambda note: _shuffled(note, seed))[:NSYNTH_NOTES_A_FAMILY]
    return drawn


def _shuffled(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
