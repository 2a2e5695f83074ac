"""The lists of sounds that the repository holds: each is read once, by the first test to ask."""

import functools
from pathlib import Path

from coala_jax.data_prep.proxy_tasks.events import EventSound, read_events
from coala_jax.data_prep.sample_corpus.debian_list import ListedSound, read_list

DATA_PREP = Path(__file__).parents[1] / "data_prep"


@functools.cache
def listed(name: str) -> list[ListedSound]:
    """Of pre-training: `small`, `standard` or `further`."""
    return read_list(DATA_PREP / "sample_corpus" / f"{name}.tsv")


@functools.cache
def events() -> list[EventSound]:
    """Of the proxy task that is called so."""
    return read_events()
