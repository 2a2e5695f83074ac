"""The sounds of an index that fit tags best.

    coala search sounds.index "kick, -snare"
    coala search sounds.index "rain" --like=storm.wav --seconds=0.5..2 --html=page.html

Separate tags with commas; put a - before a tag to avoid it. A word that the model does not know is
replaced by the tag that is spelt most like it, with a warning. With --like the sounds are also like
a sound.
Words that begin with a - come after -- alone: coala search sounds.index -- "-snare"
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from coala_jax import logs
from coala_jax.cli import found
from coala_jax.flags import Parser, run

PROGRAM = "coala search"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    found.index_flags(flags)
    flags.add_argument("words", metavar="WORDS", help='tags, such as "kick, -snare"')
    flags.add_argument("--like", type=Path, metavar="SOUND", help="sound that they are like, too")
    found.search_flags(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> int:
        index = found.open_index(flags.index)
        words = index.words(flags.words)
        title = words.text(index.settings.vocabulary)
        if flags.like is not None:
            title += f", like {flags.like.name}"
        limits = {"seconds": flags.seconds, "top": flags.top, "model": flags.model}
        hits = index.search(flags.words, like=flags.like, **limits)
        return found.show(PROGRAM, index, title, [found.Found("", hits, {})], flags)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
