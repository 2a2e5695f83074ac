"""The page of sounds: all in one file, and no name can do anything in it."""

import base64
import re
from html.parser import HTMLParser

from coala_jax.reporting.sounds_page import Group, Sound, page

HOSTILE = "<script>alert(1)</script>\"'&\n\x00\udce9é.wav"


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def made(audio: bytes | None = b"\xff\xfbsound") -> str:
    sound = Sound(HOSTILE, "0.5", 1.25, ["a<b", "c"], audio, "audio/mpeg", "too <large>")
    return page(HOSTILE, [Group(HOSTILE, [sound]), Group("", [])])


def test_names_are_text_and_nothing_else():
    read = Reader(made())
    assert set(read.tags) == {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "td"),
        *("br", "small", "audio"),
    }
    shown = "<script>alert(1)</script>\"'&\\x0a\\x00\\udce9é.wav"
    assert read.text.count(shown) == 4  # title, both headings, and the row
    assert "a<b, c" in read.text and "1.2 s" in read.text
    assert Reader(made(None)).text.count("too <large>") == 1
    made().encode()  # it can be written


def test_the_sound_is_in_the_page_and_nothing_is_fetched_or_run():
    read = Reader(made())
    (source,) = [value for name, value in read.attributes if name == "src"]
    head, data = source.split(",")
    assert head == "data:audio/mpeg;base64" and base64.b64decode(data) == b"\xff\xfbsound"
    assert not {"href", "onerror", "onload"} & {name for name, _ in read.attributes}
    (policy,) = [v for _, v in read.attributes if v and v.startswith("default-src")]
    assert re.fullmatch(
        r"default-src 'none'; media-src data:; style-src 'sha256-[\w+/]{43}='", policy
    )
