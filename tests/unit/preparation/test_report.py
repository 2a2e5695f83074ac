"""The report of a preparation: its figures in the Markdown and in the picture, worked by hand."""

import dataclasses
import re

import numpy as np
import pytest
from matplotlib.image import imread

from coala_jax import storage
from coala_jax.preparation.report import markdown, remarks, write_report
from coala_jax.preparation.report_picture import picture
from coala_jax.preparation.summary import Summary
from coala_jax.reporting import style

# 20 sounds listed: 2 excluded, 3 of 18 not decoded, 3 of 15 without a tag, 12 left.
TWELVE = Summary(
    name="twelve",
    settings={"seed": 0, "front_end": {"hop_samples": 512, "window": {"name": "hann"}}, "x": {}},
    listed=20,
    dropped={
        "excluded": {"in the list of ids": 2},
        "decoding": {"EmptyFileError: no bytes": 1, "TruncatedError: cut short": 2},
        "tags": {"no tag of the vocabulary": 3},
    },
    sounds={"train": 9, "validation": 3},
    patches={"train": 1018, "validation": 6},
    groups={"train": 5, "validation": 2},
    wanted_fraction=0.2,
    seconds=np.arange(12, 0, -1.0),
    patch_seconds=2.5,
    tag_sounds={"drum": (8, 2), "kick": (3, 0), "rain": (0, 2), "a|b": (1, 0)},
    tags_per_sound=np.array([1] * 9 + [2, 2, 3]),
    tags_left_out={"in more than 70% of the sounds": 1, "beyond the 4 most frequent": 5210},
    value_range=(-15.9424, 8.10958),
    named_in={"decoding": "failures.csv", "matching": "matches.csv"},
)


