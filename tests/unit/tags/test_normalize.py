"""Tag text to tags: value tables, and lists of words seen in real tags."""

import itertools
import socket
import subprocess
import sys
from collections.abc import Iterator

import inflect
import pytest

from coala_jax.tags import normalize, released, words
from coala_jax.tags.normalize import normalize_tags, split_tags

# Each is one that inflect 7.6 changes, or that a rule of ours could.
STAY_WHOLE = """
    bus gas chorus lens bass glass police brass always physics news series species piano
    grass boss kiss hiss mass cross press wireless goodness stainless business loss toss chess
    circus virus bonus opus campus cactus focus status versus nervous continuous religious
    analysis bis tennis iris oasis paris synthesis basis oris
    christmas xmas canvas atlas alias bias texas dallas vegas pancreas pyjamas haus gros
    electronics acoustics mechanics robotics athletics graphics dynamics harmonics
    atmos chaos cosmos ethos logos kudos thermos rhinoceros santos carlos
    james charles thames wales mars athens brussels naples mercedes netherlands los-angeles
    london-bus table-tennis western-us sound-chaos
    indoors outdoors upstairs towards backwards sideways nowadays blues vibes
    scissors trousers headquarters binoculars pants clothes tweezers barracks bellows
    sixties 1950s 80s 808s yes ons oops whoops thanks
    amen omen specimen ramen abdomen data media agenda opera wood sheep fish deer
    dans sans temps noches coches selfies techies mustaches moustaches jazzes matrices
    keys-in-the-pockets bucket-of-beans dog's cafés drums2 u.s.cars downs phys always-on
    solves involves confuses waltzes peoples
    afterhours sapiens jeepers lazybones mips caries cajones gouaches barbies selkies convolves
    chorusses trolleybusses portcullises perfuses tippytoes megahertzes synecdoches interspecies
    miss mattress princess mistress fuss abyss moss sunglasses
    asbestos hocus-pocus octopus walrus platypus hippopotamus genius radius sinus stylus
    cumulus nexus nucleus thesaurus bogus porous luminous ominous melodious cancerous
    debris arthritis pelvis penis trellis metropolis ibis axis tis
    alas pampas madras judas sassafras corps hertz chassis apropos pathos eros helios
    politics ethics classics statistics optics
""".split()  # noqa: SIM905 (one word a line would be 150 lines)

PLURALS = {
    "kicks": "kick",
    "drums": "drum",
    "strings": "string",
    "guitars": "guitar",
    "cymbals": "cymbal",
    "hi-hats": "hi-hat",
    "dog_barks": "dog_bark",
    "street-noises": "street-noise",
    "church-bells": "church-bell",
    "glasses": "glass",
    "buses": "bus",
    "basses": "bass",
    "gases": "gas",
    "lenses": "lens",
    "choruses": "chorus",
    "viruses": "virus",
    "kisses": "kiss",
    "voices": "voice",
    "noises": "noise",
    "horses": "horse",
    "pulses": "pulse",
    "houses": "house",
    "pauses": "pause",
    "boxes": "box",
    "foxes": "fox",
    "splashes": "splash",
    "switches": "switch",
    "headaches": "headache",
    "quizzes": "quiz",
    "leaves": "leaf",
    "knives": "knife",
    "wolves": "wolf",
    "waves": "wave",
    "gloves": "glove",
    "octaves": "octave",
    "cities": "city",
    "babies": "baby",
    "melodies": "melody",
    "movies": "movie",
    "zombies": "zombie",
    "keys": "key",
    "toys": "toy",
    "shoes": "shoe",
    "oboes": "oboe",
    "echoes": "echo",
    "pianos": "piano",
    "radios": "radio",
    "cameras": "camera",
    "maracas": "maraca",
    "tubas": "tuba",
    "cicadas": "cicada",
    "taxis": "taxi",
    "menus": "menu",
    "mics": "mic",
    "analyses": "analysis",
    "laughs": "laugh",
    "footsteps": "footstep",
    "fireworks": "firework",
    "islands": "island",
    "children": "child",
    "men": "man",
    "women": "woman",
    "policemen": "policeman",
    "people": "person",
    "feet": "foot",
    "geese": "goose",
    "mice": "mouse",
}


