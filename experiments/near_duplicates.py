"""Is a test clip of a proxy task in the free corpus? Searched by the encoder, judged by waveform.

    python -m experiments.near_duplicates --model=runs/ablation/runs/X/model \
        --corpus=runs/ablation/corpus --task=runs/ablation/tasks/events --out=runs/near_duplicates

A model embeds all sounds, pooled over all layers. Of each test clip the nearest sounds of the
corpus are compared with it by waveform: the loudest half second of the shorter, at every place of
the other, by differences from sample to sample, lest two hums or offsets count as one. Digests find
equal files only; this finds what was cut, coded or scaled otherwise, and not what was played at
another speed or mixed with something else. Writes OUT/near_duplicates.json, and prints the pairs
that correlate.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float32, Int
from tqdm import tqdm

from coala_jax import logs, storage
from coala_jax.audio.correlation import RATE_HZ, correlation
from coala_jax.flags import Parser, at_least, run
from experiments import development

PROGRAM = "experiments.near_duplicates"
BOUND = 0.75  # correlation from which two sounds count as one recording
_BLOCK = 512  # test clips whose similarities are in memory at a time

Vectors = Float32[np.ndarray, "sound value"]


def nearest(tests: Vectors, sounds: Vectors, count: int) -> Int[np.ndarray, "test count"]:
    """Of each test clip the nearest sounds by cosine, each value scaled by its spread."""
    units, all_sounds, found = standardized(tests, sounds), standardized(sounds, sounds), []
    for start in range(0, len(tests), _BLOCK):
        similarity = units[start : start + _BLOCK] @ all_sounds.T
        found.append(np.argsort(-similarity, axis=1, kind="stable")[:, :count])
    return np.concatenate(found)


def standardized(vectors: Vectors, sounds: Vectors) -> Vectors:
    """Unit vectors, after each value is scaled by its mean and spread over `sounds`."""
    scaled = (vectors - sounds.mean(axis=0)) / (sounds.std(axis=0) + 1e-6)
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def search(flags: argparse.Namespace) -> dict[str, Any]:
    """The record: by task, the pairs of test clip and sound, the most alike first."""
    from coala_jax.audio.decode import load
    from coala_jax.embedding.embedder import load as load_model
    from coala_jax.evaluation.tasks import load_task

    model, audio = load_model(flags.model, "layers"), flags.corpus / "audio"
    files = [row["file"] for row in development.read_sounds(flags.corpus)]
    vectors = _embed(model, [audio / file for file in files], "corpus")
    found = {}
    for place in flags.task:
        task = load_task(str(place))
        tested = sorted({int(row) for fold in task.folds for row in fold.test})
        clips = [task.root / task.clips[row].file for row in tested]
        near = nearest(_embed(model, clips, task.name), vectors, flags.nearest)
        pairs = []
        for clip, candidates in zip(tqdm(clips, f"{task.name}: waveforms"), near, strict=True):
            waveform = load(clip, RATE_HZ, allow_silence=True)
            pairs += [
                (correlation(waveform, load(audio / files[row], RATE_HZ)), clip, files[row])
                for row in candidates
            ]
        pairs.sort(key=lambda pair: -pair[0])
        alike = [pair for pair in pairs if pair[0] >= BOUND]
        logging.info("%s: %d clips, %d pairs correlate", task.name, len(clips), len(alike))
        found[task.name] = {
            "clips": len(clips),
            "pairs": [[round(c, 3), str(clip.relative_to(task.root)), s] for c, clip, s in alike],
            "highest_below": round(max((p[0] for p in pairs if p[0] < BOUND), default=0.0), 3),
        }
    return {"model": model.digest, "sounds": len(files), "nearest": flags.nearest, "tasks": found}


def _embed(model: Any, files: Sequence[Path], name: str) -> Vectors:
    progress = tqdm(model.embed_each(files), f"{name}: vectors", len(files))
    rows = [np.full(model.embedding_size, np.nan) if e.error else e.vector for e in progress]
    return np.nan_to_num(np.stack(rows)).astype(np.float32)


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="a model")
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="FOLDER", help="folder of the free corpus"
    )
    parser.add_argument(
        "--task", type=Path, nargs="+", required=True, metavar="FOLDER", help="proxy tasks"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the record"
    )
    parser.add_argument(
        "--nearest",
        type=at_least(1),
        default=5,
        help="sounds that are compared with each clip (%(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> None:
        flags.out.mkdir(parents=True, exist_ok=True)  # before the hour, not after it
        record = {"kind": "near_duplicates"} | search(flags)
        record["command"] = shlex.join(["python", "-m", PROGRAM, *argv])
        storage.write_json(flags.out / "near_duplicates.json", record)
        for task, found in record["tasks"].items():
            for value, clip, sound in found["pairs"]:
                print(f"{task}  {value:.3f}  {clip}  {sound}")
            print(f"{task}: {len(found['pairs'])} pairs of {found['clips']} clips")

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