def plain(train=1710, validation=190, **changes):
    """A summary at which nothing is to be remarked, and every threshold is only just kept."""
    kept = train + validation
    values = dict(
        name="plain",
        settings={},
        listed=kept + 100,
        dropped={"decoding": {"TruncatedError: cut short": 60, "SilentError: silent": 40}},
        sounds={"train": train, "validation": validation},
        patches={"train": train, "validation": validation},
        groups={"train": train, "validation": 10},
        wanted_fraction=0.08,
        seconds=np.where(np.arange(kept) < kept // 2, 2.0, 2.2),
        patch_seconds=2.2,
        tag_sounds={tag: (train // 2, validation // 2) for tag in ("a", "b")},
        tags_per_sound=np.ones(kept, np.int64),
        tags_left_out={},
        value_range=(-15.0, 8.0),
    )
    return Summary(**values | changes)


def large(tags=1000, sounds=190_000, **changes):
    """As many sounds and tags as the paper's collection."""
    totals = [sounds // (rank + 3) for rank in range(tags)]
    counts = {f"a tag of number {rank}": (n - n // 10, n // 10) for rank, n in enumerate(totals)}
    pairs = sum(totals)
    values = dict(
        tag_sounds=counts,
        tags_per_sound=pairs // sounds + (np.arange(sounds) < pairs % sounds).astype(np.int64),
        seconds=np.geomspace(0.002, 7200, sounds),
    )
    return plain(sounds - sounds // 10, sounds // 10, **values | changes)


def one(name="one", tag="drum", seconds=0.3):
    return Summary(
        name=name,
        settings={},
        listed=1,
        dropped={},
        sounds={"train": 1, "validation": 0},
        patches={"train": 1, "validation": 0},
        groups={"train": 1, "validation": 0},
        wanted_fraction=0.1,
        seconds=np.array([seconds]),
        patch_seconds=2.2,
        tag_sounds={tag: (1, 0)},
        tags_per_sound=np.array([1]),
        tags_left_out={},
        value_range=(-15.0, 8.0),
    )


def in_any_script():
    tags = [
        "雨",
        "🥁",
        "גשם",
        "$\\frac{$",
        "_a_",
        "|`x`|",
        "line\nbreak",
        "nul\0",
        "\ud800",
        "x" * 90,
    ]
    tags += ["雨の音がする夜の街の静かな公園の夜明けの音のする"]
    return plain(
        name="雨 $\\frac{$ " * 30,
        dropped={"a stage of a very long name": {"|\n`": 100}},
        tag_sounds=dict.fromkeys(tags, (155, 17)) | {"rest": (7, 1)},
    )


def table_after(text, heading, number=0):
    """The cells of a table below a heading, without the line of dashes."""
    section = text.split(f"## {heading}\n\n")[1].split("\n\n## ")[0]
    table = [part for part in section.split("\n\n") if part.startswith("|")][number]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.strip().splitlines()]
    return [[cell.strip() for cell in row] for row in rows[:1] + rows[2:]]


def test_the_stages_say_what_came_in_what_was_dropped_and_why():
    text = markdown(TWELVE)
    assert table_after(text, "Sounds, stage by stage") == [
        ["stage", "sounds in", "dropped", "share", "left"],
        ["excluded", "20", "2", "10.0 %", "18"],
        ["decoding", "18", "3", "16.7 %", "15"],
        ["tags", "15", "3", "20.0 %", "12"],
        ["overall", "20", "8", "40.0 %", "12"],
    ]
    assert table_after(text, "Sounds, stage by stage", 1) == [
        ["dropped in", "why", "sounds"],
        ["excluded", "in the list of ids", "2"],
        ["decoding", "TruncatedError: cut short", "2"],
        ["decoding", "EmptyFileError: no bytes", "1"],
        ["tags", "no tag of the vocabulary", "3"],
    ]
    assert "\n\nThose dropped in decoding are named in failures.csv.\n" in text
    assert text.count("are named in") == 1


def test_the_overview_counts_what_was_kept():
    assert markdown(TWELVE).startswith(
        "# Report on the dataset twelve\n\n"
        "12 of the 20 sounds listed were kept (60.0 %), 1.3 minutes in all: 9 to train on and 3 to "
        "validate on. They carry 4 tags of the vocabulary, 1 a sound in the median. The log-mel "
        "values of the training patches span -15.94 to 8.11.\n"
    )
    assert "\n![" in markdown(TWELVE) and "](report.png)\n" in markdown(TWELVE)


def test_the_splits_and_how_evenly_the_tags_are_split():
    text = markdown(TWELVE)
    assert table_after(text, "Training and validation") == [
        ["split", "sounds", "share", "patches", "groups"],
        ["train", "9", "75.0 %", "1,018", "5"],
        ["validation", "3", "25.0 %", "6", "2"],
        ["overall", "12", "100.0 %", "1,024", "7"],
    ]
    assert (
        "Validation was to have 20.0 % of the sounds, and has 25.0 %. Of a tag's sounds 20.0 % are "
        "in validation in the median over 1 tag with 10 or more sounds, and at worst 20.0 % (drum, "
        "2 of 10). Tags without a validation sound: 2; tags with fewer than 2 training sounds: 2."
    ) in text


def test_evenness_counts_tags_from_ten_sounds_on():
    def sentence(*counts):
        tags = {f"tag{n}": pair for n, pair in enumerate(counts)}
        pairs = sum(map(sum, counts))
        each = np.full(12, pairs // 12) + (np.arange(12) < pairs % 12)
        changed = dataclasses.replace(TWELVE, tag_sounds=tags, tags_per_sound=each)
        return markdown(changed).split("has 25.0 %. ")[1].split("\n")[0]

    # Shares .1, .4 and .2 of three tags; the fourth, of 9 sounds, would be the worst.
    assert sentence((9, 1), (6, 4), (8, 2), (0, 9)) == (
        "Of a tag's sounds 20.0 % are in validation in the median over 3 tags with 10 or more "
        "sounds, and at worst 40.0 % (tag1, 4 of 10). Tags without a validation sound: 0; tags "
        "with fewer than 2 training sounds: 1."
    )
    assert sentence((9, 0), (1, 8)).startswith("No tag has 10 sounds, enough to see")


def test_durations_are_quantiles_hours_and_what_is_shorter_than_a_patch():
    text = markdown(TWELVE)
    assert table_after(text, "Durations") == [
        ["", "least", "5 %", "25 %", "median", "75 %", "95 %", "most"],
        ["seconds", "1", "1.55", "3.75", "6.5", "9.25", "11.45", "12"],
    ]
    assert (
        "1.3 minutes in all. Shorter than one patch of 2.5 s: 2 (16.7 %); longer than 10 s: "
        "2 (16.7 %).\n"
    ) in text
    edges = dataclasses.replace(TWELVE, seconds=np.array([2.5, 10.0] * 6))
    assert "2.5 s: 0 (0.0 %); longer than 10 s: 0 (0.0 %).\n" in markdown(edges)


def test_durations_that_are_not_known_are_said_to_be():
    seconds = np.array([np.nan] * 9 + [1.0, 4.0, 40.0])
    text = markdown(dataclasses.replace(TWELVE, seconds=seconds))
    assert table_after(text, "Durations")[1][4] == "4"
    assert "45.0 seconds in all. Shorter than one patch of 2.5 s: 1 (33.3 %)" in text
    assert "Sounds whose duration is not known: 9.\n" in text
    nothing = dataclasses.replace(TWELVE, seconds=np.full(12, np.nan))
    assert "## Durations\n\nSounds whose duration is not known: 12.\n" in markdown(nothing)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (59.94, "59.9 seconds"),
        (60.0, "1.0 minutes"),
        (3600.0, "1.0 hours"),
        (7.2e6, "2,000.0 hours"),
    ],
)
def test_lengths_have_a_unit_that_can_be_read(seconds, shown):
    assert f" {shown} in all" in markdown(one(seconds=seconds))


def test_tags_are_listed_with_their_counts_and_those_left_out_with_the_cause():
    text = markdown(TWELVE)
    assert table_after(text, "Tags")[1] == ["tags of a sound", *"1111", "1.25", "2.45", "3"]
    assert "The vocabulary has 4 tags:\n" in text
    assert table_after(text, "Tags", 1) == [
        ["tag", "sounds", "of all sounds", "train", "validation", "validation share"],
        ["drum", "10", "83.3 %", "8", "2", "20.0 %"],
        ["kick", "3", "25.0 %", "3", "0", "0.0 %"],
        ["rain", "2", "16.7 %", "0", "2", "100.0 %"],
        ["a\\|b", "1", "8.3 %", "1", "0", "0.0 %"],
    ]
    assert table_after(text, "Tags", 2) == [
        ["tags left out, because", "tags"],
        ["beyond the 4 most frequent", "5,210"],
        ["in more than 70% of the sounds", "1"],
    ]


def test_of_many_tags_and_causes_the_most_frequent_are_listed():
    causes = {f"cause {n:02}": n for n in range(1, 26)}  # 325 sounds
    text = markdown(large(listed=190_325, dropped={"decoding": causes}))
    rows = table_after(text, "Tags", 1)
    assert "The vocabulary has 1,000 tags; the 30 most frequent:\n" in text
    assert [row[0] for row in rows[1:]] == [f"a tag of number {rank}" for rank in range(30)]
    assert rows[1][1:4] == ["63,333", "33.3 %", "57,000"]
    why = table_after(text, "Sounds, stage by stage", 1)
    assert why[1:3] == [["decoding", "cause 25", "25"], ["decoding", "cause 24", "24"]]
    assert why[20:] == [["decoding", "cause 06", "6"], ["decoding", "5 other causes", "15"]]


def test_a_cause_of_nothing_has_no_row():
    none = {"excluded": {"in the list of ids": 0}, "decoding": {"A: a": 0, "B: b": 100}}
    names = {"excluded": "ids.csv", "decoding": "failures.csv"}
    text = markdown(plain(dropped=none, tags_left_out={"too rare": 0}, named_in=names))
    stages = table_after(text, "Sounds, stage by stage")
    assert stages[1] == ["excluded", "2,000", "0", "0.0 %", "2,000"]
    assert table_after(text, "Sounds, stage by stage", 1)[1:] == [["decoding", "B: b", "100"]]
    assert "ids.csv" not in text and "left out" not in text


def test_settings_are_printed_flat():
    settings = TWELVE.settings | {"ids": frozenset({"b", "c", "a"}), "empty": ""}
    rows = table_after(markdown(dataclasses.replace(TWELVE, settings=settings)), "Settings")
    assert rows == [
        ["setting", "value"],
        ["seed", "0"],
        ["front_end.hop_samples", "512"],
        ["front_end.window.name", "hann"],
        ["x", "{}"],
        ["ids", "\\['a', 'b', 'c'\\]"],
        ["empty", ""],
    ]
    assert "## Settings" not in markdown(plain())


@pytest.mark.parametrize(
    ("dropped", "share"),
    [
        (0, "0.0 %"),
        (1, "under 0.1 %"),
        (94, "under 0.1 %"),
        (95, "0.1 %"),
        (189_904, "99.9 %"),
        (189_905, "over 99.9 %"),
        (189_999, "over 99.9 %"),
    ],
)
def test_a_few_are_never_shown_as_none_nor_most_as_all(dropped, share):
    left = 190_000 - dropped
    summary = dataclasses.replace(
        one(),
        listed=190_000,
        dropped={"excluded": {"in the list of ids": dropped}},
        sounds={"train": left, "validation": 0},
        seconds=np.ones(left),
        tag_sounds={"drum": (left, 0)},
        tags_per_sound=np.ones(left, np.int64),
    )
    assert table_after(markdown(summary), "Sounds, stage by stage")[1][3] == share


def test_nothing_is_remarked_while_every_threshold_is_kept():
    assert remarks(plain()) == []
    assert "## Remarks\n\n- Nothing looks wrong.\n\n" in markdown(plain())
    wished = {"excluded": {"in the list of ids": 1900}}
    assert remarks(plain(listed=3800, dropped=wished)) == []


@pytest.mark.parametrize(
    ("summary", "remark"),
    [
        (
            plain(listed=2001, dropped={"decoding": {"A: a": 61, "B: b": 40}}),
            "5.0 % of the sounds that reached the stage decoding were dropped there, most of them "
            "because of: A: a (61 of 101).",
        ),
        (
            plain(999, 81, tag_sounds={"a": (500, 40), "b": (499, 41)}, listed=1080, dropped={}),
            "999 sounds to train on: the paper had 170,906, so expect less of the model.",
        ),
        (
            plain(wanted_fraction=0.0799),
            "Validation has 10.0 % of the sounds where 8.0 % were wanted: groups too large to fit, "
            "or too few sounds.",
        ),
        (
            plain(wanted_fraction=0.1201),
            "Validation has 10.0 % of the sounds where 12.0 % were wanted: groups too large to fit,"
            " or too few sounds.",
        ),
        (
            plain(groups={"train": 1710, "validation": 9}),
            "Validation holds only 9 groups: with others in their place its figures may be quite "
            "different.",
        ),
        (
            plain(seconds=np.where(np.arange(1900) < 951, 2.0, 2.2)),
            "50.1 % of the sounds are shorter than one patch, which is then filled up with "
            "padding.",
        ),
        (
            plain(tag_sounds={"a|": (854, 95), "b": (856, 95)}),
            "The tag b is on 50.1 % of the sounds and says little.",
        ),
        (
            plain(tag_sounds={"a": (770, 0), "b": (770, 190), "c_": (170, 0)}),
            "Tags that occur in no validation sound and are learnt but not measured: 2 of 3 (a, "
            "c\\_).",
        ),
        (
            plain(
                tag_sounds={f"t{n}": (0, 1) for n in range(7)} | {"a": (855, 92), "b": (855, 91)}
            ),
            "Tags that occur in no training sound and cannot be learnt: 7 of 9 (t0, t1, t2, t3, t4 "
            "and 2 more).",
        ),
    ],
    ids=["failed", "few", "too many", "too little", "groups", "short", "common", "train", "valid"],
)
def test_what_looks_wrong_is_remarked_in_a_sentence(summary, remark):
    found = remarks(summary)
    assert remark in found and f"\n- {remark}\n" in markdown(summary)
    # A tag in one split alone may also make another too common; all else is as it should be.
    assert [other for other in found if other != remark and not other.startswith("The tag")] == []


def test_1000_sounds_to_train_on_are_not_few():
    assert remarks(plain(1000, 88, listed=1088, dropped={})) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("hi-hat a_b 4/4 #1", "hi-hat a_b 4/4 #1"),
        ("a|b", "a\\|b"),
        ("`a`", "\\`a\\`"),
        ("two\nlines\r\n| end", "two lines \\| end"),
        ("_a_ __b__ c_d_", "\\_a\\_ \\_\\_b\\_\\_ c_d\\_"),
        ("*a* ~b~ $c$", "\\*a\\* \\~b\\~ \\$c\\$"),
        ("<b>&amp;[x](y)", "\\<b\\>\\&amp;\\[x\\](y)"),
        ("back\\slash\\|", "back\\\\slash\\\\\\|"),
        ("雨_雨 é_é", "雨_雨 é_é"),
        ("nul\0bell\x07", "nul bell"),
        ("\ud800", "?"),
        ("x" * 161, "x" * 159 + "…"),
    ],
)
def test_names_are_shown_as_they_are_and_change_no_markup(name, shown):
    text = markdown(one(name=name, tag=name))
    assert text.startswith(f"# Report on the dataset {shown}\n\n")
    assert table_after(text, "Tags", 1)[1] == [shown, "1", "100.0 %", "1", "0", "0.0 %"]
    assert f"- The tag {shown} is on 100.0 % of the sounds" in text
    text.encode()


def test_causes_and_settings_are_escaped_too():
    odd = "Cut|Error: `a\nb`"
    summary = plain(dropped={odd: {odd: 100}}, settings={odd: odd})
    shown = "Cut\\|Error: \\`a b\\`"
    text = markdown(summary)
    assert table_after(text, "Sounds, stage by stage")[1][0] == shown
    assert table_after(text, "Sounds, stage by stage", 1)[1] == [shown, shown, "100"]
    assert table_after(text, "Settings")[1] == [shown, shown]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"sounds": {"train": 0, "validation": 0}}, "no sound or no tag is left"),
        ({"tag_sounds": {}}, "no sound or no tag is left"),
        ({"listed": 21}, "21 sounds listed and 8 dropped, but 12 in the splits"),
        ({"sounds": {"train": 9, "validation": 4}}, "but 13 in the splits, 12 durations and tag"),
        ({"seconds": np.ones(11), "tags_per_sound": np.ones(11, np.int64)}, "11 durations"),
        ({"tag_sounds": {"drum": (8, 7)}}, "the tags count 15 sounds and the sounds 16 tags"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(changes, cause):
    with pytest.raises(ValueError, match=f"^twelve: .*{cause}"):
        dataclasses.replace(TWELVE, **changes)


def panels(summary):
    with style.styled():
        figure = picture(summary)
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


@pytest.fixture(scope="module")
def twelve():
    return panels(TWELVE)


def bars(axes):
    """Of each horizontal bar: its row, where it begins, its width."""
    boxes = [(p.get_y() + p.get_height() / 2, p.get_x(), p.get_width()) for p in axes.patches]
    return [(round(row), left, width) for row, left, width in boxes]


def test_the_picture_shows_what_became_of_the_sounds(twelve):
    axes = twelve["What became of the sounds"]
    assert bars(axes) == [
        *((0, 0, 20), (0, 20, 0)),
        *((1, 0, 18), (1, 18, 2)),
        *((2, 0, 15), (2, 15, 3)),
        *((3, 0, 12), (3, 12, 3)),
        *((4, 0, 9), (4, 9, 3)),
    ]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["listed", "excluded", "decoding", "tags", "kept"]
    assert [text.get_text() for text in axes.texts] == [
        "20",
        "18 left, 2 dropped",
        "15 left, 3 dropped",
        "12 left, 3 dropped",
        "9 train, 3 validation",
    ]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first stage at the top


def test_the_picture_shows_durations_on_a_log_axis_with_both_lines(twelve):
    axes = twelve["Durations"]
    assert axes.get_xscale() == "log"
    for second in (1, 12):
        inside = [p for p in axes.patches if p.get_x() <= second < p.get_x() + p.get_width()]
        assert [bar.get_height() for bar in inside] == [1]
    assert sum(bar.get_height() for bar in axes.patches) == 12
    lines = {line.get_label(): line.get_xdata()[0] for line in axes.lines}
    assert lines == {"one patch, 2.5 s": 2.5, "10 s": 10.0}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1 s", "10 s"]
    assert not axes.texts
    # None of 0 seconds is lost, and the ticks reach from milliseconds to hours.
    seconds = np.array([0.0, 40_000.0] * 6)
    wide = panels(dataclasses.replace(TWELVE, seconds=seconds))["Durations"]
    assert sum(bar.get_height() for bar in wide.patches) == 12
    texts = [label.get_text() for label in wide.get_xticklabels()]
    assert dict(zip(texts, wide.get_xticks().tolist(), strict=True)) == {
        **{"1 ms": 0.001, "10 ms": 0.01, "0.1 s": 0.1, "1 s": 1, "10 s": 10},
        **{"1 min": 60, "10 min": 600, "1 h": 3600, "10 h": 36_000},
    }
    unknown = panels(one(seconds=np.nan))["Durations"]
    assert sum(bar.get_height() for bar in unknown.patches) == 0
    assert [text.get_text() for text in unknown.texts] == ["not known"]


def test_the_picture_stacks_train_and_validation_of_the_most_frequent_tags(twelve):
    axes = twelve["All tags"]
    train = [(0, 0, 8), (1, 0, 3), (2, 0, 0), (3, 0, 1)]
    assert bars(axes) == [*train, (0, 8, 2), (1, 3, 0), (2, 0, 2), (3, 1, 0)]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["drum", "kick", "rain", "a|b"]
    assert [text.get_text() for text in axes.texts] == ["10", "3", "2", "1"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["train", "validation"]
    many = panels(large())["Most frequent tags"]
    assert len(many.patches) == 50
    assert many.get_yticklabels()[24].get_text() == "a tag of number 24"
    odd = panels(in_any_script())["All tags"].get_yticklabels()
    assert max(len(label.get_text()) for label in odd) == 20


def test_the_picture_ranks_the_tags_and_counts_those_of_a_sound(twelve):
    ranks = twelve["Sounds of each tag"]
    assert (ranks.get_xscale(), ranks.get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(ranks.lines[0].get_xydata(), [[1, 10], [2, 3], [3, 2], [4, 1]])
    each = twelve["Tags of a sound"]
    heights = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in each.patches}
    assert heights == pytest.approx({1: 9, 2: 2, 3: 1})
    assert [line.get_label() for line in each.lines] == ["median 1"]


def test_the_picture_shows_how_evenly_each_tag_is_split():
    two_alike = {"drum": (7, 2), "kick": (3, 0), "rain": (0, 2), "a": (1, 0), "b": (1, 0)}
    axes = panels(dataclasses.replace(TWELVE, tag_sounds=two_alike))["How evenly each tag is split"]
    _, tags = axes.collections
    spots = zip(tags.get_offsets().tolist(), tags.get_sizes(), strict=True)
    assert {(x, round(y, 6)): round(size / 18, 3) for (x, y), size in spots} == {
        (9, 0.222222): 1,
        (3, 0): 1,
        (2, 1): 1,
        (1, 0): 1.414,  # two tags in one place
    }
    assert [line.get_ydata()[0] for line in axes.lines] == [0.2]


def test_the_band_of_chance_is_two_standard_deviations():
    tags = {"a": (80, 20), "b": (1630, 170)}
    axes = panels(plain(wanted_fraction=0.2, tag_sounds=tags))["How evenly each tag is split"]
    edges = axes.collections[0].get_paths()[0].vertices
    # The axis begins at .7 of the rarest tag's sounds: sqrt(.2 * .8 / 70) = 0.0478.
    first = edges[np.isclose(edges[:, 0], 70)]
    assert (first[:, 1].min(), first[:, 1].max()) == pytest.approx((0.1044, 0.2956), abs=1e-4)


CASES = {
    "twelve": TWELVE,
    "one": one(),
    "no drops": plain(listed=1900, dropped={}, seconds=np.full(1900, np.nan)),
    "many stages": plain(
        dropped={f"stage {n}": {"why": 10} for n in range(10)}, seconds=np.full(1900, 1e6)
    ),
    "large": large(),
    "scripts": in_any_script(),
}


def overlapping(boxes):
    """Names of the boxes that share more than a pixel."""
    names = list(boxes)
    return [
        (one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if min(boxes[one].x1, boxes[other].x1) - max(boxes[one].x0, boxes[other].x0) > 1
        and min(boxes[one].y1, boxes[other].y1) - max(boxes[one].y0, boxes[other].y0) > 1
    ]


@pytest.mark.parametrize("case", CASES)
def test_nothing_in_the_picture_lies_over_anything_else(case):
    with style.styled():
        figure = picture(CASES[case])
        figure.draw_without_rendering()
        boxes = {axes.get_title(loc="left"): axes.get_tightbbox() for axes in figure.axes}
        boxes["heading"] = figure._suptitle.get_window_extent()
        assert len(boxes) == 7 and overlapping(boxes) == []
        for box in boxes.values():
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1200 and box.y1 <= figure.bbox.y1
        for axes in figure.axes:
            title = {"title": axes._left_title.get_window_extent()}
            legend = axes.get_legend()
            legends = {"legend": legend.get_window_extent()} if legend else {}
            assert overlapping(title | legends) == []
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
                shown = [t.label1 for t in ticks if axis.get_visible()]
                texts = {n: label.get_window_extent() for n, label in enumerate(shown)}
                assert overlapping(texts) == []
                assert len(texts) > 1 or not axis.get_visible() or axis.get_scale() == "linear"
            for note in axes.texts:
                assert axes.bbox.x0 <= note.get_window_extent().x0
                assert note.get_window_extent().x1 <= axes.bbox.x1


def test_equal_input_gives_equal_bytes(tmp_path):
    first = write_report(tmp_path / "one", in_any_script())
    assert first == [tmp_path / "one" / "report.md", tmp_path / "one" / "report.png"]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"report.md", "report.png"}
    again = write_report(tmp_path / "two", in_any_script())
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes() == markdown(in_any_script()).encode()
    assert imread(first[1]).shape[1] == 1200


def test_the_order_of_the_sounds_and_tags_does_not_matter():
    other = dataclasses.replace(
        TWELVE,
        seconds=TWELVE.seconds[::-1].copy(),
        tags_per_sound=TWELVE.tags_per_sound[::-1].copy(),
        tag_sounds=dict(reversed(TWELVE.tag_sounds.items())),
    )
    assert markdown(other) == markdown(TWELVE)


@pytest.mark.parametrize("broken", ["report.md", "report.png"])
def test_an_interrupted_write_leaves_the_report_before(broken, tmp_path, monkeypatch):
    for name in ("report.md", "report.png"):
        (tmp_path / name).write_bytes(b"the one before")

    def full(name, data):
        if name.name == broken:
            raise OSError("disk full")
        write_bytes(name, data)

    write_bytes = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, TWELVE)
    assert (tmp_path / broken).read_bytes() == b"the one before"
    # The picture is the first: without it there is no new text.
    assert (tmp_path / "report.md").read_bytes() == b"the one before"
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.png"}
