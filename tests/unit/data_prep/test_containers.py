"""The containers that hold sounds, written here byte by byte."""

import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus import containers
from coala_jax.data_prep.sample_corpus.containers import ContainerError

from tests.containers import qt_resource, sound_set

BELL, DRUM = b"RIFF bell" * 30, b"OggS drum" * 50


def read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    return dict(containers.read_members(path, names))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sound/", b"")
        archive.writestr("sound/bell.wav", BELL)
        archive.writestr("sound/drum.ogg", DRUM)
    return path


@pytest.mark.parametrize("name", ["a.pk3", "a.wz"])
def test_reads_the_named_members_of_a_zip_and_no_others(tmp_path, name):
    path = write_zip(tmp_path / name)
    assert read_members(path, {"sound/drum.ogg", "sound/", "gone"}) == {"sound/drum.ogg": DRUM}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_reads_a_qt_resource(tmp_path, version):
    files = {"a/sounds/bell.wav": (BELL, False), "a/sounds/drum é.ogg": (DRUM, True), "b": (b"", 0)}
    path = write(tmp_path / "a.rcc", qt_resource(files, version))
    wanted = {name: content for name, (content, _) in files.items()}
    assert read_members(path, wanted) == wanted
    assert read_members(path, {"b", "sounds/bell.wav", "a"}) == {"b": b""}


def test_reads_a_sound_set(tmp_path):
    texts = ['"Train/ship horn (1)". By "A". Licence: B.', "Plain text", '"Empty"']
    path = write(tmp_path / "a.cat", sound_set(list(zip(texts, (BELL, DRUM, b""), strict=True))))
    names = ("000_Train_ship_horn_1.wav", "001_Plain_text.wav", "002_Empty.wav")
    assert read_members(path, names) == dict(zip(names, (BELL, DRUM, b""), strict=True))
    assert read_members(path, {"001_Plain_text.wav"}) == {"001_Plain_text.wav": DRUM}


QT = qt_resource({"a/bell.wav": (BELL, True)}, 3)
SET = sound_set([("bell", BELL)])
PACKED, LENGTH = zlib.compress(BELL), struct.pack(">I", len(BELL))
ZSTD = qt_resource({"a/bell.wav": (BELL, False)}, 3, flags=4)
LOOP = struct.pack(">4sIIII", b"qres", 1, 20, 0, 0) + struct.pack(">IHII", 0, 2, 1, 0)


DAMAGED = {
    "a.tar": [b""],
    "a.pk3": [b"no zip"],
    "a.rcc": [
        *(b"qre", b"qrex" + QT[4:], QT[:7] + b"\4" + QT[8:]),  # header, magic, version
        QT.replace(PACKED, b"x" * len(PACKED)),
        *(QT.replace(LENGTH, struct.pack(">I", length)) for length in (1, 999)),
        *(LOOP, ZSTD),
    ],
    # The last but one is of the older format.
    "a.cat": [b"", struct.pack("<II", 8, 4) + b"\0RIFF", SET[:-5]],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_unknown_container_is_refused(tmp_path, name):
    for content in DAMAGED[name]:
        with pytest.raises(ContainerError, match=name):
            read_members(write(tmp_path / name, content), {"a/bell.wav", "000_bell.wav"})


def test_a_member_larger_than_any_sound_is_refused(tmp_path, monkeypatch):
    zipped, qt = write_zip(tmp_path / "a.pk3"), write(tmp_path / "a.rcc", QT)
    monkeypatch.setattr(containers, "_MAX_MEMBER_BYTES", len(BELL))
    assert read_members(qt, {"a/bell.wav"}) == {"a/bell.wav": BELL}
    monkeypatch.setattr(containers, "_MAX_MEMBER_BYTES", len(BELL) - 1)
    for path, name in ((zipped, "sound/bell.wav"), (qt, "a/bell.wav")):
        with pytest.raises(ContainerError, match=name):
            read_members(path, {name})


def packed(method: int, content: bytes = BELL, name: str = "a/bell.wav") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def with_field(zipped: bytes, offset: int, value: bytes) -> bytes:
    """A zip of one member, with a field of its central directory replaced."""
    at = zipped.rindex(b"PK\1\2") + offset
    return zipped[:at] + value + zipped[at + len(value) :]


def qt_nodes(nodes: list[tuple[int, int, int, int]]) -> bytes:
    """A resource of version 1: name, flags, and count and first of the children of each node."""
    tree = b"".join(struct.pack(">IHII", *node) for node in nodes)
    texts = struct.pack(">HI", 1, 0) + "a".encode("utf-16-be")
    return struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 20 + len(tree)) + tree + texts


