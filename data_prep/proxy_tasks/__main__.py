"""Makes proxy tasks: classification tasks to compare models on where NSynth or UrbanSound8K cannot
be downloaded.

    python -m coala_jax.data_prep.proxy_tasks --out DIR [--only instruments,events]

instruments: 1,500 notes of ten instrument families; two soundfonts for training, a third one, which
shares no recording with them, for testing. events: 720 game sounds of thirteen classes, in three
folds by package.

A score on a proxy task says which of two models is better here; it does not compare with a score on
NSynth or UrbanSound8K.

Everything comes from Debian packages (with apt-get; root is not needed), about 160 MB for
instruments and 260 MB for events. Notes are played by the program fluidsynth (apt-get install
fluidsynth) and written with mido (pip install 'coala_jax[proxy-tasks]'). Equal packages give equal
sounds. Re-running continues where it stopped. Writes DIR/TASK/clips.csv, with the sounds in
DIR/TASK/audio and their origin in DIR/TASK/about.json.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax.data_prep.proxy_tasks.events import make_events
from coala_jax.data_prep.proxy_tasks.instruments import make_instruments
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from coala_jax import logs

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
    if unknown := [name for name in names if name not in TASKS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(TASKS)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="coala_jax.data_prep.proxy_tasks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the tasks")
    parser.add_argument("--only", type=_tasks, default=TASKS, help="these tasks, comma-separated")
    flags = parser.parse_args(argv)
    logs.start()
    try:
        folders = make(flags.out, flags.only)
    except (CorpusError, OSError) as error:
        print(f"proxy_tasks: {error}", file=sys.stderr)
        return 1
    print(*(folder / "clips.csv" for folder in folders), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("proxy_tasks: interrupted. Fix: run it again; it continues")
