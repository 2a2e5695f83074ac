"""The containers that hold sounds, written here byte by byte."""

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus import containers
from coala_jax.data_prep.sample_corpus.containers import ContainerError, read_members

from tests.containers import qt_resource, sound_set

BELL, DRUM = b"RIFF bell" * 30, b"OggS drum" * 50


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
