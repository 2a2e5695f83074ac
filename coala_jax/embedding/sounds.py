"""Sounds, as files or as samples in memory, to the patches that an encoder takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from coala_jax.audio import decode
from coala_jax.audio.frontend import FrontEnd, LogMel, Patches, Waveform
from coala_jax.audio.level import at_level
from coala_jax.data.scaler import Scaler
from coala_jax.embedding import pooling

Sound = str | Path | np.ndarray  # a file, or samples [sample] or [channel, sample] in [-1, 1]

_BLOCK_SAMPLES = 2**18  # of samples in memory that are analysed at a time


def as_list(sounds: Sound | Iterable[Sound]) -> Iterable[Sound]:
    """The sounds, of which there may be only one.

    Raises:
        ValueError: one array of two axes, which may be many clips or one of many channels.
    """
    if isinstance(sounds, (str, Path)):
        return [sounds]
    if not isinstance(sounds, np.ndarray):
        return sounds
    if sounds.ndim != 1:
        raise ValueError(
            f"an array of shape {list(sounds.shape)} may be many clips, or one of many channels. "
            "Fix: pass list(array) for clips, [array] for one sound of [channel, sample]"
        )
    return [sounds]


@dataclass
class Reader:
    """Cuts sounds into patches as a model was trained on them, block by block.

    level: one of `decode.LEVELS`.
    """

    front_end: FrontEnd
    level: str
    scaler: Scaler

    def blocks(self, sound: Sound, sample_rate_hz: int | None) -> Iterator[Waveform]:
        """One channel at the model's sample rate and level, in blocks.

        At the level `recorded` a sound far beyond full scale is refused: the scaler would clip most
        of it to 1, and the vector would be of nothing that the model has learned.

        Raises:
            DecodeError: the file cannot be decoded; the message says why.
            ValueError: the samples are no waveform, or their rate is missing.
        """
        rate_hz, begin = self.front_end.sample_rate_hz, _stream
        most = np.inf if self.level == "peak" else decode.MAX_PEAK
        if not isinstance(sound, (str, Path, np.ndarray)):
            raise ValueError(f"a sound is a file or an array, not {type(sound).__name__}")
        if isinstance(sound, np.ndarray):
            if sample_rate_hz is None:
                raise ValueError("samples without a rate. Fix: pass sample_rate_hz")
            if not 1_000 <= sample_rate_hz <= 1_000_000:
                raise ValueError(f"sample_rate_hz is {sample_rate_hz}; it must be 1000 to 1000000")
            sound, begin = decode.resample(mono(sound), sample_rate_hz, rate_hz), _cut
            if (peak := np.abs(sound).max()) > most:
                raise ValueError(
                    f"the waveform reaches {peak:.4g}, beyond {most:g}; it must hold floats in "
                    "[-1, 1]. Fix: divide it by its full scale"
                )
        return at_level(lambda: begin(sound, rate_hz, most), self.level)

    def clip(
        self, sound: Sound, sample_rate_hz: int | None, policy: str, heard: "Heard"
    ) -> Iterator[pooling.Clip]:
        """The patches of a sound, scaled; see `pooling.stream`. Raises as `blocks`."""
        blocks = heard.count(self.blocks(sound, sample_rate_hz))
        for part in pooling.stream(self.front_end, blocks, policy):
            yield part._replace(patches=self.scaler.scale(part.patches))

    def windows(
        self, sound: Sound, sample_rate_hz: int | None, hop_seconds: float, heard: "Heard"
    ) -> Iterator["Windows"]:
        """Overlapping patches, scaled; see `windows`. Raises as `blocks`."""
        blocks = heard.count(self.blocks(sound, sample_rate_hz))
        log_mels = self.front_end.stream_log_mel(blocks)
        for part in windows(self.front_end, log_mels, hop_seconds):
            yield part._replace(patches=self.scaler.scale(part.patches))


class Windows(NamedTuple):
    """Overlapping patches, and the time of each one's middle frame."""

    patches: Patches
    seconds: Float64[np.ndarray, " patch"]


