"""The near-copies in an index: one recording that was cut, encoded again, or made louder.

    coala duplicates sounds.index
    coala duplicates sounds.index --correlation=0.8 --html=copies.html

Each group is of sounds whose waveforms correlate, the longest first; the number before a sound is
its highest correlation with another of its group. What was played at another speed, or mixed with
something else, is not found. Deletes nothing.
"""

import sys
from collections.abc import Sequence

from coala_jax import logs
from coala_jax.cli import found
from coala_jax.flags import Parser, run

PROGRAM = "coala duplicates"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    found.index_flags(flags)
    flags.add_argument(
        "--correlation",
        type=float,
        default=0.95,
        help="from which two sounds count as one recording, in (0, 1] (0.95)",
    )
    found.output_flags(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> int:
        index = found.open_index(flags.index)
        copies = index.duplicates(flags.correlation)
        if not copies:
            print(f"{PROGRAM}: no near-copies among {len(index)} sounds", file=sys.stderr)
            return 0
        groups = [
            found.Found(f"{len(hits)} copies", hits, {"group": number})
            for number, hits in enumerate(copies, start=1)
        ]
        title = f"{len(groups)} groups of near-copies"
        return found.show(PROGRAM, index, title, groups, flags)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
