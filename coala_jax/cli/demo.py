"""Shows everything once: makes a small corpus and a dataset of it, trains on it, and reports.

    coala demo --workdir=runs/quickstart

It takes some 3 minutes on 2 cores. Real sounds come from Debian packages where apt-get is (45 MB;
root is not needed); elsewhere they are synthetic. Each step is a command of its own, which is
shown. Run again, it reuses what is finished.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import logging

from coala_jax import logs
from coala_jax.cli import train
from coala_jax.data_prep import from_folder
from coala_jax.data_prep.sample_corpus import __main__ as sample_corpus
from coala_jax.flags import Parser, command_of

PROGRAM = "coala demo"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--corpus",
        choices=sample_corpus.CORPORA,
        help="kind of sounds (debian where apt-get and dpkg-deb are installed, else synthetic)",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("runs", "quickstart"),
        metavar="FOLDER",
        help="folder of the run (%(default)s)",
    )
    return parser


def steps(corpus: str, workdir: Path) -> list[tuple[str, Callable[..., int], list[str]]]:
    """Of each step the program's name, its function and its flags."""
    sounds, dataset = Path("corpus", corpus), Path("dataset", corpus)
    tables = [f"--audio={sounds / 'audio'}", f"--tags={sounds / 'sounds.csv'}"]
    return [
        (
            sample_corpus.PROGRAM,
            sample_corpus.main,
            [f"--corpus={corpus}", f"--out={sounds}"],
        ),
        (
            from_folder.PROGRAM,
            from_folder.main,
            [*tables, f"--out={dataset}", "--validation_fraction=0.2"],
        ),
        (
            train.PROGRAM,
            train.main,
            ["quickstart", f"--data={dataset}", f"--workdir={workdir}"],
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code, which is that of the first step that fails."""
    flags = parser().parse_args(argv)
    logs.start()
    for program, step, given in steps(flags.corpus or sample_corpus.available(), flags.workdir):
        logging.info("%s %s", command_of(program), shlex.join(given))
        if code := step(given):
            return code
    return 0
