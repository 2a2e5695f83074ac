"""The command `coala`. A subcommand is a module with `main(argv)`, imported when it is used."""

import importlib
import sys
from collections.abc import Sequence

from coala_jax import __version__, flags

# Name -> the module, and what it does in one line.
COMMANDS = {
    "demo": ("coala_jax.cli.demo", "makes a small corpus and a dataset of it, and trains on it"),
    "prepare": ("coala_jax.data_prep.from_folder", "makes a dataset from sounds and their tags"),
    "train": ("coala_jax.cli.train", "trains a model on a dataset, or resumes a run"),
    "embed": ("coala_jax.cli.embed", "turns the sounds of a folder into a table of vectors"),
    "tags": ("coala_jax.cli.tags", "tells the tags of sounds"),
    "index": ("coala_jax.cli.index", "makes an index of a folder, and follows the folder"),
    "search": ("coala_jax.cli.search", "finds the sounds of an index that fit tags"),
    "similar": ("coala_jax.cli.similar", "finds the sounds of an index that are like a sound"),
    "cluster": ("coala_jax.cli.cluster", "sorts the sounds of an index into named groups"),
    "duplicates": ("coala_jax.cli.duplicates", "lists the near-copies in an index"),
    "serve": ("coala_jax.cli.serve", "opens a page to search an index, listen, and see its map"),
    "evaluate": ("coala_jax.evaluation.run", "compares models with frozen parameters on tasks"),
    "verify": ("coala_jax.cli.verify", "checks every byte of a dataset or a model"),
    "info": ("coala_jax.cli.info", "says what a folder is: a dataset, a run or a model"),
}


def help_text() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "COALA: audio embeddings from sounds and their tags.",
            "",
            "usage: coala COMMAND [--flag=value ...]",
            "",
            *(f"  {name:{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()),
            "",
            "with the built-in model:",
            "  coala tags dog.wav",
            "  coala embed sounds --out=vectors.parquet",
            "with a model of your own:",
            "  coala prepare --audio=sounds --tags=tags.csv --out=dataset/mine",
            "  coala train quickstart --data=dataset/mine --workdir=runs/mine",
            "  coala tags dog.wav --model=runs/mine/model",
            "",
            "coala COMMAND --help lists its flags; coala --version says which version this is.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"coala_jax {__version__}")
        return 0
    if words[0] not in COMMANDS:
        message = flags.unknown(words[0], COMMANDS)
        print(f"coala: {message}{'' if message[-1] == '?' else '.'} ", end="", file=sys.stderr)
        print("Fix: coala --help lists the commands", file=sys.stderr)
        return 2
    module, _ = COMMANDS[words[0]]
    return flags.run(f"coala {words[0]}", lambda: importlib.import_module(module).main(words[1:]))
