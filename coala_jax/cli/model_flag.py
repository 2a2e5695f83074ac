"""The model of a command: its flag, the model itself, and what is said of models named otherwise.

The model was the first argument once: `coala tags MODEL SOUNDS`.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from coala_jax.flags import Parser
from coala_jax.models.default import is_default, name_of

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

_FILES = ("model.json", "model.safetensors")  # of a model's folder


def add(flags: Parser) -> None:
    flags.add_argument(
        "--model", metavar="FOLDER", help="folder of a pretrained model (the built-in model)"
    )


def parse(flags: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags of a command whose positional `sounds` must not be the folder of a model."""
    words = list(sys.argv[1:] if argv is None else argv)
    found, rest = flags.parse_known_args(words)
    several = isinstance(found.sounds, list)
    first, *others = [*(found.sounds if several else [found.sounds]), *rest]
    if all((first / file).is_file() for file in _FILES):
        place = next(place for place, word in enumerate(words) if Path(word) == first)
        words[place : place + 1] = [f"--model={words[place]}", *([] if others else ["SOUNDS"])]
        flags.error(
            f"{first} is a model, where sounds are expected: --model names the model. "
            f"Fix: {shlex.join([*flags.prog.split(), *words])}"
        )
    if rest:
        flags.error(f"unexpected arguments: {' '.join(rest)}")
    return found


def load(folder: str | None, pooling: str | None = None) -> "Embedder":
    """The model, which the log names, with its digest; compiled programs are kept on disk.

    Raises:
        ValueError: as `embedder.load`.
    """
    from coala_jax.embedding import embedder
    from coala_jax.training import parallel

    model = embedder.load(folder, pooling)
    parallel.keep_compiled_steps()
    name = name_of(None if folder is None or is_default(folder) else folder)
    devices = parallel.describe(parallel.run_devices(None))
    logging.info("%s: %s on %s", name, model, devices)
    return model
