"""How fast sounds become a dataset, beside a script that does what is released, in one run.

    python -m benchmarks.prepare                        # about 4 minutes on 2 quiet cores
    python -m benchmarks.prepare --memory_sounds 190000 # memory at full size too, 20 GB of disk

`data_prep.from_folder` and `benchmarks.released_script` run as users run them, in turn, on the
sounds of a corpus as they are, as mp3, as flac, and on the three together. `ratio_to_script` is of
these last, the whole time with start-up. The last line is a JSON object.
"""

import argparse
import csv
import importlib.util
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
FREESOUND_SOUNDS = 190_000  # about what the paper was trained on
CLIP_SECONDS = 5.0  # about Freesound's mean; most sounds of the corpus are shorter
CLIP_FORMATS = ("wav", "flac", "ogg", "mp3")
FEW_SOUNDS = 20  # enough for a split; their time is nearly all start-up
PATCH_BYTES = 96 * 96 * 4

Row = tuple[str, str]  # file, tags


class BenchmarkError(RuntimeError):
    """It cannot be measured; the message is a sentence with the cause and the way out."""


@dataclass(frozen=True)
class Form:
    """Sounds to run on: the rows of the CSV `table`, their files relative to `audio`."""

    name: str
    audio: Path
    table: Path
    rows: tuple[Row, ...]


def make_form(name: str, audio: Path, rows: Iterable[Row]) -> Form:
    form = Form(name, audio, audio / f"{name.replace(' ', '_')}.csv", tuple(rows))
    with form.table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "tags"), *form.rows])
    return form


def read_corpus(corpus: Path | None) -> tuple[Path, list[Row]]:
    """The corpus folder and its sounds; by default the one that ./run.sh made."""
    places = [corpus] if corpus else [ROOT / "corpus" / name for name in ("debian", "synthetic")]
    tables = [place / "sounds.csv" for place in places if (place / "sounds.csv").is_file()]
    if not tables:
        looked = " or ".join(str(place / "sounds.csv") for place in places)
        raise BenchmarkError(f"there is no {looked}; run ./run.sh first, or give --corpus")
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = [(row.get("file", ""), row.get("tags", "")) for row in csv.DictReader(file)]
    if len(rows) <= FEW_SOUNDS or not all(map(all, rows)):
        raise BenchmarkError(
            f"{tables[0]}: it must have the columns file and tags and more than {FEW_SOUNDS} rows "
            "with both; ./run.sh makes such a corpus"
        )
    return tables[0].parent, rows


def encode(source: Path, target: Path, seconds: float | None = None) -> str | None:
    """Writes the sound in the format that the target's name says; why not, if it cannot be.

    With `seconds`, it is repeated from its beginning, or cut, to that length.
    """
    try:
        waveform, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
        if waveform.size == 0:
            return "no samples"
        if seconds:
            waveform = np.resize(waveform, (round(seconds * rate_hz), waveform.shape[1]))
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, waveform, rate_hz)
    except soundfile.LibsndfileError as error:
        return error.error_string.strip()
    return None


def encode_all(
    name: str, audio: Path, jobs: Sequence[tuple[Path, Row]], seconds: float | None = None
) -> Form:
    """A form of those (source, row) that can be encoded; prints which cannot."""
    with ThreadPoolExecutor(2) as pool:
        causes = list(pool.map(lambda job: encode(job[0], audio / job[1][0], seconds), jobs))
    for cause, count in Counter(filter(None, causes)).items():
        say(f"{name}: {count} of {len(jobs)} sounds are left out: {cause}")
    rows = [row for (_, row), cause in zip(jobs, causes, strict=True) if cause is None]
    if len(rows) <= FEW_SOUNDS:
        raise BenchmarkError(f"{name}: only {len(rows)} sounds could be encoded; see the causes")
    say(f"{name}: {len(rows)} sounds")
    return make_form(name, audio, rows)


def make_forms(corpus: Path, rows: Sequence[Row], audio: Path) -> list[Form]:
    """As they are, mp3, flac, and the three together, all under the folder `audio`."""
    shutil.copytree(corpus / "audio", audio / "original")
    forms = [make_form("as they are", audio, [(f"original/{file}", tags) for file, tags in rows])]
    for kind in ("mp3", "flac"):
        jobs = [
            (corpus / "audio" / file, (f"{kind}/{number}.{kind}", tags))
            for number, (file, tags) in enumerate(rows)
        ]
        forms.append(encode_all(kind, audio, jobs))
    return [*forms, make_form("together", audio, [row for form in forms for row in form.rows])]


