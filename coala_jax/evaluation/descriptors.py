"""Acoustic descriptors of sounds and their statistics over time (paper, section 3.3), by librosa.

They are computed on the frames of a sound's maximum-energy patch, without the padding after the
sound. `cca` correlates embeddings with their mean, variance and skewness.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from coala_jax import storage
from coala_jax.audio.decode import load
from coala_jax.audio.errors import DecodeError
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Manifest
from coala_jax.evaluation import cache

DESCRIPTORS = {  # name -> number of values
    "mfcc": 20,
    "chromagram": 12,
    "spectral_centroid": 1,  # Hz
    "spectral_bandwidth": 1,  # Hz
}
STATISTICS = ("mean", "var", "skew")

_LISTED = 20  # files listed in an error
_ROUNDING = 1e-6  # of the largest value; a smaller deviation is the rounding of float32

Rows = dict[str, Float32[np.ndarray, "value frame"]]
Vectors = dict[str, dict[str, Float64[np.ndarray, " value"]]]
Table = dict[str, dict[str, Float64[np.ndarray, "sound value"]]]


class DescriptorError(ValueError):
    """Sounds to describe are missing or cannot be decoded."""


def describe(
    waveform: Float32[np.ndarray, " sample"],
    sample_rate_hz: int,
    *,
    window_samples: int = 1024,
    hop_samples: int = 512,
    first_frame: int = 0,
    frames: int | None = None,
) -> Rows:
    """The DESCRIPTORS of each frame, as librosa's functions give them with their defaults.

    Frame f is centred on sample f * hop, with zeros beyond the sound's ends, as in the front end.

    Args:
        first_frame, frames: which frames to describe, None: all from the first on. Frames after
            the sound's end are left out, but at least one frame is described.
    """
    import librosa  # takes a second to import

    # librosa's own padding would warn of a sound shorter than the window.
    padded = np.pad(waveform, window_samples // 2)
    first = min(first_frame, waveform.size // hop_samples)
    end = None if frames is None else (first + frames - 1) * hop_samples + window_samples
    heard = padded[first * hop_samples : end]
    magnitude = np.abs(
        librosa.stft(heard, n_fft=window_samples, hop_length=hop_samples, center=False)
    )
    power, rate = magnitude**2, sample_rate_hz
    mel = librosa.feature.melspectrogram(S=power, sr=rate)
    tuning = _tuning(power, rate)
    rows = {
        "mfcc": librosa.feature.mfcc(S=librosa.power_to_db(mel), sr=rate, n_mfcc=20),
        "chromagram": librosa.feature.chroma_stft(S=power, sr=rate, tuning=tuning),
        "spectral_centroid": librosa.feature.spectral_centroid(S=magnitude, sr=rate),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=rate),
    }
    return {name: values.astype(np.float32) for name, values in rows.items()}


def statistics(rows: Rows) -> Vectors:
    """Mean, population variance, and skewness m3 / m2 ** 1.5 over the frames; 0 where constant."""
    return {name: _moments(values.astype(np.float64)) for name, values in rows.items()}


def validation_descriptors(
    dataset: Path, audio: Path, kept: storage.PathLike, *, workers: int = 2
) -> Table:
    """The statistics of the validation sounds, in the order of the split.

    Args:
        audio: the folder that the dataset was prepared from; the sounds' ids are paths in it.
        kept: the folder that caches them; reused while dataset and sounds are the same.

    Raises:
        DescriptorError: sounds are missing or cannot be decoded; it lists them.
        DatasetError: there is no dataset, or it is damaged.
    """
    front_end = FrontEnd.from_dict(Manifest.load(dataset).front_end)
    reader = SplitReader(dataset, "validation")
    examples = [reader[number].key for number in range(len(reader))]

    def compute() -> dict[str, np.ndarray]:
        vectors = _compute(examples, audio, front_end, workers)
        return {
            f"{name} {kind}": np.stack([vector[name][kind] for vector in vectors])
            for name in DESCRIPTORS
            for kind in STATISTICS
        }

    arrays = cache.cached(kept, _key(examples, audio, front_end), compute)
    return {name: {kind: arrays[f"{name} {kind}"] for kind in STATISTICS} for name in DESCRIPTORS}


def _compute(
    examples: Sequence[tuple[str, int]], audio: Path, front_end: FrontEnd, workers: int
) -> list[Vectors]:
    def one(example: tuple[str, int]) -> Vectors | str:
        name, frame = example
        path, rate_hz = audio / name, front_end.sample_rate_hz
        try:
            waveform = load(path, rate_hz, allow_silence=True)
        except DecodeError as error:
            return str(error)
        rows = describe(
            waveform,
            rate_hz,
            window_samples=front_end.window_samples,
            hop_samples=front_end.hop_samples,
            first_frame=frame,
            frames=front_end.patch_frames,
        )
        return statistics(rows)

    # One thread per matrix product, since the workers use the cores.
    with (
        tqdm(total=len(examples), unit="sound", desc="acoustic descriptors") as progress,
        threadpool_limits(1),
    ):
        pool, results = ThreadPoolExecutor(workers), []
        try:
            for result in pool.map(one, examples):
                results.append(result)
                progress.update()
        finally:
            pool.shutdown(cancel_futures=True)
    if failures := [result for result in results if isinstance(result, str)]:
        raise _error(f"{audio}: {len(failures)} validation sounds cannot be decoded", failures)
    return results


def _tuning(power: Float32[np.ndarray, "bin frame"], rate_hz: int) -> float:
    """`librosa.estimate_tuning`, in fractions of a chroma bin, without its warning.

    librosa warns of each sound without a peak between 150 and 4,000 Hz; its tuning is 0.
    """
    import librosa

    pitches, strengths = librosa.piptrack(S=power, sr=rate_hz)
    heard = pitches > 0
    if not heard.any():
        return 0.0
    strong = heard & (strengths >= np.median(strengths[heard]))
    return float(librosa.pitch_tuning(pitches[strong], bins_per_octave=DESCRIPTORS["chromagram"]))


def _moments(
    values: Float64[np.ndarray, "value frame"],
) -> dict[str, Float64[np.ndarray, " value"]]:
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    variance = np.mean(centred**2, axis=1)
    spread = np.sqrt(variance)
    varies = spread > _ROUNDING * np.abs(values).max(axis=1)
    standardised = centred / np.where(varies, spread, np.inf)[:, None]
    return {"mean": mean, "var": variance, "skew": np.mean(standardised**3, axis=1)}


def _key(examples: Sequence[tuple[str, int]], audio: Path, front_end: FrontEnd) -> str:
    """Of all that the statistics depend on; the sounds by size and modification time."""
    missing, sounds = [], []
    for name, frame in examples:
        try:
            about = (audio / name).stat()
            sounds.append([name, frame, about.st_size, about.st_mtime_ns])
        except OSError:
            missing.append(name)
    if missing:
        raise _error(
            f"{audio}: {len(missing)} of {len(examples)} validation sounds missing", missing
        )
    return cache.key([front_end.to_dict(), sounds], __name__)


def _error(what: str, files: Sequence[str]) -> DescriptorError:
    listed = "".join(f"\n  {file}" for file in files[:_LISTED])
    more = f"\n  and {len(files) - _LISTED} more" if len(files) > _LISTED else ""
    return DescriptorError(
        f"{what}. Fix: give the folder that the dataset was made from, or restore:{listed}{more}"
    )
