import pytest
import typeguard

from coala_jax.tags.words import inflect_engine

CHECKED = typeguard.typechecked


def test_inflect_starts_without_its_checks_of_types_and_others_keep_theirs():
    engine = inflect_engine()
    assert engine.singular_noun("dogs") == "dog" and engine.plural_noun("dog") == "dogs"
    with pytest.raises(TypeError, match="expected string"):  # by re, not by typeguard
        engine.singular_noun(5)
    assert typeguard.typechecked is CHECKED
