"""TensorBoard's event files: TFRecord files of `tensorflow.Event` messages.

The libraries that write them import TensorFlow, or PyTorch where it is installed. What a run logs
takes a dozen fields of protocol buffers, encoded here; `tests` read them back with TensorFlow.
"""

import io
import os
import socket
import struct
import time

import numpy as np
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.data.tfrecord import masked_crc

_SESSION_START = 1  # SessionLog.SessionStatus.START
_DT_STRING = 7  # DataType.DT_STRING
_RGBA = 4  # Summary.Image.colorspace


class EventFile:
    """A new event file in a folder; from `first_step` on it replaces what older ones hold."""

    def __init__(self, folder: storage.PathLike, first_step: int) -> None:
        folder = storage.path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self._path = folder / name
        self._file = storage.path(self._path).open("wb")
        self._write(_bytes(3, b"brain.Event:2"))  # file_version
        self._write(_int(2, first_step) + _bytes(7, _int(1, _SESSION_START)))  # session_log

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Adds a point to the curve `tag`."""
        self._add_value(tag, struct.pack("<Bf", 2 << 3 | 5, value), step)  # simple_value

    def add_text(self, tag: str, markdown: str, step: int) -> None:
        """Adds text, which TensorBoard renders as Markdown."""
        shape = _bytes(2, _int(1, 1))  # one dimension of size 1
        tensor = _int(1, _DT_STRING) + _bytes(2, shape) + _bytes(8, markdown.encode())
        plugin = _bytes(1, _bytes(1, b"text"))  # SummaryMetadata.plugin_data.plugin_name
        self._add_value(tag, _bytes(8, tensor) + _bytes(9, plugin), step)

    def add_image(self, tag: str, image: Float32[np.ndarray, "row column"], step: int) -> None:
        """Adds a grey image of values in [0, 1]."""
        from matplotlib.image import imsave

        png = io.BytesIO()
        imsave(png, image, vmin=0.0, vmax=1.0, cmap="gray", format="png")
        height, width = image.shape
        size = _int(1, height) + _int(2, width) + _int(3, _RGBA)
        self._add_value(tag, _bytes(4, size + _bytes(4, png.getvalue())), step)

    def sync(self) -> None:
        """Waits until all that was added is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with storage.explaining_full_disk(self._path, 0):  # it writes what is left
            self._file.close()

    def _add_value(self, tag: str, content: bytes, step: int) -> None:
        """Writes a Summary.Value with its tag."""
        self._write(_int(2, step) + _bytes(5, _bytes(1, _bytes(1, tag.encode()) + content)))

    def _write(self, event: bytes) -> None:
        """Appends an Event with the time of day, and hands it to the system for TensorBoard."""
        data = struct.pack("<Bd", 1 << 3 | 1, time.time()) + event
        length = struct.pack("<Q", len(data))
        with storage.explaining_full_disk(self._path, len(data)):
            for part in (length, data):
                self._file.write(part + struct.pack("<I", masked_crc(part)))
            self._file.flush()


def _int(field: int, value: int) -> bytes:
    """A field of protocol buffers with a non-negative integer."""
    return bytes([field << 3]) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A field with a string or a message."""
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have their top bit set."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
