"""Reads sounds out of the container files in which games ship them.

Three formats, by suffix: `.pk3` and `.wz` are zip files, `.rcc` a Qt resource (versions 1 to 3,
stored or zlib), `.cat` an OpenTTD sound set, whose sounds have no file names: they are named here
by number and title, `018_Explosion.wav`. Members come one after the other, each read whole; nothing
is written. A container may be damaged or made to harm: no member is larger than a sound can be, no
walk longer than the file.
"""

import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

_MAX_MEMBER_BYTES = 200_000_000  # far above any sound: a damaged length must not fill the memory
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # games use no other
_ENCRYPTED = 1  # bit of a zip member's flags

_QT_MAGIC = b"qres"
_QT_NODE_BYTES = {1: 14, 2: 22, 3: 22}  # from version 2 on a node has a time stamp
_QT_ZLIB, _QT_FOLDER, _QT_ZSTD = 1, 2, 4

_Members = Iterator[tuple[str, bytes]]


class ContainerError(ValueError):
    """A container cannot be read; the message says why."""


def read_members(path: Path, names: Collection[str]) -> _Members:
    """Name and content of each named member; names that the container does not hold are left out.

    Raises:
        ContainerError: the file has another format or is damaged, a member is encrypted, compressed
            in another way or too large, or a name leads out of the container.
    """
    readers: dict[str, Callable[[Path, Collection[str]], _Members]] = {
        ".pk3": _zip_members,
        ".wz": _zip_members,
        ".rcc": _qt_members,
        ".cat": _sound_set_members,
    }
    if path.suffix not in readers:
        raise ContainerError(f"{path.name}: unknown suffix; known are {', '.join(readers)}")
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ContainerError(f"{path.name}: the name {name} leads out of the container")
    try:
        yield from readers[path.suffix](path, names)
    except ContainerError:
        raise
    except (
        *(struct.error, zlib.error, zipfile.BadZipFile, IndexError, ValueError),
        # zipfile's, of headers that contradict each other
        *(EOFError, NotImplementedError, OSError, RuntimeError),
    ) as error:
        raise ContainerError(f"{path.name}: damaged ({error!s:.200})") from error


def _zip_members(path: Path, names: Collection[str]) -> _Members:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            # Of two of one name the last counts, as for every other reader.
            if entry.filename not in names or archive.getinfo(entry.filename) is not entry:
                continue
            if entry.is_dir():
                continue
            name = entry.filename
            if entry.flag_bits & _ENCRYPTED:
                raise ContainerError(f"{path.name}: {name} is encrypted")
            if entry.compress_type not in _ZIP_METHODS:
                raise ContainerError(
                    f"{path.name}: {name} is compressed by method {entry.compress_type}; only "
                    "deflate is supported"
                )
            _check_length(path, name, entry.file_size)
            with archive.open(entry) as member:
                content = member.read(entry.file_size + 1)  # the declared size may be a lie
            if len(content) != entry.file_size:
                raise ContainerError(f"{path.name}: damaged ({name} is not of its declared length)")
            yield name, content


def _qt_members(path: Path, names: Collection[str]) -> _Members:
    """Walks the tree of nodes; every number is big-endian (Qt's qresource.cpp)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, version, tree, contents, texts = struct.unpack_from(">4sIIII", data)
        if magic != _QT_MAGIC or version not in _QT_NODE_BYTES:
            raise ContainerError(f"{path.name}: not a Qt resource of version 1 to 3")
        node_count = (len(data) - tree) // _QT_NODE_BYTES[version]
        # Other folders are not entered.
        folders = {"", *(folder for name in names for folder in _parents(name))}
        waiting, seen = [(0, "")], {0}
        while waiting:
            node, folder = waiting.pop()
            at = tree + node * _QT_NODE_BYTES[version]
            text_at, flags = struct.unpack_from(">IH", data, at)
            name = folder + (_qt_text(data, texts + text_at) if node else "")
            if flags & _QT_FOLDER and name in folders:
                count, first = struct.unpack_from(">II", data, at + 6)
                children = range(first, first + count)
                if children.stop > node_count or any(child in seen for child in children):
                    raise ContainerError(f"{path.name}: damaged (its nodes are no tree)")
                seen.update(children)
                waiting += [(child, f"{name}/" if name else "") for child in reversed(children)]
            elif not flags & _QT_FOLDER and name in names:
                (content_at,) = struct.unpack_from(">I", data, at + 10)
                yield name, _qt_content(path, name, flags, data, contents + content_at)


def _parents(name: str) -> Iterator[str]:
    """The folders of a member, the outermost first."""
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _qt_text(data: mmap.mmap, at: int) -> str:
    (length,) = struct.unpack_from(">H", data, at)
    return _slice(data, at + 6, 2 * length).decode("utf-16-be")  # a hash of 4 bytes lies between


def _qt_content(path: Path, name: str, flags: int, data: mmap.mmap, at: int) -> bytes:
    (length,) = struct.unpack_from(">I", data, at)
    _check_length(path, name, length)
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


def _sound_set_members(path: Path, names: Collection[str]) -> _Members:
    """A table of (offset, length), little-endian, then at each offset a title and a WAV file.

    The first sound begins where the table ends. The offsets' highest bit marks the newer format,
    which describes each sound: length byte, text, RIFF.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
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
                _check_length(path, name, length)
                yield name, _slice(data, offset + 1 + data[offset], length)


def _slice(data: mmap.mmap, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise IndexError(f"{length} bytes at {at} reach past the end")
    return data[at : at + length]


def _check_length(path: Path, name: str, length: int) -> None:
    if length > _MAX_MEMBER_BYTES:
        raise ContainerError(
            f"{path.name}: {name} declares {length / 1e6:,.0f} MB, too much for a sound"
        )
