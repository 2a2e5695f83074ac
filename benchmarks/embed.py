"""How fast sounds become vectors, beside the released pipeline's steps, in one run.

    python -m benchmarks.embed              # about 15 minutes on 2 quiet cores
    python -m benchmarks.embed --hours=24   # also a day of sound: memory, speed, and what it equals

`model.embed(files)` and the steps of the released pipeline in librosa and PyTorch take turns on the
same files: sounds of a corpus as they are, and as clips of 10 s in four formats. First both
encoders show that they give the same vectors. Decoding with the front end, and the encoder, are
timed alone: both use all cores, so that the sum of their times is our limit. `coala embed` is timed
on an hour of those clips as flac, and from its start to its end on one. The last line is a JSON
object, also written to benchmarks/results.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import BenchmarkError, ProgramRun, in_turn, measure, say
from benchmarks.result import PACKAGES, RESULTS, cores, finish
from coala_jax.flags import Parser, at_least, run

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.models.pretrained import PretrainedModel

PROGRAM = "benchmarks.embed"
FORMATS = ("wav", "flac", "ogg", "mp3")
CLIP_SECONDS, CLIP_RATE_HZ = 10, 44_100
COMMAND_FILTERS = 32  # of the model that `coala embed` is timed with
TAGS = 1000
LOG_MEL_RANGE = (-15.0, 5.0)  # by which patches are scaled
TOLERANCE = 1e-4  # between vectors of the two encoders, of their largest value
HOURS_RATE_HZ = 8_000
HOP_SECONDS = 0.5
LEVELS = ("recorded", "peak")

# Nothing outside the standard library is imported up here: starts are timed, and a missing package
# ends in one sentence.


# --- What is embedded, and with what --------------------------------------------------------------


def make_model(filters: int, level: str = "recorded") -> "PretrainedModel":
    """A model at the paper's sizes, but for its width, with random weights."""
    import jax
    from ml_collections import ConfigDict

    from coala_jax.audio.frontend import FrontEnd
    from coala_jax.default_config import get_config
    from coala_jax.models.coala import build_model, initial_variables
    from coala_jax.models.pretrained import PretrainedModel
    from tests.synthetic import random_weights

    settings = get_config().model.to_dict() | {"filters": filters}
    case = "e_c"  # embeds as AE-C does, and has no decoders
    module = build_model(case, ConfigDict(settings), TAGS)
    shapes = jax.eval_shape(lambda: initial_variables(module, jax.random.key(0)))
    low, high = LOG_MEL_RANGE
    return PretrainedModel(
        case=case,
        vocabulary=[f"tag{number}" for number in range(TAGS)],
        tag_counts=[1] * TAGS,
        tag_processing="paper",
        front_end=FrontEnd().to_dict(),
        level=level,
        scaler={"minimum": low, "maximum": high},
        pooling="mean",
        config={"case": case, "seed": 0, "model": settings},
        dataset_digest="0" * 64,
        variables=random_weights(shapes),
    )


