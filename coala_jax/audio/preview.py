"""The beginning of a sound as a small file that every browser plays."""

import io
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from coala_jax.audio import decode

MIME = "audio/mpeg"
SECONDS = 15.0  # of a sound that are played
_RATE_HZ = 44_100


def beginning(path: Path, sample_rate_hz: int, samples: int) -> Float32[np.ndarray, " sample"]:
    """At most so many samples of one channel, whatever the length of the file.

    Raises:
        DecodeError: the file cannot be decoded; the message says which and why.
    """
    blocks, found = [np.empty(0, np.float32)], 0
    for block in decode.stream(path, sample_rate_hz):
        blocks.append(block)
        found += block.size
        if found >= samples:
            break
    return np.concatenate(blocks)[:samples]


def preview(path: Path, seconds: float = SECONDS) -> bytes:
    """An MP3 of one channel: what is decoded and encoded again carries nothing but sound.

    Raises:
        DecodeError: the file cannot be decoded; the message says which and why.
    """
    waveform = np.clip(beginning(path, _RATE_HZ, int(seconds * _RATE_HZ)), -1, 1)
    file = io.BytesIO()
    soundfile.write(file, waveform, _RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()
