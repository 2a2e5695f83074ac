"""Search in an index of very many sounds: recall and time of the vector index beside exact search.

    python -m benchmarks.search --index=sounds.index --sounds 100000 1000000

The vectors are mixed from those of a real index: each is a convex mixture of two to four of them,
with weights drawn anew and a tenth of noise, so that they lie as real ones do. Questions are
mixtures that are not in the table. Recall is the share of the ten nearest that the vector index
finds. Tags are asked for where the index has votes or logits, which are read in full. What the page
of `coala serve` keeps in memory is asked there, too. The table is made in a temporary folder below
--work: 4 KB a sound at the paper's width, with 1,000 tags 8.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from benchmarks.measure import BenchmarkError, say
from benchmarks.result import RESULTS, finish
from coala_jax.embedding import index_store
from coala_jax.embedding.index import Index
from coala_jax.embedding.index_ranking import Like, Ranker
from coala_jax.embedding.index_store import Store, vector_array, vectors_of
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.search"
NEAREST = 10  # of which recall is the share
_BATCH = 4096
_NOISE = 0.1  # of each value's spread

Rows = Float32[np.ndarray, "row value"]


def read(index: Index, columns: Sequence[str]) -> dict[str, Rows]:
    """The vectors of an index by column, row by row the same sounds."""
    parts = list(index._store.scan(columns))
    return {
        name: np.concatenate([vectors_of(part, name) for part in parts]).astype(np.float32)
        for name in columns
    }


def mix(real: dict[str, Rows], count: int, rng: np.random.Generator) -> dict[str, Rows]:
    """Mixtures of the rows; all columns of a row have the same parts. Noise for embeddings only."""
    rows = len(next(iter(real.values())))
    parts = rng.integers(rows, size=(count, 4))
    weights = rng.dirichlet([1.0] * 4, count).astype(np.float32)
    weights[np.arange(4) >= rng.integers(2, 5, count)[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    mixed = {
        name: sum(weights[:, part, None] * values[parts[:, part]] for part in range(4))
        for name, values in real.items()
    }
    spread = real["embedding"].std(axis=0)
    noise = rng.standard_normal(mixed["embedding"].shape, np.float32)
    mixed["embedding"] = mixed["embedding"] + _NOISE * spread * noise
    return mixed


def make_table(folder: Path, real: dict[str, Rows], count: int) -> Store:
    of = pa.schema(
        {"id": pa.int64(), "seconds": pa.float64()}
        | {name: pa.list_(pa.float32(), values.shape[1]) for name, values in real.items()}
    )

    def batches() -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng(0)
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            mixed = mix(real, size, rng)
            ids, seconds = pa.array(range(start, start + size)), pa.array(np.ones(size))
            columns = [ids, seconds, *map(vector_array, mixed.values())]
            yield pa.RecordBatch.from_arrays(columns, schema=of)

    return Store.create(folder, "mixed", of, batches())


def median_seconds(ask: Callable[[np.ndarray], Any], questions: Rows) -> tuple[float, list[Any]]:
    """Of a question, after the first has warmed the caches; and all answers."""
    seconds, answers = [], []
    for question in [questions[0], *questions]:
        began = time.perf_counter()
        answers.append(ask(question))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:]), answers[1:]


def recall(found: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """The share of the exact answers that are found."""
    shares = [len(np.intersect1d(*pair)) / len(pair[1]) for pair in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def ask_in_memory(ranker: Ranker, questions: Rows, exact: Sequence[np.ndarray]) -> dict[str, float]:
    """Time and recall with the embeddings in memory; nothing where they are too many for it."""
    if "embedding" in ranker.keep():
        return {}

    def ask(question: np.ndarray) -> np.ndarray:
        return ranker.rank(None, Like(None, question), None, NEAREST)[0]

    seconds, found = median_seconds(ask, questions)
    return {"in_memory_s": seconds, "in_memory_recall": recall(found, exact)}


def measure_size(
    folder: Path, index: Index, real: dict[str, Rows], count: int, flags: argparse.Namespace
) -> dict[str, Any]:
    began = time.perf_counter()
    store = make_table(folder, real, count)
    figures: dict[str, Any] = {"sounds": count, "write_s": time.perf_counter() - began}
    questions = mix(real, flags.questions, np.random.default_rng(1))["embedding"]

    def exactly(question: np.ndarray) -> np.ndarray:
        return store.nearest("embedding", question, NEAREST, exact=True)[0]

    figures["exact_s"], exact = median_seconds(exactly, questions)
    if index.settings.match != "cosine":
        column = index.settings.match_column

        def tags(_: np.ndarray) -> float:
            return max(vectors_of(rows, column)[:, 0].max() for rows in store.scan(["id", column]))

        figures["tags_s"], _ = median_seconds(tags, questions[:3])
    figures |= ask_in_memory(Ranker(index.folder, index.settings, store), questions, exact)
    began = time.perf_counter()
    index_store.EXACT_SOUNDS = 0  # so that the vector index is made, and asked, at any size
    store.make_fast(["embedding"])
    figures["make_vector_index_s"] = time.perf_counter() - began
    figures["vector_index"] = []
    for probes in flags.probes:

        def ask(question: np.ndarray, probes: int = probes) -> np.ndarray:
            return store.nearest("embedding", question, NEAREST, probes=probes)[0]

        seconds, found = median_seconds(ask, questions)
        figures["vector_index"].append(
            {"probes": probes, "seconds": seconds, "recall": recall(found, exact)}
        )
    say(f"{figures}")
    return figures


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--index", type=Path, required=True, metavar="FOLDER", help="an index of real sounds"
    )
    parser.add_argument(
        "--sounds",
        type=at_least(300),
        nargs="+",
        default=[100_000, 1_000_000],
        help="numbers of sounds (100000 1000000)",
    )
    parser.add_argument(
        "--probes", type=at_least(1), nargs="+", default=[20, 40, 80], help="lists read (20 40 80)"
    )
    parser.add_argument(
        "--questions", type=at_least(1), default=50, help="questions a size (%(default)s)"
    )
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="where the table is made (temporary folder)"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help="folder of the results"
    )
    return parser


def measure(flags: argparse.Namespace, argv: Sequence[str]) -> None:
    """Measures, and prints and writes the figures."""
    index = Index(flags.index)
    if len(index) < 2:
        raise BenchmarkError(f"{flags.index}: too few sounds. Fix: index some hundreds")
    columns = ["embedding", index.settings.match_column]
    real, limit = read(index, columns), index_store.EXACT_SOUNDS
    sizes = []
    try:
        for count in flags.sounds:
            with tempfile.TemporaryDirectory(dir=flags.work) as folder:
                index_store.EXACT_SOUNDS = limit
                sizes.append(measure_size(Path(folder), index, real, count, flags))
    finally:
        index_store.EXACT_SOUNDS = limit
    figures = {
        "sizes": sizes,
        "real_sounds": len(index),
        "values": {name: values.shape[1] for name, values in real.items()},
        "lancedb": version("lancedb"),
    }
    finish("search", figures, argv, flags.out, ("numpy", "pyarrow"))


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    return run(PROGRAM, lambda: measure(flags, argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
