"""What is asked in words."""

import numpy as np
import pytest

from coala_jax.embedding.index_words import parse
from coala_jax.tags.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("kick", "snare", "drum", "dog", "field recording"))


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("kick", (0,), ()),
        ("kick, -snare", (0,), (1,)),
        (" drum ,kick,, drum", (2, 0), ()),
        ("-snare", (), (1,)),
        ("- snare,\u2212kick", (), (1, 0)),
        ("Dogs", (3,), ()),
        ("field recording", (4,), ()),
    ],
)
def test_tags_are_found_as_people_write_them(text, wanted, unwanted):
    words = parse(text, VOCABULARY)
    assert words == (wanted, unwanted, ())


def test_words_that_are_no_tags_get_the_nearest_and_it_is_said():
    words = parse("kik, -snaer drums zebra", VOCABULARY)
    assert words[:2] == ((0,), (1, 2))
    assert words.notes == (
        "'kik' is not among the model's 5 tags; searched for kick instead",
        "'snaer drums zebra' is not among the model's 5 tags; searched for snare, drum instead",
    )
    assert words.text(VOCABULARY) == "kick, -snare, -drum"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no words to search for"),
        (" , ", "no words to search for"),
        ("-", "'-' is no word"),
        ("zebra", "and none is spelt like it. Fix: use others, such as kick, snare, drum, dog"),
        ("kick, -kik", "kick is both wanted and unwanted"),
    ],
)
def test_a_question_that_asks_nothing_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text, VOCABULARY)


def test_weights_share_one_and_chances_multiply():
    words = parse("kick, drum, -snare, -dog", VOCABULARY)
    np.testing.assert_array_equal(words.weights(5), np.float32([0.25, -0.25, 0.25, -0.25, 0]))
    shares = np.array([[0.5, 0.1, 0.2, 0, 1], [1, 1, 1, 0, 0]])
    np.testing.assert_allclose(words.chances(shares), [0.5 * 0.2 * 0.9, 0])
