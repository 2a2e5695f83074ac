"""Loss curves and reconstructions: what is in the figures and in the pixels."""

import jaxtyping
import numpy as np
import pytest
from matplotlib.image import imread

from coala_jax.evaluation import pictures

LOSSES = ("loss", "audio_loss", "tag_loss", "contrastive_loss")


def lines_of_metrics(epochs=3, names=LOSSES, retrieval=True):
    """What a run writes: all values different, so that no panel can be mistaken for another."""
    lines = []
    for epoch in range(1, epochs + 1):
        for kind, shift in (("train", 0.0), ("validation", 0.3)):
            values = {name: 10.0 * i + 5 / epoch + shift for i, name in enumerate(names)}
            if retrieval and kind == "validation":
                values |= {"macro_auc": 0.5 + 0.05 * epoch, "mrr": 0.02 * epoch}
            lines.append({"kind": kind, "epoch": epoch, "step": 14 * epoch, **values})
    return lines


def noise(sounds, seed=0):
    return np.random.default_rng(seed).random((sounds, 96, 96), dtype=np.float32)


def pixels(path):
    """The picture as uint8 [row, column, red green blue]."""
    return np.round(imread(path)[..., :3] * 255).astype(np.uint8)


def curves_by_title(figure):
    return {
        axes.get_title(loc="left") or axes.get_title(): {
            line.get_label(): line.get_xydata() for line in axes.lines
        }
        for axes in figure.axes
    }


@pytest.mark.parametrize(
    ("contrastive", "title"),
    [
        ("signed_contrastive_loss", "Contrastive loss (may be negative)"),
        ("contrastive_loss", "Contrastive loss (NT-Xent)"),
    ],
)
def test_every_loss_has_its_panel_with_its_own_values(contrastive, title):
    """Of the two contrastive losses a run has one, and says which."""
    lines = lines_of_metrics(names=("loss", "audio_loss", "tag_loss", contrastive))
    lines.append({"kind": "samples", "epoch": 3, "step": 42, "sounds": [{"id": "a.wav"}]})
    curves = curves_by_title(pictures.loss_figure(lines))
    absent = {"signed_contrastive_loss", "contrastive_loss"} - {contrastive}
    panels = {name: title for name, title in pictures.PANELS.items() if name not in absent}
    assert panels[contrastive] == title
    assert list(curves) == list(panels.values())
    for name, title in panels.items():
        for kind in ("train", "validation"):
            expected = [[m["epoch"], m[name]] for m in lines if m["kind"] == kind and name in m]
            if expected:
                np.testing.assert_array_equal(curves[title][kind], expected)
            else:
                assert kind not in curves[title]
    assert set(curves[pictures.PANELS["mrr"]]) == {"validation"}
    assert "chance" in curves[pictures.PANELS["macro_auc"]]


@pytest.mark.parametrize(
    ("names", "retrieval", "panels"),
    [
        (("loss", "contrastive_loss"), True, 4),
        (("loss", "tag_loss"), False, 2),
        (("loss",), False, 1),
        (LOSSES, True, 6),
        (("loss", "audio_loss", "tag_loss"), True, 5),
    ],
    ids=["e_c", "cnn", "loss alone", "ae_c", "odd number"],
)
def test_what_was_not_measured_has_no_panel(names, retrieval, panels):
    figure = pictures.loss_figure(lines_of_metrics(names=names, retrieval=retrieval))
    assert len(figure.axes) == panels
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)


def test_a_loss_below_zero_is_drawn_below_zero():
    lines = lines_of_metrics(names=("signed_contrastive_loss",), retrieval=False)
    for line in lines:
        line["signed_contrastive_loss"] -= 4
    (axes,) = pictures.loss_figure(lines).axes
    values = axes.lines[0].get_ydata()
    np.testing.assert_allclose(values, [1, -1.5, 5 / 3 - 4])
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < -5 / 3


def test_a_resumed_epoch_counts_once_and_nan_is_a_gap():
    lines = lines_of_metrics(names=("loss",), retrieval=False)
    again = {"kind": "train", "epoch": 2, "step": 28, "loss": 7.5}
    broken = {"kind": "train", "epoch": 4, "step": 56, "loss": float("nan")}
    curve = curves_by_title(pictures.loss_figure([*lines, again, broken]))
    np.testing.assert_array_equal(
        curve[pictures.PANELS["loss"]]["train"], [[1, 5], [2, 7.5], [3, 5 / 3], [4, np.nan]]
    )