@pytest.mark.parametrize("word", STAY_WHOLE)
def test_a_word_that_is_no_plural_stays_whole(word: str) -> None:
    assert normalize_tags([word]) == (word,)


@pytest.mark.parametrize(("plural", "singular"), PLURALS.items(), ids=PLURALS)
def test_a_plural_becomes_singular_and_the_singular_stays(plural: str, singular: str) -> None:
    assert normalize_tags([plural]) == (singular,)
    assert normalize_tags([singular]) == (singular,)


def test_tables_are_as_long_as_they_claim() -> None:
    assert len(set(STAY_WHOLE)) == len(STAY_WHOLE) >= 60
    assert len(PLURALS) >= 40
    assert not set(STAY_WHOLE) & set(PLURALS)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        pytest.param("abs", "abs", id="three-letters-stay"),
        pytest.param("cats", "cat", id="four-letters-change"),
        pytest.param("x-abs", "x-abs", id="three-after-a-hyphen"),
        pytest.param("x-cats", "x-cat", id="four-after-a-hyphen"),
        pytest.param("cds", "cd", id="three-letters-but-listed"),
    ],
)
def test_shortest_plural(letters: str, expected: str) -> None:
    assert normalize_tags([letters]) == (expected,)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param([], (), id="no-tags"),
        pytest.param(["", " ", "\t\n", "\u200b", "\ufeff", "...", "--", "#"], (), id="empty"),
        pytest.param(["Dog", "DOG", "dog"], ("dog",), id="case-and-duplicates"),
        pytest.param(["bell", "bells", "Bells"], ("bell",), id="duplicates-once-singular"),
        pytest.param(["zoo", "dogs", "ant", "dog"], ("zoo", "dog", "ant"), id="order-kept"),
        pytest.param(["the", "The", "and", "don't", "don\u2019t", "can"], (), id="stop-words"),
        pytest.param(["the-end", "off-road"], ("the-end", "off-road"), id="stop-word-inside"),
        pytest.param(["he'd", "i'm"], ("he'd", "i'm"), id="only-in-later-stop-lists"),
        pytest.param(["field-recording"], ("field-recording",), id="hyphen"),
        pytest.param(["field_recording"], ("field_recording",), id="underscore"),
        pytest.param(["field  recordings\n"], ("field-recording",), id="inner-white-space"),
        pytest.param(["#dogs", "(rain)", '"wind"', "loud!!", "-12db"],
                     ("dog", "rain", "wind", "loud", "12db"), id="punctuation-at-the-ends"),
        pytest.param(["c#", "c++", "r&b", "f#,"], ("c#", "c++", "r&b", "f#"), id="signs-kept"),
        pytest.param(["tr-808", "808", "2-shots", "44.1khz"],
                     ("tr-808", "808", "2-shot", "44.1khz"), id="digits"),
        pytest.param(["\uff24og\uff53", "\ufb01re", "\u00b2"], ("dog", "fire", "2"), id="nfkc"),
        pytest.param(["cafe\u0301", "café", "CAFÉ"], ("café",), id="composed-accents"),
        pytest.param(["Straße", "ΣΕΙΡΗΝΑ", "音楽", "हिन्दी", "🎸"],
                     ("straße", "σειρηνα", "音楽", "हिन्दी", "🎸"), id="other-scripts"),
        pytest.param(["\u200bdog\ufeff", "rain\u00a0"], ("dog", "rain"), id="invisible"),
    ],
)  # fmt: skip
def test_rules(tags: list[str], expected: tuple[str, ...]) -> None:
    assert normalize_tags(tags) == expected


def test_a_thousand_tags() -> None:
    tags = [f"tag{number}" for number in range(1000)]
    assert normalize_tags([*tags, "Drums", *tags]) == (*tags, "drum")


def test_any_collection_gives_the_same_tags_in_any_order() -> None:
    tags = ["dogs", "Dog", "the", "lens", "geese"]
    for order in itertools.permutations(tags):
        assert set(normalize_tags(order)) == {"dog", "lens", "goose"}
    assert set(normalize_tags(set(tags))) == {"dog", "lens", "goose"}
    assert normalize_tags(iter(tags)) == ("dog", "lens", "goose")


