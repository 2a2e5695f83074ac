"""Clips of ten musical styles, for when GTZAN cannot be downloaded.

Arrangements out of the groove library of the package mma (one style a file, written by hand or
taken over from keyboards), played on random chords, in a random key and tempo, by a random
soundfont. Of none of these has a style its own; what tells the styles apart is the arrangement.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coala_jax.preparation import arrangements, soundfonts
from coala_jax.preparation.corpus_folder import CorpusError
from coala_jax.preparation.standin_set import Part, RenderedClip, StandinSet, fit_level

# Style -> files of the library, below its lib/ and without .mma.
STYLES = {
    "ballad": (
        *("casio/16beatballad1", "casio/16beatballad2", "casio/16beatballad3", "casio/68ballad"),
        *("casio/8beatballad1", "casio/8beatballad2", "casio/8beatballad3", "casio/oldieballad"),
        *("casio/popballad", "casio/serenade", "stdlib/ballad", "stdlib/ballad128"),
        *("stdlib/ballad68", "stdlib/folkballad", "stdlib/guitarballad", "stdlib/pianoballad"),
        *("stdlib/popballad", "stdlib/rockballad", "stdlib/stringballad"),
    ),
    "blues": (
        *("casio/blues", "casio/shuffleboogie", "stdlib/blues", "stdlib/blues128"),
        *("stdlib/blues68", "stdlib/boggiewoggie", "stdlib/fastblues", "stdlib/shuffleboggie"),
        "stdlib/slowblues",
    ),
    "country": (
        *("kara/kwestballad", "stdlib/bluegrass", "stdlib/countryblues", "stdlib/countryswing"),
        *("stdlib/hillcountry", "stdlib/slowcountry", "stdlib/westernswing", "stdlib/zydeco"),
        *("yamaha/jazzcountry", "yamaha/western"),
    ),
    "dance": (
        *("alexis/teamtechno", "casio/8beatdance", "casio/dance1", "casio/dance2"),
        *("casio/dancepop1", "casio/dancepop2", "casio/dancepop3", "casio/house"),
        *("casio/latinhouse", "casio/rave", "casio/techno", "casio/trance1", "casio/trance2"),
        "stdlib/trance",
    ),
    "jazz": (
        *("casio/jazzcombo", "casio/modernjazz", "stdlib/bebop", "stdlib/descendingjazz"),
        *("stdlib/evansish", "stdlib/folkyjazz", "stdlib/gypsyjazz", "stdlib/jazz-54"),
        *("stdlib/jazzcombo", "stdlib/jazzguitar", "stdlib/mellowjazz", "stdlib/modernjazz"),
        *("stdlib/nitejazz", "stdlib/slowjazz", "yamaha/jazzGrtrio", "yamaha/jazzbouncy"),
        "yamaha/jazztrio",
    ),
    "latin": (
        *("kara/kbossa", "stdlib/afro-cuban", "stdlib/beguine", "stdlib/bolero"),
        *("stdlib/bossanova", "stdlib/calypso", "stdlib/chacha", "stdlib/cubanguitar"),
        *("stdlib/lighttango", "stdlib/mambo", "stdlib/merengue", "stdlib/rhumba"),
        *("stdlib/salsa", "stdlib/samba", "stdlib/slowbolero", "stdlib/son", "stdlib/tango"),
        *("yamaha/jazzbossa", "yamaha/mambo", "yamaha/quando-g.s280", "yamaha/salsa1"),
        "yamaha/salsa2",
    ),
    "march": (
        *("casio/germanmarch", "casio/march1", "casio/polka", "casio/polkafox"),
        *("casio/poppolka", "stdlib/68march", "stdlib/bwmarch", "stdlib/dixiemarch"),
        *("stdlib/march", "stdlib/polka"),
    ),
    "rock": (
        *("casio/60srock", "casio/digitalrock", "casio/heavymetal", "casio/rock1"),
        *("casio/rock2", "casio/shufflerock", "casio/slowrock", "kara/K50s_rock"),
        *("pflib/metal1", "pflib/metal2", "pflib/rock1", "pflib/slowrock", "stdlib/50srock"),
        *("stdlib/60srock", "stdlib/basicrock", "stdlib/bubblerock", "stdlib/rock-128"),
        *("stdlib/softrock", "yamaha/w-rock"),
    ),
    "soul": (
        *("casio/60ssoul", "casio/discosoul", "casio/funk1", "casio/funk2", "casio/mellowrb"),
        *("casio/modernrb", "casio/r+b", "casio/soul", "casio/soulpop", "kara/8beatmotown"),
        *("kara/Kfunk1", "stdlib/bvfunk", "stdlib/dsoul", "stdlib/rb", "stdlib/rb-ballad"),
    ),
    "swing": (
        *("casio/fastbigband", "casio/middlebigband", "casio/slowbigband", "casio/slowswing"),
        *("casio/swing", "stdlib/68swing", "stdlib/bigband", "stdlib/easyswing"),
        *("stdlib/fastswing", "stdlib/swing", "yamaha/jazzbasie", "yamaha/jazzswing"),
    ),
}
CHORDS = ("C", "CM7", "Dm", "Dm7", "Em7", "F", "FM7", "G", "G7", "Am", "Am7", "A7", "D7", "E7")
BARS = 8  # of chords, then they come again
TEMPOS = range(90, 151)
TRANSPOSITIONS = range(-5, 7)
CLIP_SECONDS = 15.0
SAMPLE_RATE_HZ = 22_050
GAIN = 0.6
ATTEMPTS = 10

LIMITS = (
    "Not GTZAN: arrangements played by soundfonts, without singing and without production, whose "
    "styles are the names that arrangers gave their files. Scores on them say which of two models "
    "is better here and do not compare with scores on GTZAN."
)


@dataclass(frozen=True)
class _Job:
    """A clip to be made.

    Attributes:
        name: its name.
        style: its class.
        file: the file of the library, below its lib/ and without .mma.
        split: "train" or "test".
        seed: its own.
    """

    name: str
    style: str
    file: str
    split: str
    seed: tuple[int, ...]


def make_genre(
    out: Path,
    packages: Path,
    say: Callable[[str], None] = print,
    *,
    clips: int = 40,
    seed: int = 0,
) -> None:
    """Makes the set in `out/genre`; run again, it goes on where it was stopped.

    Args:
        out: the folder of all stand-ins.
        packages: where the unpacked packages are, or go.
        say: receives a line of progress at a time.
        clips: how many of each style, at least 3.
        seed: of all draws, at least 0.

    Raises:
        CorpusError: something that is needed is missing, or another set is there.
    """
    made = StandinSet(out / "genre", {"seed": seed, "clips": clips})
    if made.is_whole:
        say(f"genre: {made.folder} is whole already")
        return
    fonts = soundfonts.Soundfonts(packages, say, [arrangements.PACKAGE])
    files = [file for files in STYLES.values() for file in files]
    grooves = {file: arrangements.grooves(fonts.packages, file) for file in files}
    made.begin(fonts.sources)

    def make(job: _Job) -> Part:
        part = made.part(job.name)
        if part is None:
            part = _make_clip(made, job, grooves[job.file], fonts)
            made.keep_part(job.name, part)
        return part

    jobs = _plan(clips, seed)
    parts = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for number, part in enumerate(pool.map(make, jobs), 1):
                parts.append(part)
                if number % clips == 0:
                    say(f"genre [{number}/{len(jobs)}] {jobs[number - 1].style}")
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or it would first make all the others
            raise
    count = made.finish(parts, LIMITS)
    say(f"genre: {count} clips of {len(STYLES)} styles, in {made.folder}")


def _plan(clips: int, seed: int) -> list[_Job]:
    """The clips of all styles: a third of a style's files, and of its clips, is for testing."""
    jobs = []
    for style, files in STYLES.items():
        rng = np.random.default_rng((seed, *style.encode()))
        shuffled = [files[i] for i in rng.permutation(len(files))]
        border = round(len(files) / 3)
        sides = {"test": (shuffled[:border], round(clips / 3))}
        sides["train"] = (shuffled[border:], clips - sides["test"][1])
        for split, (own, count) in sides.items():
            for number in range(count):
                name = f"{style}-{split}-{number:03d}"
                own_seed = (seed, *name.encode())
                jobs.append(_Job(name, style, own[number % len(own)], split, own_seed))
    return jobs


