"""Makes a dataset from a folder of sounds and a CSV of their tags.

    coala prepare --audio=sounds --tags=tags.csv --out=dataset/mine

The CSV has a header, one row per sound, and the columns `file` (relative to --audio), `tags`
(separated by spaces, or by commas or semicolons) and optionally `group` (sounds of one group are
kept in one split). Run it again to resume after a kill. The dataset holds a report: report.md and
report.png.

--mode=paper follows the text of the paper, --mode=released the code its authors released; each
setting below that is given overrides the mode's.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coala_jax import logs, storage
from coala_jax.audio.decode import LEVELS
from coala_jax.data.scaler import FITTED
from coala_jax.flags import Parser, at_least, run
from coala_jax.preparation.exclusion import read_exclusions
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.split import METHODS
from coala_jax.preparation.table import Columns
from coala_jax.reporting import report
from coala_jax.tags.normalize import PROCESSINGS

_Flag = tuple[Callable[[str], Any], Sequence[str] | None, str]


def _languages(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


PROGRAM = "coala prepare"
_MODES = ("paper", "released")
_COLUMNS = {
    "file": "column of the path of a sound, below --audio",
    "tags": "column of its tags",
    "group": "column of what keeps sounds on one side of the split",
    "id": "column of the id that --exclude may name",
    "source": "column of the collection that the sound is from",
}
# field of Settings -> type, choices and help of its flag
_SETTINGS = {
    "vocabulary_size": (int, None, "how many of the most frequent tags are kept"),
    "min_tag_sounds": (int, None, "tags of fewer sounds are left out"),
    "max_document_fraction": (
        float,
        None,
        "tags of more than this share of sounds are left out",
    ),
    "tag_processing": (str, PROCESSINGS, "how tag text becomes tags"),
    "stop_words": (
        _languages,
        None,
        "languages whose stop words are no tags; others than english from your nltk_data",
    ),
    "validation_fraction": (float, None, "share of the sounds kept for validation"),
    "split": (str, METHODS, "how the validation sounds are chosen"),
    "seed": (int, None, "seed of the split"),
    "patches_per_sound": (int, None, "how many of the loudest patches of a sound are kept; 0: all"),
    "max_seconds": (float, None, "longer sounds are left out; 0: none"),
    "max_decode_minutes": (float, None, "longer sounds are not decoded to their end; 0: all are"),
    "max_peak": (
        float,
        None,
        "sounds with samples beyond this are left out, unless --level=peak; 0: none",
    ),
    "level": (str, LEVELS, "loudness of sounds: as recorded, or all at a peak of 1"),
    "scaling": (str, FITTED, "one minimum and maximum for all, or one per time column"),
}
_FRONT_END = {
    "window": (str, ("hamming", "hann"), "window of the spectrogram"),
    "power": (float, None, "exponent of the spectrogram: 2 for power, 1 for magnitude"),
    "edges": (str, ("zeros", "reflect"), "what lies before the first sample and after the last"),
    "noise": (float, None, "amplitude of uniform noise added to the padded sound"),
    "precision": (str, ("float32", "float64"), "precision of the spectrogram"),
}


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--audio", type=Path, required=True, metavar="FOLDER", help="folder of the sounds"
    )
    parser.add_argument(
        "--tags", type=Path, required=True, metavar="CSV", help="table of the sounds and their tags"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the dataset to make"
    )
    parser.add_argument(
        "--name", help="name of the corpus (that in corpus.json beside the table, or that of --out)"
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        metavar="FILE",
        help="ids of sounds to leave out, as a JSON list or one a line",
    )
    for column in dataclasses.fields(Columns):
        parser.add_argument(
            f"--{column.name}_column",
            default=column.default,
            metavar="NAME",
            help=f"{_COLUMNS[column.name]} ({column.default or 'no such column'})",
        )
    parser.add_argument(
        "--workers",
        type=at_least(1),
        metavar="N",
        default=min(os.cpu_count() or 1, 16),
        help="threads that decode sounds (%(default)s)",
    )
    parser.add_argument("--allow_missing", action="store_true", help="skip missing files")
    parser.add_argument(
        "--mode",
        choices=_MODES,
        default="paper",
        help="whose values the flags below have if not given (paper)",
    )
    paper, released = Settings(""), Settings.released("")
    _add_settings(parser.add_argument_group("settings"), _SETTINGS, paper, released)
    analysis = parser.add_argument_group("analysis")
    _add_settings(analysis, _FRONT_END, paper.front_end, released.front_end)
    return parser


def _add_settings(
    group: argparse._ArgumentGroup, flags: Mapping[str, _Flag], paper: object, released: object
) -> None:
    """A flag for each field of the settings, with its default in the two modes."""
    for name, (kind, choices, meaning) in flags.items():
        values = [getattr(mode, name) for mode in (paper, released)]
        values = [",".join(v) if isinstance(v, tuple) else v for v in values]
        shown = str(values[0])
        if values[0] != values[1]:
            shown = "as --mode" if values == list(_MODES) else "{}; released: {}".format(*values)
        what = f"{meaning} ({shown})".replace("%", "%%")
        metavar = {int: "N", float: "X", _languages: "LANGUAGES"}.get(kind)
        group.add_argument(f"--{name}", type=kind, choices=choices, metavar=metavar, help=what)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    program = parser()
    flags = program.parse_args(argv)
    try:
        settings_of(flags, "")
    except ValueError as error:
        name = str(error).partition(" ")[0]
        dashes = "--" if name in _SETTINGS or name in _FRONT_END else ""
        program.error(f"{dashes}{error}")
    return flags


def settings_of(flags: argparse.Namespace, name: str) -> Settings:
    """The mode's settings, with the flags that are given."""

    def given(names: Sequence[str]) -> dict[str, object]:
        return {name: value for name in names if (value := getattr(flags, name)) is not None}

    base = Settings.released(name) if flags.mode == "released" else Settings(name)
    columns = {c.name: getattr(flags, f"{c.name}_column") for c in dataclasses.fields(Columns)}
    return dataclasses.replace(
        base,
        columns=Columns(**columns),
        front_end=dataclasses.replace(base.front_end, **given(list(_FRONT_END))),
        **given(list(_SETTINGS)),
    )


