"""A sound file as one channel of float32 at the front end's sample rate (paper, section 3.1)."""

import functools
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.audio import wavpack
from coala_jax.audio.declared_length import Bytes, declared_frames
from coala_jax.audio.errors import (
    DecodeError,
    EmptyFileError,
    MissingDecoderError,
    MissingFileError,
    NoSamplesError,
    NotFiniteError,
    SampleRateError,
    SilentError,
    TooLongError,
    TooLoudError,
    TruncatedError,
    UnreadableError,
    WrongNameError,
)
from coala_jax.audio.file_kind import not_sound

RESAMPLER = "soxr HQ"  # as datasets name what resampled their sounds
LEVELS = ("recorded", "peak")  # as recorded (paper), or every sound at a peak of 1

# -144 dB: below the last bit of 24. What is left there is the rounding of some earlier step.
_SILENT = 2.0**-24

# No sample format is louder, unnormalised 32 bit integers included; only damaged floats are, and
# their power would pass float32.
_LOUDEST = 2.0**31
# 18 dB above full scale. What is louder was not scaled to [-1, 1], and would set the range that
# scales the patches of all other sounds.
MAX_PEAK = 8.0
# Of a sound that is held in memory as a whole: 317 MB at 22 kHz. A few megabytes of FLAC can hold
# days of silence.
MAX_MINUTES = 60.0

_RATES_HZ = (1_000, 1_000_000)
_BLOCK_SAMPLES = 2**18  # of all channels together: 1 MiB
_RESAMPLED_AT_ONCE = 2**15  # samples; what soxr makes of them on its way stays in the cache
_UNKNOWN_FRAMES = 2**62  # libsndfile gives a FLAC of unknown length 2**63 - 1
_MALFORMED = 3  # libsndfile's code for a header that does not fit its file
# What may be missing: sloppy writers are a few frames off, an mp3's tags are no sound.
_TOLERATED_SECONDS = 0.01
_TOLERATED_SHARE = 0.05
_READ_AHEAD_BYTES = 2**13  # libFLAC's; it stops at an error before it has looked at all of them


def load(
    path: Path,
    sample_rate_hz: int,
    *,
    allow_silence: bool = False,
    max_seconds: float = 60 * MAX_MINUTES,
) -> Float32[np.ndarray, " sample"]:
    """Decodes, averages the channels, resamples; values nominally in [-1, 1].

    sample_rate_hz: of the result.
    allow_silence: whether digital silence is returned; without it `SilentError` is raised.
    max_seconds: of the file; a longer one raises `TooLongError`. `math.inf` for no bound.

    Knows every format of libsndfile by its content, whatever its name, and WavPack when `wvunpack`
    or `ffmpeg` is on PATH. Memory is that of the result and a block, whatever a header claims
    (WavPack is unpacked to a temporary file). A file cut short is found where `declared_length` can
    tell.

    Raises:
        DecodeError: its subclasses say why.
    """
    samples = bytearray()
    for block in stream(path, sample_rate_hz, allow_silence=allow_silence, max_seconds=max_seconds):
        samples.extend(block.tobytes())
    return np.frombuffer(samples, np.float32)


def stream(
    path: Path,
    sample_rate_hz: int,
    *,
    allow_silence: bool = True,
    max_seconds: float = math.inf,
    max_peak: float = math.inf,
) -> Iterator[Float32[np.ndarray, " sample"]]:
    """The samples of `load` block by block: a day of sound takes no more memory than a minute.

    max_peak: of any channel; a louder sound raises `TooLoudError`.

    Raises:
        DecodeError: as `load`; damage is found where it lies, so that blocks may come before.
    """
    peak = heard = 0.0
    for block, loudest in _decoded(path, sample_rate_hz, max_seconds):
        peak = max(peak, loudest)
        if peak > max_peak:
            raise TooLoudError(
                f"{path}: its samples reach {peak:.4g}, beyond {max_peak:g}, where full scale is 1."
                " Fix: export it again, scaled to [-1, 1]"
            )
        if block.size:
            heard = max(heard, float(np.abs(block).max()))
            yield block
    if not allow_silence and heard < _SILENT:
        cause = "its channels cancel each other" if peak >= _SILENT else "every sample is zero"
        raise SilentError(f"{path}: it is silent, {cause}. Fix: leave it out")


