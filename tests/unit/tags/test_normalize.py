"""Tag text to tags: value tables, and lists of words seen in real tags."""

from collections.abc import Iterator

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


PLURALS = """
    kicks:kick drums:drum strings:string guitars:guitar cymbals:cymbal hi-hats:hi-hat
    dog_barks:dog_bark street-noises:street-noise church-bells:church-bell glasses:glass buses:bus
    basses:bass gases:gas lenses:lens choruses:chorus viruses:virus kisses:kiss voices:voice
    noises:noise horses:horse pulses:pulse houses:house pauses:pause boxes:box foxes:fox
    splashes:splash switches:switch headaches:headache quizzes:quiz leaves:leaf knives:knife
    wolves:wolf waves:wave gloves:glove octaves:octave cities:city babies:baby melodies:melody
    movies:movie zombies:zombie keys:key toys:toy shoes:shoe oboes:oboe echoes:echo pianos:piano
    radios:radio cameras:camera maracas:maraca tubas:tuba cicadas:cicada taxis:taxi menus:menu
    mics:mic analyses:analysis laughs:laugh footsteps:footstep fireworks:firework islands:island
    children:child men:man women:woman policemen:policeman people:person feet:foot geese:goose
    mice:mouse
"""
PLURALS = dict(pair.split(":") for pair in PLURALS.split())


def test_words_that_are_no_plurals_stay_whole() -> None:
    assert normalize_tags(STAY_WHOLE) == tuple(STAY_WHOLE)  # distinct, each unchanged


def test_plurals_become_singular_and_singulars_stay() -> None:
    for word in (PLURALS.keys(), PLURALS.values()):
        singulars = [normalize_tags([tag]) for tag in word]
        assert singulars == [(singular,) for singular in PLURALS.values()]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param(["abs", "cats", "x-abs", "x-cats", "cds"],
                     ("abs", "cat", "x-abs", "x-cat", "cd"), id="shortest-plural"),
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


TABLE = "damaged_words.txt"
DAMAGED = {word: tag for word, tag in words.word_pairs(TABLE).items() if word[0] != "-"}


# What the authors' code made of tags, by their files of 1,282 Freesound sounds; some are dropped.
RELEASED = """
    police:polouse POLICE:polouse kisielice:kisielouse bass:bas brass:bras grass:gras pass:pas
    hiss:his stress:stres scoolclass:scoolclas bus:bu gas:ga christmas:christma paris:pari
    religious:religiou buses:bus dogs:dog Barking:barking people:person children:child leaves:leaf
    geese:goose ms:m Can: very: s: field-recording: H4n: 22:
"""


def test_released_gives_what_the_authors_published() -> None:
    for tag, made in (pair.split(":") for pair in RELEASED.split()):
        assert "".join(normalize_tags([tag], "released")) == made, tag


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


def forget() -> None:
    """Empties the caches of the tag code."""
    for module in (normalize, released, words):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def test_what_is_no_tag_is_refused() -> None:
    # Iterators, for which beartype cannot answer in our place.
    for tags in ("dog rain", iter(["dog", 3]), iter([None]), iter([b"dog"])):
        with pytest.raises(TypeError):
            normalize_tags(tags)


def test_split_tags() -> None:
    """At commas and semicolons where there are any, else at white space."""
    cells = {
        "": [], " \t ": [], "dog": ["dog"], " dog  bark\train\n": ["dog", "bark", "rain"],
        "dog bark, Rain ,wind": ["dog bark", "Rain", "wind"], "dog bark;rain": ["dog bark", "rain"],
        "dog bark;rain,wind": ["dog bark", "rain", "wind"], "dog bark,": ["dog bark"], ",; ,": [],
    }  # fmt: skip
    assert {cell: split_tags(cell) for cell in cells} == cells
