"""What is claimed of whole runs holds for the programs that users run, which XLA optimises.

`conftest.py` turns most of its optimisations off, for a whole process. A second one runs these few
tests again as users would, with a cache of compiled programs of its own.
"""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

ROOT = Path(__file__).parents[2]
TESTS = [
    "integration/test_optimized.py::test_xla_optimizes_where_it_is_asked_to",
    "integration/test_loop.py::test_a_run_that_was_interrupted_ends_bit_for_bit_as_if_it_had_not_been",
    "integration/test_loop.py::test_where_sounds_lie_and_steps_a_call_change_no_bit",
    "integration/test_loop.py::test_a_run_goes_on_bit_for_bit_from_elsewhere_and_in_other_calls",
    "integration/test_loop.py::test_a_run_goes_on_from_the_middle_of_an_epoch",
    "unit/training/test_parallel.py::test_devices_do_not_change_the_other_cases[e_c]",
]


def test_xla_optimizes_where_it_is_asked_to(pytestconfig):
    """By the size of the machine code, since the flag acts on LLVM and leaves the HLO as it is."""
    lowered = jax.jit(lambda x: jnp.sin(x) * 2 + 1).lower(jnp.ones(64))

    def size(**options) -> int:
        return len(lowered.compile(options).runtime_executable().serialize())

    plain = size(xla_backend_optimization_level=0, xla_llvm_disable_expensive_passes=True)
    best = size(xla_backend_optimization_level=3, xla_llvm_disable_expensive_passes=False)
    assert best > 1.2 * plain
    nearer_to_best = abs(size() - best) < abs(size() - plain)
    assert nearer_to_best == pytestconfig.getoption("optimized")


def test_claims_of_whole_runs_hold_with_optimizations():
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "--optimized", "-v", *(f"tests/{test}" for test in TESTS)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    assert re.search(rf"= {len(TESTS)} passed in ", process.stdout)  # and none was skipped
