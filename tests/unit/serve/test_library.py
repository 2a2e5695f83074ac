"""What the page may ask of an index, and which files of it can be had."""

import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from coala_jax.embedding.index import Index
from coala_jax.embedding.index_map import FILE
from coala_jax.serve import library as library_module
from coala_jax.serve.catalogue import key_of
from coala_jax.serve.errors import ChangedError, ForbiddenError, NotFoundError, RequestError
from coala_jax.serve.library import Library, Question, packed
from coala_jax.serve.uploads import Uploads
from tests.served import RATE_HZ, TAGS, BandEmbedder, tone, write_index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("served"))


@pytest.fixture
def library(index):
    return Library(index, Uploads(BandEmbedder))


def question(words="", like="", seconds=(0.0, math.inf), top=20) -> Question:
    return Question(words, like, seconds, top)


def paths(found) -> list[str]:
    return [hit["path"] for hit in found["hits"]]


def test_a_search_is_that_of_the_index(library, index):
    found = library.search(question("hiss, -deep", top=5))
    wanted = Index(index).search("hiss, -deep", top=5)
    assert paths(found) == [hit.path for hit in wanted] and found["title"] == "hiss, -deep"
    np.testing.assert_allclose(
        [x["score"] for x in found["hits"]], [x.score for x in wanted], atol=1e-4
    )
    best = found["hits"][0]
    assert (best["path"], best["tags"], best["key"]) == ("f.wav", ["hiss"], key_of("f.wav"))
    assert found["sounds"] == len(library) == 8 and found["notes"] == []


def test_a_search_has_limits_and_says_what_it_searched_for(library):
    assert paths(library.search(question("deep", seconds=(10.0, 60.0)))) == ["long.wav"]
    assert len(library.search(question("deep", top=3))["hits"]) == 3
    assert len(library.search(question("deep", top=0))["hits"]) == 1
    assert "'hissing' is not among" in library.search(question("hissing"))["notes"][0]
    for asked, said in (
        (question(), "nothing to search for"),
        (question("  "), "nothing to search for"),
        (question("deep, -deep"), "both wanted and unwanted"),
        (question("zzz"), "'zzz' is not among"),
        (question("a" * 201), "has 201 characters|have 201 characters"),
        (question("deep", seconds=(3.0, 2.0)), "is empty"),
    ):
        with pytest.raises(ValueError, match=said):
            library.search(asked)


def test_more_like_a_sound_leaves_it_out(library):
    found = library.search(question(like=key_of("deep/a.wav")))
    assert paths(found)[0] == "deep/aa.wav" and "deep/a.wav" not in paths(found)
    assert found["title"] == "like a.wav"
    both = library.search(question("hiss", like=key_of("deep/a.wav")))
    assert both["title"] == "hiss, like a.wav" and set(paths(both)) == set(paths(found))
    with pytest.raises(NotFoundError):
        library.search(question(like="0" * 16))
    with pytest.raises(NotFoundError, match="drop it once more"):
        library.search(question(like="upload-1"))


def test_like_a_sound_that_was_given(index, tmp_path):
    uploads = Uploads(BandEmbedder)
    uploads.start()
    library = Library(index, uploads)
    soundfile.write(tmp_path / "sound", tone(1.1), RATE_HZ, format="WAV")
    given = uploads.submit(tmp_path / "sound", "mine.wav").result(timeout=60)
    found = library.search(question(like=given["key"]))
    assert paths(found)[0] == "b.flac" and len(found["hits"]) == 8
    assert found["title"] == "like mine.wav"
    uploads.close()


def test_a_file_is_had_by_its_key_alone(library, index):
    sounds = index.parent / "sounds"
    assert library.file(key_of("deep/a.wav")) == (sounds / "deep" / "a.wav").resolve()
    for key in ("deep/a.wav", "../sounds.index/index.json", "/etc/passwd", "", "..%2f", "0" * 16):
        with pytest.raises(NotFoundError):
            library.file(key)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    index = write_index(tmp_path)
    library, sounds = Library(index, Uploads(BandEmbedder)), tmp_path / "sounds"
    secret = tmp_path / "secret.wav"
    shutil.copy(sounds / "d.wav", secret)
    (sounds / "d.wav").unlink()
    with pytest.raises(
        NotFoundError, match=r"d\.wav: it is no longer there\. Fix: run coala index"
    ):
        library.file(key_of("d.wav"))
    (sounds / "d.wav").symlink_to(secret)
    with pytest.raises(ForbiddenError, match=r"d\.wav: it is a link out of the folder"):
        library.file(key_of("d.wav"))
    (sounds / "d.wav").unlink()
    (sounds / "d.wav").symlink_to(sounds / "f.wav")  # which stays inside
    assert library.file(key_of("d.wav")) == (sounds / "f.wav").resolve()
    (sounds / "f.wav").unlink()
    os.mkfifo(sounds / "f.wav")  # which would keep its reader waiting
    with pytest.raises(ForbiddenError):
        library.file(key_of("f.wav"))
    (sounds / "b.flac").unlink()
    (sounds / "b.flac").symlink_to("b.flac")
    with pytest.raises(NotFoundError):
        library.file(key_of("b.flac"))
    shutil.move(sounds / "deep", tmp_path / "elsewhere")
    (sounds / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForbiddenError):
        library.file(key_of("deep/a.wav"))


