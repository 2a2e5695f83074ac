"""Writers of the containers that coala_jax.data_prep.sample_corpus.containers reads, for tests."""

import struct
import zlib
from collections.abc import Mapping, Sequence


def qt_resource(
    files: Mapping[str, tuple[bytes, bool | int]], version: int, flags: int = 0
) -> bytes:
    """A Qt resource as rcc writes it: path -> (content, whether zlib compresses it).

    Nodes stand level by level, so that the children of a folder follow one another.
    """
    folders: dict[str, list[str]] = {"": []}
    for path in files:
        parts = path.split("/")
        for depth in range(len(parts)):
            parent, name = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
            folders.setdefault(parent, [])
            if name not in folders[parent]:
                folders[parent].append(name)
    order = [""]
    for name in order:
        order.extend(folders.get(name, []))
    stamp = b"" if version == 1 else struct.pack(">Q", 0)
    nodes, texts, contents = b"", b"", b""
    for name in order:
        text_at, text = len(texts), name.rpartition("/")[2]
        texts += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        if name in folders:
            first = order.index(folders[name][0])
            nodes += struct.pack(">IHII", text_at, 2, len(folders[name]), first) + stamp
            continue
        content, compressed = files[name]
        if compressed:
            content = struct.pack(">I", len(content)) + zlib.compress(content)
        locale = 0
        nodes += struct.pack(">IHII", text_at, flags | bool(compressed), locale, len(contents))
        nodes += stamp
        contents += struct.pack(">I", len(content)) + content
    header = 20 if version < 3 else 24
    contents_at = header + len(nodes)
    places = (header, contents_at, contents_at + len(contents))
    head = struct.pack(">4sIIII", b"qres", version, *places) + (b"\0" * (header - 20))
    return head + nodes + contents + texts


def sound_set(sounds: Sequence[tuple[str, bytes]]) -> bytes:
    """An OpenTTD sound set of the newer format, of (text, WAV file)."""
    table, body = b"", b""
    for text, content in sounds:
        offset = 8 * len(sounds) + len(body)
        table += struct.pack("<II", offset | 1 << 31, len(content))
        spoken = text.encode() + b"\0"
        body += bytes([len(spoken)]) + spoken + content
    return table + body
