"""Acoustic descriptors of sounds, and how they spread over time (paper, section 3.3), by librosa.

Descriptors are of frames: of those that the maximum-energy patch of a sound holds, without the
padding behind the sound. Their mean, variance and skewness are what `cca` correlates with.
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

DESCRIPTORS = {  # and how many values each has
    "mfcc": 20,
    "chromagram": 12,
    "spectral_centroid": 1,  # Hz
    "spectral_bandwidth": 1,  # Hz
}
STATISTICS = ("mean", "var", "skew")

_LISTED = 20  # files that an error names
# Of a row's largest value; a spread below it is the rounding of float32.
_ROUNDING = 1e-6

Rows = dict[str, Float32[np.ndarray, "value frame"]]
Vectors = dict[str, dict[str, Float64[np.ndarray, " value"]]]
Table = dict[str, dict[str, Float64[np.ndarray, "sound value"]]]


class DescriptorError(ValueError):
    """Sounds that descriptors are wanted of cannot be read."""


def describe(
    waveform: Float32[np.ndarray, " sample"],
    sample_rate_hz: int,
    *,
    window_samples: int = 1024,
    hop_samples: int = 512,
    first_frame: int = 0,
    frames: int | None = None,
) -> Rows:
    """The rows of each of DESCRIPTORS: the values of librosa's functions with their defaults.

    Frame f is centred on sample f * hop, with zeros beyond the sound's ends, as in the front end.

    Args:
        first_frame, frames: which to describe; a frame hears its neighbours' samples, so that no
            edge is heard where the sound goes on. Frames behind the sound's last are left out, but
            not that one. None: all that follow.
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
    """The STATISTICS of each row over its frames: population variance; skewness m3 / m2 ** 1.5.

    The skewness of a constant row is 0.
    """
    return {name: _moments(values.astype(np.float64)) for name, values in rows.items()}


def validation_descriptors(
    dataset: Path, audio: Path, kept: storage.PathLike, *, workers: int = 2
) -> Table:
    """The statistics of the validation sounds, in the order of the split.

    Args:
        audio: the folder that the dataset's sounds were prepared from; their ids are paths in it.
        kept: a folder to keep them in; used again while dataset and sounds are the same.

    Raises:
        DescriptorError: sounds that are missing or cannot be decoded; it lists them.
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

    # One thread a product, since the workers are as many as shall run.
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
    """What `librosa.estimate_tuning` gives, in fractions of a bin of the chromagram.

    Where no peak is heard from 150 to 4,000 Hz that is 0, but it warns of each such sound.
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
    """A digest of all that the statistics depend on; the sounds by their size and time."""
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
        f"{what}; give the folder that the dataset was prepared from, or restore:{listed}{more}"
    )
