"""Real sounds in several forms, for benchmarks: as they are, encoded again, cut, many."""

import csv
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import BenchmarkError, say

ROOT = Path(__file__).parent.parent
CLIP_SECONDS = 5.0  # about Freesound's mean; most sounds of the corpus are shorter
CLIP_FORMATS = ("wav", "flac", "ogg", "mp3")
FEW_SOUNDS = 20  # enough for a split; their time is nearly all start-up
PATCH_BYTES = 96 * 96 * 4
Row = tuple[str, str]  # file, tags


@dataclass(frozen=True)
class Form:
    """Sounds to run on: the rows of the CSV `table`, their files relative to `audio`."""

    name: str
    audio: Path
    table: Path
    rows: tuple[Row, ...]


def make_form(name: str, audio: Path, rows: Iterable[Row]) -> Form:
    form = Form(name, audio, audio / f"{name.replace(' ', '_')}.csv", tuple(rows))
    with form.table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "tags"), *form.rows])
    return form


def read_corpus(corpus: Path | None) -> tuple[Path, list[Row]]:
    """The corpus folder and its sounds; by default the one that ./run.sh made."""
    places = [corpus] if corpus else [ROOT / "corpus" / name for name in ("debian", "synthetic")]
    tables = [place / "sounds.csv" for place in places if (place / "sounds.csv").is_file()]
    if not tables:
        looked = " or ".join(str(place / "sounds.csv") for place in places)
        raise BenchmarkError(f"there is no {looked}; run ./run.sh first, or give --corpus")
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = [(row.get("file", ""), row.get("tags", "")) for row in csv.DictReader(file)]
    if len(rows) <= FEW_SOUNDS or not all(map(all, rows)):
        raise BenchmarkError(
            f"{tables[0]}: it must have the columns file and tags and more than {FEW_SOUNDS} rows "
            "with both; ./run.sh makes such a corpus"
        )
    return tables[0].parent, rows


def encode(source: Path, target: Path, seconds: float | None = None) -> str | None:
    """Writes the sound in the format that the target's name says; why not, if it cannot be.

    With `seconds`, it is repeated from its beginning, or cut, to that length.
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
    name: str, audio: Path, jobs: Sequence[tuple[Path, Row]], seconds: float | None = None
) -> Form:
    """A form of those (source, row) that can be encoded; prints which cannot."""
    with ThreadPoolExecutor(2) as pool:
        causes = list(pool.map(lambda job: encode(job[0], audio / job[1][0], seconds), jobs))
    for cause, count in Counter(filter(None, causes)).items():
        say(f"{name}: {count} of {len(jobs)} sounds are left out: {cause}")
    rows = [row for (_, row), cause in zip(jobs, causes, strict=True) if cause is None]
    if len(rows) <= FEW_SOUNDS:
        raise BenchmarkError(f"{name}: only {len(rows)} sounds could be encoded; see the causes")
    say(f"{name}: {len(rows)} sounds")
    return make_form(name, audio, rows)


def make_forms(corpus: Path, rows: Sequence[Row], audio: Path) -> list[Form]:
    """As they are, mp3, flac, and the three together, all under the folder `audio`."""
    shutil.copytree(corpus / "audio", audio / "original")
    forms = [make_form("as they are", audio, [(f"original/{file}", tags) for file, tags in rows])]
    for kind in ("mp3", "flac"):
        jobs = [
            (corpus / "audio" / file, (f"{kind}/{number}.{kind}", tags))
            for number, (file, tags) in enumerate(rows)
        ]
        forms.append(encode_all(kind, audio, jobs))
    return [*forms, make_form("together", audio, [row for form in forms for row in form.rows])]


def make_clips(corpus: Path, rows: Sequence[Row], audio: Path, count: int) -> Form:
    """`count` sounds of CLIP_SECONDS, as many of each of CLIP_FORMATS."""
    jobs = []
    for number in range(count):
        file, tags = rows[number * len(rows) // count]
        kind = CLIP_FORMATS[number % len(CLIP_FORMATS)]
        jobs.append((corpus / "audio" / file, (f"clips/{number}.{kind}", tags)))
    return encode_all(f"{CLIP_SECONDS:g} s each", audio, jobs, CLIP_SECONDS)


def few_of(form: Form) -> Form:
    """A few of the sounds with the tags of all, so that all that tags load is loaded."""
    step = len(form.rows) // FEW_SOUNDS
    tags = [" ".join(tags for _, tags in form.rows[n::FEW_SOUNDS]) for n in range(FEW_SOUNDS)]
    return make_form("few", form.audio, [(form.rows[n * step][0], t) for n, t in enumerate(tags)])


def make_many(corpus: Path, rows: Sequence[Row], audio: Path, count: int) -> Form:
    """`count` sounds of at most 0.1 s, with tags as uneven as people's.

    They are the beginnings of the corpus's 50 shortest, no two the same: equal sounds would be one
    group of the split, and a few large groups are split in no time and memory.
    """
    free, needed = shutil.disk_usage(audio).free, count * (2.1 * PATCH_BYTES + 13_000) + 1e9
    if free < needed:
        raise BenchmarkError(
            f"{audio}: {count} sounds need {needed / 1e9:.0f} GB of disk and {free / 1e9:.0f} GB "
            "are free; give a --work with more, or fewer --memory_sounds"
        )
    files = [corpus / "audio" / file for file, _ in rows]
    shortest = sorted(files, key=lambda file: soundfile.info(file).duration)[:50]
    sources = [soundfile.read(file, dtype="int16", always_2d=True) for file in shortest]
    rng = np.random.default_rng(0)
    cumulative = np.cumsum(1 / np.arange(10, 20_010))  # popularity of 20,000 words
    syllables = [first + second for first in "bdfgklmnprtvz" for second in "aeiou"]
    words = [
        syllables[n // 65**2] + syllables[n // 65 % 65] + syllables[n % 65] + "s" * (n % 4 == 0)
        for n in range(cumulative.size)
    ]
    table = []
    for number in range(count):
        waveform, rate_hz = sources[number % len(sources)]
        different = waveform[: rate_hz // 10, 0].copy()
        different[:18] ^= number >> np.arange(18) & 1  # in the lowest bit of its first samples
        name = f"{number // 1000}/{number}.wav"
        (audio / name).parent.mkdir(exist_ok=True)
        soundfile.write(audio / name, different, rate_hz)
        drawn = np.searchsorted(cumulative, cumulative[-1] * rng.random(rng.integers(3, 11)))
        table.append((name, " ".join(words[place] for place in drawn)))
    say(f"many: {count} short sounds")
    return make_form("many", audio, table)
