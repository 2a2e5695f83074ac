"""What the released preparation does to sounds, written straightforwardly: one process, librosa.

    python -m benchmarks.released_script --audio=sounds --tags=tags.csv --out=x.npz

What `benchmarks.prepare` compares with. Sounds are loaded one after the other, scaled at the end
and written to one file. Vocabulary, split and records with checksums, which
`coala_jax.data_prep.from_folder` makes as well, are left out.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
from jaxtyping import Float32

from coala_jax.flags import Parser

SAMPLE_RATE_HZ = 22_000
CLIP_SAMPLES = 10 * SAMPLE_RATE_HZ
NOISE = 5e-4  # times U[0, 1), over the whole padded buffer
PATCH_FRAMES = 96
STEP_FRAMES = 12


def log_mel_of(path: Path, rng: np.random.Generator) -> Float32[np.ndarray, "mel time"]:
    """Of a sound, or of the 10 s that a shorter one is padded to."""
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, res_type="kaiser_fast")
    padded = np.zeros(max(CLIP_SAMPLES, waveform.size), np.float32)
    padded[: waveform.size] = waveform
    padded += NOISE * rng.random(padded.size, dtype=np.float32)
    mel = librosa.feature.melspectrogram(
        y=padded,
        sr=SAMPLE_RATE_HZ,
        n_fft=1024,
        hop_length=512,
        n_mels=96,
        window="hann",
        power=1.0,
        pad_mode="reflect",  # what the librosa of its time did by default
    )
    return np.log(mel + np.finfo(np.float32).eps)


def patch_of(path: Path, rng: np.random.Generator) -> Float32[np.ndarray, "mel time"]:
    """The loudest log-mel patch of a sound, not yet scaled."""
    log_mel = log_mel_of(path, rng)
    starts = range(0, log_mel.shape[1] - PATCH_FRAMES + 1, STEP_FRAMES)
    loudest = max(starts, key=lambda start: log_mel[:, start : start + PATCH_FRAMES].sum())
    return log_mel[:, loudest : loudest + PATCH_FRAMES]


def scale(patches: Float32[np.ndarray, "sound mel time"]) -> Float32[np.ndarray, "sound mel time"]:
    """To [0, 1], with a minimum and a maximum of each time column over sounds and mel bands."""
    minimum = patches.min(axis=(0, 1))
    return (patches - minimum) / (patches.max(axis=(0, 1)) - minimum)


def parser() -> Parser:
    parser = Parser("benchmarks.released_script", __doc__)
    parser.add_argument(
        "--audio", type=Path, required=True, metavar="FOLDER", help="folder of the sounds"
    )
    parser.add_argument(
        "--tags", type=Path, required=True, metavar="CSV", help="table with columns file and tags"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .npz file to write"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    flags = parser().parse_args(argv)
    with flags.tags.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    patches = np.stack([patch_of(flags.audio / row["file"], rng) for row in rows])
    names, tags = [row["file"] for row in rows], [row["tags"] for row in rows]
    np.savez(flags.out, patches=scale(patches), tags=tags, ids=names)


if __name__ == "__main__":
    main()
