"""coala_jax.data_prep.sample_corpus.resource, on containers written here byte by byte."""

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from coala_jax.data_prep.sample_corpus import resource
from coala_jax.data_prep.sample_corpus.resource import ContainerError, read_members

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


def test_reads_the_named_members_of_a_zip_and_no_others(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.pk3")
    assert read_members(path, {"sound/drum.ogg", "sound/", "gone"}) == {"sound/drum.ogg": DRUM}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_reads_a_qt_resource(tmp_path: Path, version: int) -> None:
    files = {"a/sounds/bell.wav": (BELL, False), "a/sounds/drum é.ogg": (DRUM, True), "b": (b"", 0)}
    path = write(tmp_path / "a.rcc", qt_resource(files, version))
    wanted = {name: content for name, (content, _) in files.items()}
    assert read_members(path, wanted) == wanted
    assert read_members(path, {"b", "sounds/bell.wav", "a"}) == {"b": b""}


def test_reads_a_sound_set(tmp_path: Path) -> None:
    texts = ['"Train/ship horn (1)". By "A". Licence: B.', "Plain text", '"Empty"']
    path = write(tmp_path / "a.cat", sound_set(list(zip(texts, (BELL, DRUM, b""), strict=True))))
    names = ("000_Train_ship_horn_1.wav", "001_Plain_text.wav", "002_Empty.wav")
    assert read_members(path, names) == dict(zip(names, (BELL, DRUM, b""), strict=True))
    assert read_members(path, {"001_Plain_text.wav"}) == {"001_Plain_text.wav": DRUM}


def cut(content: bytes) -> bytes:
    return content[: len(content) - 5]


QT = qt_resource({"a/bell.wav": (BELL, True)}, 3)
SET = sound_set([("bell", BELL)])
LOOP = struct.pack(">4sIIII", b"qres", 1, 20, 0, 0) + struct.pack(">IHII", 0, 2, 1, 0)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tar", b"", "a.tar: only .pk3, .rcc, .cat"),
        ("a.pk3", b"no zip", "a.pk3 is damaged: File is not a zip file"),
        ("a.rcc", b"qre", "a.rcc is damaged"),
        ("a.rcc", b"qrex" + QT[4:], "no Qt resource of version 1 to 3"),
        ("a.rcc", QT[:7] + b"\4" + QT[8:], "no Qt resource of version 1 to 3"),
        ("a.rcc", QT.replace(zlib.compress(BELL), b"x" * len(zlib.compress(BELL))), "damaged"),
        ("a.rcc", LOOP, "its tree is none"),
        ("a.cat", b"", "a.cat is damaged"),
        ("a.cat", struct.pack("<II", 8, 4) + b"\0RIFF", "no sound set of the newer kind"),
        ("a.cat", cut(SET), "past its end"),
    ],
)
def test_a_damaged_or_foreign_container_is_refused(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(ContainerError, match=sentence):
        read_members(path, {"a/bell.wav", "000_bell.wav"})


def test_what_zstd_compressed_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rcc", qt_resource({"bell.wav": (BELL, False)}, 3, flags=4))
    with pytest.raises(ContainerError, match=r"bell\.wav is compressed by zstd"):
        read_members(path, {"bell.wav"})
    assert read_members(path, {"drum.wav"}) == {}


def test_a_length_that_is_not_the_content_s_is_refused(tmp_path: Path) -> None:
    for stated in (len(BELL) - 1, len(BELL) + 1):
        length, other = struct.pack(">I", len(BELL)), struct.pack(">I", stated)
        path = write(tmp_path / "a.rcc", QT.replace(length + b"\x78", other + b"\x78"))
        with pytest.raises(ContainerError, match="has not the length it says"):
            read_members(path, {"a/bell.wav"})


def test_a_member_larger_than_any_sound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped, qt = write_zip(tmp_path / "a.pk3"), write(tmp_path / "a.rcc", QT)
    monkeypatch.setattr(resource, "_MAX_MEMBER_BYTES", len(BELL))
    assert read_members(qt, {"a/bell.wav"}) == {"a/bell.wav": BELL}
    monkeypatch.setattr(resource, "_MAX_MEMBER_BYTES", len(BELL) - 1)
    for path, name in ((zipped, "sound/bell.wav"), (qt, "a/bell.wav")):
        with pytest.raises(ContainerError, match=f"{name} would be"):
            read_members(path, {name})
