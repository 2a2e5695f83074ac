"""Sound files to log-mel patches, in a pool of workers, kept on disk as they are made.

The sounds are worked through in parts of 32. A part is a file of patches and, written after it, a
JSON that says what became of each of its sounds; a run that was killed goes on with the parts that
are not there. What a part holds depends on its sounds alone, not on who works on it, or when.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

import google_crc32c
import numpy as np
from jaxtyping import Float32
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from coala_jax.audio.decode import DecodeError, load
from coala_jax.audio.frontend import FrontEnd

_PART_SOUNDS = 32


@dataclass(frozen=True)
class Outcome:
    """What became of one sound.

    frames: the first frame of each patch, in order of time; none where the sound failed.
    seconds: duration of the sound; 0 where it failed.
    digest: of the decoded waveform; equal for sounds that are the same sample for sample.
    error, cause: the name of the error without "Error", and what it says without the audio folder;
        both empty where the sound is fine.
    """

    frames: tuple[int, ...] = ()
    seconds: float = 0.0
    digest: str = ""
    error: str = ""
    cause: str = ""


class Extracted:
    """The outcome of every sound, and its patches read from disk when asked for."""

    def __init__(self, folder: Path, outcomes: Sequence[Outcome], front_end: FrontEnd) -> None:
        self.outcomes = outcomes
        self._folder, self._shape = folder, (front_end.mel_bands, front_end.patch_frames)
        counts = [len(outcome.frames) for outcome in outcomes]
        self._first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def patch(self, place: int, number: int) -> Float32[np.ndarray, "mel time"]:
        """Patch `number` of the sound at `place`."""
        part = place // _PART_SOUNDS
        row = int(self._first[place] - self._first[part * _PART_SOUNDS]) + number
        values = math.prod(self._shape)
        path = _patches_file(self._folder, part)
        return np.fromfile(path, np.float32, values, offset=row * values * 4).reshape(self._shape)


def extract(
    files: Sequence[str],
    audio: Path,
    front_end: FrontEnd,
    folder: Path,
    *,
    patches_per_sound: int = 1,
    max_seconds: float = math.inf,
    workers: int = 2,
) -> Extracted:
    """Decodes the files (relative to `audio`) and keeps their loudest patches in `folder`.

    `folder` exists; what is whole in it is not made again, and sounds that failed are tried again,
    for the cause may be gone. A sound that cannot be decoded costs that sound alone. All patches of
    a sound are kept when `patches_per_sound` is 0, but none that holds padding alone.
    """

    def one(file: str) -> tuple[Outcome, list[np.ndarray]]:
        path = audio / file
        try:
            waveform = load(path, front_end.sample_rate_hz, max_seconds=max_seconds)
        except DecodeError as error:
            name = type(error).__name__.removesuffix("Error")
            return Outcome(error=name, cause=str(error).removeprefix(f"{path}: ")), []
        log_mel = front_end.log_mel(waveform)
        sounding = front_end.without_padding(log_mel, waveform.size)
        frames = front_end.patch_starts(sounding, patches_per_sound).tolist()
        digest = hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest()
        seconds = waveform.size / front_end.sample_rate_hz
        patches = [log_mel[:, frame : frame + front_end.patch_frames] for frame in frames]
        return Outcome(tuple(frames), seconds, digest), patches

    parts = range(-(-len(files) // _PART_SOUNDS))
    results = [_kept(folder, part, front_end) for part in parts]
    rest = [
        part
        for part in parts
        if results[part] is None or any(outcome.error for outcome in results[part])
    ]
    members = [files[part * _PART_SOUNDS : (part + 1) * _PART_SOUNDS] for part in parts]
    done = sum(map(_good, results))
    if done:
        print(f"{done} of {len(files)} sounds are there from an earlier run that was stopped")
    # Decoding, resampling, FFT and products all release Python's lock: threads are enough. One
    # thread a product, since the workers are as many as shall run.
    with (
        tqdm(total=len(files), initial=done, unit="sound", desc="sounds to patches") as progress,
        threadpool_limits(1),
    ):
        pool = ThreadPoolExecutor(workers)
        try:
            made = pool.map(
                lambda part: _make(folder, part, members[part], one, results[part]), rest
            )
            for part, outcomes in zip(rest, made, strict=True):
                progress.update(len(outcomes) - _good(results[part]))
                results[part] = outcomes
        finally:
            pool.shutdown(cancel_futures=True)
    return Extracted(folder, list(chain.from_iterable(filter(None, results))), front_end)


def _good(outcomes: Sequence[Outcome] | None) -> int:
    return sum(not outcome.error for outcome in outcomes or ())


def _make(
    folder: Path,
    part: int,
    files: Sequence[str],
    one: Callable[[str], tuple[Outcome, list[np.ndarray]]],
    kept: Sequence[Outcome] | None,
) -> list[Outcome]:
    """Works through a part; of one that is whole, through what failed in it."""
    path = _patches_file(folder, part)
    old = BytesIO(path.read_bytes() if kept else b"")
    patches_kept = sum(len(outcome.frames) for outcome in kept or ())
    patch_bytes = len(old.getbuffer()) // max(patches_kept, 1)
    outcomes, crc = [], 0
    with path.open("wb") as file:
        for place, name in enumerate(files):
            if kept and not kept[place].error:
                outcome = kept[place]
                parts = (old.read(patch_bytes) for _ in outcome.frames)
            else:
                outcome, patches = one(name)
                parts = (patch.tobytes() for patch in patches)
            for data in parts:
                file.write(data)
                crc = google_crc32c.extend(crc, data)
            outcomes.append(outcome)
    content = {"crc32c": crc, "outcomes": [asdict(outcome) for outcome in outcomes]}
    described = _outcomes_file(folder, part)
    temporary = described.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(described)
    return outcomes


def _kept(folder: Path, part: int, front_end: FrontEnd) -> list[Outcome] | None:
    """The outcomes of a part that an earlier run made, if its patches are as it wrote them."""
    try:
        content = json.loads(_outcomes_file(folder, part).read_text(encoding="utf-8"))
        data = _patches_file(folder, part).read_bytes()
        outcomes = [
            Outcome(**fields | {"frames": tuple(fields["frames"])})
            for fields in content["outcomes"]
        ]
        whole = google_crc32c.value(data) == content["crc32c"]
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not there, or cut short when the machine went down
    patches = sum(len(outcome.frames) for outcome in outcomes)
    whole &= len(data) == 4 * patches * front_end.mel_bands * front_end.patch_frames
    return outcomes if whole else None


def _patches_file(folder: Path, part: int) -> Path:
    return folder / f"part-{part:06d}.patches"


def _outcomes_file(folder: Path, part: int) -> Path:
    return folder / f"part-{part:06d}.json"
