"""Where the time of an epoch goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Timers:
    """Adds up seconds by name, from one reading to the next."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Adds the time of the block to `name`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def over(self, items: Iterator[T], name: str) -> Iterator[T]:
        """The items, and the time of waiting for each added to `name`."""
        while True:
            with self.timing(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def read(self) -> dict[str, float]:
        """The seconds since the last reading, by name."""
        seconds, self._seconds = self._seconds, {}
        return seconds