def corpus_name(table: Path, out: Path) -> str:
    """The name in `corpus.json` beside the table, or else that of the dataset's folder."""
    description = table.with_name("corpus.json")
    if not description.is_file():
        return out.resolve().name
    try:
        return storage.read_json(description)["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{description}: no name in it ({error!r}). Fix: give --name") from error


def make(flags: argparse.Namespace) -> None:
    """Makes the dataset and its report, and prints how many sounds are in it."""
    began = time.monotonic()
    manifest = prepare(
        flags.audio,
        flags.tags,
        flags.out,
        settings_of(flags, flags.name or corpus_name(flags.tags, flags.out)),
        exclude=read_exclusions(flags.exclude) if flags.exclude else frozenset(),
        workers=flags.workers,
        allow_missing=flags.allow_missing,
    )
    written = report.render(flags.out)
    sounds = manifest.preparation["sounds"]
    skipped = [
        f"{sounds[stage]} {stage}"
        for stage in ("excluded", "untagged", "failed", "copies")
        if sounds[stage]
    ]
    splits = [f"{s['sounds']} {name}" for name, s in manifest.preparation["splits"].items()]
    print(
        f"{flags.out}: {sounds['kept']} of {sounds['listed']} sounds ({', '.join(splits)}"
        f"{'; left out: ' if skipped else ''}{', '.join(skipped)}), "
        f"in {time.monotonic() - began:.1f} s"
    )
    print(*written, sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    logs.start()
    return run(PROGRAM, lambda: make(flags), "run it again to resume")


if __name__ == "__main__":
    sys.exit(main())
