"""Renders the records in folders again: python -m coala_jax.reporting FOLDER [FOLDER ...]"""

import argparse
import sys
from pathlib import Path

from coala_jax.reporting.report import render


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m coala_jax.reporting", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    try:
        for folder in parser.parse_args(arguments).folders:
            for path in render(folder):
                print(path)
    except (ValueError, OSError) as error:
        sys.exit(f"coala_jax.reporting: {error}")


if __name__ == "__main__":
    main()
