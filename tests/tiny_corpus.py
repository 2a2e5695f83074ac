"""Small folders of sounds with their tables, and what a dataset made of them holds."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import SPLITS


class Corpus(NamedTuple):
    audio: Path
    table: Path
    tags: dict[str, set[str]]  # of each file
    group: dict[str, str]


def write_table(path: Path, tags: dict[str, set[str]], group: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(name, " ".join(sorted(tags[name])), group[name]) for name in tags]
        csv.writer(file).writerows([("file", "tags", "group"), *rows])


def tiny_corpus(folder: Path) -> Corpus:
    """Twelve sounds of 1 sample to 0.2 s, mono and stereo, three tags, takes in pairs."""
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    tags, group = {}, {}
    for number, samples in enumerate([1, 77, *[4400] * 10]):
        name = f"{number:02d}.{'flac' if number % 3 else 'wav'}"
        waveform = rng.uniform(-0.5, 0.5, (samples, 1 + number % 2)) / (1 + number)
        soundfile.write(folder / "audio" / name, waveform, (22_000, 16_000)[number % 2])
        tags[name], group[name] = {f"tag{number % 3}"}, f"take{number // 2}"
    write_table(folder / "sounds.csv", tags, group)
    return Corpus(folder / "audio", folder / "sounds.csv", tags, group)


def copied_corpus(folder: Path, suffix: str) -> Corpus:
    """Twenty sounds in groups of their own, and each once more under another name."""
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    tags = {}
    for number in range(20):
        waveform = rng.integers(-9000, 9000, 500).astype(np.int16)
        for name in (f"a{number:02d}.wav", f"z{number:02d}{suffix}"):
            soundfile.write(folder / "audio" / name, waveform, 22_000)
            tags[name] = {f"tag{number % 2}"}
    group = {name: name for name in tags}
    write_table(folder / "sounds.csv", tags, group)
    return Corpus(folder / "audio", folder / "sounds.csv", tags, group)


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(dataset.iterdir())}


def read(dataset: Path) -> dict[str, dict[str, tuple[np.ndarray, list[int]]]]:
    """split -> file -> patch and tags."""
    readers = {split: SplitReader(dataset, split) for split in SPLITS}
    return {
        split: {example.id: (example.patch, example.tags.tolist()) for example in reader}
        for split, reader in readers.items()
    }


def loudest_patch(log_mel: np.ndarray) -> np.ndarray:
    """Of the patches of 96 frames that start every 12 frames."""
    starts = range(0, log_mel.shape[1] - 95, 12)
    patches = [log_mel[:, start : start + 96] for start in starts]
    return max(patches, key=lambda patch: patch.sum(dtype=np.float64))


def mono(path: Path) -> np.ndarray:
    """The sound at 22,000 Hz."""
    channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(channels.mean(axis=1), rate_hz, 22_000, quality="HQ")