def test_normalizing_twice_changes_nothing() -> None:
    letters = [f"{before}{chr(code)}" for code in range(0x20, 0x3100) for before in ("", "a")]
    lists = ("plural_words.txt", "singular_words.txt", "stop_words.txt")
    listed = [word for name in lists for word in words.word_list(name)]
    once = normalize_tags([*STAY_WHOLE, *PLURALS, *listed, *letters])
    assert normalize_tags(once) == once


def test_word_lists() -> None:
    stop, plural, singular = (
        words.word_list(f"{kind}_words.txt") for kind in ("stop", "plural", "singular")
    )
    assert len(stop) == 179  # NLTK's list of 2018 to 2024
    assert {"i", "the", "down", "can", "just", "won", "wouldn't", "should've"} <= stop
    assert not plural & singular
    assert [word for word in sorted(plural) if normalize_tags([word]) == (word,)] == []
    assert [word for word in sorted(singular - stop) if normalize_tags([word]) != (word,)] == []


def test_inflect_alone_damages_words() -> None:
    """Why the rules are there; when this fails, a newer inflect may need fewer of them."""
    engine = inflect.engine()
    damaged = {word: engine.singular_noun(word) for word in ("bus", "gas", "lens", "always")}
    assert damaged == {"bus": "bu", "gas": "ga", "lens": "len", "always": "alway"}


TABLE = "damaged_words.txt"
DAMAGED = {word: tag for word, tag in words.word_pairs(TABLE).items() if word[0] != "-"}

# What the authors' code made of tags, by their files of 1,282 Freesound sounds; None: dropped.
RELEASED = {
    "police": "polouse",
    "POLICE": "polouse",
    "kisielice": "kisielouse",
    "bass": "bas",
    "brass": "bras",
    "grass": "gras",
    "pass": "pas",
    "hiss": "his",
    "stress": "stres",
    "scoolclass": "scoolclas",
    "bus": "bu",
    "gas": "ga",
    "christmas": "christma",
    "paris": "pari",
    "religious": "religiou",
    "buses": "bus",
    "dogs": "dog",
    "Barking": "barking",
    "people": "person",
    "children": "child",
    "leaves": "leaf",
    "geese": "goose",
    "ms": "m",
    "Can": None,
    "very": None,
    "s": None,
    "field-recording": None,
    "H4n": None,
    "22": None,
}


@pytest.mark.parametrize(("tag", "made"), RELEASED.items(), ids=RELEASED)
def test_released(tag: str, made: str | None) -> None:
    assert normalize_tags([tag], "released") == ((made,) if made else ())


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param([], (), id="no-tags"),
        pytest.param(["", " ", "...", "\u200b", "#"], (), id="empty"),
        pytest.param(["Dog", "dogs", "dog"], ("dog",), id="case-and-duplicates"),
        pytest.param(["zoo", "dogs", "ant"], ("zoo", "dog", "ant"), id="order-kept"),
        pytest.param(["#dog", "rain!", "r&b", "dog_bark", "dog bark", "don't", "rain\n"], (),
                     id="a-character-that-is-no-letter"),
        pytest.param(["808", "drum2", "x\u00b2", "\u2167"], (), id="digits"),
        pytest.param(["a", "x", "Z", "\u97f3"], (), id="one-letter"),
        pytest.param(["ab", "\u97f3\u697d"], ("ab", "\u97f3\u697d"), id="two-letters"),
        pytest.param(["ss"], ("s",), id="one-letter-only-afterwards"),
        pytest.param(["ours", "hers", "yous"], ("you",), id="stop-words-only-before"),
        pytest.param(["Straße", "CAFÉ", "ΣΕΙΡΗΝΑ"], ("straße", "café", "σειρηνα"), id="letters"),
        pytest.param(["cafe\u0301", "हिन्दी", "🎸"], (), id="marks-and-signs"),
        pytest.param(["\uff24og", "\ufb01re", "\u0130\u0130"],
                     ("\uff44og", "\ufb01re", "i\u0307i\u0307"), id="not-nfkc"),
    ],
)  # fmt: skip
def test_rules_of_released(tags: list[str], expected: tuple[str, ...]) -> None:
    assert normalize_tags(tags, "released") == expected