def make_clips(corpus: Path, rows: Sequence[Row], audio: Path, count: int) -> Form:
    """`count` sounds of CLIP_SECONDS, as many of each of CLIP_FORMATS."""
    jobs = []
    for number in range(count):
        file, tags = rows[number * len(rows) // count]
        kind = CLIP_FORMATS[number % len(CLIP_FORMATS)]
        jobs.append((corpus / "audio" / file, (f"clips/{number}.{kind}", tags)))
    return encode_all(f"{CLIP_SECONDS:g} s each", audio, jobs, CLIP_SECONDS)


def few_of(form: Form) -> Form:
    """A few of the sounds with the tags of all, so that all that tags load is loaded."""
    step = len(form.rows) // FEW_SOUNDS
    tags = [" ".join(tags for _, tags in form.rows[n::FEW_SOUNDS]) for n in range(FEW_SOUNDS)]
    return make_form("few", form.audio, [(form.rows[n * step][0], t) for n, t in enumerate(tags)])


def make_many(corpus: Path, rows: Sequence[Row], audio: Path, count: int) -> Form:
    """`count` sounds of at most 0.1 s, with tags as uneven as people's.

    They are the beginnings of the corpus's 50 shortest, no two the same: equal sounds would be one
    group of the split, and a few large groups are split in no time and memory.
    """
    free, needed = shutil.disk_usage(audio).free, count * (2.1 * PATCH_BYTES + 13_000) + 1e9
    if free < needed:
        raise BenchmarkError(
            f"{audio}: {count} sounds need {needed / 1e9:.0f} GB of disk and {free / 1e9:.0f} GB "
            "are free; give a --work with more, or fewer --memory_sounds"
        )
    files = [corpus / "audio" / file for file, _ in rows]
    shortest = sorted(files, key=lambda file: soundfile.info(file).duration)[:50]
    sources = [soundfile.read(file, dtype="int16", always_2d=True) for file in shortest]
    rng = np.random.default_rng(0)
    cumulative = np.cumsum(1 / np.arange(10, 20_010))  # popularity of 20,000 words
    syllables = [first + second for first in "bdfgklmnprtvz" for second in "aeiou"]
    words = [
        syllables[n // 65**2] + syllables[n // 65 % 65] + syllables[n % 65] + "s" * (n % 4 == 0)
        for n in range(cumulative.size)
    ]
    table = []
    for number in range(count):
        waveform, rate_hz = sources[number % len(sources)]
        different = waveform[: rate_hz // 10, 0].copy()
        different[:18] ^= number >> np.arange(18) & 1  # in the lowest bit of its first samples
        name = f"{number // 1000}/{number}.wav"
        (audio / name).parent.mkdir(exist_ok=True)
        soundfile.write(audio / name, different, rate_hz)
        drawn = np.searchsorted(cumulative, cumulative[-1] * rng.random(rng.integers(3, 11)))
        table.append((name, " ".join(words[place] for place in drawn)))
    say(f"many: {count} short sounds")
    return make_form("many", audio, table)


@dataclass(frozen=True)
class Run:
    """One run of a program.

    Attributes:
        seconds: from start to end.
        cpu_seconds: of all its processes; less moved by what else the machine does.
        memory_mb: (seconds since the start, PSS of all its processes), every 30 ms or so. Where
            the kernel tells no PSS, which counts shared pages once, resident size, which is more.
        largest_process_mb: the kernel's own peak resident size of one process, files it maps
            included; not below the size of the program that started it.
    """

    seconds: float
    cpu_seconds: float
    memory_mb: list[tuple[float, float]]
    largest_process_mb: float

    @property
    def peak_mb(self) -> float:
        return max((megabytes for _, megabytes in self.memory_mb), default=0.0)


def measure(command: Sequence[str], log: Path) -> Run:
    """Runs a command in a session of its own; raises BenchmarkError if it fails."""
    memory_mb: list[tuple[float, float]] = []
    ended = threading.Event()
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def watch() -> None:
        cost = 0.0
        while not ended.wait(min(max(0.03, 10 * cost), 0.3)):  # a tenth of one core at most
            before = time.perf_counter()
            memory_mb.append((before - began, session_mb(process.pid)))
            cost = time.perf_counter() - before

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        ended.set()
        if process.returncode is None:  # this program is being stopped
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        watcher.join()
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise BenchmarkError(
            f"{' '.join(command)} ended with {process.returncode}: {' '.join(said)}"
        )
    return Run(seconds, usage.ru_utime + usage.ru_stime, memory_mb, usage.ru_maxrss * 1024 / 1e6)


def session_mb(session: int) -> float:
    """Memory of all processes of a session."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in brackets, may hold anything; the session is the fourth field after it.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                rollup = folder / "smaps_rollup"
                known = rollup.exists()
                text = (rollup if known else folder / "status").read_text()
                total_kb += int(text.split("Pss:" if known else "VmRSS:")[1].split()[0])
        except (OSError, IndexError):  # it has just ended
            continue
    return total_kb * 1024 / 1e6


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
            run = self._run("data_prep.from_folder", form, out, "--workers", str(self.workers))
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


def say(line: str) -> None:
    print(line, flush=True)  # a pipe would hold progress back


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
