"""How programs report progress and state: absl's log on standard error, one form for all of them.

Modules call `absl.logging.info` and `warning`; a program calls `start` once, before its work. What
a command was asked for (a table, the files it wrote) is its answer, and goes to standard output.
"""

import logging as python_logging
from pathlib import Path

from absl import flags, logging

_PACKAGE = Path(__file__).parent


def start(process_index: int = 0, process_count: int = 1) -> None:
    """Shows our messages from INFO up, those of libraries from WARNING up.

    Call it again when the number of processes is known: of several, each message then names its
    own. Nothing is shown twice.
    """
    if not flags.FLAGS.is_parsed():  # as in programs without absl's flags; absl would warn
        flags.FLAGS.mark_as_parsed()
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.setFormatter(_Format(process_index, process_count))
    if _is_ours not in handler.filters:
        handler.addFilter(_is_ours)


def _is_ours(record: python_logging.LogRecord) -> bool:
    """Whether a message is shown. Orbax alone would log thirty lines a checkpoint."""
    if record.levelno >= python_logging.WARNING:
        return True
    file = Path(record.pathname)
    return _PACKAGE in file.parents or "site-packages" not in file.parts


class _Format(python_logging.Formatter):
    def __init__(self, process_index: int, process_count: int) -> None:
        super().__init__()
        self._process = f"[process {process_index}] " if process_count > 1 else ""

    def format(self, record: python_logging.LogRecord) -> str:
        level = "" if record.levelno <= python_logging.INFO else f"{record.levelname.lower()}: "
        return self._process + level + record.getMessage()
