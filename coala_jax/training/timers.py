"""Times the parts of an epoch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


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

    def read(self) -> dict[str, float]:
        """The seconds since the last reading, by name."""
        seconds, self._seconds = self._seconds, {}
        return seconds
