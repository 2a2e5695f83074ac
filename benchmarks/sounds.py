"""Real sounds for `benchmarks.prepare`: as they are, encoded again, cut or repeated."""

import csv
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import ROOT, BenchmarkError, say

CLIP_SECONDS = 5.0  # about Freesound's mean; most sounds of the corpus are shorter
CLIP_FORMATS = ("wav", "flac", "ogg", "mp3")
FEW_SOUNDS = 20  # enough for a split; their time is nearly all start-up
Row = tuple[str, str]  # file, tags


@dataclass(frozen=True)
class SoundSet:
    """Sounds to prepare: the rows of the CSV `table`, their files relative to `audio`."""

    audio: Path
    table: Path
    rows: tuple[Row, ...]


def make_set(name: str, audio: Path, rows: Iterable[Row]) -> SoundSet:
    made = SoundSet(audio, audio / f"{name}.csv", tuple(rows))
    with made.table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "tags"), *made.rows])
    return made


def read_corpus(corpus: Path | None) -> tuple[Path, list[Row]]:
    """The corpus folder and its sounds; by default the one that ./run.sh made.

    Raises:
        BenchmarkError: there is none, or it is too small.
    """
    places = [corpus] if corpus else [ROOT / "corpus" / name for name in ("debian", "synthetic")]
    tables = [place / "sounds.csv" for place in places if (place / "sounds.csv").is_file()]
    if not tables:
        looked = " or ".join(str(place / "sounds.csv") for place in places)
        raise BenchmarkError(f"{looked} does not exist. Fix: ./run.sh, or --corpus")
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = [(row.get("file", ""), row.get("tags", "")) for row in csv.DictReader(file)]
    if len(rows) <= FEW_SOUNDS or not all(map(all, rows)):
        raise BenchmarkError(
            f"{tables[0]}: too small, or incomplete. Fix: more than {FEW_SOUNDS} rows, each with "
            "file and tags, as in the corpus that ./run.sh makes"
        )
    return tables[0].parent, rows


def encode(source: Path, target: Path, seconds: float | None = None) -> str | None:
    """Writes a sound in the format of the target's name; the reason if that is impossible.

    With `seconds` it is repeated from its beginning, or cut, to that length.
    """
    try:
        waveform, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
        if waveform.size == 0:
            return "no samples"
        if seconds:
            waveform = np.resize(waveform, (round(seconds * rate_hz), waveform.shape[1]))
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, waveform, rate_hz)
    except soundfile.LibsndfileError as error:
        return error.error_string.strip()
    return None


def encode_all(
    audio: Path, jobs: Sequence[tuple[Path, Row]], seconds: float | None = None
) -> list[Row]:
    """The rows of those (source, row) that could be encoded; says how many were skipped."""
    with ThreadPoolExecutor(2) as pool:
        reasons = list(pool.map(lambda job: encode(job[0], audio / job[1][0], seconds), jobs))
    for reason, count in Counter(filter(None, reasons)).items():
        say(f"{audio.name}: {count} of {len(jobs)} sounds skipped: {reason}")
    return [row for (_, row), reason in zip(jobs, reasons, strict=True) if reason is None]


def make_mixed(corpus: Path, rows: Sequence[Row], audio: Path) -> SoundSet:
    """Every sound three times: as it is, as mp3 and as flac."""
    shutil.copytree(corpus / "audio", audio / "original")
    mixed = [(f"original/{file}", tags) for file, tags in rows]
    for kind in ("mp3", "flac"):
        jobs = [
            (corpus / "audio" / file, (f"{kind}/{number}.{kind}", tags))
            for number, (file, tags) in enumerate(rows)
        ]
        mixed += encode_all(audio, jobs)
    return make_set("mixed", audio, mixed)


def make_clips(corpus: Path, rows: Sequence[Row], audio: Path, count: int) -> SoundSet:
    """`count` sounds of CLIP_SECONDS, as many of each of CLIP_FORMATS."""
    jobs = []
    for number in range(count):
        file, tags = rows[number * len(rows) // count]
        kind = CLIP_FORMATS[number % len(CLIP_FORMATS)]
        jobs.append((corpus / "audio" / file, (f"clips/{number}.{kind}", tags)))
    return make_set("clips", audio, encode_all(audio, jobs, CLIP_SECONDS))


def few_of(many: SoundSet) -> SoundSet:
    """A few of the sounds with the tags of all, so that all that tags need is loaded."""
    step = len(many.rows) // FEW_SOUNDS
    tags = [" ".join(tags for _, tags in many.rows[n::FEW_SOUNDS]) for n in range(FEW_SOUNDS)]
    return make_set("few", many.audio, [(many.rows[n * step][0], t) for n, t in enumerate(tags)])
