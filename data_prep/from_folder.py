"""Makes a dataset from a folder of sounds and a CSV of their tags.

    python -m data_prep.from_folder --audio DIR --tags CSV --out DATASET

The CSV has a header, one row a sound, and the columns `file` (relative to --audio), `tags`
(separated by spaces, or by commas or semicolons) and, if takes of one sound shall not be split
between training and validation, `group`.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from coala_jax.preparation.folder import Settings, prepare
from coala_jax.preparation.table import Columns


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="data_prep.from_folder", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--audio", type=Path, required=True, help="folder of the sounds")
    parser.add_argument("--tags", type=Path, required=True, help="CSV of files and tags")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset to make")
    parser.add_argument("--name", help="of the corpus; default: as corpus.json beside the CSV says")
    parser.add_argument("--file_column", default=Columns.file)
    parser.add_argument("--tags_column", default=Columns.tags)
    parser.add_argument("--group_column", default=Columns.group)
    parser.add_argument("--vocabulary_size", type=int, default=Settings.vocabulary_size)
    parser.add_argument("--validation_fraction", type=float, default=Settings.validation_fraction)
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of the split")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--allow_missing", action="store_true", help="go on without missing files")
    return parser.parse_args(argv)


def corpus_name(table: Path) -> str:
    """What `corpus.json` beside the table calls the corpus, or else the folder's name."""
    description = table.with_name("corpus.json")
    if not description.is_file():
        return table.resolve().parent.name
    try:
        return json.loads(description.read_text(encoding="utf-8"))["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{description}: it names no corpus ({error!r}); give --name") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    began = time.monotonic()
    try:
        settings = Settings(
            name=flags.name or corpus_name(flags.tags),
            columns=Columns(flags.file_column, flags.tags_column, flags.group_column),
            vocabulary_size=flags.vocabulary_size,
            validation_fraction=flags.validation_fraction,
            seed=flags.seed,
        )
        manifest = prepare(
            flags.audio, flags.tags, flags.out, settings, flags.workers, flags.allow_missing
        )
    except (ValueError, OSError) as error:
        print(f"from_folder: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    print(f"dataset {flags.out}: {counts}, in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("from_folder: interrupted; run it again")
