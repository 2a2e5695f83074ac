"""The recordings in a SoundFont file: SF2 (16 bit PCM) or SF3 (Ogg Vorbis).

Format: SoundFont Technical Specification 2.04, sections 5 to 7. SF3 is the same, but that bit 4 of
a sample's type says that `start` and `end` are bytes of an Ogg file.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

_HEADER = struct.Struct("<20s5IBbHH")  # name, start, end, loop (2), rate, pitch, tuning, link, type
_ROM, _VORBIS = 0x8000, 0x10


@dataclass(frozen=True)
class Recording:
    """A sample of a soundfont.

    Attributes:
        name: as the font has it.
        frames: int16[frame].
        sample_rate_hz: what the font says of it.
    """

    name: str
    frames: np.ndarray
    sample_rate_hz: int


def read_recordings(path: Path) -> list[Recording]:
    """The recordings of a font, in its order.

    Raises:
        ValueError: the file is no soundfont.
    """
    content = memoryview(path.read_bytes())
    if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
        raise ValueError(f"{path}: not a SoundFont file")
    lists = {
        kind: dict(_chunks(chunk[4:]))
        for name, chunk in _chunks(content[12:])
        if name == b"LIST" and (kind := bytes(chunk[:4])) in (b"sdta", b"pdta")
    }
    try:
        samples, headers = lists[b"sdta"][b"smpl"], lists[b"pdta"][b"shdr"]
    except KeyError as error:
        raise ValueError(f"{path}: the SoundFont has no {error} chunk") from error
    found = []
    for header in list(_HEADER.iter_unpack(headers))[:-1]:  # the last one says that it is the last
        name, start, end, _, _, rate_hz, _, _, _, kind = header
        if kind & _ROM:
            continue
        if kind & _VORBIS:
            frames, _ = soundfile.read(io.BytesIO(samples[start:end]), dtype="int16")
        else:
            frames = np.frombuffer(samples[2 * start : 2 * end], "<i2")
        text = name.split(b"\0")[0].decode("latin-1")
        found.append(Recording(text, frames, rate_hz))
    return found


def _chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        yield bytes(content[place : place + 4]), content[place + 8 : place + 8 + size]
        place += 8 + size
        # RIFF pads to even sizes; writers of SF3 do not. No name of a chunk begins with a zero.
        place += size % 2 and content[place : place + 1] == b"\0"
