"""Checks every byte of a dataset or of a model, and lists all that is wrong with it.

    coala verify dataset/mine
    coala verify runs/mine/model

Without a folder it checks the built-in model, which comes with the package. Exits with 0
if all is whole, else with 1.
"""

from collections.abc import Sequence
from pathlib import Path

from coala_jax.cli.info import kind_of
from coala_jax.flags import Parser, run
from coala_jax.models.default import default_model_folder

PROGRAM = "coala verify"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="a dataset or a model (the built-in model)",
    )
    return parser


def verify(folder: Path) -> int:
    """Prints what is wrong, or that nothing is; returns the exit code.

    Raises:
        ValueError: the folder is neither, or its description is damaged; says why.
    """
    kind = kind_of(folder)
    if kind == "run":
        raise ValueError(f"{folder}: a run is not checked. Fix: name its model, {folder / 'model'}")
    if kind == "model":
        # JAX takes a second to import, and a dataset needs none.
        from coala_jax.models.pretrained import PretrainedModel

        model = PretrainedModel.load(folder)
        print(f"{folder}: {len(model.vocabulary)} tags, digest {model.digest}: valid")
        return 0
    from coala_jax.data import verify as datasets

    report = datasets.verify(folder, show_progress=True)
    print(report)
    return 1 if report.problems else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    return run(PROGRAM, lambda: verify(flags.folder or default_model_folder()))