def _make_clip(
    made: StandinSet, job: _Job, grooves: Sequence[str], fonts: soundfonts.Soundfonts
) -> Part:
    """The clip as first drawn, or as drawn again where that is silent."""
    remarks = []
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng((*job.seed, attempt))
        groove = str(rng.choice(grooves))
        font = str(rng.choice(list(soundfonts.FONTS)))
        arrangement = arrangements.Arrangement(
            file=job.file,
            groove=groove,
            tempo=int(rng.choice(TEMPOS)),
            transposition=int(rng.choice(TRANSPOSITIONS)),
            seed=int(rng.integers(1, 2**31)),
        )
        chords = rng.choice(CHORDS, BARS).tolist()
        midi = arrangements.play(fonts.packages, arrangement, chords, CLIP_SECONDS)
        sound = fonts.render(midi, font, GAIN, room=True)
        waveform, remark = fit_level(soundfonts.to_clip(sound, CLIP_SECONDS, SAMPLE_RATE_HZ))
        if remark:
            again = "; drawn again" if waveform is None else ""
            remarks.append(f"{job.name}, {groove} of {job.file}: {remark}{again}")
        if waveform is not None:
            made.keep_sound(f"{job.style}/{job.name}.wav", waveform, SAMPLE_RATE_HZ)
            return Part([_describe(job, arrangement, font, chords)], remarks)
    raise CorpusError(f"{job.file}: {ATTEMPTS} draws in a row are silent ({remarks[-1]})")


def _describe(
    job: _Job, arrangement: arrangements.Arrangement, font: str, chords: Sequence[str]
) -> RenderedClip:
    details = {
        "groove": arrangement.groove,
        "font": font,
        "tempo": arrangement.tempo,
        "transposition": arrangement.transposition,
        "mma_seed": arrangement.seed,
        "chords": " ".join(chords),
    }
    return RenderedClip(f"{job.style}/{job.name}.wav", job.style, job.split, job.file, details)
