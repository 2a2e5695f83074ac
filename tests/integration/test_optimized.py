"""The tests of optimized_runs.py, in a process whose programs XLA optimises as a user's."""

import os
import subprocess
import sys
from pathlib import Path


def test_what_is_claimed_of_whole_runs_holds_in_optimized_programs():
    told = os.environ | {"COALA_TESTS_OPTIMIZED": "1", "XLA_FLAGS": ""}
    del told["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    runs = Path(__file__).with_name("optimized_runs.py")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", runs],
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout
