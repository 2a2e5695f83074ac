"""coala_jax.logs: what a program shows, and where."""

import subprocess
import sys

PROGRAM = """
import logging as python_logging, sys
from absl import logging
from coala_jax import logs
logs.start()
logs.start(*map(int, sys.argv[1:]))
logging.info("ours")
logging.warning("ours, too")
record = logging.get_absl_logger().makeRecord
for level in (python_logging.INFO, python_logging.WARNING):
    logging.get_absl_logger().handle(
        record("absl", level, "/lib/site-packages/orbax/save.py", 1, "theirs", (), None)
    )
print("the answer")
"""


def run(*place: str) -> tuple[str, list[str]]:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *place], capture_output=True, text=True, check=True
    )
    return process.stdout, process.stderr.splitlines()


def test_messages_go_to_standard_error_once_and_those_of_libraries_only_as_warnings():
    assert run() == ("the answer\n", ["ours", "warning: ours, too", "warning: theirs"])


def test_one_of_several_processes_names_itself():
    _, shown = run("1", "2")
    assert shown == [f"[process 1] {line}" for line in run()[1]]
