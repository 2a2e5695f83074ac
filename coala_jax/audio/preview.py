"""The beginning of a sound as a small file that every browser plays."""

import io
from pathlib import Path

import numpy as np
import soundfile

from coala_jax.audio import decode

MIME = "audio/mpeg"
_RATE_HZ = 44_100


def preview(path: Path, seconds: float = 15.0) -> bytes:
    """An MP3 of one channel: what is decoded and encoded again carries nothing but sound.

    Raises:
        DecodeError: the file cannot be decoded; the message says which and why.
    """
    blocks, samples, most = [np.empty(0, np.float32)], 0, int(seconds * _RATE_HZ)
    for block in decode.stream(path, _RATE_HZ):
        blocks.append(block)
        samples += block.size
        if samples >= most:
            break
    file = io.BytesIO()
    waveform = np.clip(np.concatenate(blocks)[:most], -1, 1)
    soundfile.write(file, waveform, _RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()
