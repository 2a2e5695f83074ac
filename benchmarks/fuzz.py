"""Fuzzes what reads files of others: coverage chooses the inputs, tests/unit/test_fuzz.py judges.

    pip install atheris  # in an environment of its own: nothing else needs it
    python -m benchmarks.fuzz --target=manifest --minutes=10

It ends at the first input that raises another error than the documented one, takes a minute, or
more than 2 GB of memory, and else with the number of executions.
"""

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coala_jax.flags import Parser, run

PROGRAM = "benchmarks.fuzz"
TARGETS = ("sound", "table", "manifest", "model", "checkpoint")


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument("--target", choices=TARGETS, required=True, help="what is read")
    flags.add_argument("--minutes", type=float, default=10.0, help="after which it ends (10)")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; ends the process, as libFuzzer does."""
    flags = parser().parse_args(argv)

    def work() -> None:
        try:
            import atheris
        except ImportError as error:
            raise ValueError(f"{error}. Fix: pip install atheris") from error
        for name in [name for name in sys.modules if name.startswith("coala_jax")]:
            del sys.modules[name]  # to be imported again, with its branches counted
        with atheris.instrument_imports(include=["coala_jax"]):
            from tests.unit import test_fuzz

            folder = tempfile.mkdtemp(prefix="fuzz-")
            test = test_fuzz.fuzz_test(flags.target, Path(folder))
            test()  # what is imported late is counted too, and does not count as slow
        options = ("-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1", "-len_control=0")
        seconds = f"-max_total_time={round(60 * flags.minutes)}"
        atheris.Setup([PROGRAM, *options, seconds], test.hypothesis.fuzz_one_input)
        with contextlib.chdir(folder):  # which gets the input that fails
            atheris.Fuzz()

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
