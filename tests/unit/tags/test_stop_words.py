"""Stop words: NLTK's English list from the package, other languages from the user's nltk_data."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nltk.data
import pytest

from coala_jax.tags import normalize, released
from coala_jax.tags.normalize import join_processing, normalize_tags, split_processing
from coala_jax.tags.stop_words import stop_words
from coala_jax.tags.vocabulary import Vocabulary

PACKAGE = Path(normalize.__file__).parents[1]

OFFLINE = """
import socket, sys
def refuse(*arguments, **keywords):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.getaddrinfo = refuse
import coala_jax, coala_jax.tags.vocabulary
assert not {"nltk", "inflect", "jax"} & set(sys.modules), "imported before tags are processed"
from coala_jax.tags import normalize
assert normalize.__file__.startswith(sys.argv[1]), normalize.__file__
print(*normalize.normalize_tags(["the", "Drums", "lens"]))
print(*normalize.normalize_tags(["the", "Drums", "lens"], "released"))
"""


@pytest.fixture
def nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stop words of a user's nltk_data, which is all that NLTK looks at."""
    folder = tmp_path / "nltk_data/corpora/stopwords"
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])
    for function in (stop_words, normalize._normalize, released.normalize_released):
        function.cache_clear()
    return folder


def test_the_bundled_list_is_the_one_the_paper_used() -> None:
    words = stop_words(("english",))
    assert len(words) == 179  # NLTK's of 2018 to 2024
    assert {"i", "the", "down", "can", "just", "won", "wouldn't", "should've"} <= words


def test_it_works_offline_from_files_that_nltk_refuses_itself(tmp_path: Path) -> None:
    """As under umask 002, and where the test may do so, owned by another user."""
    copy = tmp_path / "installed" / "coala_jax"
    (copy / "audio").mkdir(parents=True)
    for name in ("__init__.py", "storage.py"):
        shutil.copy(PACKAGE / name, copy / name)
    shutil.copytree(PACKAGE / "tags", copy / "tags")
    for path in (copy, *copy.rglob("*")):
        if os.getuid() == 0:
            os.chown(path, 12345, 12345)
        path.chmod(0o775 if path.is_dir() else 0o664)
    environment = {"PATH": "", "HOME": str(tmp_path / "none"), "NLTK_DATA": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", OFFLINE, str(copy)],
        env=environment | {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("drum lens\ndrum len\n", "")


@pytest.mark.parametrize("zipped", [False, True])
def test_another_language_is_read_from_the_users_nltk_data(nltk_data: Path, zipped: bool) -> None:
    (nltk_data / "spanish").write_text("el\nde\ntambién\n", encoding="utf-8")
    if zipped:  # as the downloader leaves it
        with zipfile.ZipFile(nltk_data.with_suffix(".zip"), "w") as archive:
            archive.write(nltk_data / "spanish", "stopwords/spanish")
        shutil.rmtree(nltk_data)
    tags = ["El", "perro", "the", "También", "canto-de-birds", "Drums"]
    both = "english,spanish"
    assert normalize_tags(tags, f"paper:{both}") == ("perro", "canto-de-birds", "drum")
    assert normalize_tags(tags, "paper:spanish") == ("perro", "the", "canto-de-birds", "drum")
    assert normalize_tags(tags, f"released:{both}") == ("perro", "drum")
    assert normalize_tags(tags) == ("el", "perro", "también", "canto-de-bird", "drum")
    vocabulary = Vocabulary(("canto-de-birds", "drum"), f"paper:{both}")
    assert vocabulary.encode(["Canto de birds", "el"]).tolist() == [1, 0]
    assert Vocabulary(("bas",), f"released:{both}").readable(0) == "bass"


def test_a_missing_language_is_named_with_where_it_was_looked_for(nltk_data: Path) -> None:
    for there in (True, False):  # the corpus without this language, and no corpus at all
        with pytest.raises(ValueError, match="'klingon'") as raised:
            normalize_tags(["dog"], "paper:english,klingon")
        assert str(nltk_data) in str(raised.value)
        if there:
            nltk_data.rmdir()


def test_a_processing_keeps_its_languages() -> None:
    for name in ("paper", "released"):
        for languages, suffix in (
            (("english",), ""),
            (("english", "spanish"), ":english,spanish"),
            (("spanish",), ":spanish"),
        ):
            assert join_processing(name, languages) == name + suffix
            assert split_processing(name + suffix) == (name, languages)
    for invalid in ("authors", "", "paper:", "paper:../x", "paper:english,"):
        for call in (split_processing, lambda text: Vocabulary(("dog",), text)):
            with pytest.raises(ValueError):
                call(invalid)
    with pytest.raises(ValueError):
        join_processing("paper", ())
