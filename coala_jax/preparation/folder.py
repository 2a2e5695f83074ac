"""From a folder of sounds and a table of tags to a dataset (paper, section 3.1), stage by stage.

decode -> log-mel -> loudest patch -> vocabulary -> split -> scale -> TFRecords. The dataset appears
under its name only when it is whole.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float32
from tqdm import tqdm

from coala_jax.audio.decode import DecodeError, load
from coala_jax.audio.frontend import FrontEnd, Scaler
from coala_jax.data.records import MANIFEST, DatasetError, Example, Manifest, write_dataset
from coala_jax.preparation.split import validation_mask
from coala_jax.preparation.table import Columns, Sound, TableError, read_table
from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary

FAILURES = "failures.csv"
MINIMUM_SOUNDS = 2  # of each split: a single pair has no negatives
_NAMED = 5  # failures on the terminal; the file lists them all


@dataclass(frozen=True)
class Settings:
    """What determines the dataset, besides the sounds and the table."""

    name: str  # of the corpus, for reports
    columns: Columns = field(default_factory=Columns)
    vocabulary_size: int = 1000  # the most frequent tags (paper)
    max_document_fraction: float = 0.7  # tags of more sounds than this are left out (paper)
    validation_fraction: float = 0.1  # paper
    seed: int = 0  # of the split
    front_end: FrontEnd = field(default_factory=FrontEnd)

    def __post_init__(self) -> None:
        """Refuses at once what would otherwise fail after all sounds are decoded."""
        if self.vocabulary_size < 1:
            raise ValueError(f"vocabulary_size must be at least 1, got {self.vocabulary_size}")
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}"
            )
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True)
class Failure:
    """A sound that was left out, and why; the cause does not say where the audio folder was."""

    file: str
    cause: str


def prepare(
    audio: Path,
    table: Path,
    out: Path,
    settings: Settings,
    workers: int = 2,
    allow_missing: bool = False,
) -> Manifest:
    """Makes the dataset `out`, or returns the one that is there if it was made from the same.

    The same means the same table, settings, and names and sizes of the sounds.

    A sound that cannot be decoded costs that sound; it is listed in `out/failures.csv`. With
    `allow_missing` that holds for files that are not there, too.

    Raises:
        TableError: the table cannot be used, or names sounds that are not in `audio`.
        DatasetError: `out` is something else, or no sound, no tag or no validation sound is left.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    front_end = settings.front_end
    sounds = read_table(table, settings.columns)
    _refuse_missing(sounds, audio, table, allow_missing)
    source = _source_digest(sounds, audio, settings)
    if out.exists():
        return _reuse(out, source)
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    patches_file = out.with_name(out.name + ".patches.tmp")
    patches = np.lib.format.open_memmap(
        patches_file, "w+", np.float32, (len(sounds), front_end.mel_bands, front_end.patch_frames)
    )
    try:
        failures = _extract(sounds, audio, front_end, patches, workers)
        decoded = [place for place, failure in enumerate(failures) if failure is None]
        _report_failures([f for f in failures if f is not None], len(sounds), temporary)
        if not decoded:
            raise DatasetError(
                f"{audio}: not one of {len(sounds)} sounds could be read; see the causes above"
            )
        try:
            manifest = _write(temporary, sounds, decoded, patches, settings, source)
        except ValueError as error:
            raise DatasetError(f"{table}: {error}") from error
    finally:
        del patches
        patches_file.unlink()
    temporary.rename(out)
    return manifest


class _Examples(Sequence[Example]):
    """The examples of a split, scaled as they are asked for, so that memory stays small."""

    def __init__(
        self,
        places: Sequence[int],
        sounds: Sequence[Sound],
        patches: Float32[np.ndarray, "sound mel time"],
        vocabulary: Vocabulary,
        scaler: Scaler,
    ) -> None:
        self._places, self._sounds, self._patches = places, sounds, patches
        self._vocabulary, self._scaler = vocabulary, scaler

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Example:
        place = self._places[number]
        return Example(
            patch=self._scaler.scale(self._patches[place]),
            tags=np.flatnonzero(self._vocabulary.encode(self._sounds[place].tags)),
            id=self._sounds[place].file,
        )


