"""Writes the speed table of docs/speed.md from benchmarks/results/train_step-*.json.

python -m benchmarks.results_table            # after new results
python -m benchmarks.results_table --check    # exit code 1 if it is out of date
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison import AS_RELEASED, BEST
from benchmarks.measure import ROOT, BenchmarkError
from benchmarks.result import RESULTS
from coala_jax.flags import Parser, run

PROGRAM = "benchmarks.results_table"
BEGIN = "<!-- speed table: python -m benchmarks.results_table -->"
END = "<!-- end of speed table -->"
CASES = {"ae_c": "AE-C", "e_c": "E-C", "cnn": "CNN"}
HEADER = (
    "device",
    "case",
    "ours, patches/s",
    "PyTorch as released",
    "PyTorch at its best",
    "times as released",
    "times its best",
    "ours, GFLOP/s",
    "of the limit",
)


def table(folder: Path) -> str:
    """All results in the folder as Markdown, by device and case.

    Raises:
        BenchmarkError: there is no result, or an invalid one.
    """
    rows = [HEADER, ("---",) * len(HEADER)]
    for file in sorted(folder.glob("train_step-*.json")):
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            for case in (name for name in CASES if name in result["cases"]):
                rows.append((result["device"], CASES[case], *_cells(result["cases"][case])))
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(
                f"{file}: invalid result ({error!r}). Fix: python -m benchmarks.train_step"
            ) from error
    if len(rows) == 2:
        raise BenchmarkError(f"{folder}: no results. Fix: python -m benchmarks.train_step")
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(of_case: dict[str, Any]) -> list[str]:
    arms, ours = of_case["arms"], of_case["arms"][of_case["ours"]]
    note = "" if ours["precision"] == "float32" else f" ({ours['precision']})"
    rates = [arm["patches_per_second"] for arm in (ours, arms[AS_RELEASED], arms[BEST])]
    first, *others = [f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" for rate in rates]
    return [
        first + note,
        *others,
        f"{of_case[f'ratio_to_{AS_RELEASED}']:.2f}",
        f"{of_case[f'ratio_to_{BEST}']:.2f}",
        f"{ours['gflop_per_s']:,.0f}",
        f"{ours['share_of_product_rate']:.0%}",
    ]


def with_table(text: str, new: str, path: Path) -> str:
    """The text with the table between its two marks.

    Raises:
        BenchmarkError: the marks are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or text.count(BEGIN) + text.count(END) != 2:
        raise BenchmarkError(f"{path}: it needs the lines {BEGIN} and {END}, once each, in order")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument(
        "--page",
        type=Path,
        default=ROOT / "docs" / "speed.md",
        metavar="FILE",
        help="page that has the table (docs/speed.md)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="folder of the results (benchmarks/results)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        old = flags.page.read_text(encoding="utf-8")
        new = with_table(old, table(flags.results), flags.page)
        if flags.check and new != old:
            raise BenchmarkError(f"{flags.page}: not up to date. Fix: python -m {PROGRAM}")
        if new != old:
            flags.page.write_text(new, encoding="utf-8")

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
