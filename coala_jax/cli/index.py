"""An index of the sounds of a folder, to be asked by coala search, similar, cluster and duplicates.

    coala index sounds --out=sounds.index
    coala index sounds --out=sounds.index --tags=tags.csv --model=runs/mine/model

Without --model its vectors are of the built-in model, which comes with the package. Run it again,
and the index follows the folder: sounds that are new or changed are added, those that moved keep
their vectors, and what has gone leaves. It goes on after a kill. Sounds that cannot be read are
named once; see OUT/failures.csv. It needs the extra: pip install 'coala_jax[search]'
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from coala_jax import logs
from coala_jax.cli import model_flag
from coala_jax.flags import Parser, at_least, run

PROGRAM = "coala index"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument("sounds", metavar="FOLDER", type=Path, help="folder of sounds")
    flags.add_argument("--out", type=Path, required=True, help="folder of the index")
    model_flag.add(flags)
    flags.add_argument(
        "--tags", type=Path, metavar="CSV", help="tags of the sounds, in columns file and tags"
    )
    flags.add_argument("--workers", type=at_least(1), help="that read sounds (number of cores)")
    return flags


def _read_tags(table: Path, root: Path, processing: str) -> dict[str, tuple[str, ...]]:
    from coala_jax import storage
    from coala_jax.preparation.table import Columns, read_table

    tags = {sound.file: sound.tags for sound in read_table(table, Columns(), processing)}
    if not any(storage.is_file(root / file) for file in tags):
        raise ValueError(
            f"{table}: none of its {len(tags)} files is in {root}. Fix: write files relative to it"
        )
    return tags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = model_flag.parse(parser(), argv)
    logs.start()

    def work() -> int:
        from coala_jax.embedding.index_settings import shown
        from coala_jax.embedding.index_store import lancedb

        lancedb()  # before a large file is read
        from coala_jax.embedding.index import Index

        model, tags = model_flag.load(flags.model), None
        place = Path(flags.model) if flags.model else None
        if flags.tags is not None:
            tags = _read_tags(flags.tags, flags.sounds, model.vocabulary.processing)
        index, changes = Index.update(
            *(flags.sounds, model, place, flags.out, tags),
            workers=flags.workers,
            progress=True,
        )
        for path, error in changes.failures.items():
            logging.warning("%s", shown(error if path in error else f"{path}: {error}"))
        counts = [
            f"{count} {name}"
            for name, count in zip(changes._fields, changes, strict=True)
            if isinstance(count, int) and count and name != "skipped"
        ]
        print(f"{shown(flags.out)}: {len(index)} sounds ({', '.join(counts)})")
        failed = len(changes.failures) + changes.skipped
        if failed:
            print(
                f"{PROGRAM}: sounds that could not be read: {failed}, {len(changes.failures)} of "
                f"them new. Fix: see {shown(flags.out)}/failures.csv; delete it to try them again",
                file=sys.stderr,
            )
        return 1 if changes.failures else 0

    return run(PROGRAM, work, "run it again; what is done is kept")


if __name__ == "__main__":
    sys.exit(main())
