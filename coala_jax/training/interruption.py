"""SIGTERM and Ctrl-C: training ends after the block of steps that is running, and saves it.

Slurm, Kubernetes and machines that may be taken away send SIGTERM some seconds before they kill.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from coala_jax.training import parallel

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CAUGHT = "\n{}: training stops after this block of steps and saves it; again ends it at once\n"


class Interrupted(KeyboardInterrupt):
    """A signal ended the run. `exit_code` is that of a shell: 128 and the signal's number."""

    def __init__(self, number: int, state: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} {state}")
        self.exit_code = 128 + number


class Interruption:
    """Catches the signals within a `with` block, in the main thread.

    Until `defer` is called, and after `undefer`, a signal raises `Interrupted`: there is nothing to
    save. In between `due` says when to stop. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self._number, self._deferred = 0, False
        self._before: dict[int, Any] = {}
        self._vote: Callable[[], int] | None = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """From now on signals wait for `due`."""
        self._deferred = True

    def undefer(self) -> None:
        """From now on signals raise, as does one that waits, on all processes; all must call it."""
        self._deferred = False
        if number := parallel.start_max(self._number)():
            raise Interrupted(number, "when all epochs were trained and saved")

    def due(self) -> int:
        """The signal that ends the run here, or 0: the same on all processes.

        All must call it equally often. Of several, the answer is that of the call before: its
        question travels while a block of steps is computed, and nobody waits for it.
        """
        if parallel.process_place()[1] == 1:
            return self._number
        before, self._vote = self._vote, parallel.start_max(self._number)
        return 0 if before is None else before()

    def _catch(self, number: int, _: FrameType | None) -> None:
        if not self._deferred:
            raise Interrupted(number, "before a step was taken")
        self._number = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Not through `sys.stderr`, which the signal may have interrupted in the middle of a write.
        os.write(2, _CAUGHT.format(signal.Signals(number).name).encode())