DEFLATED = packed(zipfile.ZIP_DEFLATED)
SHARED = qt_nodes([(0, 2, 2, n + 1) for n in range(40)] + [(0, 0, 0, 0)] * 2)
DEEP = qt_nodes([(0, 2, 1, n + 1) for n in range(5_000)] + [(0, 0, 0, 0)])
HOSTILE = {
    "encrypted": ("a.pk3", with_field(DEFLATED, 8, b"\1\0"), "encrypted"),
    "lzma": ("a.pk3", packed(zipfile.ZIP_LZMA), "method 14"),
    "bzip2": ("a.pk3", packed(zipfile.ZIP_BZIP2), "method 12"),
    "unknown method": ("a.pk3", with_field(DEFLATED, 10, b"\x63\0"), "method 99"),
    "size too small": ("a.pk3", with_field(DEFLATED, 24, b"\1\0\0\0"), "damaged"),
    "bomb": ("a.pk3", with_field(DEFLATED, 24, b"\xfe\xff\xff\xff"), "too much for a sound"),
    "cut": ("a.pk3", DEFLATED[:40] + DEFLATED[60:], "damaged"),
    "wrong sum": ("a.pk3", DEFLATED.replace(DEFLATED[14:18], b"abcd"), "damaged"),
    "shared children": ("a.rcc", SHARED, "no tree"),
    "cycle": ("a.rcc", qt_nodes([(0, 2, 1, 0)]), "no tree"),
    "many children": ("a.rcc", qt_nodes([(0, 2, 2**32 - 1, 0)]), "no tree"),
    "empty": ("a.rcc", b"", "damaged"),
    "empty set": ("a.cat", b"", "damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_container_is_refused_at_once(tmp_path, case):
    name, content, token = HOSTILE[case]
    path = write(tmp_path / name, content)
    wanted = {"a/bell.wav", "/".join("a" * 50)}
    began = time.process_time()
    with pytest.raises(ContainerError, match=token) as error:
        read_members(path, wanted)
    assert time.process_time() - began < 1
    assert name in str(error.value)


def test_folders_without_a_wanted_member_are_not_entered(tmp_path):
    assert read_members(write(tmp_path / "a.rcc", DEEP), {"a/bell.wav"}) == {}


@pytest.mark.parametrize("name", ["/etc/bell.wav", "a/../../bell.wav"])
def test_a_name_that_leads_out_of_the_container_is_refused(tmp_path, name):
    path = write(tmp_path / "a.pk3", packed(zipfile.ZIP_DEFLATED, name=name))
    with pytest.raises(ContainerError, match="leads out"):
        read_members(path, {name})
    assert read_members(path, {"bell.wav"}) == {}


def test_members_are_not_held_together(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pk3", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.wav", bytes(2_000_000))
    tracemalloc.start()
    try:
        names = {f"{number}.wav" for number in range(5)}
        found = sum(
            len(content) for _, content in containers.read_members(Path(archive.filename), names)
        )
        assert found == 10_000_000
        assert tracemalloc.get_traced_memory()[1] < 7e6
    finally:
        tracemalloc.stop()
