"""The sounds of an index in groups that sound alike, each named by its tags.

    coala cluster sounds.index
    coala cluster sounds.index --groups=12 --html=groups.html

A group's name is of the tags that fit its sounds more than those of the whole index.
"""

import sys
from collections.abc import Sequence

from coala_jax import logs
from coala_jax.cli import found
from coala_jax.flags import Parser, at_least, run

PROGRAM = "coala cluster"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    found.index_flags(flags)
    flags.add_argument(
        "--groups",
        type=at_least(1),
        metavar="COUNT",
        help="number of groups (square root of half the sounds, at most 30)",
    )
    found.output_flags(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> int:
        index = found.open_index(flags.index)
        groups = [
            found.Found(f"{name}: {len(hits)} sounds", hits, {"group": name})
            for name, hits in index.clusters(flags.groups)
        ]
        title = f"{len(index)} sounds in {len(groups)} groups"
        return found.show(PROGRAM, index, title, groups, flags)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
