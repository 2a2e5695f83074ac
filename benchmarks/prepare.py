"""How fast sounds become a dataset, beside a script that does what is released, in one run.

    python -m benchmarks.prepare                        # about 3 minutes on 2 quiet cores

`coala_jax.data_prep.from_folder` and `benchmarks.released_script` run as users run them, in turn,
on the sounds of a corpus as they are, as mp3 and as flac together. Sounds of 5 s, about Freesound's
mean, say how long its 190,000 sounds would take. The last line is a JSON object.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.measure import BenchmarkError, ProgramRun, in_turn, measure, say
from benchmarks.result import finish
from benchmarks.sounds import FEW_SOUNDS, SoundSet, few_of, make_clips, make_mixed, read_corpus
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.prepare"
OURS, SCRIPT = "coala_jax.data_prep.from_folder", "benchmarks.released_script"
LEAST_KEPT = 0.95  # of the sounds that the script prepares, or the two do not do the same work
FREESOUND_SOUNDS = 190_000  # about what the paper was trained on
PACKAGES = ("numpy", "scipy", "librosa", "resampy", "soundfile", "soxr")


def run_program(work: Path, workers: int, sounds: SoundSet, module: str) -> ProgramRun:
    """Runs one of the two programs; what it writes is deleted at once.

    Raises:
        BenchmarkError: it fails, or its dataset lacks many of the sounds.
    """
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder) / ("dataset" if module == OURS else "script.npz")
        places = ["--audio", sounds.audio, "--tags", sounds.table, "--out", out]
        more = ["--workers", str(workers)] if module == OURS else []
        run = measure([sys.executable, "-m", module, *map(str, places), *more], work / "log.txt")
        if module == OURS:
            counts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["counts"]
            kept = sum(counts.values())
            say(f"  {kept} of {len(sounds.rows)} sounds are in the dataset")
            if kept < LEAST_KEPT * len(sounds.rows):
                raise BenchmarkError(
                    f"{sounds.table.name}: only {kept} of {len(sounds.rows)} sounds are in the "
                    "dataset; the script prepares all, so that no ratio means anything"
                )
    return run


def decode_seconds(sounds: SoundSet, workers: int) -> float:
    """Time to read all files in threads and do nothing with them."""
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda row: len(soundfile.read(sounds.audio / row[0])[0]), sounds.rows))
    return time.perf_counter() - began


@dataclass(frozen=True)
class Times:
    """Seconds of one program: its start-up, and on a set of sounds, the medians over rounds."""

    few: float
    many: float
    sounds: int

    @property
    def start_up(self) -> float:
        """At no sounds, on the line through both numbers of sounds."""
        slope = (self.many - self.few) / (self.sounds - FEW_SOUNDS)
        return max(0.0, self.few - slope * FEW_SOUNDS)

    @property
    def work(self) -> float:
        return self.many - self.start_up


def median_s(runs: Sequence[ProgramRun]) -> float:
    return statistics.median(run.seconds for run in runs)


def benchmark(flags: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All of it, in the empty folder `work`; the figures."""
    corpus, rows = read_corpus(flags.corpus_folder)
    (work / "audio").mkdir()
    mixed = make_mixed(corpus, rows, work / "audio")
    clips = make_clips(corpus, rows, work / "audio", flags.clips)
    programs = partial(run_program, work, flags.workers)

    def time_both(sounds: SoundSet, rounds: int) -> dict[str, list[ProgramRun]]:
        say(f"{sounds.table.stem}: {len(sounds.rows)} sounds")
        return in_turn({name: partial(programs, sounds, name) for name in (OURS, SCRIPT)}, rounds)

    few = few_of(mixed)
    time_both(few, 1)  # brings programs and libraries from the disk
    runs_few, runs = time_both(few, flags.rounds), time_both(mixed, flags.rounds)
    ours, script = (
        Times(median_s(runs_few[name]), median_s(runs[name]), len(mixed.rows))
        for name in (OURS, SCRIPT)
    )
    say(f"clips: {len(clips.rows)} sounds")
    long_s = median_s([programs(clips, OURS) for _ in range(flags.rounds)]) - ours.start_up
    return {
        "ratio_to_script": script.many / ours.many,
        "ratio_without_start_up": script.work / ours.work,
        "sounds": len(mixed.rows),
        "sounds_per_second": len(mixed.rows) / ours.many,
        "hours_for_190000_sounds_of_5_s": FREESOUND_SOUNDS * long_s / len(clips.rows) / 3600,
        "start_up_s": ours.start_up,
        "script_start_up_s": script.start_up,
        # Of our time without start-up; decoding is what no program can do without.
        "share_of_decoding_alone": decode_seconds(mixed, flags.workers) / ours.work,
        "share_of_decoding_alone_5_s": decode_seconds(clips, flags.workers) / long_s,
        "programs": {
            name: {
                "seconds": [run.seconds for run in of_program],
                "cpu_seconds": [run.cpu_seconds for run in of_program],
                "peak_memory_mb": max(run.peak_mb for run in of_program),
            }
            for name, of_program in runs.items()
        },
        "corpus": corpus.name,
        "workers": flags.workers,
        "rounds": flags.rounds,
    }


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--corpus_folder",
        type=Path,
        metavar="FOLDER",
        help="corpus of real sounds (the one that ./run.sh makes)",
    )
    parser.add_argument(
        "--workers", type=at_least(1), default=2, help="threads of coala prepare (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=3, help="rounds, whose median counts (%(default)s)"
    )
    parser.add_argument(
        "--clips",
        type=at_least(FEW_SOUNDS + 1),
        default=400,
        help="number of sounds of 5 s (%(default)s)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags, load = parser().parse_args(argv), os.getloadavg()[0]

    def work() -> None:
        try:
            import resampy  # noqa: F401 - the released script needs it, and would end in a traceback
        except ImportError as error:
            raise BenchmarkError(f"{error}. Fix: ./run.sh install benchmark") from error
        with tempfile.TemporaryDirectory(prefix="coala-prepare-") as folder:
            figures = benchmark(flags, Path(folder).resolve())
        finish("prepare", figures | {"load_before": load}, argv, packages=PACKAGES)

    return run(PROGRAM, work)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{PROGRAM}: terminated"))  # and cleaned up
    sys.exit(main(sys.argv[1:]))