def _write(
    folder: Path,
    sounds: Sequence[Sound],
    decoded: Sequence[int],
    patches: Float32[np.ndarray, "sound mel time"],
    settings: Settings,
    source: str,
) -> Manifest:
    vocabulary = build_vocabulary(
        [sounds[place].tags for place in decoded],
        size=settings.vocabulary_size,
        max_document_fraction=settings.max_document_fraction,
    )
    known = set(vocabulary.tags)
    tagged = np.array([place for place in decoded if known.intersection(sounds[place].tags)])
    kept_out = validation_mask(
        scipy.sparse.csr_array([vocabulary.encode(sounds[place].tags) for place in tagged]),
        [sounds[place].group for place in tagged],
        settings.validation_fraction,
        settings.seed,
    )
    few = min(kept_out.sum(), (~kept_out).sum())
    if few < MINIMUM_SOUNDS:
        raise ValueError(
            f"{(~kept_out).sum()} sounds to train on and {kept_out.sum()} to validate on are too "
            f"few: each side needs {MINIMUM_SOUNDS}; add sounds or change --validation_fraction"
        )
    scaler = _fit_scaler(patches, tagged[~kept_out])
    _say_counts(sounds, decoded, tagged, kept_out, vocabulary, settings)
    return write_dataset(
        folder,
        name=settings.name,
        source=source,
        front_end=settings.front_end.to_dict(),
        scaler=asdict(scaler),
        vocabulary=vocabulary.tags,
        splits={
            split: _Examples(places.tolist(), sounds, patches, vocabulary, scaler)
            for split, places in (("train", tagged[~kept_out]), ("validation", tagged[kept_out]))
        },
    )


def _extract(
    sounds: Sequence[Sound],
    audio: Path,
    front_end: FrontEnd,
    patches: Float32[np.ndarray, "sound mel time"],
    workers: int,
) -> list[Failure | None]:
    """Fills `patches` with the loudest log-mel patch of each sound; what failed, by place."""

    def one(place: int) -> Failure | None:
        path = audio / sounds[place].file
        try:
            waveform = load(path, front_end.sample_rate_hz)
        except DecodeError as error:
            return Failure(sounds[place].file, str(error).removeprefix(f"{path}: "))
        patches[place] = front_end.loudest_patch(front_end.log_mel(waveform))
        return None

    # Decoding, resampling, FFT and products all release Python's lock: threads are enough.
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(one, range(len(sounds)))
        return list(tqdm(done, total=len(sounds), unit="sound", desc="sounds to patches"))


def _fit_scaler(patches: Float32[np.ndarray, "sound mel time"], places: np.ndarray) -> Scaler:
    return Scaler(
        minimum=min(float(patches[place].min()) for place in places),
        maximum=max(float(patches[place].max()) for place in places),
    )


def _refuse_missing(sounds: Sequence[Sound], audio: Path, table: Path, allow_missing: bool) -> None:
    if not audio.is_dir():
        raise TableError(f"{audio}: there is no such folder; correct --audio")
    missing = [sound.file for sound in sounds if not (audio / sound.file).is_file()]
    if missing and not allow_missing:
        named = ", ".join(missing[:_NAMED]) + (" ..." if len(missing) > _NAMED else "")
        raise TableError(
            f"{table}: {len(missing)} of its {len(sounds)} sounds are not in {audio}: {named}; "
            "correct --audio or the table, or leave them out with --allow_missing"
        )


def _report_failures(failures: Sequence[Failure], total: int, folder: Path) -> None:
    if not failures:
        return
    with (folder / FAILURES).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "cause"))
        writer.writerows((failure.file, failure.cause) for failure in failures)
    print(f"{len(failures)} of {total} sounds are left out (all in {FAILURES} of the dataset):")
    for failure in failures[:_NAMED]:
        print(f"  {failure.file}: {failure.cause}")


def _say_counts(
    sounds: Sequence[Sound],
    decoded: Sequence[int],
    tagged: np.ndarray,
    kept_out: Bool[np.ndarray, " sound"],
    vocabulary: Vocabulary,
    settings: Settings,
) -> None:
    print(
        f"{len(sounds)} sounds, {len(decoded)} decoded, {len(tagged)} with a tag of the "
        f"{len(vocabulary)} in the vocabulary; {int((~kept_out).sum())} to train on and "
        f"{int(kept_out.sum())} to validate on ({kept_out.mean():.1%}, "
        f"{settings.validation_fraction:.0%} asked for)"
    )


def _source_digest(sounds: Sequence[Sound], audio: Path, settings: Settings) -> str:
    """What the dataset is made from: table, settings, and names and sizes of the sounds."""
    paths = (audio / sound.file for sound in sounds)
    sizes = [path.stat().st_size if path.is_file() else -1 for path in paths]
    content = json.dumps([asdict(settings), [asdict(sound) for sound in sounds], sizes])
    return hashlib.sha256(content.encode()).hexdigest()


def _reuse(out: Path, source: str) -> Manifest:
    if not (out / MANIFEST).is_file():
        raise DatasetError(f"{out}: it exists and is no dataset; choose another --out")
    manifest = Manifest.load(out)
    if manifest.source != source:
        raise DatasetError(
            f"{out}: it holds a dataset made from other sounds, tags or settings; "
            "choose another --out or delete it"
        )
    manifest.check_files(out)
    print(f"{out}: the dataset is there already, made from the same table, settings and file sizes")
    return manifest
