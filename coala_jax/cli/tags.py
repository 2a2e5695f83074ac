"""The tags that a model gives to sounds, with their scores in [0, 1].

    coala tags dog.wav
    coala tags sounds --model=runs/mine/model --top=3 --json

Without --model it is the built-in model, which comes with the package. A sound that cannot be read
is named; the exit code is then 1.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from coala_jax import logs
from coala_jax.cli import model_flag
from coala_jax.flags import Parser, at_least, run

PROGRAM = "coala tags"


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument(
        "sounds", metavar="SOUNDS", type=Path, nargs="+", help="sounds, or folders of them"
    )
    model_flag.add(flags)
    flags.add_argument("--top", type=at_least(1), default=5, help="tags a sound (5)")
    flags.add_argument("--json", action="store_true", help="one JSON object a line")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = model_flag.parse(parser(), argv)
    logs.start()

    def work() -> int:
        from coala_jax.embedding.folder import find_sounds, path_of

        files, failed = [], 0
        for root in flags.sounds:
            found = find_sounds(root)
            files += [path_of(root, path) for path in found.files]
            for path, error in found.errors.items():
                failed += 1
                logging.warning("%s: %s", path_of(root, path), error)
        model = model_flag.load(flags.model)
        for file, found in zip(files, model.tags_each(files, flags.top), strict=True):
            if isinstance(found, ValueError):
                failed += 1
                logging.warning("%s", found)
            elif flags.json:
                tags = [{"tag": tag, "score": round(score, 4)} for tag, score in found]
                print(json.dumps({"path": str(file), "tags": tags}, ensure_ascii=False), flush=True)
            else:
                print(
                    f"{file}: " + ", ".join(f"{tag} {score:.2f}" for tag, score in found),
                    flush=True,
                )
        return 1 if failed else 0

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
