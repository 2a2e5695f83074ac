"""Sounds as one HTML page that plays them: no other file, no script, nothing from elsewhere."""

import base64
import hashlib
import html
from collections.abc import Sequence
from typing import NamedTuple

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; color: #333; margin: 2em auto; max-width: 60em;
  padding: 0 1em; }
h1 { font-size: 1.3em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #ddd; padding: .4em .6em .4em 0; vertical-align: middle; }
td.name { overflow-wrap: anywhere; } td.number { text-align: right; white-space: nowrap; }
small { color: #777; } audio { height: 2em; width: 16em; }
"""


class Sound(NamedTuple):
    """A row of the page.

    name: of the file; any text.
    score: as text; empty where there is none.
    seconds: the length.
    tags: that were given.
    audio: what is played; None where there is nothing, and `note` says why.
    mime: of the audio.
    """

    name: str
    score: str
    seconds: float
    tags: Sequence[str]
    audio: bytes | None
    mime: str = ""
    note: str = ""


class Group(NamedTuple):
    """Sounds below a heading, which may be empty."""

    heading: str
    sounds: Sequence[Sound]


def page(title: str, groups: Sequence[Group]) -> str:
    """The page. All text is escaped, and a policy forbids the browser to run or fetch anything."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; media-src data:; style-src 'sha256-{digest}'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
    ]
    for group in groups:
        parts += [f"<h2>{_text(group.heading)}</h2>"] if group.heading else []
        parts += ["<table>", *map(_row, group.sounds), "</table>"]
    return "\n".join([*parts, "</body></html>", ""])


def _row(sound: Sound) -> str:
    tags = f"<br><small>{_text(', '.join(sound.tags))}</small>" if sound.tags else ""
    if sound.audio is None:
        played = f"<small>{_text(sound.note)}</small>"
    else:
        data = base64.b64encode(sound.audio).decode()
        played = (
            f'<audio controls preload="none" src="data:{_text(sound.mime)};base64,{data}"></audio>'
        )
    return (
        f'<tr><td class="number">{_text(sound.score)}</td>'
        f'<td class="name">{_text(sound.name)}{tags}</td>'
        f'<td class="number">{sound.seconds:.1f} s</td><td>{played}</td></tr>'
    )


def _text(text: str) -> str:
    """Escaped, with what no page may hold as visible characters."""
    text = text.encode(errors="backslashreplace").decode()
    return html.escape("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text))
