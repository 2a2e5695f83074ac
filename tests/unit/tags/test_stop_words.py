"""Stop words: NLTK's English list from the package, other languages from the user's nltk_data."""

import shutil
import zipfile
from pathlib import Path

import nltk.data
import pytest

from coala_jax.tags import normalize, released
from coala_jax.tags.normalize import join_processing, normalize_tags, split_processing
from coala_jax.tags.stop_words import stop_words
from coala_jax.tags.vocabulary import Vocabulary


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
