"""Training curves and reconstructions: what is in the figures."""

import numpy as np
import pytest

from coala_jax.reporting import style, training_plots
from tests.drawn import all_text_is_inside
from tests.training_record import entries_of_run

LOSSES = ("loss", "audio_loss", "tag_loss", "contrastive_loss")


def curves_by_title(figure):
    return {
        axes.get_title(loc="left") or axes.get_title(): {
            line.get_label(): line.get_xydata() for line in axes.lines
        }
        for axes in figure.axes
    }


@pytest.mark.parametrize(
    ("losses", "retrieval"),
    [
        (("loss", "audio_loss", "tag_loss", "signed_contrastive_loss"), True),
        (LOSSES, True),
        (("loss", "contrastive_loss"), True),
        (("loss", "tag_loss"), False),
    ],
    ids=["ae_c", "ae_c, released", "e_c", "cnn"],
)
def test_what_was_measured_has_a_panel_with_its_values(losses, retrieval):
    entries = entries_of_run(3, losses, retrieval)
    curves = curves_by_title(training_plots.curves_figure(entries))
    measured = [*losses, *(("macro_auc", "mrr") if retrieval else ())]
    assert list(curves) == [training_plots.PANELS[name] for name in measured]
    for name in measured:
        for kind, label in (("train", "training"), ("validation", "validation")):
            curve = curves[training_plots.PANELS[name]].get(label)
            expected = [(e["epoch"], e[name]) for e in entries if e["kind"] == kind and name in e]
            np.testing.assert_array_equal(curve if expected else [], expected)
    assert ("chance" in curves.get(training_plots.PANELS["macro_auc"], ())) == retrieval


def test_a_value_that_is_not_finite_is_a_gap_and_a_loss_may_be_negative():
    values = [-1.0, float("nan"), -3.5]
    entries = [{"kind": "train", "epoch": e, "loss": v} for e, v in enumerate(values, start=1)]
    (axes,) = training_plots.curves_figure(entries).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), values)
    assert axes.get_ylim()[0] < -3.5


@pytest.mark.parametrize("epochs", [1, 200])
def test_curves_of_short_and_long_runs_fit(epochs):
    with style.styled():
        assert all_text_is_inside(training_plots.curves_figure(entries_of_run(epochs, LOSSES)))


@pytest.mark.parametrize("sounds", [1, 3])
def test_reconstructions_show_the_arrays_with_low_bands_at_the_bottom(sounds):
    rng = np.random.default_rng(0)
    patches, made = rng.random((2, sounds, 96, 96), dtype=np.float32)
    names, tags = ["n" * 200, "kick", ""][:sounds], ["$\\frac{$ 雨, " * 20, "drum", ""][:sounds]
    with style.styled():
        figure = training_plots.reconstruction_figure(
            patches, made, names, tags, frame_seconds=512 / 22_000
        )
        assert all_text_is_inside(figure)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == ["sound", "reconstruction"] * sounds
    for number, axes in enumerate(panels):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), (patches, made)[number % 2][number // 2])
        assert image.origin == "lower" and image.get_clim() == (0, 1)
        # 96 frames of 512 samples at 22 000 Hz
        assert image.get_extent() == pytest.approx((0, 2.2342, 0, 96), abs=1e-4)
    if sounds == 3:
        assert [cell.get_suptitle() for cell in figure.subfigs[1:3]] == ["kick\ndrum", "\n"]
