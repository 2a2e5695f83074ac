"""Makes a dataset from a folder of sounds and a CSV of their tags.

    python -m coala_jax.data_prep.from_folder --audio DIR --tags CSV --out DATASET

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
from collections.abc import Sequence
from pathlib import Path

from coala_jax import logs, storage
from coala_jax.audio.decode import LEVELS
from coala_jax.data.scaler import FITTED
from coala_jax.preparation.exclusion import read_exclusions
from coala_jax.preparation.run import prepare
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.split import METHODS
from coala_jax.preparation.table import Columns
from coala_jax.reporting import report
from coala_jax.tags.normalize import PROCESSINGS


def _languages(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


_MODES = ("paper", "released")
# field of Settings -> type, choices and help of its flag
_SETTINGS = {
    "vocabulary_size": (int, None, "the most frequent tags that are kept"),
    "min_tag_sounds": (int, None, "leave out tags of fewer sounds"),
    "max_document_fraction": (float, None, "leave out tags of more than this share of the sounds"),
    "tag_processing": (str, PROCESSINGS, "how tag text becomes tags"),
    "stop_words": (
        _languages,
        None,
        "languages whose stop words are no tags; others than english from your nltk_data",
    ),
    "validation_fraction": (float, None, "share of the sounds kept for validation"),
    "split": (str, METHODS, "how the validation sounds are chosen"),
    "seed": (int, None, "of the split"),
    "patches_per_sound": (int, None, "how many of the loudest patches are kept; 0: all"),
    "max_seconds": (float, None, "leave out longer sounds; 0: none"),
    "level": (str, LEVELS, "loudness of sounds: as recorded, or all at a peak of 1"),
    "scaling": (str, FITTED, "one minimum and maximum for all, or one per time column"),
}
_FRONT_END = {
    "window": (str, ("hamming", "hann"), "of the spectrogram"),
    "power": (float, None, "2: power spectrum, 1: magnitude"),
    "edges": (str, ("zeros", "reflect"), "samples before the first and after the last"),
    "noise": (float, None, "amplitude of uniform noise added to the padded sound"),
    "precision": (str, ("float32", "float64"), "of the spectrogram"),
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coala_jax.data_prep.from_folder", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--audio", type=Path, required=True, help="folder of the sounds")
    parser.add_argument("--tags", type=Path, required=True, help="CSV of files and tags")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset to make")
    parser.add_argument(
        "--name", help="of the corpus; default: the name in corpus.json beside the CSV, or of OUT"
    )
    parser.add_argument(
        "--exclude", type=Path, help="JSON or text list of ids of sounds to leave out"
    )
    for column in dataclasses.fields(Columns):
        parser.add_argument(f"--{column.name}_column", default=column.default, metavar="NAME")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 16))
    parser.add_argument("--allow_missing", action="store_true", help="skip missing files")
    parser.add_argument("--mode", choices=_MODES, default="paper")
    paper, released = Settings(""), Settings.released("")
    for title, flags, defaults in (
        ("settings", _SETTINGS, (paper, released)),
        ("analysis", _FRONT_END, (paper.front_end, released.front_end)),
    ):
        group = parser.add_argument_group(title)
        for name, (kind, choices, meaning) in flags.items():
            values = [getattr(default, name) for default in defaults]
            values = [",".join(v) if isinstance(v, tuple) else v for v in values]
            shown = (
                f"{values[0]}"
                if values[0] == values[1]
                else "paper {}, released {}".format(*values)
            )
            group.add_argument(
                f"--{name}",
                type=kind,
                choices=choices,
                help=f"{meaning} ({shown})".replace("%", "%%"),
            )
    return parser.parse_args(argv)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    logs.start()
    began = time.monotonic()
    try:
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
    except (ValueError, OSError) as error:
        print(f"from_folder: {error}", file=sys.stderr)
        return 1
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
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("from_folder: interrupted. Fix: run it again to resume")
