"""What the commands share that ask an index: flags, and results as text, JSON or a page."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import logging

from coala_jax import storage
from coala_jax.flags import Parser, at_least
from coala_jax.models.default import name_of

if TYPE_CHECKING:
    from coala_jax.embedding.index import Hit, Index

_PAGE_BYTES = 48 * 2**20  # of sound in a page; in base64 a third more


class Found(NamedTuple):
    """Sounds that belong together.

    heading: what the page and the text have above them; may be empty.
    more: what JSON says of each of them beside what a sound has.
    """

    heading: str
    hits: Sequence["Hit"]
    more: dict[str, Any]


def index_flags(flags: Parser) -> None:
    flags.add_argument("index", metavar="INDEX", type=Path, help="folder of an index")


def open_index(folder: Path) -> "Index":
    """The index; the log says of which model it holds vectors. Raises ValueError as `Index`."""
    from coala_jax.embedding.index import Index
    from coala_jax.embedding.index_settings import shown

    index = Index(folder)
    name, digest = name_of(index.settings.model), index.settings.digest[:12]
    logging.info("%d sounds by %s, digest %s", len(index), shown(name), digest)
    return index


def search_flags(flags: Parser) -> None:
    flags.add_argument(
        "--seconds",
        type=seconds_range,
        metavar="A..B",
        help="sounds of this length alone: 0.5..2, ..2 or 2..",
    )
    flags.add_argument("--top", type=at_least(1), default=20, help="sounds that are shown (20)")
    moved_model_flag(flags)
    output_flags(flags)


def moved_model_flag(flags: Parser) -> None:
    flags.add_argument(
        "--model", type=Path, help="folder of the index's model, if it has moved since"
    )


def output_flags(flags: Parser) -> None:
    flags.add_argument("--json", action="store_true", help="one JSON object a line for each sound")
    flags.add_argument(
        "--html", type=Path, metavar="PAGE", help="page to write, which plays the sounds"
    )


def seconds_range(text: str) -> tuple[float, float]:
    """The type of a flag that takes a range such as 0.5..2; an end may be left out."""
    low, dots, high = text.partition("..")
    try:
        found = float(low or 0), float(high or math.inf)
    except ValueError:
        found = math.nan, math.nan
    if not dots or not found[0] <= found[1]:
        raise argparse.ArgumentTypeError("a range such as 0.5..2, ..2 or 2..")
    return found


def show(program: str, index: "Index", title: str, groups: Sequence[Found], flags: Any) -> int:
    """Prints sounds, or writes the page of them; returns the exit code, 1 where there are none."""
    from coala_jax.embedding.index_settings import shown

    for group in groups:
        if group.heading and not flags.json:
            print(shown(group.heading))
        for hit in group.hits:
            if flags.json:
                _print_json({**group.more, **_record(index, hit)})
            else:
                tags = f"  ({', '.join(hit.tags)})" if hit.tags else ""
                print(f"{_score(hit):>7} {hit.seconds:8.2f} s  {shown(hit.path)}{shown(tags)}")
    if not any(group.hits for group in groups):
        print(f"{program}: no sound of {len(index)} is found", file=sys.stderr)
        return 1
    if flags.html is not None:
        storage.write_text(flags.html, _page(index, title, groups))
        print(f"{program}: see {shown(flags.html)}", file=sys.stderr)
    return 0


def _record(index: "Index", hit: "Hit") -> dict[str, Any]:
    score = {} if math.isnan(hit.score) else {"score": round(hit.score, 6)}
    about = {"path": hit.path, "file": str(index.sounds / hit.path)}
    return about | score | {"seconds": round(hit.seconds, 3), "tags": list(hit.tags)}


def _print_json(record: dict[str, Any]) -> None:
    # A name that is not UTF-8 becomes the escape that JSON has for its bytes.
    text = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace").decode()
    print(text, flush=True)


def _score(hit: "Hit") -> str:
    return "" if math.isnan(hit.score) else f"{hit.score:.3f}"


def _page(index: "Index", title: str, groups: Sequence[Found]) -> str:
    from coala_jax.audio.preview import MIME, preview
    from coala_jax.reporting import sounds_page

    left, made = _PAGE_BYTES, []
    for group in groups:
        sounds = []
        for hit in group.hits:
            audio, note = None, "not in this page, which is full"
            if left > 0:
                try:
                    audio = preview(index.sounds / hit.path)
                    left -= len(audio)
                except ValueError as error:
                    logging.warning("%s", error)
                    note = "cannot be read"
            values = (hit.path, _score(hit), hit.seconds, hit.tags, audio, MIME, note)
            sounds.append(sounds_page.Sound(*values))
        made.append(sounds_page.Group(group.heading, sounds))
    return sounds_page.page(title, made)
