"""What an epoch draws, counted by hand."""

from collections import Counter

import numpy as np
import pytest

from coala_jax.data.schema import Example
from coala_jax.data.source_weights import make_sampling, parse, trained_on

SOURCES = "abbabcabbb" + "d" * 5  # 3 of a, 6 of b, 1 of c, 5 of d
PATCH = np.zeros((96, 96), np.float32)
SPLIT = [Example(PATCH, np.array([0]), str(place), source=s) for place, s in enumerate(SOURCES)]


def drawn(weights: str, epochs: int, seed: int = 0) -> list[list[int]]:
    sampling = make_sampling(SPLIT, weights, seed)
    found = [sampling.of_epoch(epoch).tolist() for epoch in range(epochs)]
    assert {len(indices) for indices in found} == {sampling.examples}
    return found


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ("a=1", {"a": 3, "b": 6, "c": 1, "d": 5}),
        ("a=0", {"b": 6, "c": 1, "d": 5}),
        ("a=2,b=0.5", {"a": 6, "b": 3, "c": 1, "d": 5}),
        ("c=0.01,d=0.3", {"a": 3, "b": 6, "c": 1, "d": 2}),  # at least one; 1.5 is rounded to 2
        ("a=0.4,c=2.4,d=1.3", {"a": 1, "b": 6, "c": 2, "d": 6}),  # 1.2, 2.4 and 6.5 to even
    ],
)
def test_an_epoch_draws_so_many_of_each_source(weights, counts):
    for indices in drawn(weights, epochs=7):
        assert Counter(SOURCES[index] for index in indices) == counts
        assert indices == sorted(indices)


def test_draws_in_a_row_are_of_different_sounds():
    """Over epochs, and evenly within one whose weight is above 1."""
    b = {place for place, source in enumerate(SOURCES) if source == "b"}
    halves = [set(indices) & b for indices in drawn("b=0.5", epochs=6)]
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        assert len(first) == len(second) == 3 and first | second == b
    times = Counter()
    for indices in drawn("b=1.5,d=0.4", epochs=5):  # 45 draws of 6 sounds, and 10 of 5
        own = Counter(index for index in indices if index in b)
        assert sorted(own.values()) == [1, 1, 1, 2, 2, 2]
        times += Counter(indices)
    assert {times[index] for index in b} == {7, 8}
    assert {times[index] for index, source in enumerate(SOURCES) if source == "d"} == {2}


def test_draws_depend_on_seed_and_epoch_alone():
    assert drawn("b=0.5,d=0.4", 3) == drawn("b=0.5,d=0.4", 3)
    assert len({tuple(drawn("b=0.5,d=0.4", 1, seed)[0]) for seed in range(5)}) > 1
    assert drawn("c=1,b=1", 2) == [list(range(15))] * 2  # as without weights


def test_without_weights_no_record_is_read():
    assert make_sampling(None, "", 0) is None
    assert trained_on(range(4), "").tolist() == [0, 1, 2, 3]
    assert trained_on(range(4), "a=0.5,b=2").tolist() == [0, 1, 2, 3]


def test_sounds_of_weight_0_are_not_trained_on():
    wanted = [place for place, source in enumerate(SOURCES) if source in "bc"]
    assert trained_on(SPLIT, "d=0,a=0,c=0.1").tolist() == wanted


def test_the_draws_are_told_by_source():
    assert (
        str(make_sampling(SPLIT, "a=2,d=0", 0))
        == "6 of 3 of a, 6 of 6 of b, 1 of 1 of c, 0 of 5 of d"
    )
    unnamed = [Example(PATCH, np.array([0]), "x"), *SPLIT[:1]]
    assert str(make_sampling(unnamed, "a=2", 0)) == "1 of 1 of no source, 2 of 1 of a"


@pytest.mark.parametrize(
    "read", [lambda w: make_sampling(SPLIT, w, 0), lambda w: trained_on(SPLIT, w)]
)
def test_an_unknown_source_is_named_with_those_that_there_are(read):
    with pytest.raises(ValueError, match=r"names 'e', .*'a', 'b', 'c', 'd'"):
        read("a=0,e=0.5")


def test_weights_as_text():
    assert parse("") == {}
    assert parse("freesound = 0.5, x=y=2,esc 50=0") == {"freesound": 0.5, "x=y": 2.0, "esc 50": 0.0}


@pytest.mark.parametrize(
    "text", ["a", "a=", "=1", "a=1,", "a=1,a=2", "a=-1", "a=nan", "a=inf", "a=b", " "]
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError):
        parse(text)
