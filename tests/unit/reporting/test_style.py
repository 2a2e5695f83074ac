"""What all plots share: a style that stays ours, enough colours."""

import matplotlib as mpl

from coala_jax.reporting import style


def test_a_text_is_cut_to_one_line_of_eight_characters():
    for text, cut in {
        "eight ch": "eight ch",
        "nine char": "nine ch…",
        "eleven chars": "eleven…",  # no blank before the dots
        "  a   \n b ": "a b",
        "": "",
    }.items():
        assert style.cut(text, 8) == cut


def test_ten_classes_differ_in_colour_and_in_marker():
    assert len(set(style.COLOURS)) == len(set(style.MARKERS)) == 10
    assert style.GREY not in style.COLOURS


def test_the_readers_style_is_restored():
    with mpl.rc_context({"font.size": 33, "axes.facecolor": "black"}):
        before = mpl.rcParams.copy()
        with style.styled():
            assert mpl.rcParams["font.size"] == 10
        assert mpl.rcParams.copy() == before