class Heard:
    """How much of a sound was read.

    Attributes:
        samples: at the model's sample rate.
        error: that ended it.
    """

    def __init__(self) -> None:
        self.samples, self.error = 0, None

    def count(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        for block in blocks:
            self.samples += block.size
            yield block


def windows(
    front_end: FrontEnd, log_mels: Iterable[LogMel], hop_seconds: float
) -> Iterator[Windows]:
    """A patch every `hop_seconds` from 0 to the end, with silence before and after the sound.

    The time of a patch is that of its middle frame (the 49th of 96), a multiple of `hop_seconds`
    rounded to a frame (23 ms).

    Raises:
        ValueError: the hop is shorter than a frame, or not finite.
    """
    frames_per_second = front_end.sample_rate_hz / front_end.hop_samples
    if not 1 <= hop_seconds * frames_per_second < np.inf:
        raise ValueError(
            f"hop_seconds is {hop_seconds}; it must be at least a frame, "
            f"{1 / frames_per_second:.4f} s"
        )
    size, middle = front_end.patch_frames, front_end.patch_frames // 2
    silence = np.full((front_end.mel_bands, middle), front_end.silence, np.float32)
    buffer, first, place = silence, -middle, 0  # first: the frame at which the buffer begins

    def cut(end: int, last_middle: int) -> Windows | None:
        """The patches that end before the frame `end`, with their middle at most there."""
        nonlocal buffer, first, place
        count = int(max(end, 0) / frames_per_second / hop_seconds) + 2 - place
        middles = np.rint(np.arange(place, place + max(count, 0)) * hop_seconds * frames_per_second)
        middles = middles.astype(np.int64)
        middles = middles[(middles - middle + size <= end) & (middles <= last_middle)]
        if not middles.size:
            return None
        views = np.lib.stride_tricks.sliding_window_view(buffer, size, axis=1)
        patches = np.ascontiguousarray(views[:, middles - middle - first].transpose(1, 0, 2))
        place += middles.size
        # What no later patch can need.
        spent = int(middles[-1]) - middle - first
        buffer, first = buffer[:, spent:], first + spent
        return Windows(patches, middles / frames_per_second)

    frames = 0
    for log_mel in log_mels:
        buffer, frames = np.concatenate([buffer, log_mel], axis=1), frames + log_mel.shape[1]
        if (found := cut(frames, frames)) is not None:
            yield found
    buffer = np.concatenate([buffer, silence], axis=1)
    if (found := cut(frames + middle, frames - 1)) is not None:
        yield found


def mono(waveform: np.ndarray) -> Float32[np.ndarray, " sample"]:
    """The mean of the channels, in float32.

    Raises:
        ValueError: the samples are integers, not finite or none, or the axes are not [sample] or
            [channel, sample].
    """
    shape = list(waveform.shape)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"the waveform holds {waveform.dtype}; it must hold floats in [-1, 1]. "
            "Fix: divide int16 by 32768"
        )
    if waveform.size == 0:
        raise ValueError(f"the waveform has shape {shape}: it holds no sound. Fix: leave it out")
    if waveform.ndim not in (1, 2) or (waveform.ndim == 2 and shape[0] > shape[1]):
        raise ValueError(
            f"the waveform has shape {shape}; it must be [sample] or [channel, sample], "
            "channels first"
        )
    with np.errstate(over="ignore"):  # too large for float32 is found by the next check
        waveform = waveform.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise ValueError("the waveform holds NaN or infinite samples. Fix: export it again")
    return waveform.mean(axis=0) if waveform.ndim == 2 else waveform


def _stream(path: str | Path, rate_hz: int, max_peak: float) -> Iterator[Waveform]:
    return decode.stream(Path(path), rate_hz, max_peak=max_peak)


def _cut(waveform: Waveform, rate_hz: int, max_peak: float) -> Iterator[Waveform]:
    del rate_hz, max_peak  # it has the one already, and is checked
    for start in range(0, waveform.size, _BLOCK_SAMPLES):
        yield waveform[start : start + _BLOCK_SAMPLES]
