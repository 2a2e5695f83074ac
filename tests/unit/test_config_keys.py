"""The keys of a config: their comments, and values given as text."""

import pytest

from coala_jax import config_keys
from coala_jax.default_config import flat, get_config

KNOWN = flat(get_config().to_dict())


def test_every_key_is_read_with_its_comments():
    keys = {key.name: key for key in config_keys.read_keys()}
    assert keys.keys() == KNOWN.keys()
    temperature = keys["loss.temperature"]
    assert (temperature.paper, temperature.released) == ("0.1", "0.1")
    assert temperature.comment == "tau of Eq. 11"
    assert keys["loss.kl_offset"].released == "1e-05"
    above = keys["data.patch_dtype"].comment.split("\n\n")[1]
    assert above.startswith("Training patches are rounded to this")
    assert above.endswith("never rounded.")


def test_help_names_every_key_with_its_default():
    text = config_keys.help_text("--set KEY=VALUE")
    assert all(f"\n  {key} = {value!r}" in text for key, value in KNOWN.items())
    assert "loss.contrastive = 'cross_modal' (released: 'nt_xent')\n      Eq. 10" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("loss.temperature", "1", 1.0),
        ("train.epochs", "7", 7),
        ("loss.equal_tags_are_negatives", "false", False),
        ("loss.equal_tags_are_negatives", "True", True),
        ("optimizer.name", "adam", "adam"),
        ("data.path", "", ""),
    ],
)
def test_a_value_has_the_type_of_its_key(key, text, value):
    found = config_keys.parse_value(key, text, KNOWN)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("train.epochs", "1.5", "config.train.epochs is '1.5'; it must be a whole number"),
        ("loss.temperature", "warm", "config.loss.temperature is 'warm'; it must be a number"),
        (
            "loss.equal_tags_are_negatives",
            "maybe",
            "config.loss.equal_tags_are_negatives is 'maybe'; it must be True or False",
        ),
        (
            "loss.tau",
            "1",
            "config.loss.tau does not exist; the nearest key is config.loss.temperature",
        ),
        ("loss", "1", "config.loss does not exist; the nearest key is config.loss.audio_weight"),
    ],
)
def test_a_wrong_key_or_value_is_named(key, text, said):
    with pytest.raises(ValueError) as error:
        config_keys.parse_value(key, text, KNOWN)
    assert str(error.value) == said
    assert "xyz does not exist; keys: bank.entries, " in config_keys.unknown_key("xyz", KNOWN)
