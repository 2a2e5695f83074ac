"""How long a sound file says that it is, so that one that was cut short is found.

libsndfile decodes what is there of a truncated file and does not mention the rest. Who knows better
depends on the format:

* WAV, RF64, AIFF, CAF: libsndfile, asked again about a file object that claims to be longer than
  it is: it then gives the length of the header, which it otherwise cuts to the file. What moves
  with that claim is no declared length: a writer that cannot go back (a pipe, a recorder) leaves
  0, or a number near 2**31 or 2**32.
* FLAC: `SoundFile.frames` is the header's.
* By hand, since no library under a permissive licence tells: Wave64 and AU, whose length libsndfile
  does not believe or not in all encodings; MP3, by the frame count of a Xing or Info frame (one
  without can be cut anywhere unnoticed); Ogg, whose last page is marked; WavPack. tinytag reads
  neither Wave64, AU nor WavPack, guesses the length of an MP3 without saying so, and of an Ogg file
  knows the last page that is there.
"""

import io
import math
import os
import struct

import soundfile

Bytes = io.RawIOBase | io.BufferedIOBase  # a file or bytes in memory

_LONGEST_BYTES = 0x7F00_0000  # a declared length above this is a streaming writer's
_UNKNOWN_FRAMES = 2**62  # libsndfile gives a FLAC of unknown length 2**63 - 1
_ASKED_AGAIN = ("WAV", "WAVEX", "RF64", "AIFF", "CAF")


def declared_frames(
    file: Bytes, sound: soundfile.SoundFile, decoded_frames: int
) -> int | float | None:
    """How many frames (a sample of each channel) there should be, as far as the file says.

    Infinite where the end is known to be missing but not how much; None where nothing is known.

    Args:
        file: the sound file; its position changes.
        sound: what libsndfile opened: the file, or what a WavPack file was unpacked to.
        decoded_frames: how many it gave.
    """
    head = _read(file, 0, 32)
    if head.startswith(b"wvpk"):
        frames = int.from_bytes(head[12:16], "little")
        return None if frames == 2**32 - 1 else frames
    if sound.format == "FLAC":
        return sound.frames if sound.frames < _UNKNOWN_FRAMES else None
    if sound.format == "MP3":
        return _mp3_frames(file)
    if sound.format == "OGG":
        return None if _ends_with_last_page(file) else math.inf
    if sound.format == "W64":
        return _in_proportion(file, 104, int.from_bytes(head[16:24], "little"), decoded_frames)
    if sound.format == "AU":
        header, samples = struct.unpack(">II", head[4:12])
        return _in_proportion(file, header, header + samples, decoded_frames)
    if sound.format not in _ASKED_AGAIN:
        return None
    frames = _frames_if_longer(file, _LONGEST_BYTES)
    if frames in (None, decoded_frames):
        return frames
    return frames if frames == _frames_if_longer(file, 2 * _LONGEST_BYTES) else None


def _in_proportion(file: Bytes, header: int, declared: int, frames: int) -> float | None:
    """How many frames there should be, of a file that should have so many bytes."""
    size = file.seek(0, os.SEEK_END)
    if not size < declared < _LONGEST_BYTES:
        return None
    return frames * (declared - header) / (size - header) if frames else math.inf


class _Longer:
    """A file that claims to have `size` bytes."""

    def __init__(self, file: Bytes, size: int) -> None:
        self._file, self._size = file, size
        self.tell, self.readinto = file.tell, file.readinto

    def read(self, count: int) -> bytes:  # asked for by soundfile, which then calls readinto
        return self._file.read(count) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._size}[whence]
        return self._file.seek(max(0, base + offset))


def _frames_if_longer(file: Bytes, size: int) -> int | None:
    file.seek(0)
    try:
        with soundfile.SoundFile(_Longer(file, size)) as sound:
            return sound.frames
    except soundfile.LibsndfileError:
        return None


def _mp3_frames(file: Bytes) -> int | None:
    head, start = _read(file, 0, 10), 0
    if head.startswith(b"ID3") and len(head) == 10:  # a tag, its length in 4 times 7 bits
        lengths = zip(head[6:], (21, 14, 7, 0), strict=True)
        start = 10 + sum(byte << shift for byte, shift in lengths)
    frame = _read(file, start, 48)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 < at <= len(frame) - 12 or not frame[at + 7] & 1:
        return None
    # Encoders count this frame or do not; decoders leave out about two that are padding.
    count = int.from_bytes(frame[at + 8 : at + 12], "big")
    return max(0, count - 3) * (1152 if frame[1] & 8 else 576)


def _ends_with_last_page(file: Bytes) -> bool:
    """Whether the last page of an Ogg file is there to its last byte, and is marked as such."""
    tail = _read(file, max(0, file.seek(0, os.SEEK_END) - 2**16), 2**16)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) >= 27 + len(lengths) + sum(lengths) and bool(page[5] & 4)


def _read(file: Bytes, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count) or b""
