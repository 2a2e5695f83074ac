"""Writes the README's table of speed from benchmarks/results/train_step-*.json.

python -m benchmarks.results_table            # after new results
python -m benchmarks.results_table --check    # whether the README is up to date: 0 or 1
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, BenchmarkError
from benchmarks.result import RESULTS

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
    """A Markdown table of all results in the folder, by device and case.

    Raises:
        BenchmarkError: there is none, or one that cannot be read.
    """
    files = sorted(folder.glob("train_step-*.json"))
    if not files:
        raise BenchmarkError(
            f"{folder} holds no train_step-*.json; python -m benchmarks.train_step makes one"
        )
    lines = [_line(HEADER), _line(["---"] * len(HEADER))]
    for file in files:
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            cases = result["cases"]
            for case in (name for name in CASES if name in cases):
                lines.append(_line([result["device"], CASES[case], *_cells(cases[case])]))
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(
                f"{file} is no result of this version ({error!r}); make it again"
            ) from error
    return "\n".join(lines)


def _cells(of_case: dict[str, Any]) -> list[str]:
    arms, ours = of_case["arms"], of_case["arms"][of_case["ours"]]
    others = [arms[name] for name in ("pytorch_as_released", "pytorch_best")]
    note = "" if ours["precision"] == "float32" else f" ({ours['precision']})"
    return [
        _rate(ours) + note,
        *[_rate(arm) for arm in others],
        f"{of_case['ratio_to_pytorch_as_released']:.2f}",
        f"{of_case['ratio_to_pytorch_best']:.2f}",
        f"{ours['gflop_per_s']:,.0f}",
        f"{ours['share_of_product_rate']:.0%}",
    ]


def _rate(arm: dict[str, Any]) -> str:
    rate = arm["patches_per_second"]
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_table(text: str, new: str, path: Path) -> str:
    """The text with the table between its two marks.

    Raises:
        BenchmarkError: the marks are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or text.count(BEGIN) + text.count(END) != 2:
        raise BenchmarkError(f"{path} must hold the lines {BEGIN} and {END} once each, in order")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.results_table", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true", help="writes nothing; 1 if it would")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    flags = parser.parse_args(argv)
    try:
        old = flags.readme.read_text(encoding="utf-8")
        new = with_table(old, table(flags.results), flags.readme)
        if flags.check and new != old:
            raise BenchmarkError(
                f"{flags.readme} does not show the results in {flags.results}; "
                "python -m benchmarks.results_table writes them into it"
            )
        if new != old:
            flags.readme.write_text(new, encoding="utf-8")
    except (BenchmarkError, OSError) as error:
        print(f"results_table: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
