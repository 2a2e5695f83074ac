"""Renders the records in folders again.

python -m coala_jax.reporting runs/mine dataset/mine
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax.flags import Parser, run
from coala_jax.reporting.report import render

PROGRAM = "coala_jax.reporting"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        type=Path,
        help="a dataset, a training run or an evaluation",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        for folder in flags.folders:
            for path in render(folder):
                print(path)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
