"""Makes a corpus to train on: the small one of the quickstart, or the standard one.

    python -m coala_jax.data_prep.sample_corpus --out DIR
    python -m coala_jax.data_prep.sample_corpus --size=standard --out DIR

`debian`: sounds out of Debian packages (with apt-get, no root needed). Its sizes: `small`, 565
sounds, 45 MB to fetch, listed in `small.tsv`; `standard`, 2,087 sounds with those among
them, 534 MB to fetch, listed in `standard.tsv`. `synthetic`: tones, chirps and noises made
by formula, for machines without apt. Writes what `corpus_folder.py` describes. Run again, it
fetches only what is not there.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coala_jax.data_prep.sample_corpus import debian, synthetic
from coala_jax.data_prep.sample_corpus.corpus_folder import (
    CorpusError,
    CorpusSound,
    check_same_corpus,
    write_index,
)
from coala_jax.data_prep.sample_corpus.debian_list import read_list

NAMED_FILES = 5  # of each cause, on the terminal; corpus.json has them all


@dataclass(frozen=True)
class DebianCorpus:
    """A list of sounds in Debian packages.

    Attributes:
        list_path: the list, as `coala_jax.data_prep.sample_corpus.debian_list` reads it.
        disk_bytes: the most that fetching it has on the disk at a time (measured, rounded up).
    """

    list_path: Path
    disk_bytes: int


SIZES = {
    "small": DebianCorpus(Path(__file__).with_name("small.tsv"), 180_000_000),
    "standard": DebianCorpus(Path(__file__).with_name("standard.tsv"), 800_000_000),
}


def make_debian(out: Path, size: str) -> list[CorpusSound]:
    """Fetches the sounds of the corpus of this size into the folder `out`; prints progress.

    Raises:
        CorpusError: apt is missing, `out` holds another corpus, the disk is too full, or no sound
            at all could be had.
    """
    corpus = SIZES[size]
    if missing := debian.missing_tools():
        raise CorpusError(
            f"--corpus=debian needs {' and '.join(missing)}, not found on PATH; "
            "--corpus=synthetic needs neither"
        )
    made_from = {"list": corpus.list_path.name}
    check_same_corpus(out, made_from)
    listed = read_list(corpus.list_path)
    fetched = debian.fetch(listed, out / "audio", out / ".fetch", _say, corpus.disk_bytes)
    if not fetched.sounds:
        cause = fetched.lists_complaint or next(iter(fetched.left_out), "the list is empty")
        raise CorpusError(
            f"apt-get is here, but not one sound could be fetched ({cause}); look to the network "
            "and apt's sources, or go on without real sounds: --corpus=synthetic"
        )
    _print_left_out(fetched.left_out)
    if fetched.packages:
        megabytes = fetched.downloaded_bytes / 1e6
        _say(f"fetched {len(fetched.packages)} packages, {megabytes:.1f} MB")
    write_index(out, f"debian-{size}", fetched.sounds, made_from, fetched.left_out)
    return fetched.sounds


def _print_left_out(left_out: Mapping[str, Sequence[str]]) -> None:
    for cause, files in left_out.items():
        more = f" and {len(files) - NAMED_FILES} more" if len(files) > NAMED_FILES else ""
        _say(f"left out: {len(files)} sounds, {cause}: {', '.join(files[:NAMED_FILES])}{more}")


def _say(line: str) -> None:
    print(line, flush=True)  # a pipe would hold progress back


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coala_jax.data_prep.sample_corpus", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument(
        "--corpus",
        choices=("debian", "synthetic"),
        help="default: debian where apt-get and dpkg-deb are, synthetic elsewhere",
    )
    parser.add_argument("--size", choices=tuple(SIZES), help="debian only (small)")
    parser.add_argument("--sounds", type=int, help="how many, synthetic only (400)")
    parser.add_argument("--seed", type=int, help="synthetic only (0)")
    flags = parser.parse_args(argv)
    if flags.size is not None:
        if flags.corpus == "synthetic":
            parser.error("--size is for --corpus=debian")
        flags.corpus = "debian"  # who asks for a size wants no other corpus instead
    if flags.corpus == "debian" and (flags.sounds, flags.seed) != (None, None):
        parser.error("--sounds and --seed are for --corpus=synthetic")
    flags.size = flags.size or "small"
    flags.sounds = 400 if flags.sounds is None else flags.sounds
    flags.seed = 0 if flags.seed is None else flags.seed
    if flags.sounds < 1 or flags.seed < 0:
        parser.error("--sounds must be at least 1, --seed at least 0")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = _parse(argv)
    corpus, remark = flags.corpus, ""
    if corpus is None:
        missing = debian.missing_tools()
        corpus = "synthetic" if missing else "debian"
        if missing:
            remark = f": no {' and no '.join(missing)} on this machine, so --corpus=synthetic"
            _say(f"no real sounds, but sounds made by formula{remark}")
    try:
        if corpus == "debian":
            sounds = make_debian(flags.out, flags.size)
        else:
            sounds = synthetic.write_synthetic_corpus(flags.out, flags.sounds, flags.seed)
    except (CorpusError, OSError) as error:
        print(f"sample_corpus: {error}", file=sys.stderr)
        return 1
    groups = len({sound.group for sound in sounds})
    _say(f"{corpus} corpus: {len(sounds)} sounds in {groups} groups, in {flags.out}{remark}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("sample_corpus: interrupted; run it again")
