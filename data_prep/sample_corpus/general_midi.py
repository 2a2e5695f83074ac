"""General MIDI's programs and drums, named as people tag sounds.

Source of names and order: General MIDI System Level 1 (MMA, 1991). Numbers without a meaning are
left out ("Lead 1 (square)" is a square synth lead), and words are single and in small letters.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Eight programs that follow each other.

    Attributes:
        tags: what all of them are.
        pitches: MIDI numbers that are drawn for them; beyond, few sound like themselves.
        programs: the names of the eight.
    """

    tags: tuple[str, ...]
    pitches: range
    programs: tuple[str, ...]


def _family(tags: str, low: int, high: int, programs: str) -> Family:
    return Family(tuple(tags.split()), range(low, high + 1), tuple(programs.split(", ")))


FAMILIES = (
    _family(
        *("piano keyboard", 24, 96),
        "acoustic grand piano, bright acoustic piano, electric grand piano, honkytonk piano, "
        "electric piano, electric piano, harpsichord, clavinet",
    ),
    _family(
        *("mallet percussion", 48, 96),
        "celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bell, dulcimer",
    ),
    _family(
        *("organ keyboard", 36, 96),
        "drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, "
        "harmonica, tango accordion bandoneon",
    ),
    _family(
        *("guitar", 40, 88),
        "acoustic nylon guitar, acoustic steel guitar, electric jazz guitar, "
        "electric clean guitar, electric muted guitar, overdriven guitar, distortion guitar, "
        "guitar harmonic",
    ),
    _family(
        *("bass", 24, 64),
        "acoustic bass, electric fingered bass, electric picked bass, fretless bass, slap bass, "
        "slap bass, synth bass, synth bass",
    ),
    _family(
        *("string", 28, 96),
        "violin, viola, cello, contrabass, tremolo string, pizzicato string, orchestral harp, "
        "timpani",
    ),
    _family(
        *("ensemble", 36, 88),
        "string ensemble, slow string ensemble, synth string, synth string, choir aah voice, "
        "voice ooh, synth voice, orchestra hit",
    ),
    _family(
        *("brass", 34, 88),
        "trumpet, trombone, tuba, muted trumpet, french horn, brass section, synth brass, "
        "synth brass",
    ),
    _family(
        *("reed woodwind", 36, 91),
        "soprano saxophone, alto saxophone, tenor saxophone, baritone saxophone, oboe, "
        "english horn, bassoon, clarinet",
    ),
    _family(
        *("pipe flute woodwind", 55, 96),
        "piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina",
    ),
    _family(
        *("synth lead", 36, 96),
        "square lead, sawtooth lead, calliope lead, chiff lead, charang lead, voice lead, "
        "fifth lead, bass lead",
    ),
    _family(
        *("synth pad", 36, 88),
        "new age pad, warm pad, polysynth pad, choir pad, bowed pad, metallic pad, halo pad, "
        "sweep pad",
    ),
    _family(
        *("synth effect", 36, 88),
        "rain, soundtrack, crystal, atmosphere, brightness, goblin, echo, scifi",
    ),
    _family(
        *("ethnic", 36, 88),
        "sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai",
    ),
    _family(
        *("percussion", 36, 88),
        "tinkle bell, agogo, steel drum, woodblock, taiko drum, melodic tom, synth drum, "
        "reverse cymbal",
    ),
    _family(
        *("effect", 36, 88),
        "guitar fret noise, breath noise, seashore wave, bird tweet, telephone ring, helicopter, "
        "applause, gunshot",
    ),
)

# By key, from FIRST_DRUM; the last word is the kind of drum.
FIRST_DRUM = 35
DRUM_NAMES = (
    "acoustic kick bass drum, kick bass drum, side stick, acoustic snare, hand clap, "
    "electric snare, low floor tom, closed hihat, high floor tom, pedal hihat, low tom, "
    "open hihat, low mid tom, high mid tom, crash cymbal, high tom, ride cymbal, "
    "chinese cymbal, ride bell cymbal, tambourine, splash cymbal, cowbell, crash cymbal, "
    "vibraslap, ride cymbal, high bongo, low bongo, mute high conga, open high conga, "
    "low conga, high timbale, low timbale, high agogo, low agogo, cabasa, maraca, "
    "short whistle, long whistle, short guiro, long guiro, clave, high woodblock, "
    "low woodblock, mute cuica, open cuica, mute triangle, open triangle"
)
DRUMS = tuple(DRUM_NAMES.split(", "))


def family_of(program: int) -> Family:
    """The family of a program, 0 to 127."""
    return FAMILIES[program // 8]


def program_name(program: int) -> str:
    """The name of a program, 0 to 127: "acoustic grand piano"."""
    return family_of(program).programs[program % 8]


def drum_name(pitch: int) -> str:
    """The name of the drum on a key, 35 to 81: "closed hihat"."""
    return DRUMS[pitch - FIRST_DRUM]
