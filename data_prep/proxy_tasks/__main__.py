"""Makes proxy tasks: classification tasks to compare models on where NSynth or UrbanSound8K cannot
be downloaded.

    python -m coala_jax.data_prep.proxy_tasks --out=tasks --only=instruments,events

instruments: 1,500 notes of ten instrument families; two soundfonts for training, a third one, which
shares hardly a recording with them, for testing. events: 720 game sounds of thirteen classes, in
three folds by package.

A score on a proxy task says which of two models is better here; it does not compare with a score on
NSynth or UrbanSound8K.

Everything comes from Debian packages (with apt-get; root is not needed), about 160 MB for
instruments and 260 MB for events. Notes are played by the program fluidsynth (apt-get install
fluidsynth) and written with mido (pip install 'coala_jax[notes]'). Equal packages give equal
sounds. Re-running continues where it stopped. Writes OUT/TASK/clips.csv, with the sounds in
OUT/TASK/audio and their origin in OUT/TASK/about.json.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax.data_prep.proxy_tasks.events import make_events
from coala_jax.data_prep.proxy_tasks.instruments import make_instruments

from coala_jax import logs
from coala_jax.flags import Parser, run

PROGRAM = "coala_jax.data_prep.proxy_tasks"
TASKS = ("instruments", "events")
PACKAGES = ".packages"  # below --out; removed when the tasks are complete


def make(out: Path, tasks: Sequence[str]) -> list[Path]:
    """Makes these tasks in the folder `out`; returns their folders.

    Raises:
        CorpusError: something that is needed is missing, or `out` holds another task of the name.
    """
    made = []
    if "instruments" in tasks:  # first: what it needs is checked before anything is fetched
        made.append(make_instruments(out, out / PACKAGES))
    if "events" in tasks:
        made.append(make_events(out))
    shutil.rmtree(out / PACKAGES, ignore_errors=True)
    return made


def _tasks(text: str) -> list[str]:
    names = text.split(",")
    if set(names) - set(TASKS):
        raise argparse.ArgumentTypeError(f"one or both of {','.join(TASKS)}")
    return names


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the tasks"
    )
    parser.add_argument(
        "--only",
        type=_tasks,
        default=TASKS,
        metavar="TASKS",
        help=f"tasks to make ({','.join(TASKS)})",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> None:
        print(*(folder / "clips.csv" for folder in make(flags.out, flags.only)), sep="\n")

    return run(PROGRAM, work, "run it again; it continues")


if __name__ == "__main__":
    sys.exit(main())
