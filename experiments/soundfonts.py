"""Which soundfonts of Debian hold the same recordings, compared by waveform.

    python -m experiments.soundfonts --out=runs/soundfonts

Fetches the packages with apt-get, reads every recording, and looks for each recording of a font in
every other font, as it is stored and at 11,025 Hz. It counts as found where a stretch of it, of at
least 1,024 frames, correlates with the other at MIN_CORRELATION or more: louder, trimmed, resampled
or coded by Ogg Vorbis, it is the same recording. Writes OUT/soundfonts.json, with names, and prints
a table.

How: the code of a frame is the signs of 32 differences near it. Equal codes at one distance in two
recordings point to a place, where the correlation is computed.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from absl import logging
from coala_jax.data_prep.sample_corpus.apt import unpack_packages

from coala_jax import logs, storage
from coala_jax.flags import Parser, run
from experiments.sf2 import Recording, read_recordings

PROGRAM = "experiments.soundfonts"
SHARE = "usr/share/sounds"
FONTS = {  # package -> its font
    "fluid-soundfont-gm": f"{SHARE}/sf2/FluidR3_GM.sf2",
    "fluid-soundfont-gs": f"{SHARE}/sf2/FluidR3_GS.sf2",
    "minuet-data": "usr/share/minuet/soundfonts/GeneralUser-v1.47.sf2",
    "timgm6mb-soundfont": f"{SHARE}/sf2/TimGM6mb.sf2",
    "csound-soundfont": f"{SHARE}/sf2/sf_GMbank.sf2",
    "musescore-general-soundfont-small": f"{SHARE}/sf3/MuseScore_General_Lite.sf3",
    "fluidr3mono-gm-soundfont": f"{SHARE}/sf3/FluidR3Mono_GM.sf3",
}
DISK_BYTES = 700_000_000
RATES_HZ = (None, 11_025)  # as it is stored, and resampled by what the font says of its rate
MIN_FRAMES = 1024  # shorter ones are mostly single waves, alike by chance
MAX_FRAMES = 8192  # of which the correlation is computed
MIN_CORRELATION = 0.95
BITS, STRIDE = 32, 4  # of a code, and frames from one sign to the next
KEPT = 16  # one code in so many is kept
MAX_EQUAL = 16  # a code of more frames of one font says nothing
MIN_VOTES = 3  # equal codes at one distance
CANDIDATES = 8  # places that are compared, for each recording
_MAX_SHIFT = 1 << 23  # frames; no recording is longer


@dataclass(frozen=True)
class Font:
    """The recordings of a font, one after the other, and where their codes are.

    Attributes:
        names: of the recordings.
        frames: int16[frame] of all.
        starts: int64[recording + 1], where each begins; last, where all end.
        codes: uint32[code], ascending.
        places: int64[code], the frame of each.
    """

    names: list[str]
    frames: np.ndarray
    starts: np.ndarray
    codes: np.ndarray
    places: np.ndarray

    def recording(self, number: int) -> np.ndarray:
        return self.frames[self.starts[number] : self.starts[number + 1]]


def make_font(recordings: Sequence[Recording], rate_hz: int | None) -> Font:
    """The recordings, resampled to this rate unless it is None, and their codes."""
    waves = [recording.frames for recording in recordings]
    if rate_hz is not None:
        rates_hz = [max(recording.sample_rate_hz, 1) for recording in recordings]
        waves = [
            soxr.resample(wave.astype(np.float32), rate, rate_hz) if wave.size else wave
            for wave, rate in zip(waves, rates_hz, strict=True)
        ]
        waves = [wave.clip(-32768, 32767).astype(np.int16) for wave in waves]
    starts = np.cumsum([0, *map(len, waves)])
    frames = np.concatenate(waves)
    codes, places = _codes(frames)
    order = np.argsort(codes, kind="stable")
    names = [recording.name for recording in recordings]
    return Font(names, frames, starts, codes[order], places[order])


def _codes(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes that are kept, and their places; which are kept follows from the code alone."""
    span, block = BITS * STRIDE, 1 << 22
    codes, places = [], []
    for begin in range(0, len(frames) - span - 8, block):
        part = frames[begin : begin + block + span + 8].astype(np.int32)
        smooth = np.convolve(part, np.ones(4, np.int32), mode="valid")
        rising = smooth[4:] > smooth[:-4]
        count = len(rising) - span
        code = np.zeros(count, np.uint32)
        for bit in range(BITS):
            code |= rising[bit * STRIDE :][:count].astype(np.uint32) << np.uint32(bit)
        kept = np.flatnonzero((code * np.uint32(2654435761)) >> np.uint32(28) == 0)
        codes.append(code[kept])
        places.append(kept + begin)
    empty = np.zeros(0, np.uint32)
    return np.concatenate([empty, *codes]), np.concatenate([empty, *places]).astype(np.int64)