def make_sets(corpus: Path, names: Sequence[str], folder: Path, clips: int) -> dict[str, Any]:
    """Files by set: `clips` sounds of the corpus as they are, and as clips in each format.

    A clip is a sound repeated from its beginning, or cut, to CLIP_SECONDS.
    """
    import numpy as np
    import soundfile

    from coala_jax.audio.decode import load

    sets: dict[str, list[Path]] = {kind: [] for kind in FORMATS}
    for kind in FORMATS:
        (folder / kind).mkdir()
    chosen = [names[number * len(names) // clips] for number in range(clips)]
    for number, name in enumerate(chosen):
        waveform = load(corpus / "audio" / name, CLIP_RATE_HZ, allow_silence=True)
        clip = np.clip(np.resize(waveform, CLIP_SECONDS * CLIP_RATE_HZ), -1, 1)
        for kind in FORMATS:
            sets[kind].append(folder / kind / f"{number}.{kind}")
            soundfile.write(sets[kind][-1], clip, CLIP_RATE_HZ)
    return sets | {"corpus": [corpus / "audio" / name for name in chosen]}


class Released:
    """The released pipeline's steps from a file to its vector, in librosa and PyTorch."""

    def __init__(self, model: "PretrainedModel") -> None:
        import numpy as np
        import torch

        from tests.pytorch_coala import audio_encoder
        from tests.pytorch_weights import weights_from_flax

        torch.set_num_threads(cores())
        settings = model.config["model"]
        self.encoder = audio_encoder(settings["filters"], settings["dropout_rate"]).eval()
        prefix = "audio_encoder."
        weights = weights_from_flax(model.variables).items()
        self.encoder.load_state_dict(
            {name.removeprefix(prefix): w for name, w in weights if name.startswith(prefix)}
        )
        low, high = LOG_MEL_RANGE
        self.minimum, self.span = np.full(96, low, np.float32), np.full(96, high - low, np.float32)
        self.rng = np.random.default_rng(0)

    def embed(self, path: Path) -> Any:
        """The mean over non-overlapping patches, each column of which is scaled by itself."""
        from benchmarks.released_script import PATCH_FRAMES, log_mel_of

        log_mel = log_mel_of(path, self.rng)
        count = log_mel.shape[1] // PATCH_FRAMES
        patches = log_mel[:, : count * PATCH_FRAMES].reshape(len(log_mel), count, PATCH_FRAMES)
        scaled = (patches.transpose(1, 0, 2) - self.minimum) / self.span
        return self.embed_patches(scaled.clip(0)).mean(axis=0)

    def embed_patches(self, patches: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.encoder(torch.from_numpy(patches)[:, None]).numpy()


def check_same_vectors(ours: "Embedder", released: Released) -> float:
    """The largest difference between the vectors of equal patches, of the largest value.

    Raises:
        BenchmarkError: it is beyond rounding.
    """
    import numpy as np

    coarse = np.random.default_rng(0).random((11, 12, 12), np.float32)
    patches = coarse.repeat(8, axis=1).repeat(8, axis=2)
    found, wanted = ours.embed_patches(patches), released.embed_patches(patches)
    difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if not difference < TOLERANCE:
        raise BenchmarkError(
            f"the two encoders' vectors of equal patches differ by {difference:.1e} of their "
            "largest value, so that no ratio means anything"
        )
    say(f"the same vectors of equal patches, to {difference:.1e} of their largest value")
    return difference


# --- One set, side by side ------------------------------------------------------------------------


@dataclass(frozen=True)
class Took:
    seconds: float
    cpu_seconds: float  # of all threads


def timed(work: Callable[[], Any]) -> Took:
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - began, time.process_time() - cpu_began)


def front_end_alone(model: "Embedder", files: Sequence[Path], workers: int) -> int:
    """Makes the patches of all files in threads, and does nothing with them; their number."""
    from coala_jax.embedding.sounds import Heard, Reader

    reader = Reader(model.front_end, model.level, model.scaler)

    def patches(file: Path) -> int:
        return sum(len(part.patches) for part in reader.clip(file, None, "paper", Heard()))

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(patches, files))


def time_set(
    name: str,
    files: Sequence[Path],
    model: "Embedder",
    released: Released,
    flags: argparse.Namespace,
) -> dict[str, Any]:
    import numpy as np

    # Both have to embed every file; this also brings the files from the disk.
    found = list(model.embed_each(files, workers=flags.workers))
    failed = [one.error for one in found if one.vector is None or not np.isfinite(one.vector).all()]
    if failed:
        raise BenchmarkError(f"{name}: {len(failed)} files were not embedded: {failed[0]}")
    seconds_of_sound = sum(one.seconds for one in found)
    released.embed(files[0])  # compiles
    workers = flags.workers or cores()
    count = front_end_alone(model, files, workers)
    patches = np.random.default_rng(0).random((count, 96, 96), np.float32)

    def as_released() -> None:
        rows = [released.embed(file) for file in files]
        if not np.isfinite(rows).all():
            raise BenchmarkError(f"{name}: the released steps do not embed all files")

    arms = {
        "ours": lambda: model.embed(files, workers=flags.workers),
        "released": as_released,
        "front_end": lambda: front_end_alone(model, files, workers),
        "encoder": lambda: model.embed_patches(patches),
    }
    rounds = in_turn({arm: partial(timed, work) for arm, work in arms.items()}, flags.rounds)
    figures = set_figures(rounds, seconds_of_sound)
    say(
        f"{name}: {len(files)} sounds, {figures['times_real_time']:.0f} times real time, "
        f"{figures['ratio_to_released']:.2f} times the released steps, "
        f"{figures['share_of_limit']:.0%} of the limit"
    )
    return {"sounds": len(files), "patches": count, **figures}


def set_figures(rounds: Mapping[str, Sequence[Took]], seconds_of_sound: float) -> dict[str, Any]:
    """The medians over rounds; ratios are medians of those of each round."""
    median = {
        arm: Took(
            statistics.median(took.seconds for took in tooks),
            statistics.median(took.cpu_seconds for took in tooks),
        )
        for arm, tooks in rounds.items()
    }

    def ratio(over: Sequence[str], under: str, measure: str) -> float:
        return statistics.median(
            sum(getattr(rounds[arm][n], measure) for arm in over) / getattr(took, measure)
            for n, took in enumerate(rounds[under])
        )

    return {
        "times_real_time": seconds_of_sound / median["ours"].seconds,
        "ratio_to_released": ratio(["released"], "ours", "seconds"),
        "limit_times_real_time": seconds_of_sound
        / (median["front_end"].seconds + median["encoder"].seconds),
        "share_of_limit": ratio(["front_end", "encoder"], "ours", "seconds"),
        # What other work on the machine does not change much.
        "times_real_time_if_all_cores_were_ours": seconds_of_sound
        * cores()
        / median["ours"].cpu_seconds,
        "ratio_to_released_by_processor_time": ratio(["released"], "ours", "cpu_seconds"),
        "seconds_of_sound": seconds_of_sound,
        "seconds": {arm: [took.seconds for took in tooks] for arm, tooks in rounds.items()},
        "cpu_seconds": {arm: [took.cpu_seconds for took in tooks] for arm, tooks in rounds.items()},
    }


# --- The command ----------------------------------------------------------------------------------


def embed_command(
    work: Path, model: Path, sounds: Path, *more: str, cache: Path | None = None
) -> tuple[ProgramRun, float]:
    """Runs `coala embed` into a table that is deleted; and how many times real time it logged."""
    log = work / "embed.log"
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = f"--out={Path(folder) / 'vectors.parquet'}"
        settings = [] if cache is None else ["env", f"JAX_COMPILATION_CACHE_DIR={cache}"]
        command = [*settings, sys.executable, "-m", "coala_jax.cli", "embed"]
        ran = measure([*command, str(sounds), f"--model={model}", out, *more], log)
    found = re.findall(r": (\d+) times real time$", log.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise BenchmarkError(f"coala embed did not say how fast it was: {log.read_text()[-200:]}")
    return ran, float(found[-1])


def time_command(
    work: Path, model: Path, clips: Sequence[Path], flags: argparse.Namespace
) -> dict[str, Any]:
    """On an hour of sound: the clips over and over, under many names."""
    sounds = work / "hour"
    sounds.mkdir()
    for number in range(3600 // CLIP_SECONDS):
        os.link(clips[number % len(clips)], sounds / f"{number}.flac")
    more = [] if flags.workers is None else [f"--workers={flags.workers}"]
    embed_command(work, model, sounds, *more)  # compiles
    runs = [embed_command(work, model, sounds, *more) for _ in range(flags.rounds)]
    figures = {
        "times_real_time": statistics.median(speed for _, speed in runs),
        "seconds": statistics.median(ran.seconds for ran, _ in runs),
        "cpu_seconds": statistics.median(ran.cpu_seconds for ran, _ in runs),
        "peak_memory_mb": max(ran.peak_mb for ran, _ in runs),
    }
    say(f"coala embed: {figures['times_real_time']:.0f} times real time as it logs")
    return figures


def time_start(work: Path, model: Path, sound: Path, rounds: int) -> dict[str, Any]:
    """From the start of `coala embed` on one file to its end, and of what that consists."""
    cold, warm, parts = [], [], []
    for number in range(rounds):
        cache = work / f"compiled-{number}"
        cold.append(embed_command(work, model, sound, cache=cache)[0])
        warm.append(embed_command(work, model, sound, cache=cache)[0])
        log = work / "start.log"
        wanted = json.dumps({"model": str(model), "sound": str(sound), "cache": str(cache)})
        measure([sys.executable, "-m", PROGRAM, "--start", wanted], log)
        parts.append(json.loads(log.read_text(encoding="utf-8").splitlines()[-1]))
    figures = {
        "first_s": statistics.median(ran.seconds for ran in cold),
        "first_cpu_s": statistics.median(ran.cpu_seconds for ran in cold),
        "again_s": statistics.median(ran.seconds for ran in warm),
        "again_cpu_s": statistics.median(ran.cpu_seconds for ran in warm),
        "of_which": {name: statistics.median(one[name] for one in parts) for name in parts[0]},
    }
    say(f"start: {figures['first_s']:.1f} s, again {figures['again_s']:.1f} s")
    return figures


def be_started(wanted: dict[str, str]) -> None:
    """A process of `time_start`: says where the time of a start with the cache goes."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = wanted["cache"]  # which JAX reads when imported
    began = time.perf_counter()
    marks = {}

    def mark(name: str) -> None:
        nonlocal began
        marks[name], began = time.perf_counter() - began, time.perf_counter()

    import coala_jax.cli.embed
    import coala_jax.embedding.folder
    import coala_jax.embedding.table  # noqa: F401 - what the command imports
    from coala_jax.embedding.embedder import load
    from coala_jax.training import parallel

    mark("import_s")
    model = load(wanted["model"])
    parallel.keep_compiled_steps()
    mark("load_s")
    model.embed(wanted["sound"])
    mark("first_call_s")
    model.embed(wanted["sound"])
    mark("second_call_s")
    print(json.dumps(marks))


# --- Hours of sound -------------------------------------------------------------------------------


def make_long(file: Path, hours: float) -> None:
    """A flac of 8 kHz: noise that swells and fades, so that no two minutes are alike."""
    import numpy as np
    import soundfile

    rng, block = np.random.default_rng(0), 60 * HOURS_RATE_HZ
    with soundfile.SoundFile(file, "w", HOURS_RATE_HZ, 1, "PCM_16") as out:
        for start in range(0, round(hours * 3600 * HOURS_RATE_HZ), block):
            seconds = (start + np.arange(block)) / HOURS_RATE_HZ
            swell = 0.3 + 0.25 * np.sin(seconds / 7) * np.sin(seconds / 311)
            out.write((swell * rng.uniform(-1, 1, block)).astype(np.float32))


def time_hours(work: Path, models: Mapping[str, Path], hours: int) -> dict[str, Any]:
    """Memory and speed of `coala embed` on hours of sound, and what one hour equals."""
    long, hour = work / "long.flac", work / "hour.flac"
    make_long(long, hours)
    make_long(hour, 1)
    figures: dict[str, Any] = {"hours": hours, "runs": {}, "streamed_from_whole": {}}
    for level, model in models.items():
        for hop in ((), (f"--hop_seconds={HOP_SECONDS}",)):
            ran, speed = embed_command(work, model, long, *hop)
            name = " ".join([level, *hop])
            figures["runs"][name] = {
                "peak_memory_mb": ran.peak_mb,
                "times_real_time": speed,
                "seconds": ran.seconds,
                "cpu_seconds": ran.cpu_seconds,
            }
            say(f"{hours} h, {name}: {ran.peak_mb:.0f} MB, {speed:.0f} times real time")
        figures["streamed_from_whole"][level] = difference_from_whole(model, hour)
    return figures


def difference_from_whole(folder: Path, file: Path) -> float:
    """Of a file's vector from that of its log-mel as one array, relative to the largest value."""
    import numpy as np

    from coala_jax.audio import decode
    from coala_jax.embedding.embedder import load

    model = load(folder)
    waveform = decode.load(file, model.sample_rate_hz)
    if model.level == "peak":
        waveform = decode.peak_normalize(waveform)
    patches = model.front_end.consecutive_patches(model.front_end.log_mel(waveform))
    whole = model.embed_patches(model.scaler.scale(patches)).mean(axis=0, dtype=np.float64)
    (streamed,) = model.embed(file)
    return float(np.abs(streamed - whole).max() / np.abs(whole).max())


# --- The program ----------------------------------------------------------------------------------


def benchmark(flags: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """The figures so far, after each part."""
    from benchmarks.sounds import read_corpus
    from coala_jax.embedding.embedder import load

    load_before = os.getloadavg()[0]
    corpus, rows = read_corpus(flags.corpus_folder)
    sets = make_sets(corpus, [name for name, _ in rows], work, flags.clips)
    pretrained = make_model(flags.filters)
    pretrained.save_pretrained(work / "model")
    model, released = load(work / "model"), Released(pretrained)
    figures: dict[str, Any] = {"disagreement": check_same_vectors(model, released)}
    figures["sets"] = {
        name: time_set(name, files, model, released, flags) for name, files in sets.items()
    }
    figures |= {
        "filters": flags.filters,
        "rounds": flags.rounds,
        "workers": flags.workers or cores(),
        "corpus": corpus.name,
        "load_before": load_before,  # well above 0: something else was running
    }
    yield figures
    small = {level: work / f"small-{level}" for level in LEVELS}
    filters = min(flags.filters, COMMAND_FILTERS)
    for level, folder in small.items():
        make_model(filters, level).save_pretrained(folder)
    figures["coala_embed"] = time_command(work, small["recorded"], sets["flac"], flags)
    figures["coala_embed"]["filters"] = filters
    figures["start"] = time_start(work, work / "model", sets["flac"][0], flags.rounds)
    yield figures
    if flags.hours:
        figures["long"] = time_hours(work, small, flags.hours)
        yield figures


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--corpus_folder",
        type=Path,
        metavar="FOLDER",
        help="corpus of real sounds (the one that ./run.sh makes)",
    )
    parser.add_argument(
        "--clips", type=at_least(1), default=100, help="sounds in each set (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=3, help="rounds, whose median counts (%(default)s)"
    )
    parser.add_argument(
        "--filters", type=at_least(1), default=128, help="width of the model (%(default)s)"
    )
    parser.add_argument(
        "--workers", type=at_least(1), help="threads of ours that read sounds (number of cores)"
    )
    parser.add_argument(
        "--hours",
        type=at_least(0),
        default=0,
        help="length of one long sound; 0: left out (%(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="folder of the results (benchmarks/results)",
    )
    parser.add_argument("--start", type=json.loads, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        if flags.start:
            be_started(flags.start)
            return
        try:
            import resampy  # noqa: F401 - the released steps need it
            import torch  # noqa: F401
        except ImportError as error:
            raise BenchmarkError(f"{error}. Fix: ./run.sh install test benchmark") from error
        packages = (*PACKAGES, "torch", "librosa", "resampy", "soundfile", "soxr")
        with tempfile.TemporaryDirectory(prefix="coala-embed-") as folder:
            for figures in benchmark(flags, Path(folder).resolve()):
                finish("embed", figures, argv, flags.out, packages)

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