def resample(
    waveform: Float32[np.ndarray, " sample"], from_hz: int, to_hz: int, name: str = "the waveform"
) -> Float32[np.ndarray, " resampled"]:
    """The waveform at another rate, by soxr's high-quality recipe.

    Raises:
        NoSamplesError: there is not a single sample at the new rate.
    """
    if from_hz != to_hz and waveform.size:
        waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    if waveform.size == 0:
        raise no_samples(name, to_hz)
    return waveform


def no_samples(name: str, rate_hz: int) -> NoSamplesError:
    """The error for a sound without a single sample at this rate."""
    return NoSamplesError(
        f"{name}: it holds no sound (zero samples at {rate_hz} Hz). Fix: leave it out"
    )


def peak_normalize(
    waveform: Float32[np.ndarray, " sample"],
) -> Float32[np.ndarray, " sample"]:
    """The whole waveform at a peak of 1; digital silence stays silence."""
    peak = np.abs(waveform).max(initial=0.0)
    return waveform / peak if peak else waveform


class _Source(NamedTuple):
    """A file, and the bytes that libsndfile decodes: its own, or those unpacked from it."""

    path: Path
    file: Bytes
    sound: Bytes
    damage: str = ""  # as the unpacking program said

    def unread_bytes(self) -> int:
        """How many bytes libsndfile has not looked at."""
        position = self.sound.tell()
        size = self.sound.seek(0, os.SEEK_END)
        self.sound.seek(position)
        return size - position


class _SoundFile(soundfile.SoundFile):
    """Without the seek to where it is already that soundfile adds to every read.

    After one an MP3 goes on with wrong samples, and a FLAC of unknown length with an error.
    """

    def seekable(self) -> bool:
        return False


def _source(path: Path, file: Bytes, max_seconds: float) -> _Source:
    magic = file.read(4)
    if not magic:
        raise EmptyFileError(f"{path}: it has zero bytes. Fix: download it again or leave it out")
    if magic != b"wvpk":
        return _Source(path, file, file)
    if (unpacked := wavpack.to_wav(path, max_seconds)) is None:
        raise MissingDecoderError(
            f"{path}: it is WavPack, which needs wvunpack (of the package wavpack) or ffmpeg on "
            "PATH. Fix: install one, or convert it to flac"
        )
    wav, damage = unpacked
    if not wav.tell():
        wav.close()
        raise _damaged(path, damage)
    return _Source(path, file, wav, damage)


def _decoded(
    path: Path, to_hz: int, max_seconds: float
) -> Iterator[tuple[Float32[np.ndarray, " sample"], float]]:
    """Blocks of the waveform, some empty, each with the largest absolute value of any channel."""
    try:
        if not path.is_file():
            cause = "it is a folder" if path.is_dir() else "there is no such file"
            raise MissingFileError(f"{path}: {cause}. Fix: correct the path or leave it out")
        with storage.open_binary(path) as file:
            source = _source(path, file, max_seconds)
            with source.sound:
                yield from _decoded_source(source, to_hz, max_seconds)
    except OSError as error:
        raise UnreadableError(
            f"{path}: it may not be read ({error.strerror}). "
            "Fix: correct its path or its permissions, or leave it out"
        ) from error


def _decoded_source(
    source: _Source, to_hz: int, max_seconds: float
) -> Iterator[tuple[Float32[np.ndarray, " sample"], float]]:
    frames = samples = 0
    with _open(source) as sound:
        rate_hz = sound.samplerate
        if sound.format != "MP3" and sound.frames < _UNKNOWN_FRAMES:  # an MP3's may be a guess
            _check_length(source.path, sound.frames / rate_hz, max_seconds)
        # Fed block by block it gives the bits of soxr.resample.
        resampler = soxr.ResampleStream(rate_hz, to_hz, 1, dtype="float32", quality="HQ")
        for block in _blocks(source, sound):
            loudest = float(np.abs(block).max())
            if not loudest <= _LOUDEST:  # NaN compares false
                raise NotFiniteError(
                    f"{source.path}: it holds NaN, infinite or absurdly large samples. "
                    "Fix: export it again"
                )
            frames += len(block)
            _check_length(source.path, frames / rate_hz, max_seconds)
            # Many times faster than mean(axis=1) where channels are few.
            mono = functools.reduce(np.add, block.T) / np.float32(sound.channels)
            resampled = mono if rate_hz == to_hz else _resampled(resampler, mono)
            samples += resampled.size
            yield resampled, loudest
        _check_whole(source, sound, frames)
    if rate_hz != to_hz:
        resampled = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        samples += resampled.size
        yield resampled, 0.0
    if not samples:
        raise no_samples(str(source.path), to_hz)


