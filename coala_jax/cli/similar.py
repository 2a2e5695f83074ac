"""The sounds of an index that are most like a sound, in the index or not.

    coala similar sounds.index dog.wav
    coala similar sounds.index dog.wav --words="bark, -rain" --json

A sound that is not in the index goes through the index's model. With --words the sounds also fit
tags, as in coala search.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax import logs
from coala_jax.cli import found
from coala_jax.flags import Parser, run

PROGRAM = "coala similar"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    found.index_flags(flags)
    flags.add_argument(
        "sound", metavar="SOUND", type=Path, help="a file; relative to the sounds' folder, too"
    )
    flags.add_argument("--words", help='tags that they fit, too, such as "kick, -snare"')
    found.search_flags(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> int:
        index = found.open_index(flags.index)
        limits = {"seconds": flags.seconds, "top": flags.top, "model": flags.model}
        hits = index.similar(flags.sound, words=flags.words, **limits)
        title = f"Like {flags.sound.name}" + (f", {flags.words}" if flags.words else "")
        return found.show(PROGRAM, index, title, [found.Found("", hits, {})], flags)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