def test_curves_end_in_their_last_value():
    figure = pictures.loss_figure(lines_of_metrics(names=("loss",), retrieval=False))
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.67", "1.97"]


@pytest.mark.parametrize("lines", [[], [{"kind": "train", "epoch": 1, "step": 3}]])
def test_no_metrics_is_an_error(lines, tmp_path):
    with pytest.raises(ValueError, match="no loss to draw in"):
        pictures.loss_curves(lines, tmp_path / "loss.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_loss_curves_are_drawn_for_short_and_long_runs(epochs, tmp_path):
    pictures.loss_curves(lines_of_metrics(epochs), tmp_path / "deep" / "loss.png")
    image = pixels(tmp_path / "deep" / "loss.png")
    assert image.shape[1] == 1200
    for colour in (pictures.TRAIN, pictures.VALIDATION):
        assert np.any(np.all(image == [int(colour[i : i + 2], 16) for i in (1, 3, 5)], axis=-1))


def test_reconstructions_show_the_arrays_with_axes_in_bands_and_seconds():
    patches, made = noise(3, seed=1), noise(3, seed=2)
    figure = pictures.reconstruction_figure(patches, made, ["a", "b", "c"])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="center") for axes in panels] == ["sound", "reconstruction"] * 3
    for number, axes in enumerate(panels):
        source = (patches, made)[number % 2][number // 2]
        np.testing.assert_array_equal(axes.images[0].get_array(), source)
        assert axes.images[0].get_clim() == (0, 1)
        assert axes.get_xlabel() == "seconds"
        # 96 frames of 512 samples at 22 000 a second
        assert axes.get_xlim() == pytest.approx((0, 2.2342), abs=1e-4)
        assert axes.get_ylim() == (0, 96)
    assert [axes.get_ylabel() for axes in panels] == ["mel band", ""] * 3


def test_low_bands_are_at_the_bottom_and_early_frames_at_the_left(tmp_path):
    patches = np.zeros((1, 96, 96), np.float32)
    patches[0, :24] = 1  # the lowest quarter of the bands
    made = np.zeros((1, 96, 96), np.float32)
    made[0, :, :48] = 1  # the first half of the time
    pictures.reconstructions(patches, made, ["name\ntags"], tmp_path / "r.png")
    image = pixels(tmp_path / "r.png").astype(int).sum(axis=-1)
    figure = pictures.reconstruction_figure(patches, made, ["name\ntags"])
    height, width = image.shape

    def brightness(axes, across, up):
        box = axes.get_position()
        x, y = box.x0 + across * box.width, box.y0 + up * box.height
        return image[int(height * (1 - y)), int(width * x)]

    sound, reconstruction = (axes for axes in figure.axes if axes.get_xlabel() == "seconds")
    assert brightness(sound, 0.5, 0.2) > 500 > 50 > brightness(sound, 0.5, 0.3)
    assert brightness(sound, 0.1, 0.9) < 50 and brightness(sound, 0.9, 0.1) > 500
    assert brightness(reconstruction, 0.45, 0.9) > 500
    assert brightness(reconstruction, 0.55, 0.1) < 50


def test_titles_are_name_and_tags_and_long_ones_are_cut():
    titles = ["kick.wav\ndrum, kick", "x" * 200 + "\n" + "tag, " * 80, " bare\t name"]
    figure = pictures.reconstruction_figure(noise(3), noise(3), titles)
    written = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert written[:2] == ["kick.wav", "drum, kick"]
    assert written[2] == "x" * 57 + "…"
    assert written[3] == "tag, " * 14 + "tag,…"  # 75 of at most 76, no blank before the dots
    assert written[4:] == ["bare name", ""]


def test_reconstructions_of_other_numbers_of_sounds_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="2 titles must be of the same sounds"):
        pictures.reconstruction_figure(noise(3), noise(3), ["a", "b"])
    with pytest.raises(ValueError, match=r"one at least"):
        pictures.reconstruction_figure(noise(0), noise(0), [])
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse them first
    with pytest.raises(ValueError, match=r"\(3, 96, 96\), reconstructed \(2, 96, 96\)"):
        pictures.reconstruction_figure(noise(3), noise(2), ["a", "b", "c"])