def test_a_thousand_tags_released() -> None:
    letters = [chr(ord("a") + place) for place in range(26)]
    tags = [f"{a}{b}{c}q" for a in letters[:10] for b in letters[:10] for c in letters[:10]]
    assert normalize_tags([*tags, "Drums", *tags], "released") == (*tags, "drum")


class Silent:
    """An inflect that sees no plural anywhere."""

    def singular_noun(self, word: str) -> bool:
        return False


@pytest.fixture
def silent_inflect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(released, "inflect_engine", Silent)
    forget()
    yield
    forget()


@pytest.mark.usefixtures("silent_inflect")
def test_known_words_do_not_depend_on_the_inflect_installed() -> None:
    assert normalize_tags(["dogs"], "released") == ("dogs",)  # or the rest would show nothing
    known = DAMAGED | {"kisielice": "kisielouse", "scoolclass": "scoolclas"}
    assert {word: "".join(normalize_tags([word], "released")) for word in known} == known


def test_damaged_words() -> None:
    lines = words.word_list(TABLE)
    assert len(words.word_pairs(TABLE)) == len(lines)  # no word twice
    assert len(set(DAMAGED.values())) == len(DAMAGED)  # one reading for each tag
    assert {word: normalize_tags([word], "released") for word in DAMAGED} == {
        word: (tag,) for word, tag in DAMAGED.items()
    }
    assert {tag: released.readable(tag) for tag in DAMAGED.values()} == {
        tag: word for word, tag in DAMAGED.items()
    }


@pytest.mark.parametrize("word", sorted(DAMAGED.keys() - {"tranches", "elsodelescultures"}))
def test_what_released_damages_stays_whole_in_paper(word: str) -> None:
    assert normalize_tags([word]) == (word,)


@pytest.mark.parametrize(
    ("tag", "word"), [("bas", "bass"), ("polouse", "police"), ("dog", "dog"), ("-s", "-s")]
)
def test_readable(tag: str, word: str) -> None:
    assert released.readable(tag) == word


def test_processings() -> None:
    assert normalize.PROCESSINGS == ("paper", "released")
    assert normalize_tags(["bass"]) == normalize_tags(["bass"], "paper") == ("bass",)
    with pytest.raises(ValueError, match="must be one of paper, released, got 'authors'"):
        normalize_tags(["bass"], "authors")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        pytest.param("dog rain", "the str 'dog rain': use split_tags", id="a-single-string"),
        # Iterators, for which beartype cannot answer in our place.
        pytest.param(iter(["dog", 3]), "tag 1 must be a str, got int: 3", id="number"),
        pytest.param(iter([None]), "tag 0 must be a str, got NoneType: None", id="none"),
        pytest.param(iter([b"dog"]), "tag 0 must be a str, got bytes", id="bytes"),
    ],
)
def test_what_is_no_tag_is_refused(tags: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        normalize_tags(tags)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param(" \t ", [], id="white-space-only"),
        pytest.param("dog", ["dog"], id="one"),
        pytest.param(" dog  bark\train\n", ["dog", "bark", "rain"], id="white-space"),
        pytest.param("dog bark, Rain ,wind", ["dog bark", "Rain", "wind"], id="commas"),
        pytest.param("dog bark;rain", ["dog bark", "rain"], id="semicolons"),
        pytest.param("dog bark;rain,wind", ["dog bark", "rain", "wind"], id="both"),
        pytest.param("dog bark,", ["dog bark"], id="one-with-a-space"),
        pytest.param(",; ,", [], id="separators-only"),
    ],
)
def test_split_tags(cell: str, expected: list[str]) -> None:
    assert split_tags(cell) == expected


def test_split_tags_refuses_what_is_no_text() -> None:
    with pytest.raises(TypeError):
        split_tags(float("nan"))


def forget() -> None:
    """Empties the caches of the tag code."""
    for module in (normalize, released, words):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("NLTK_DATA", "/nowhere")
    forget()
    assert normalize_tags(["the", "Drums", "lens"]) == ("drum", "lens")
    assert normalize_tags(["the", "Drums", "lens"], "released") == ("drum", "len")


def test_importing_is_cheap() -> None:
    """inflect takes more than a second to import; programs that split no tags must not wait."""
    program = (
        "import sys, coala_jax.tags.normalize, coala_jax.tags.vocabulary;"
        "print(sorted({'inflect', 'nltk', 'jax', 'tensorflow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
