"""How fast sounds become a dataset, beside a script that does what is released, in one run.

    python -m benchmarks.prepare                        # about 4 minutes on 2 quiet cores
    python -m benchmarks.prepare --memory_sounds 190000 # memory at full size too, 20 GB of disk

`data_prep.from_folder` and `benchmarks.released_script` run as users run them, in turn, on the
sounds of a corpus as they are, as mp3, as flac, and on the three together. `ratio_to_script` is of
these last, the whole time with start-up. The last line is a JSON object.
"""

import argparse
import importlib.util
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.measure import BenchmarkError, Run, measure, say
from benchmarks.sounds import (
    CLIP_FORMATS,
    FEW_SOUNDS,
    Form,
    Row,
    few_of,
    make_clips,
    make_forms,
    make_many,
    read_corpus,
)

FREESOUND_SOUNDS = 190_000  # about what the paper was trained on


def decode_seconds(form: Form, workers: int) -> float:
    """Time to read all files of a form in threads and do nothing with them."""

    def read(row: Row) -> None:
        soundfile.read(form.audio / row[0], dtype="float32")

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(read, form.rows))
    return time.perf_counter() - began


@dataclass(frozen=True)
class Programs:
    """The two programs, to run on a form; what they write in `work` is deleted at once."""

    work: Path
    workers: int

    def from_folder(self, form: Form) -> tuple[Run, int]:
        """Also how many examples the dataset holds."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            out = Path(folder) / "dataset"
            run = self._run(
                "coala_jax.data_prep.from_folder", form, out, "--workers", str(self.workers)
            )
            counts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["counts"]
        return run, sum(counts.values())

    def script(self, form: Form) -> tuple[Run, int]:
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            run = self._run("benchmarks.released_script", form, Path(folder) / "script.npz")
        return run, len(form.rows)

    def _run(self, module: str, form: Form, out: Path, *more: str) -> Run:
        places = ["--audio", form.audio, "--tags", form.table, "--out", out]
        command = [sys.executable, "-m", module, *map(str, places), *more]
        return measure(command, self.work / "log.txt")


@dataclass(frozen=True)
class Result:
    """What runs of one program on one form gave."""

    sounds: int
    in_dataset: int
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    def start_up(self, few: "Result") -> float:
        """Seconds at no sounds, on the line through these runs and those on few sounds."""
        slope = (self.seconds - few.seconds) / (self.sounds - few.sounds)
        return max(0.0, few.seconds - slope * few.sounds)

    def figures(self) -> dict[str, Any]:
        return {
            "sounds": self.sounds,
            "in_dataset": self.in_dataset,
            "sounds_per_second": self.sounds / self.seconds,
            "seconds": [run.seconds for run in self.runs],
            "cpu_seconds": [run.cpu_seconds for run in self.runs],
            "peak_memory_mb": max(run.peak_mb for run in self.runs),
            "largest_process_mb": max(run.largest_process_mb for run in self.runs),
        }


def in_turn(form: Form, rounds: int, *programs: Callable[[Form], tuple[Run, int]]) -> list[Result]:
    """The result of each program; every second round begins with the last of them."""
    runs: dict[int, list[tuple[Run, int]]] = {place: [] for place in range(len(programs))}
    for number in range(rounds):
        for place in sorted(runs, reverse=number % 2 == 1):
            runs[place].append(programs[place](form))
        took = ", ".join(
            f"{programs[place].__name__} {runs[place][-1][0].seconds:.1f} s" for place in runs
        )
        say(f"{form.name}, round {number + 1} of {rounds}: {took}")
    return [
        Result(len(form.rows), done[-1][1], tuple(run for run, _ in done)) for done in runs.values()
    ]


def benchmark(flags: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All of it, in the empty folder `work`; the figures."""
    corpus, rows = read_corpus(flags.corpus)
    programs = Programs(work, flags.workers)
    pair = (programs.from_folder, programs.script)
    audio, audio_of_many = work / "audio", work / "many"
    audio.mkdir()
    audio_of_many.mkdir()
    if flags.memory_sounds:
        many = make_many(corpus, rows, audio_of_many, flags.memory_sounds)
    forms = make_forms(corpus, rows, audio)
    clips, few = make_clips(corpus, rows, audio, flags.clips), few_of(forms[-1])

    in_turn(few, 1, *pair)  # brings programs and libraries from the disk
    few_ours, few_script = in_turn(few, flags.rounds, *pair)
    # A form by itself is timed once for every three times that they are together.
    rounds = [max(1, flags.rounds // 3)] * (len(forms) - 1) + [flags.rounds]
    timed = [in_turn(form, count, *pair) for form, count in zip(forms, rounds, strict=True)]
    start, script_start = timed[-1][0].start_up(few_ours), timed[-1][1].start_up(few_script)
    by_form = {}
    for form, (ours, script) in zip(forms, timed, strict=True):
        decoding = decode_seconds(form, flags.workers)
        by_form[form.name] = {
            "ratio_to_script": script.seconds / ours.seconds,
            "ratio_without_start_up": (script.seconds - script_start) / (ours.seconds - start),
            **ours.figures(),
            "decoding_alone_seconds": decoding,
            "share_of_decoding_alone": decoding / (ours.seconds - start),
            "script": script.figures(),
        }
    (long,) = in_turn(clips, flags.rounds, programs.from_folder)
    decoding = decode_seconds(clips, flags.workers)
    hours = (start + FREESOUND_SOUNDS * (long.seconds - start) / long.sounds) / 3600
    together = by_form["together"]
    figures = {
        "ratio_to_script": together["ratio_to_script"],
        "ratio_without_start_up": together["ratio_without_start_up"],
        "sounds_per_second": together["sounds_per_second"],
        "peak_memory_mb": max(result.figures()["peak_memory_mb"] for result, _ in timed),
        "hours_for_190000_sounds_of_5_s": hours,
        "start_up_seconds": start,
        "script_start_up_seconds": script_start,
        "forms": by_form,
        "sounds_of_5_s": {
            "formats": CLIP_FORMATS,
            **long.figures(),
            "decoding_alone_seconds": decoding,
            "share_of_decoding_alone": decoding / (long.seconds - start),
        },
    }
    if flags.memory_sounds:
        (result,) = in_turn(many, 1, programs.from_folder)
        tenths = peaks_by_tenth(result.runs[0])
        figures["memory_run"] = {**result.figures(), "peak_memory_mb_by_tenth_of_time": tenths}
    return {**figures, "corpus": corpus.name, "workers": flags.workers}


def peaks_by_tenth(run: Run) -> list[float]:
    """Peak memory, MB, in each tenth of the run's time: which stage needs what."""
    tenths = [0.0] * 10
    for seconds, megabytes in run.memory_mb:
        tenth = min(9, int(10 * seconds / run.seconds))
        tenths[tenth] = max(tenths[tenth], megabytes)
    return tenths


def machine() -> dict[str, Any]:
    packages = ("numpy", "scipy", "librosa", "resampy", "soundfile", "soxr")
    versions = {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__}
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "device": models[0] if models else platform.machine(),
        "load_before": os.getloadavg()[0],  # what else ran; well above 0, the times are not quiet
        "versions": versions | {package: version(package) for package in packages},
    }


def say_result(figures: dict[str, Any]) -> None:
    together, long = figures["forms"]["together"], figures["sounds_of_5_s"]
    say(
        f"{together['sounds']} sounds together: {figures['sounds_per_second']:.0f} a second, "
        f"{figures['ratio_to_script']:.1f} times the script; without start-up "
        f"({figures['start_up_seconds']:.1f} s, script {figures['script_start_up_seconds']:.1f} s) "
        f"{figures['ratio_without_start_up']:.1f} times"
    )
    say(
        f"the limit is decoding: alone, with {figures['workers']} threads, it takes "
        f"{together['share_of_decoding_alone']:.0%} of the time without start-up, and "
        f"{long['share_of_decoding_alone']:.0%} with sounds of 5 s"
    )
    say(
        f"{FREESOUND_SOUNDS} sounds of 5 s (real ones repeated; {', '.join(CLIP_FORMATS)} in equal "
        f"parts): {figures['hours_for_190000_sounds_of_5_s']:.2f} hours; peak memory "
        f"{figures['peak_memory_mb']:.0f} MB"
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.prepare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--corpus", type=Path, help="default: the one that ./run.sh makes")
    parser.add_argument("--work", type=Path, help="folder for what is deleted at the end (system)")
    parser.add_argument("--workers", type=int, default=2, help="of from_folder (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--clips", type=int, default=400, help="sounds of 5 s (400)")
    parser.add_argument("--memory_sounds", type=int, default=0, help="short sounds for memory (0)")
    flags = parser.parse_args(argv)
    if min(flags.workers, flags.rounds) < 1 or flags.clips <= FEW_SOUNDS:
        parser.error(f"--workers and --rounds must be at least 1, --clips above {FEW_SOUNDS}")
    if flags.memory_sounds and flags.memory_sounds <= FEW_SOUNDS:
        parser.error(f"--memory_sounds must be 0 or above {FEW_SOUNDS}")
    return flags


def refuse_missing() -> None:
    missing = [name for name in ("librosa", "resampy") if importlib.util.find_spec(name) is None]
    if missing:
        raise BenchmarkError(
            f"the released script needs {' and '.join(missing)}, which requirements.txt has and "
            "this Python has not; pip install -r requirements.txt"
        )
    if "MP3" not in soundfile.available_formats():
        raise BenchmarkError("this libsndfile knows no MP3; 1.1 and newer do")
    if not Path("/proc/self/stat").exists():
        raise BenchmarkError("memory is read from /proc, which is not here; run it on Linux")


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    try:
        refuse_missing()
        where = machine()
        with tempfile.TemporaryDirectory(prefix="coala-prepare-", dir=flags.work) as work:
            figures = benchmark(flags, Path(work).resolve())
    except (BenchmarkError, OSError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    say_result(figures)
    command = " ".join(["python -m benchmarks.prepare", *argv])
    print(json.dumps({"benchmark": "prepare", **figures, **where, "command": command}))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("prepare: terminated"))  # and cleaned up
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("prepare: interrupted; run it again")
