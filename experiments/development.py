"""Development data: what a choice is made on, none of it a test clip of a proxy task.

instruments_dev: the notes of the proxy task's two training fonts; a classifier learns GeneralUser's
    and is tested on TimGM6mb's, which pre-training has not heard.
events_dev: sounds of 23 packages, of which `further.tsv` lists them, in nine classes by their tags;
    a package is whole in one of three folds. Pre-training has heard none of them, nor a sound of
    their groups.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from coala_jax.data_prep.sample_corpus.corpus_folder import csv_text

from coala_jax import storage

FONTS = ("minuet-data", "timgm6mb-soundfont")  # of GeneralUser and TimGM6mb
TEST_FONT = FONTS[1]
FOLDS = (
    ("nexuiz-data", "seahorse-adventures", "tuxmath-data"),
    (
        *("endless-sky-data", "extremetuxracer-data", "flare-game", "freeciv-data"),
        *("freedroidrpg-data", "freeorion-data", "pysiogame"),
        "warzone2100-data",
    ),
    (
        *("enigma-data", "frozen-bubble-data", "hedgewars-data", "marsshooter-data"),
        *("minetest-mod-xdecor", "pingus-data", "plee-the-bear-data", "starfighter-data"),
        *("supertux-data", "trackballs-data", "tuxtype-data", "warmux-data"),
    ),
)
_FOLD_OF = {package: number for number, fold in enumerate(FOLDS, 1) for package in fold}
CLASSES = {
    "explosion": "explosion explode blast nuke",
    "footstep": "footstep step walk",
    "impact": "hit impact bounce collide collision crash thud ricochet land bump slap smash",
    "interface": "click menu button beep select interface switch countdown",
    "machine": "machine factory engine steam pump generator vehicle motor",
    "pickup": "coin pickup item collect powerup inventory",
    "shot": "laser gun rifle cannon shotgun blaster plasma shot pistol sniper missile rocket",
    "voice": "pain death scream gasp injured laugh voice growl ugh taunt die hurt groan snore",
    "water": "water splash rain river droplet splat blub plop",
}
_CLASS_OF = {word: label for label, words in CLASSES.items() for word in words.split()}

Row = Mapping[str, str]


def make_tasks(corpus: Path, instruments: Path) -> list[Path]:
    """Writes the two tasks as tables beside their sounds; returns the tables.

    Args:
        corpus: folder of the free corpus.
        instruments: folder of the proxy task.
    """
    with (instruments / "clips.csv").open(encoding="utf-8", newline="") as file:
        notes = [row for row in csv.DictReader(file) if row["split"] == "train"]
    of_font = {"generaluser": "train", "timgm6mb": "test"}
    clips = [(row["file"], row["label"], of_font[row["group"]]) for row in notes]
    tables = [instruments / "instruments_dev.csv", corpus / "events_dev.csv"]
    storage.write_text(tables[0], csv_text([("file", "label", "split"), *clips]))
    events = [
        (f"audio/{row['file']}", label, _FOLD_OF[row["source"]])
        for row in read_sounds(corpus)
        if row["source"] in _FOLD_OF and (label := label_of(row["tags"]))
    ]
    storage.write_text(tables[1], csv_text([("file", "label", "fold"), *events]))
    return tables


def read_sounds(corpus: Path) -> list[Row]:
    """The rows of a corpus."""
    with (corpus / "sounds.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def label_of(tags: str) -> str:
    """The class of a sound by its tags; empty where none or several would do."""
    labels = {_CLASS_OF[tag] for tag in tags.split() if tag in _CLASS_OF}
    return labels.pop() if len(labels) == 1 else ""


def held_out(sounds: Iterable[Row], without: Iterable[str] = ()) -> list[str]:
    """The files that pre-training on development data must not hear.

    without: further sources to leave out.
    """
    sounds, sources = list(sounds), {TEST_FONT, *_FOLD_OF, *without}
    groups = {row["group"] for row in sounds if row["source"] in _FOLD_OF}
    return [row["file"] for row in sounds if row["source"] in sources or row["group"] in groups]
