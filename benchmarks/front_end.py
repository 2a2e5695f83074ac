"""How fast sounds become log-mel spectrograms, side by side with librosa.

    python -m benchmarks.front_end [--audio DIR]

The sounds are those of DIR (default: corpus/debian/audio, which ./run.sh makes), or, where there
are none, short sounds by formula. They are measured padded to 10 s, and joined and cut to clips of
10 s. librosa gets them padded and keeps its mel filters, which are half of its time otherwise; all
take turns on one core, and the median over the rounds counts. The last line is one JSON object.
"""

import argparse
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from coala_jax.audio.decode import DecodeError, load
from coala_jax.audio.frontend import FrontEnd

AUDIO = Path("corpus/debian/audio")
SETTINGS = {
    "paper": FrontEnd(),
    "float64": FrontEnd(precision="float64"),
    "released": FrontEnd.released(),
}
_TRANSFORMS = "transforms alone"
_TRANSFORM_ROWS = 64
_TOLERANCE = 1e-6  # of the frame's largest band

Waveforms = list[np.ndarray]


def recorded(folder: Path, rate_hz: int, count: int) -> Waveforms:
    """At most `count` sounds, evenly spaced over the sorted paths of the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    waveforms = []
    for path in paths[:: math.ceil(len(paths) / count) or 1]:
        try:
            waveforms.append(load(path, rate_hz))
        except DecodeError as error:
            print(f"left out: {error}")
    return waveforms


def synthetic(rate_hz: int, count: int) -> Waveforms:
    """Fading tones in a little noise, of 0.2 to 5 s, half of them shorter than 1 s."""
    rng = np.random.default_rng(0)
    waveforms = []
    for place in range(count):
        time_s = np.arange(round(rate_hz * 0.2 * 25 ** (place / count))) / rate_hz
        fading = np.sin(2 * np.pi * rng.uniform(100, 5000) * time_s) * np.exp(-3 * time_s)
        waveforms.append((fading + rng.normal(0, 1e-3, time_s.size)).astype(np.float32))
    return waveforms


def librosa_energies(waveform: np.ndarray, front_end: FrontEnd, filters: np.ndarray) -> np.ndarray:
    """librosa.feature.melspectrogram, without the making of the filters."""
    spectrum = librosa.stft(
        waveform,
        n_fft=front_end.window_samples,
        hop_length=front_end.hop_samples,
        window=front_end.window,
        pad_mode={"zeros": "constant", "reflect": "reflect"}[front_end.edges],
    )
    return filters @ np.abs(spectrum) ** front_end.power


def librosa_log_mel(waveform: np.ndarray, front_end: FrontEnd, filters: np.ndarray) -> np.ndarray:
    energies = librosa_energies(waveform, front_end, filters)
    return np.log(energies + np.float32(front_end.log_offset))


def contestants(waveforms: Waveforms, filters: np.ndarray) -> dict[str, Callable[[], object]]:
    """For each column of the table, what computes all sounds once."""
    clip = round(SETTINGS["paper"].clip_seconds * SETTINGS["paper"].sample_rate_hz)
    padded = [np.pad(sound, (0, max(0, clip - sound.size))) for sound in waveforms]
    block = np.random.default_rng(0).random((_TRANSFORM_ROWS, 1024), np.float32)
    blocks = round(len(waveforms) * (1 + clip // 512) / _TRANSFORM_ROWS)
    calls = {_TRANSFORMS: lambda: [scipy.fft.rfft(block, axis=1) for _ in range(blocks)]}
    for name, front_end in SETTINGS.items():
        calls[name] = lambda front_end=front_end: [*map(front_end.log_mel, waveforms)]
        calls[f"{name}, librosa"] = lambda front_end=front_end: [
            librosa_log_mel(sound, front_end, filters) for sound in padded
        ]
    return calls


def medians_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call; in every other round the turns are reversed."""
    seconds = {name: [] for name in calls}
    for number in range(-1, rounds):  # the first round warms up and does not count
        for name in list(calls)[:: 1 if number % 2 else -1]:
            began = time.perf_counter()
            calls[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return {name: 1e3 * float(np.median(taken)) for name, taken in seconds.items()}


def largest_difference(clips: Waveforms, filters: np.ndarray) -> float:
    """Between our mel energies and librosa's, as a share of the frame's largest band."""
    worst, front_end = 0.0, SETTINGS["paper"]
    for clip in clips:
        expected = librosa_energies(clip, front_end, filters)
        difference = np.abs(front_end.mel_energies(clip) - expected)
        largest = np.maximum(expected.max(axis=0), np.finfo(np.float32).tiny)
        worst = max(worst, float((difference / largest).max()))
    return worst


def copy_gb_per_s() -> float:
    """Bytes read and written in a second by a copy that no cache holds."""
    source = np.ones(2**25, np.float32)
    target = np.zeros_like(source)
    began = time.perf_counter()
    np.copyto(target, source)
    return 2 * source.nbytes / (time.perf_counter() - began) / 1e9


def cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(waveforms: Waveforms, rounds: int) -> dict[str, float]:
    """All figures by name; those of the paper's settings have no suffix."""
    paper = SETTINGS["paper"]
    clip = round(paper.clip_seconds * paper.sample_rate_hz)
    joined = np.concatenate(waveforms)
    clips = list(np.resize(joined, (min(8, -(-joined.size // clip)), clip)))
    filters = librosa.filters.mel(
        sr=paper.sample_rate_hz, n_fft=paper.window_samples, n_mels=paper.mel_bands
    )
    figures = {}
    for kind, sounds in (("padded", waveforms), ("full", clips)):
        taken = medians_ms(contestants(sounds, filters), rounds)
        for name in SETTINGS:
            key = f"{kind}{_suffix(name)}"
            figures[f"ms_{key}"] = taken[name] / len(sounds)
            figures[f"ms_librosa_{key}"] = taken[f"{name}, librosa"] / len(sounds)
            figures[f"ratio_to_librosa_{key}"] = taken[f"{name}, librosa"] / taken[name]
        figures[f"ms_transforms_{kind}"] = taken[_TRANSFORMS] / len(sounds)
    frames, size = 1 + clip // paper.hop_samples, paper.window_samples
    operations = frames * 2.5 * size * math.log2(size)  # of real transforms
    figures["transforms_gflop_per_s"] = operations / figures["ms_transforms_full"] / 1e6
    figures["copy_gb_per_s"] = copy_gb_per_s()
    figures["largest_difference"] = largest_difference(clips, filters)
    return figures


def show(figures: dict[str, float]) -> None:
    """The table and the limit, for a terminal."""
    print(f"{'ms a sound':<18}{'padded':>8}{'librosa':>9}{'ratio':>7}", end="")
    print(f"{'10 s full':>12}{'librosa':>9}{'ratio':>7}")
    for name in SETTINGS:
        padded, full = (
            [figures[f"{what}_{kind}{_suffix(name)}"] for what in ("ms", "ms_librosa")]
            + [figures[f"ratio_to_librosa_{kind}{_suffix(name)}"]]
            for kind in ("padded", "full")
        )
        print(f"{name:<18}{padded[0]:>8.3f}{padded[1]:>9.3f}{padded[2]:>7.1f}", end="")
        print(f"{full[0]:>12.3f}{full[1]:>9.3f}{full[2]:>7.1f}")
    paper = SETTINGS["paper"]
    samples = paper.clip_seconds * paper.sample_rate_hz
    megabytes = 4 * (samples + samples / paper.hop_samples * paper.mel_bands) / 1e6
    print(
        f"limit: arithmetic in cache, not memory: of {figures['ms_full']:.2f} ms the transforms "
        f"alone take {figures['ms_transforms_full']:.2f} ms, at "
        f"{figures['transforms_gflop_per_s']:.0f} GFLOP/s on one core; {megabytes:.1f} MB in and "
        f"out would take {megabytes / figures['copy_gb_per_s']:.2f} ms"
    )


def _suffix(name: str) -> str:
    return "" if name == "paper" else "_" + name.replace(" ", "_")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.front_end", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--audio", type=Path, help=f"folder of sounds; default: {AUDIO}")
    parser.add_argument("--sounds", type=int, default=32, help="how many of them")
    parser.add_argument("--rounds", type=int, default=15)
    flags = parser.parse_args(argv)
    rate_hz = SETTINGS["paper"].sample_rate_hz
    folder = flags.audio or (AUDIO if AUDIO.is_dir() else None)
    waveforms = recorded(folder, rate_hz, flags.sounds) if folder else []
    if folder and not waveforms:
        print(f"front_end: {folder} holds no sound; correct --audio", file=sys.stderr)
        return 1
    source = str(folder) if folder else f"by formula, because there is no {AUDIO}"
    waveforms = waveforms or synthetic(rate_hz, flags.sounds)
    seconds = float(np.median([sound.size for sound in waveforms])) / rate_hz
    print(f"{len(waveforms)} sounds of {seconds:.2f} s in the median ({source})")
    with threadpool_limits(1):  # a core each is how a dataset is made
        figures = measure(waveforms, flags.rounds)
    show(figures)
    arguments = sys.argv[1:] if argv is None else argv
    packages = ("librosa", "numpy", "scipy")
    report = {key: float(f"{figure:.3g}") for key, figure in figures.items()} | {
        "sounds": len(waveforms),
        "sounds_from": source,
        "device": f"{cpu_name()}, 1 of {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
        "command": shlex.join(["python", "-m", "benchmarks.front_end", *arguments]),
    }
    print(json.dumps(report))
    if figures["largest_difference"] > _TOLERANCE:
        print("front_end: the energies are not librosa's; see largest_difference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
