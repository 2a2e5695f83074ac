"""Makes sets to try frozen models on, for where the published ones cannot be downloaded.

    python -m coala_jax.data_prep.proxy_tasks --out DIR [--only instruments,events]

`instruments`: 1,500 notes of ten instrument families; two soundfonts for training, a third, with
no recording in common, for testing. `events`: real game sounds of thirteen classes, in
folds by package.

They are proxies, not NSynth or UrbanSound8K. A score on them says which of two models
is better here, and does not compare with a score on those.

Everything comes out of Debian packages (with apt-get, no root needed), about 160 MB for instruments
and 260 MB for events. Notes are played by the program fluidsynth: apt-get install fluidsynth. Equal
packages give equal sounds. Run again, it goes on where it was stopped. Writes DIR/SET/clips.csv,
with the sounds in DIR/SET/audio and what they are made of in DIR/SET/about.json.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax.data_prep.proxy_tasks import soundfonts
from coala_jax.data_prep.proxy_tasks.events import make_events
from coala_jax.data_prep.proxy_tasks.instruments import make_instruments
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

SETS = ("instruments", "events")
PACKAGES = ".packages"  # below --out; goes when the sets are whole


def make(out: Path, sets: Sequence[str]) -> None:
    """Makes these sets in the folder `out`; prints progress.

    Raises:
        CorpusError: something that is needed is missing, or `out` holds another set of the name.
    """
    packages = out / PACKAGES
    # Before anything is fetched; who has a set already needs no program.
    if "instruments" in sets and not (out / "instruments" / "clips.csv").exists():
        soundfonts.check_programs()
    if "instruments" in sets:
        make_instruments(out, packages, _say)
    if "events" in sets:
        make_events(out, _say)
    shutil.rmtree(packages, ignore_errors=True)


def _say(line: str) -> None:
    print(line, flush=True)  # a pipe would hold progress back


def _sets(text: str) -> list[str]:
    asked = text.split(",")
    if unknown := [name for name in asked if name not in SETS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not among {', '.join(SETS)}")
    return [name for name in SETS if name in asked]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coala_jax.data_prep.proxy_tasks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--only", type=_sets, default=list(SETS), help="these sets, with commas")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = _parse(argv)
    try:
        make(flags.out, flags.only)
    except (CorpusError, OSError) as error:
        print(f"proxy_tasks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("proxy_tasks: interrupted; run it again")
