from types import SimpleNamespace

import pytest

from coala_jax.training import timers
from coala_jax.training.timers import Timers


class Clock:
    """Stands still unless told otherwise."""

    now = 100.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_seconds_add_up_by_name_from_one_reading_to_the_next(clock):
    watch = Timers()
    assert watch.read() == {}
    for seconds in (2.0, 3.0):
        with watch.timing("input"):
            clock.passes(seconds)
        clock.passes(50.0)
        with watch.timing("validation"):
            clock.passes(10 * seconds)
    assert watch.read() == {"input": 5.0, "validation": 50.0}
    assert watch.read() == {}
    with watch.timing("input"):
        clock.passes(1.0)
    assert watch.read() == {"input": 1.0}


def test_a_block_that_fails_counts_too(clock):
    watch = Timers()
    with pytest.raises(KeyError), watch.timing("input"):
        clock.passes(4.0)
        raise KeyError
    assert watch.read() == {"input": 4.0}


@pytest.mark.parametrize("items", [["a", "b"], [0, False, ""], []])
def test_of_items_the_wait_counts_and_not_the_use(clock, items):
    """Each takes 2 seconds to come, and the end half a second to be seen; using one takes 30."""

    def source():
        for item in items:
            clock.passes(2.0)
            yield item
        clock.passes(0.5)

    watch, got = Timers(), []
    for item in watch.over(source(), "input"):
        clock.passes(30.0)
        got.append(item)
    assert got == items
    assert watch.read() == {"input": 2.0 * len(items) + 0.5}


def test_items_come_one_at_a_time(clock):
    """A step is begun before the next batch is made."""
    watch, made = Timers(), []
    items = watch.over((made.append(n) or n for n in range(5)), "input")
    assert (next(items), made) == (0, [0])
    assert (next(items), made) == (1, [0, 1])
