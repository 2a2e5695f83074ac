"""Makes a corpus to train on: real sounds from Debian packages, or synthetic ones.

    python -m coala_jax.data_prep.sample_corpus --out=corpus/debian
    python -m coala_jax.data_prep.sample_corpus --out=corpus/standard --size=standard
    python -m coala_jax.data_prep.sample_corpus --out=corpus/free --size=free

--corpus=debian fetches sounds with apt-get; root is not needed. --size=small: 565 sounds, 45 MB to
download, listed in small.tsv. --size=standard: 2,087 sounds with those among them, 534 MB to
download, listed in standard.tsv. --size=free: those, what further.tsv lists, and 5,083 notes
of two soundfonts, which the program fluidsynth plays (apt-get install fluidsynth; pip install
'coala_jax[notes]'). --corpus=synthetic makes tones, chirps and noises, for machines without apt.
Writes OUT/audio, OUT/sounds.csv (file, tags, group, licence, source) and OUT/corpus.json.
Re-running makes only what is not there.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging
from coala_jax.data_prep.sample_corpus import debian, notes, synthetic
from coala_jax.data_prep.sample_corpus.apt import missing_programs
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_origin,
    write_index,
)
from coala_jax.data_prep.sample_corpus.debian_list import read_list

from coala_jax import logs, storage
from coala_jax.flags import Parser, at_least, run

PROGRAM = "coala_jax.data_prep.sample_corpus"
CORPORA = ("debian", "synthetic")
PACKAGES = ".packages"  # below --out; removed when the notes are complete
NAMED_FILES = 5  # of each cause, on the terminal; corpus.json has them all


@dataclass(frozen=True)
class DebianCorpus:
    """Lists of sounds in Debian packages.

    Attributes:
        lists: the lists, as `debian_list.read_list` reads them; no sound is in two.
        disk_bytes: the most that fetching them takes on the disk at a time (measured, rounded up).
        has_notes: whether notes of soundfonts are in it, too (`notes.py`).
    """

    lists: tuple[Path, ...]
    disk_bytes: int
    has_notes: bool = False

    @property
    def origin(self) -> dict[str, Any]:
        """What determines the corpus."""
        made_from: dict[str, Any] = {"list": " ".join(path.name for path in self.lists)}
        return made_from | ({"notes": notes.origin()} if self.has_notes else {})


def _lists(*names: str) -> tuple[Path, ...]:
    return tuple(Path(__file__).with_name(f"{name}.tsv") for name in names)


SIZES = {
    "small": DebianCorpus(_lists("small"), 180_000_000),
    "standard": DebianCorpus(_lists("standard"), 800_000_000),
    "free": DebianCorpus(_lists("standard", "further"), 1_500_000_000, has_notes=True),
}


def make_debian(out: Path, size: str) -> list[CorpusSound]:
    """Fetches the sounds of the corpus of this size into the folder `out`, and renders its notes.

    Raises:
        CorpusError: apt or what notes need is missing, `out` holds another corpus, there is not
            enough disk space, or no sound at all is available.
    """
    corpus = SIZES[size]
    if missing := missing_programs():
        raise CorpusError(
            f"--corpus=debian needs {' and '.join(missing)}, not found on PATH. "
            "Fix: --corpus=synthetic needs neither"
        )
    check_same_origin(out / "corpus.json", corpus.origin)
    # First: what they need is checked before anything is fetched.
    rendered, versions = _make_notes(out) if corpus.has_notes else ([], {})
    listed = read_list(*corpus.lists)
    fetched = debian.fetch(listed, out / "audio", out / ".fetch", corpus.disk_bytes)
    if not fetched.sounds:
        cause = fetched.lists_error or next(iter(fetched.missing), "the list is empty")
        raise CorpusError(
            f"none of the {len(listed)} sounds is available: {cause}. Fix: check the network and "
            "apt's sources, or use synthetic sounds: --corpus=synthetic"
        )
    for cause, files in fetched.missing.items():
        more = f" and {len(files) - NAMED_FILES} more" if len(files) > NAMED_FILES else ""
        named = ", ".join(files[:NAMED_FILES]) + more
        logging.warning("%d sounds are missing, %s: %s", len(files), cause, named)
    sounds = [*fetched.sounds, *rendered]
    versions |= fetched.versions
    write_index(out, f"debian-{size}", sounds, corpus.origin, fetched.missing, versions)
    return sounds


def _make_notes(out: Path) -> tuple[list[CorpusSound], dict[str, str]]:
    """The notes, and the versions of their packages, which are not kept."""
    packages = out / PACKAGES
    made = notes.make_notes(out / "audio", out / ".notes", packages)
    shutil.rmtree(packages, ignore_errors=True)
    return made


def sources_table(out: Path) -> str:
    """The sources of a corpus as a table of text: sounds and licences."""
    sources = storage.read_json(out / "corpus.json")["sources"]
    width = max(map(len, sources))
    return "".join(
        f"{name:{width}}  {source['sounds']:5d}  {', '.join(source['licences'])}\n"
        for name, source in sources.items()
    )


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the corpus"
    )
    parser.add_argument(
        "--corpus",
        choices=CORPORA,
        help="kind of sounds (debian where apt-get and dpkg-deb are installed, else synthetic)",
    )
    parser.add_argument("--size", choices=tuple(SIZES), help="size of the debian corpus (small)")
    parser.add_argument("--sounds", type=at_least(1), help="number of synthetic sounds (400)")
    parser.add_argument("--seed", type=at_least(0), help="seed of the synthetic sounds (0)")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags; `corpus` is debian where apt is installed, unless another one is asked for."""
    program = parser()
    flags = program.parse_args(argv)
    if flags.size is not None:
        if flags.corpus == "synthetic":
            program.error("--size is for --corpus=debian")
        flags.corpus = "debian"  # who asks for a size wants no other corpus instead
    if flags.corpus == "debian" and (flags.sounds, flags.seed) != (None, None):
        program.error("--sounds and --seed are for --corpus=synthetic")
    flags.size = flags.size or "small"
    flags.sounds = 400 if flags.sounds is None else flags.sounds
    flags.seed = 0 if flags.seed is None else flags.seed
    return flags


def available() -> str:
    """The corpus that can be made here: debian, or with a warning synthetic."""
    if missing := missing_programs():
        logging.warning(
            "no %s on this machine: the sounds are synthetic, not real", " and no ".join(missing)
        )
        return "synthetic"
    return "debian"


def make(flags: argparse.Namespace) -> None:
    """Makes the corpus, and prints how many sounds are in it; of the size free by source, too."""
    corpus = flags.corpus or available()
    if corpus == "debian":
        sounds = make_debian(flags.out, flags.size)
    else:
        sounds = synthetic.write_synthetic_corpus(flags.out, flags.sounds, flags.seed)
    if corpus == "debian" and SIZES[flags.size].has_notes:
        print(sources_table(flags.out))
    groups = len({sound.group for sound in sounds})
    print(f"{corpus} corpus: {len(sounds)} sounds in {groups} groups, in {flags.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    logs.start()
    return run(PROGRAM, lambda: make(flags), "run it again; it continues")


if __name__ == "__main__":
    sys.exit(main())
