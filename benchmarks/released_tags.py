"""Holds tag processing "released" against tags that the authors of COALA published.

    python -m benchmarks.released_tags --raw US8K_tags.json --processed US8K_tags_ppc.json

Both files are of https://github.com/xavierfav/ae-w2v-attention: the tags of 1,282 Freesound sounds
as people wrote them, and as the authors' code made them. Listed are the words that the installed
inflect alone would make otherwise, and the words that our processing makes otherwise, if there are
any; then the exit status is 1. The last line is one JSON object.
"""

import argparse
import difflib
import json
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from coala_jax.tags.normalize import normalize_tags
from coala_jax.tags.released import installed_singular, kept

TagSets = dict[str, list[str]]  # sound -> tags


def read(path: Path) -> TagSets:
    """Reads `{"sound": ["tag", ...], ...}`.

    Raises:
        ValueError: if it cannot be read or holds something else; says what to give.
    """
    try:
        sounds = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give a file of tags") from error
    except ValueError as error:
        raise ValueError(f"{path}: it is no JSON text ({error}); give a file of tags") from error
    lists = list(sounds.values()) if isinstance(sounds, dict) else []
    if not lists or not all(
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) for tags in lists
    ):
        raise ValueError(f'{path}: it is no {{"sound": ["tag", ...]}}; give a file of tags')
    return sounds


def released(tag: str) -> str:
    """One tag by our processing; empty if it is dropped."""
    return "".join(normalize_tags([tag], "released"))


def inflect_alone(tag: str) -> str:
    """One tag by the installed inflect, without what we know of the authors' inflect."""
    word = kept(tag)
    return word and installed_singular(word)


def compare(
    raw: TagSets, processed: TagSets, process: Callable[[str], str]
) -> tuple[int, Counter[tuple[str, str, str]]]:
    """Makes the tags of each sound with `process` and sets them against the processed ones.

    Returns:
        In how many sounds the sets are equal; and for (word, ours, the authors') how many sounds
        differ by it. Which of a sound's tags the authors made of a word is not in their file: it
        is the most similar of those that are missing. Empty strings stand for what is not there.
    """
    equal, differing = 0, Counter()
    for sound in sorted(raw.keys() | processed.keys()):
        ours = {tag: process(tag) for tag in raw.get(sound, [])}
        theirs = set(processed.get(sound, []))
        missing = theirs - set(ours.values())
        extra = {tag: made for tag, made in ours.items() if made and made not in theirs}
        equal += sound in raw and sound in processed and not missing and not extra
        for tag, made in extra.items():
            nearest = difflib.get_close_matches(tag.lower(), sorted(missing), n=1, cutoff=0.5)
            differing[tag.lower(), made, "".join(nearest)] += 1
            missing -= set(nearest)
        differing.update(("", "", tag) for tag in missing)
    return equal, differing


def list_words(heading: str, differing: Counter[tuple[str, str, str]]) -> None:
    print(f"{heading}: {len(differing) or 'no'} words differ")
    for (word, ours, theirs), sounds in sorted(differing.items()):
        print(
            f"  {word or '(no word)'}: {ours or 'dropped'}, "
            f"the authors: {theirs or 'dropped'} ({sounds} sounds)"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Compares, prints; 0 if all sounds are equal, 1 if not, 2 if the files cannot be compared."""
    parser = argparse.ArgumentParser(prog="benchmarks.released_tags", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--raw", type=Path, required=True, help="tags as people wrote them")
    parser.add_argument("--processed", type=Path, required=True, help="as the authors' code did")
    argv = sys.argv[1:] if argv is None else argv
    flags = parser.parse_args(argv)
    try:
        raw, processed = read(flags.raw), read(flags.processed)
    except ValueError as error:
        print(f"released_tags: {error}", file=sys.stderr)
        return 2
    alone_equal, alone = compare(raw, processed, inflect_alone)
    equal, differing = compare(raw, processed, released)
    sounds = len(raw.keys() | processed.keys())
    inflect = f"inflect {version('inflect')}"
    list_words(f"{inflect} alone", alone)
    list_words(f"{inflect} and damaged_words.txt", differing)
    figures = {
        "sounds": sounds,
        "sounds_equal": equal,
        "sounds_equal_inflect_alone": alone_equal,
        "distinct_words": len({tag for tags in raw.values() for tag in tags}),
        "distinct_words_kept": len({kept(tag) for tags in raw.values() for tag in tags} - {""}),
        "words_differing": len(differing),
        "words_differing_inflect_alone": len(alone),
        "device": f"CPU {platform.machine()}",
        "versions": {"python": platform.python_version(), "inflect": version("inflect")},
        "command": shlex.join(["python", "-m", "benchmarks.released_tags", *argv]),
    }
    print(json.dumps(figures))
    return 0 if equal == sounds else 1


if __name__ == "__main__":
    sys.exit(main())
