"""python -m coala_jax.cli: the command `coala` where its script is not on PATH."""

import sys

from coala_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