def _resampled(
    resampler: soxr.ResampleStream, mono: Float32[np.ndarray, " sample"]
) -> Float32[np.ndarray, " resampled"]:
    starts = range(0, mono.size, _RESAMPLED_AT_ONCE)
    chunks = [resampler.resample_chunk(mono[n : n + _RESAMPLED_AT_ONCE]) for n in starts]
    return np.concatenate(chunks)


def _open(source: _Source) -> _SoundFile:
    source.sound.seek(0)
    # libsndfile gets no name: by a name alone it takes the text in a file called .au for samples.
    # It reads from a number as fast as by a name, from an object slower.
    opened = source.sound.fileno() if isinstance(source.sound, io.FileIO) else source.sound
    try:
        sound = _SoundFile(opened, closefd=False)
    except soundfile.LibsndfileError as error:
        raise _refusal(source, error, None, 0) from error
    if not _RATES_HZ[0] <= sound.samplerate <= _RATES_HZ[1]:
        sound.close()
        raise _wrong_rate(source.path, f"{sound.samplerate} Hz")
    return sound


def _blocks(source: _Source, sound: _SoundFile) -> Iterator[Float32[np.ndarray, "frame channel"]]:
    """The sound's blocks, each in the place of the one before."""
    rows = max(1, min(_BLOCK_SAMPLES // sound.channels, sound.frames))
    buffer, frames = np.empty((rows, sound.channels), np.float32), 0
    while frames < sound.frames:
        try:
            block = sound.read(out=buffer)
        except soundfile.LibsndfileError as error:
            raise _refusal(source, error, sound, frames) from error
        if not len(block):
            return
        frames += len(block)
        yield block


def _refusal(
    source: _Source, error: soundfile.LibsndfileError, sound: _SoundFile | None, frames: int
) -> DecodeError:
    """The error for a file that libsndfile stops at, with these frames decoded."""
    path, near_the_end = source.path, source.unread_bytes() < _READ_AHEAD_BYTES
    if (content := not_sound(source.file)) is not None:
        return WrongNameError(
            f"{path}: it holds {content}, no sound. Fix: correct the path, or leave it out"
        )
    if sound is None:
        is_cut = error.code == _MALFORMED
    else:
        declared = declared_frames(source.file, sound, frames)
        is_cut = near_the_end and declared is not None and declared > frames
    if is_cut:
        return _truncated(path)
    cause = error.error_string.strip()
    if "SF_INFO" in cause:  # of what that struct holds, only the rate has no error of its own
        return _wrong_rate(path, "below 1 Hz or above 2**31 Hz")
    return UnreadableError(
        f"{path}: libsndfile cannot read it ({cause}). Fix: convert it to wav or flac, or leave it "
        "out"
    )


def _check_whole(source: _Source, sound: _SoundFile, frames: int) -> None:
    """Raises the error for a file whose end was not among the frames decoded."""
    unread_share = source.unread_bytes() / source.sound.seek(0, os.SEEK_END)
    declared = declared_frames(source.file, sound, frames)
    if declared is not None:
        tolerated = min(_TOLERATED_SECONDS * sound.samplerate, _TOLERATED_SHARE * frames)
        if declared - frames > tolerated:
            raise _truncated(source.path)
    elif sound.format == "MP3" and unread_share > _TOLERATED_SHARE:
        raise UnreadableError(
            f"{source.path}: it is an mp3 that does not tell its length, and libsndfile, which "
            "guesses it from the first bytes, reads only a part. Fix: convert it to wav or flac"
        )
    if source.damage:
        raise _damaged(source.path, source.damage)


def _check_length(path: Path, seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise TooLongError(
            f"{path}: it is longer than {max_seconds:g} s. Fix: cut it or leave it out"
        )


def _wrong_rate(path: Path, rate: str) -> SampleRateError:
    return SampleRateError(
        f"{path}: its header gives a sample rate of {rate}, which is outside {_RATES_HZ[0]} to "
        f"{_RATES_HZ[1]} Hz. Fix: export it again"
    )


def _damaged(path: Path, damage: str) -> UnreadableError:
    return UnreadableError(f"{path}: {damage}. Fix: download it again or leave it out")


def _truncated(path: Path) -> TruncatedError:
    return TruncatedError(
        f"{path}: it is cut short: it holds less sound than its header declares. Fix: download it "
        "again or leave it out"
    )
