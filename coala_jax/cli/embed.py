"""The vectors of all sounds of a folder, recursively, as one table.

    coala embed sounds --out=vectors.parquet
    coala embed sounds --out=vectors.parquet --hop_seconds=0.5 --model=runs/mine/model

The first writes a row a sound, by the built-in model, which comes with the package; the second a
row for every half second of each, by another model. Run it again after a kill, or when sounds were
added, changed or removed: what is done is kept. Sounds that cannot be read are listed in
OUT.failures.csv.
"""

import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import logging
from tqdm import tqdm

from coala_jax import logs, storage
from coala_jax.cli import model_flag
from coala_jax.flags import Parser, at_least, run

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

PROGRAM = "coala embed"
FORMATS = "parquet, npz or csv"
POLICIES = ("paper", "released", "masked")
POOLINGS = ("mean", "layers")
_SAVE_SECONDS = 20.0  # between the parts of the table, which a kill may cost


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument("sounds", metavar="SOUNDS", type=Path, help="folder of sounds, or a sound")
    flags.add_argument("--out", type=Path, required=True, help=f"table to write, {FORMATS}")
    model_flag.add(flags)
    flags.add_argument(
        "--hop_seconds", type=float, help="a row for every so many seconds of each sound"
    )
    flags.add_argument(
        "--policy",
        choices=POLICIES,
        help="how a sound that fills no patch is padded, and what that weighs (paper)",
    )
    flags.add_argument(
        "--pooling", choices=POOLINGS, help="what a sound's vector is (as the model names it)"
    )
    flags.add_argument("--workers", type=at_least(1), help="that read sounds (number of cores)")
    return flags


def embed_folder(
    model: "Embedder",
    root: Path,
    out: Path,
    *,
    hop_seconds: float | None = None,
    policy: str = "paper",
    workers: int | None = None,
) -> tuple[int, dict[str, str]]:
    """Writes the table; returns its number of rows, and why each sound that failed did.

    Raises:
        ValueError: there are no sounds, none can be read, or `out` cannot be made.
    """
    from coala_jax.embedding.folder import find_sounds, first_lines, path_of
    from coala_jax.embedding.table import TableWriter

    asked = {"model": model.digest, "hop_seconds": hop_seconds, "policy": policy}
    timed = hop_seconds is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = TableWriter(out, storage.fingerprint(asked)[:16], model.embedding_size, timed)
    found = find_sounds(root)
    todo = [path for path, state in found.files.items() if writer.done.get(path) != state]
    logging.info(
        "%d sounds in %s, %d of them done; %d other files",
        len(found.files),
        root,
        len(found.files) - len(todo),
        found.ignored,
    )
    failures = dict(found.errors)
    files = [path_of(root, path) for path in todo]
    if timed:
        vectors = model.timestamps_each(files, hop_seconds, workers=workers)
    else:
        vectors = _whole(model, files, policy, workers)
    began, heard, saved = time.monotonic(), 0.0, time.monotonic()
    with tqdm(todo, unit="sound", disable=not todo) as progress:
        for path, parts in zip(progress, vectors, strict=True):
            try:
                for rows, measures in parts:
                    writer.write(path, found.files[path], rows, measures)
                    last = float(measures[-1])
                writer.end()
                heard += last
            except ValueError as error:
                writer.fail()
                failures[path] = str(error)
            progress.set_postfix_str(
                f"{heard / (time.monotonic() - began):.0f} times real time", refresh=False
            )
            if time.monotonic() - saved > _SAVE_SECONDS:
                writer.save()
                saved = time.monotonic()
    _write_failures(out.with_name(out.name + ".failures.csv"), failures)
    if failures.keys() >= found.files.keys():
        raise ValueError(f"{root}: no sound can be read: {first_lines(failures.values())}")
    rows = writer.finish(found.files)
    seconds = time.monotonic() - began
    logging.info(
        "%d sounds, %.1f minutes of sound, in %.1f s: %.0f times real time",
        len(todo),
        heard / 60,
        seconds,
        heard / seconds,
    )
    return rows, failures


_Parts = Iterator[tuple[np.ndarray, np.ndarray]]  # vectors with times, or one with its length


def _whole(
    model: "Embedder", files: Sequence[Path], policy: str, workers: int | None
) -> Iterator[_Parts]:
    for vector, seconds, error in model.embed_each(files, policy=policy, workers=workers):
        yield _one(vector, seconds, error)


def _one(vector: np.ndarray | None, seconds: float, error: ValueError | None) -> _Parts:
    if error is not None:
        raise error
    yield vector[None], np.array([seconds])


def _write_failures(file: Path, failures: Mapping[str, str]) -> None:
    if not failures:
        file.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "error"])
    rows.writerows(sorted(failures.items()))
    storage.write_text(file, text.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = model_flag.parse(parser(), argv)
    logs.start()

    def work() -> int:
        if flags.hop_seconds is not None and flags.policy is not None:
            raise ValueError("--policy is for whole sounds, not for --hop_seconds. Fix: drop one")
        model = model_flag.load(flags.model, flags.pooling)
        rows, failures = embed_folder(
            model,
            flags.sounds,
            flags.out,
            hop_seconds=flags.hop_seconds,
            policy=flags.policy or "paper",
            workers=flags.workers,
        )
        print(f"{flags.out}: {rows} vectors of {model.embedding_size} values")
        if failures:
            print(
                f"{PROGRAM}: sounds that could not be read: {len(failures)}. Fix: see "
                f"{flags.out}.failures.csv",
                file=sys.stderr,
            )
        return 1 if failures else 0

    return run(PROGRAM, work, "run it again; what is done is kept")


if __name__ == "__main__":
    sys.exit(main())