def test_the_map_is_made_once_and_kept(index, monkeypatch):
    library = Library(index, Uploads(BandEmbedder))
    assert library.map() is None  # it is being made
    library._map[1].result(timeout=120)
    version, found = library.map()
    assert version == Index(index).version == library.about()["version"]
    assert found.ids.tolist() == list(range(8)) and len(found.names) == max(found.groups) + 1
    assert found.points.min() == 0 and found.points.max() == 65_535
    data = packed(found)
    assert len(data) == 9 * 8
    np.testing.assert_array_equal(np.frombuffer(data[:32], "<u4"), found.ids)
    np.testing.assert_array_equal(np.frombuffer(data[32:64], "<u2").reshape(8, 2), found.points)
    np.testing.assert_array_equal(np.frombuffer(data[64:], np.uint8), found.groups)
    monkeypatch.setattr("coala_jax.embedding.index_map._make", None)
    again = Index(index).map()
    for one, other in zip(again, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_map_or_one_of_other_sounds_is_made_again(tmp_path, monkeypatch, caplog):
    index, made = write_index(tmp_path), []
    make = library_module.Index.map
    monkeypatch.setattr(
        "coala_jax.embedding.map_projection.project_all",
        lambda units, seed: made.append(len(units)) or units[:, :2].astype(np.float64),
    )
    make(Index(index))
    (index / FILE).write_bytes(b"damaged")
    make(Index(index))
    soundfile.write(tmp_path / "sounds" / "new.wav", tone(2.2), RATE_HZ)
    Index.update(tmp_path / "sounds", BandEmbedder(), tmp_path / "model", index)
    make(Index(index))
    assert made == [8, 8, 9]
    monkeypatch.setattr("coala_jax.storage.write_arrays", refuse)
    (index / FILE).unlink()
    assert len(make(Index(index)).ids) == 9
    assert "the map is not kept (no room)" in caplog.text


def refuse(*args):
    raise OSError(28, "no room")


def test_what_the_map_is_asked_for_is_of_its_version(library):
    version = library.about()["version"]
    assert library.sound_at(0, version).key == library.sound(library.sound_at(0, version).key).key
    with pytest.raises(ChangedError, match="the index has changed"):
        library.sound_at(0, "another")
    for row in (-1, 99):
        with pytest.raises(NotFoundError):
            library.sound_at(row, version)


def test_it_follows_what_is_written_to_the_index(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(library_module, "_LOOK_SECONDS", 0.0)
    index = write_index(tmp_path)
    library = Library(index, Uploads(BandEmbedder))
    before, opened = library.about(), library._opened
    assert library._current() is opened
    os.utime(index / "sounds-0.files.json", ns=(1, 1))  # which is written after the table
    assert library._current() is not opened
    (tmp_path / "sounds" / "f.wav").unlink()
    for number in range(12):  # so many that the index gets another table
        soundfile.write(tmp_path / "sounds" / f"new{number}.wav", tone(number / 2.5), RATE_HZ)
    Index.update(tmp_path / "sounds", BandEmbedder(), tmp_path / "model", index)
    assert len(library.search(question("hiss"))["hits"]) == 19 == library.about()["sounds"]
    assert library.about()["version"] != before["version"]
    with pytest.raises(NotFoundError):
        library.sound(key_of("f.wav"))
    shutil.rmtree(index)
    assert library.about()["sounds"] == 19  # what is open serves as long as it can
    assert "no index of sounds" in caplog.text


def test_what_is_said_of_the_index(library):
    about = library.about()
    assert (about["name"], about["sounds"], about["tags"]) == ("sounds", 8, list(TAGS))
    assert about["model"]["state"] == "loading" and len(about["folder"]) == 16


PROGRAM = """
import sys
from pathlib import Path
from coala_jax.serve.library import Library, Question
from coala_jax.serve.uploads import Uploads
library = Library(Path(sys.argv[1]), Uploads(None))
assert library.search(Question("hiss", "", (0.0, 9.0), 5))["hits"]
print("loaded", {"jax", "sklearn", "librosa", "flax"} & sys.modules.keys())
"""


def test_a_search_by_tags_loads_neither_jax_nor_the_model(index):
    done = subprocess.run([sys.executable, "-c", PROGRAM, index], capture_output=True, text=True)
    assert done.stdout == "loaded set()\n", done.stderr


def test_errors_have_a_status():
    assert issubclass(NotFoundError, RequestError) and NotFoundError.status == 404
    assert (RequestError.status, ForbiddenError.status, ChangedError.status) == (400, 403, 409)
