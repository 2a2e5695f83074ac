from types import SimpleNamespace

import pytest

from coala_jax.training import timers


def test_seconds_add_up_by_name_from_one_reading_to_the_next(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(timers, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def spend(name: str, seconds: float, error: type[Exception] | None = None) -> None:
        with epoch.timing(name):
            now[0] += seconds
            if error:
                raise error

    epoch = timers.Timers()
    assert epoch.read() == {}
    for seconds in (2.0, 3.0):
        spend("input", seconds)
        now[0] += 50.0
        spend("validation", 10 * seconds)
    with pytest.raises(KeyError):  # a block that fails counts, too
        spend("input", 4.0, KeyError)
    assert epoch.read() == {"input": 9.0, "validation": 50.0}
    spend("input", 1.0)
    assert epoch.read() == {"input": 1.0}
