"""Reads sounds out of the container files in which games ship them.

Three formats, by suffix: `.pk3` and `.wz` are zip files, `.rcc` a Qt resource (versions 1 to 3,
stored or zlib), `.cat` an OpenTTD sound set, whose sounds have no file names: they are named here
by number and title, `018_Explosion.wav`. Each member is read whole; nothing is written.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_MAX_MEMBER_BYTES = 200_000_000  # far above any sound: a damaged length must not fill the memory

_QT_MAGIC = b"qres"
_QT_NODE_BYTES = {1: 14, 2: 22, 3: 22}  # from version 2 on a node has a time stamp
_QT_ZLIB, _QT_FOLDER, _QT_ZSTD = 1, 2, 4


class ContainerError(ValueError):
    """A container cannot be read; the message says why."""


def read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """The content of the named members; names that the container does not hold are left out.

    Raises:
        ContainerError: the file has another format, or is damaged.
    """
    readers: dict[str, Callable[[Path, Collection[str]], Iterator[tuple[str, bytes]]]] = {
        ".pk3": _zip_members,
        ".wz": _zip_members,
        ".rcc": _qt_members,
        ".cat": _sound_set_members,
    }
    if path.suffix not in readers:
        raise ContainerError(f"{path.name}: unknown suffix; known are {', '.join(readers)}")
    try:
        return dict(readers[path.suffix](path, names))
    except (struct.error, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, IndexError) as error:
        raise ContainerError(f"{path.name}: damaged ({error})") from error


def _zip_members(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename in names and not entry.is_dir():
                _check_length(path, entry.filename, entry.file_size)
                yield entry.filename, archive.read(entry)


def _qt_members(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Walks the tree of nodes; every number is big-endian (Qt's qresource.cpp)."""
    data = path.read_bytes()
    magic, version, tree, contents, texts = struct.unpack_from(">4sIIII", data)
    if magic != _QT_MAGIC or version not in _QT_NODE_BYTES:
        raise ContainerError(f"{path.name}: not a Qt resource of version 1 to 3")
    node_count = (len(data) - tree) // _QT_NODE_BYTES[version]

    def walk(node: int, folder: str, seen: frozenset[int]) -> Iterator[tuple[str, bytes]]:
        if node in seen or node >= node_count:
            raise ContainerError(f"{path.name}: damaged (node {node} is no tree)")
        at = tree + node * _QT_NODE_BYTES[version]
        text_at, flags = struct.unpack_from(">IH", data, at)
        name = folder + (_qt_text(data, texts + text_at) if node else "")
        if flags & _QT_FOLDER:
            child_count, first_child = struct.unpack_from(">II", data, at + 6)
            for child in range(first_child, first_child + child_count):
                yield from walk(child, f"{name}/" if name else "", seen | {node})
        elif name in names:
            (content_at,) = struct.unpack_from(">I", data, at + 10)
            yield name, _qt_content(path, name, flags, data, contents + content_at)

    yield from walk(0, "", frozenset())


def _qt_text(data: bytes, at: int) -> str:
    (length,) = struct.unpack_from(">H", data, at)
    return _slice(data, at + 6, 2 * length).decode("utf-16-be")  # a hash of 4 bytes lies between


def _qt_content(path: Path, name: str, flags: int, data: bytes, at: int) -> bytes:
    (length,) = struct.unpack_from(">I", data, at)
    stored = _slice(data, at + 4, length)
    if flags & _QT_ZSTD:
        raise ContainerError(f"{path.name}: {name} is compressed with zstd, which is not supported")
    if not flags & _QT_ZLIB:
        return stored
    (full_length,) = struct.unpack_from(">I", stored)
    _check_length(path, name, full_length)
    content = zlib.decompressobj().decompress(stored[4:], full_length + 1)
    if len(content) != full_length:
        raise ContainerError(f"{path.name}: damaged ({name} is not of its declared length)")
    return content


def _sound_set_members(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """A table of (offset, length), little-endian, then at each offset a title and a WAV file.

    The first sound begins where the table ends. The offsets' highest bit marks the newer format,
    which describes each sound: length byte, text, RIFF.
    """
    data = path.read_bytes()
    (first,) = struct.unpack_from("<I", data)
    if not first >> 31:
        raise ContainerError(f"{path.name}: not a sound set of the newer format")
    for number in range((first & 0x7FFF_FFFF) // 8):
        offset, length = struct.unpack_from("<II", data, 8 * number)
        offset &= 0x7FFF_FFFF
        text = _slice(data, offset + 1, data[offset]).rstrip(b"\0").decode()
        title = text.split('"')[1] if text.startswith('"') else text
        name = f"{number:03d}_{re.sub('[^A-Za-z0-9]+', '_', title).strip('_')}.wav"
        if name in names:
            yield name, _slice(data, offset + 1 + data[offset], length)


def _slice(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise IndexError(f"{length} bytes at {at} reach past the end")
    return data[at : at + length]


def _check_length(path: Path, name: str, length: int) -> None:
    if length > _MAX_MEMBER_BYTES:
        raise ContainerError(
            f"{path.name}: {name} declares {length / 1e6:,.0f} MB, too much for a sound"
        )