def find(font: Font, other: Font) -> dict[int, int]:
    """The recordings of a font that are found in another one: number -> number there."""
    here, there = _equal_codes(font, other)
    owner = np.searchsorted(font.starts, here, side="right") - 1
    found_in = np.searchsorted(other.starts, there, side="right") - 1
    shift = (there - other.starts[found_in]) - (here - font.starts[owner])
    keys = (owner * len(other.names) + found_in) * 2 * _MAX_SHIFT + shift + _MAX_SHIFT
    keys, votes = np.unique(keys, return_counts=True)
    keys, votes = keys[votes >= MIN_VOTES], votes[votes >= MIN_VOTES]
    pairs, shifts = np.divmod(keys, 2 * _MAX_SHIFT)
    owners, numbers = np.divmod(pairs, len(other.names))
    same: dict[int, int] = {}
    tried: dict[int, int] = {}
    for place in np.argsort(-votes, kind="stable"):
        one, two = int(owners[place]), int(numbers[place])
        if one in same or tried.get(one, 0) >= CANDIDATES:
            continue
        tried[one] = tried.get(one, 0) + 1
        moved = int(shifts[place]) - _MAX_SHIFT
        if correlation(font.recording(one), other.recording(two), moved) >= MIN_CORRELATION:
            same[one] = two
    return same


def _equal_codes(font: Font, other: Font) -> tuple[np.ndarray, np.ndarray]:
    """The places of every pair of equal codes, but for codes that are too frequent."""
    lengths = []
    for one in (font, other):
        begin = np.searchsorted(one.codes, font.codes, side="left")
        lengths.append((begin, np.searchsorted(one.codes, font.codes, side="right") - begin))
    (_, own), (begin, count) = lengths
    count = np.where((own <= MAX_EQUAL) & (count <= MAX_EQUAL), count, 0)
    here = np.repeat(font.places, count)
    first = np.repeat(begin - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
    return here, other.places[first + np.arange(len(here))]


def correlation(one: np.ndarray, two: np.ndarray, shift: int) -> float:
    """Of the frames of `one` and those of `two` that lie `shift` later, in their loudest stretch.

    0 where fewer than MIN_FRAMES are common.
    """
    begin, end = max(0, -shift), min(len(one), len(two) - shift)
    if end - begin < MIN_FRAMES:
        return 0.0
    a = one[begin:end].astype(np.float64)
    b = two[begin + shift : end + shift].astype(np.float64)
    if len(a) > MAX_FRAMES:
        energy = np.concatenate([[0.0], np.cumsum(a * a)])
        loudest = int(np.argmax(energy[MAX_FRAMES:] - energy[:-MAX_FRAMES]))
        a, b = a[loudest:][:MAX_FRAMES], b[loudest:][:MAX_FRAMES]
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-9))


def compare(fonts: dict[str, list[Recording]]) -> dict[str, Any]:
    """What each font holds, and the recordings of each that are found in each other one."""
    long_enough = {
        name: [r for r in recordings if len(r.frames) >= MIN_FRAMES]
        for name, recordings in fonts.items()
    }
    shared: dict[tuple[str, str], dict[str, str]] = {
        pair: {} for pair in itertools.permutations(fonts, 2)
    }
    for rate_hz in RATES_HZ:
        made = {name: make_font(found, rate_hz) for name, found in long_enough.items()}
        for (one, two), names in shared.items():
            found = find(made[one], made[two])
            for number, other in found.items():
                names.setdefault(
                    f"{number} {made[one].names[number]}", f"{other} {made[two].names[other]}"
                )
            logging.info("%s in %s, %s Hz: %d", one, two, rate_hz or "own", len(found))
    return {
        name: {
            "recordings": len(recordings),
            "compared": len(long_enough[name]),
            "found_in": {two: names for (one, two), names in shared.items() if one == name},
        }
        for name, recordings in fonts.items()
    }


def table(fonts: dict[str, Any]) -> str:
    """How many recordings of each row's font are in each column's, as Markdown."""
    rows = [
        ["recordings of", "compared", *(f"in {name}" for name in fonts)],
        ["---"] * (2 + len(fonts)),
    ]
    for name, about in fonts.items():
        counts = [str(len(about["found_in"].get(other, ()))) for other in fonts]
        counts[list(fonts).index(name)] = "-"
        rows.append([name, str(about["compared"]), *counts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def parser() -> Parser:
    program = Parser(PROGRAM, __doc__)
    program.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="what it leaves")
    return program


def work(flags: argparse.Namespace) -> None:
    packages = flags.out / "packages"
    versions = unpack_packages(list(FONTS), packages, flags.out / ".fetch", DISK_BYTES)
    fonts = {name: read_recordings(packages / name / path) for name, path in FONTS.items()}
    found = compare(fonts)
    for name, about in found.items():
        about["version"] = versions[name]
    storage.write_json(flags.out / "soundfonts.json", {"fonts": found})
    print(table(found))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()
    return run(PROGRAM, lambda: work(flags), "run it again; what is unpacked stays")


if __name__ == "__main__":
    sys.exit(main())
