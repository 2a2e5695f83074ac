"""What the bytes of a file say of it: how much sound they promise, or that they are no sound.

libsndfile decodes what is there of a file that was cut short, and says nothing of the rest.
"""

import io
import math
import os
import struct
from typing import NamedTuple

Bytes = io.RawIOBase | io.BufferedIOBase  # a file or bytes in memory

# Writers that cannot go back (a pipe, a recorder) leave a length of 0, or one a little below or at
# 2**31 or 2**32. That is no promise, nor is any larger one.
_NO_PROMISE_BYTES = 0x7F00_0000
_MOST_CHUNKS = 1_000  # a damaged file can look like millions of empty ones

# Files made of chunks: what they begin with -> the first chunk's offset, a chunk's header (name,
# length), how much of it the length counts, how chunks are aligned, which chunk holds the samples,
# and how many bytes of it come before them.
_CHUNKED = {
    b"RIFF....WAVE": (12, "<4sI", 0, 2, b"data", 0),
    b"RIFX....WAVE": (12, ">4sI", 0, 2, b"data", 0),
    b"RF64....WAVE": (12, "<4sI", 0, 2, b"data", 0),
    b"FORM....AIFF": (12, ">4sI", 0, 2, b"SSND", 8),
    b"FORM....AIFC": (12, ">4sI", 0, 2, b"SSND", 8),
    b"riff\x2e\x91\xcf\x11": (40, "<16sQ", 24, 8, b"data", 0),  # Wave64
    b"caff": (8, ">4sQ", 0, 1, b"data", 4),
}

_NO_SOUND = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"RIFF....WEBP": "a WebP picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\xff\xfe": "plain text (UTF-16)",  # a rare mp3 begins so, but decodes
    b"\xfe\xff": "plain text (UTF-16)",
}
_CONTROL_BYTES = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")


class Promise(NamedTuple):
    """How much sound there should be, in bytes of samples or in frames (one of each channel).

    `whole` is infinite where the end is known to be missing, and no more, and 0 for a FLAC of
    unknown length. `found` is how much of it the file has: 0 when it ends with its header, None
    when only decoding can tell.
    """

    whole: float
    found: int | None = None

    def missing(self, frames: int) -> float:
        """How many frames are missing when `frames` were decoded; may be infinite."""
        if self.found is None:
            return float(self.whole - frames)
        if self.found and frames:
            return frames * (self.whole / self.found - 1.0)
        # We lost our way among the chunks where libsndfile did not.
        return 0.0 if frames else float(self.whole - self.found)


def promise(file: Bytes) -> Promise | None:
    """What a file promises, None where nothing can be known.

    Known are WAV (RF64 and Wave64 too), AIFF, CAF and AU from their headers, FLAC and WavPack
    unless they were streamed, Ogg from its last page, and MP3 if it has a Xing or Info frame, as
    variable bitrates do. An MP3 without one can be cut anywhere and nobody knows.
    """
    size = file.seek(0, os.SEEK_END)
    head = _read(file, 0, 64)
    for magic, layout in _CHUNKED.items():
        if _begins(head, magic):
            return _chunked(file, size, *layout)
    if head.startswith(b".snd"):
        start, length = struct.unpack(">II", head[4:12].ljust(8, b"\xff"))
        return _if_known(length, size - start)
    if head.startswith(b"fLaC"):
        return _flac(file, size)
    if head.startswith(b"OggS"):
        return _ogg(_read(file, max(0, size - 2**16), 2**16))
    if head.startswith(b"wvpk"):
        frames = int.from_bytes(head[12:16], "little")
        return None if frames == 2**32 - 1 else Promise(frames, None if size > 32 else 0)
    return _mp3(file, head)


def not_sound(file: Bytes) -> str | None:
    """What a file holds that no decoder knows, if it is a picture, an archive, a text ..."""
    head = _read(file, 0, 4096)
    for magic, name in _NO_SOUND.items():
        if _begins(head, magic):
            return name
    if not head or _CONTROL_BYTES & set(head):
        return None
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return "an HTML page" if b"html" in text else "XML"
    return "JSON" if text.startswith((b"{", b"[")) else "plain text"


def _chunked(
    file: Bytes,
    size: int,
    offset: int,
    layout: str,
    counted: int,
    alignment: int,
    wanted: bytes,
    before: int,
) -> Promise | None:
    header, long_length = struct.Struct(layout), None
    for _ in range(_MOST_CHUNKS):
        if offset + header.size > size:
            break
        name, length = header.unpack(_read(file, offset, header.size))
        start, length = offset + header.size, length - counted
        if name == b"ds64":  # RF64's lengths of 8 bytes: of the file, and of the data
            (long_length,) = struct.unpack("<8xQ", _read(file, start, 16).ljust(16, b"\xff"))
        if name[:4] == wanted:
            whole = length if long_length is None else long_length
            return _if_known(whole - before, size - start - before)
        offset = start + -(-length // alignment) * alignment
    return Promise(math.inf, 0)


def _if_known(whole: int, found: int) -> Promise | None:
    if found <= 0 < whole:
        return Promise(whole, 0)
    return Promise(whole, found) if 0 < whole < _NO_PROMISE_BYTES else None


def _flac(file: Bytes, size: int) -> Promise | None:
    frames = int.from_bytes(_read(file, 21, 5).ljust(5, b"\xff"), "big") % 2**36
    offset, last = 4, False
    while not last and len(head := _read(file, offset, 4)) == 4:  # blocks that precede the sound
        last, offset = head[0] >= 128, offset + 4 + int.from_bytes(head[1:], "big")
    if not last or offset >= size:
        return Promise(frames, 0)
    return Promise(frames)


def _ogg(tail: bytes) -> Promise | None:
    """From the last page, which is marked as such and is there to its last byte."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) >= 27 + len(lengths) + sum(lengths) and page[5] & 4:
        return None
    in_header = page[6:14] == bytes(8)  # where others have their position in samples
    return Promise(math.inf, 0 if in_header else None)


def _mp3(file: Bytes, head: bytes) -> Promise | None:
    start = 0
    if head.startswith(b"ID3") and len(head) > 10:  # a tag, its length in 4 times 7 bits
        start = 10 + sum(
            byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
    frame = _read(file, start, 48)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not frame.startswith(b"\xff") or not 0 < at <= len(frame) - 12 or not frame[at + 7] & 1:
        return None
    frames = int.from_bytes(frame[at + 8 : at + 12], "big")
    # Encoders count this frame or do not; decoders leave out about two that are padding.
    return Promise(max(0, frames - 3) * (1152 if frame[1] & 8 else 576))


def _begins(head: bytes, magic: bytes) -> bool:
    """Whether a file begins so; four dots stand for any length."""
    if b"...." in magic:
        return head[:4] == magic[:4] and head[8:12] == magic[8:]
    return head.startswith(magic)


def _read(file: Bytes, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count) or b""
