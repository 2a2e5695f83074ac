"""Tag text to tags: value tables, and lists of words seen in real tags."""

import itertools
from collections.abc import Iterator

import inflect
import pytest

from coala_jax.tags import normalize, released, words
from coala_jax.tags.normalize import normalize_tags, split_tags
from coala_jax.tags.stop_words import stop_words

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


def test_words_that_are_no_plurals_stay_whole() -> None:
    assert normalize_tags(STAY_WHOLE) == tuple(STAY_WHOLE)  # distinct, each unchanged


def test_plurals_become_singular_and_singulars_stay() -> None:
    for word in (PLURALS.keys(), PLURALS.values()):
        singulars = [normalize_tags([tag]) for tag in word]
        assert singulars == [(singular,) for singular in PLURALS.values()]


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


def test_any_collection_gives_the_same_tags_in_any_order() -> None:
    tags = ["dogs", "Dog", "the", "lens", "geese"]
    for order in itertools.permutations(tags):
        assert set(normalize_tags(order)) == {"dog", "lens", "goose"}
    assert set(normalize_tags(set(tags))) == {"dog", "lens", "goose"}
    assert normalize_tags(iter(tags)) == ("dog", "lens", "goose")


def test_normalizing_twice_changes_nothing() -> None:
    letters = [f"{before}{chr(code)}" for code in range(0x20, 0x3100) for before in ("", "a")]
    listed = [w for name in ("plural", "singular") for w in words.word_list(f"{name}_words.txt")]
    once = normalize_tags([*STAY_WHOLE, *PLURALS, *listed, *stop_words(("english",)), *letters])
    assert normalize_tags(once) == once


def test_word_lists() -> None:
    plural, singular = (words.word_list(f"{kind}_words.txt") for kind in ("plural", "singular"))
    assert not plural & singular
    assert [word for word in sorted(plural) if normalize_tags([word]) == (word,)] == []
    nouns = sorted(singular - stop_words(("english",)))
    assert [word for word in nouns if normalize_tags([word]) != (word,)] == []


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


def test_released_gives_what_the_authors_published() -> None:
    made = {tag: "".join(normalize_tags([tag], "released")) or None for tag in RELEASED}
    assert made == RELEASED


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


def test_what_released_damages_stays_whole_in_paper() -> None:
    whole = sorted(DAMAGED.keys() - {"tranches", "elsodelescultures"})
    assert normalize_tags(whole) == tuple(whole)


@pytest.mark.parametrize(("tag", "word"), [("bas", "bass"), ("dog", "dog"), ("-s", "-s")])
def test_readable(tag: str, word: str) -> None:
    assert released.readable(tag) == word


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
