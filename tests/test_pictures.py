"""Pictures: what is in the figures and the pixels, and equal bytes for equal input."""

import subprocess
import sys
from itertools import combinations

import jaxtyping
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

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


def clusters(sounds_each=20, seed=0):
    """Three groups far apart in 40 dimensions, and their tags."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(3, 40)) * 10
    embeddings = np.repeat(centres, sounds_each, axis=0) + generator.normal(
        size=(3 * sounds_each, 40)
    )
    names = np.repeat(["drum", "bird", "piano"], sounds_each)
    return embeddings.astype(np.float32), [[name, "sound"] for name in names]


def pixels(path):
    """The picture as uint8 [row, column, red green blue]."""
    return np.round(imread(path)[..., :3] * 255).astype(np.uint8)


def distinct_colours(image):
    return len(np.unique(image.reshape(-1, 3), axis=0))


def curves_by_title(figure):
    return {
        axes.get_title(loc="left") or axes.get_title(): {
            line.get_label(): line.get_xydata() for line in axes.lines
        }
        for axes in figure.axes
    }


def test_every_loss_has_its_panel_with_its_own_values():
    lines = lines_of_metrics()
    curves = curves_by_title(pictures.loss_figure(lines))
    assert list(curves) == list(pictures.PANELS.values())
    for name, title in pictures.PANELS.items():
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


@pytest.mark.parametrize("sounds", [3, 4, 9])
def test_few_sounds_are_mapped_by_principal_components(sounds):
    embeddings = np.random.default_rng(sounds).normal(size=(sounds, 20)).astype(np.float32)
    standard = embeddings.astype(np.float64)
    standard = (standard - standard.mean(axis=0)) / standard.std(axis=0)
    left, length, _ = np.linalg.svd(standard, full_matrices=False)
    expected = left[:, :2] * length[:2]
    got = pictures.project(embeddings, seed=0)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-9)


@pytest.mark.parametrize("sounds_each", [4, 20], ids=["12 sounds", "60 sounds"])
def test_groups_stay_together_on_the_map(sounds_each):
    embeddings, tags = clusters(sounds_each)
    positions = pictures.project(embeddings, seed=3)
    ways = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + np.diag(
        np.full(len(positions), np.inf)
    )
    nearest = ways.argmin(axis=1)
    assert all(tags[i] == tags[j] for i, j in enumerate(nearest))


def test_a_map_changes_neither_from_run_to_run_nor_with_the_scale_of_embeddings():
    embeddings, _ = clusters()
    first, again = (pictures.project(embeddings, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    scaled = embeddings * np.float32(4) + np.float32(8)
    assert np.abs(pictures.project(scaled, seed=1) - first).max() < 0.2 * np.ptp(first)


@pytest.mark.parametrize("sounds", [3, 10, 11, 31])
@pytest.mark.parametrize("kind", ["all alike", "one dimension", "one that differs", "duplicates"])
def test_degenerate_embeddings_have_a_map(sounds, kind):
    embeddings = np.full((sounds, 1 if kind == "one dimension" else 8), 0.3, np.float32)
    if kind == "one dimension":
        embeddings[:, 0] = np.arange(sounds)
    elif kind == "one that differs":
        embeddings[0] = 1
    elif kind == "duplicates":
        embeddings[::2] = np.arange(8)
    positions = pictures.project(embeddings, seed=0)
    assert positions.shape == (sounds, 2) and np.isfinite(positions).all()
    assert np.all(positions == 0) == (kind == "all alike")


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_sound_is_coloured_by_the_rarest_of_its_common_tags():
    tags = [["drum"]] * 3 + [["drum", "kick"]] * 2 + [["kick", "drum"]] + [["bird"]] * 2 + [[]] * 2
    positions = np.random.default_rng(0).normal(size=(len(tags), 2))
    figure = pictures.map_figure(positions, tags)
    assert legend_of(figure) == ["drum (3)", "kick (3)", "bird (2)", "other tags (2)"]
    drawn = {c.get_label(): np.array(c.get_offsets()) for c in figure.axes[0].collections}
    np.testing.assert_array_equal(drawn["kick (3)"], positions[3:6])
    np.testing.assert_array_equal(drawn["other tags (2)"], positions[8:])


def test_two_names_of_the_same_sounds_share_one_colour():
    tags = [["ping", "notification"]] * 8 + [["drum"]] * 4
    figure = pictures.map_figure(np.random.default_rng(0).normal(size=(12, 2)), tags)
    assert legend_of(figure) == ["notification (8)", "drum (4)"]


def test_no_more_tags_are_coloured_than_there_are_colours():
    tags = [[f"tag {i % 14:02d}"] for i in range(28 + 9)]
    figure = pictures.map_figure(np.random.default_rng(0).normal(size=(37, 2)), tags)
    assert legend_of(figure) == [f"tag {i:02d} (3)" for i in range(9)] + ["other tags (10)"]
    assert len(set(pictures.COLOURS)) == len(set(pictures.MARKERS)) == 9


@pytest.mark.parametrize("spread", [1.0, 1e-3], ids=["spread", "on one spot"])
def test_names_stand_near_their_sounds_and_do_not_overlap(spread):
    generator = np.random.default_rng(1)
    tags = [[f"name {i % 9}", f"other {i % 20:02d}"] for i in range(200)]
    positions = generator.normal(size=(200, 2)) * spread
    positions[:2] = [[-4, -4], [4, 4]]
    figure = pictures.map_figure(positions, tags)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = figure.axes[0].texts
    figure.draw_without_rendering()  # moves the texts to their places
    # The letters alone: an annotation's own extent holds the line to its sounds too.
    boxes = {text.get_text(): Text.get_window_extent(text, renderer) for text in texts}
    assert {f"name {i}" for i in range(9)} <= set(boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))
    frame = figure.axes[0].get_window_extent(renderer)
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 for b in boxes.values())
    for text in texts:
        middle = figure.axes[0].transData.transform(text.xy)
        box = boxes[text.get_text()]
        way = np.hypot((box.x0 + box.x1) / 2 - middle[0], (box.y0 + box.y1) / 2 - middle[1])
        assert way < (262 if text.get_text().startswith("name") else 52)


def test_names_of_sounds_at_the_edges_stay_inside():
    corners = np.array([[0, 0], [0, 9], [9, 0], [9, 9]], np.float64)
    figure = pictures.map_figure(corners, [[f"a rather long name {i}"] for i in range(4)])
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    frame = figure.axes[0].get_window_extent(renderer)
    assert len(figure.axes[0].texts) == 4
    for text in figure.axes[0].texts:
        box = Text.get_window_extent(text, renderer)
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1


def test_a_name_stands_at_the_sound_in_the_middle():
    positions = np.array([[0, 0], [1, 0], [2, 0.5], [9, 0], [1.2, 3], [20, 20]], np.float64)
    tags = [["a"]] * 5 + [["b"]]
    summed = [sum(np.hypot(*(p - q)) for q in positions[:5]) for p in positions[:5]]
    figure = pictures.map_figure(positions, tags)
    anchors = {t.get_text(): t.xy for t in figure.axes[0].texts}
    np.testing.assert_array_equal(anchors["a"], positions[int(np.argmin(summed))])
    np.testing.assert_array_equal(anchors["b"], [20, 20])


def test_of_many_sounds_some_are_picked_by_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAP_SOUNDS", 8)
    seen = []
    monkeypatch.setattr(
        pictures, "map_figure", lambda positions, tags: seen.append((positions, tags)) or Figure()
    )
    embeddings, _ = clusters(4)
    tags = [[str(number)] for number in range(12)]
    for seed in (0, 0, 1):
        pictures.embedding_map(embeddings, tags, tmp_path / "map.png", seed)
    picks = [[int(t[0]) for t in tags_of] for _, tags_of in seen]
    assert picks[0] == picks[1] != picks[2]
    assert len(picks[0]) == 8 and picks[0] == sorted(set(picks[0]))
    np.testing.assert_array_equal(seen[0][0], pictures.project(embeddings[picks[0]], 0))


def test_maps_that_cannot_be_are_refused(tmp_path):
    embeddings, tags = clusters(2)
    with pytest.raises(ValueError, match="2 embeddings and tags of 2 sounds: a map needs"):
        pictures.embedding_map(embeddings[:2], tags[:2], tmp_path / "map.png", 0)
    with pytest.raises(ValueError, match="6 embeddings and tags of 5 sounds"):
        pictures.embedding_map(embeddings, tags[:5], tmp_path / "map.png", 0)
    embeddings[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 embeddings not finite"):
        pictures.embedding_map(embeddings, tags, tmp_path / "map.png", 0)
    assert not list(tmp_path.iterdir())


DRAW = {
    "loss": lambda out, seed: pictures.loss_curves(lines_of_metrics(3 + seed), out),
    "reconstructions": lambda out, seed: pictures.reconstructions(
        noise(2, seed), noise(2, 9), ["a\nb", "c\nd"], out
    ),
    "map": lambda out, seed: pictures.embedding_map(*clusters(5, seed), out, 0),
}


@pytest.mark.parametrize("name", DRAW)
def test_equal_input_gives_equal_bytes_and_other_input_another_picture(name, tmp_path):
    one, two, other = (tmp_path / f"{i}.png" for i in range(3))
    for path, seed in ((one, 0), (two, 0), (other, 1)):
        DRAW[name](path, seed)
    assert one.read_bytes() == two.read_bytes()
    assert b"tEXt" not in one.read_bytes() and b"tIME" not in one.read_bytes()
    assert distinct_colours(pixels(one)) > 60
    first, changed = pixels(one), pixels(other)
    assert first.shape != changed.shape or np.mean(np.any(first != changed, axis=-1)) > 0.001


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_moved_into_place_when_whole(name, tmp_path, monkeypatch):
    out = tmp_path / "picture.png"
    out.write_bytes(b"the one before")

    def half(_self, path, **_options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", half)
        with pytest.raises(OSError, match="disk full"):
            DRAW[name](out, 0)
    assert out.read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    DRAW[name](out, 0)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_names_in_any_script_are_drawn_as_they_are(tmp_path):
    embeddings, tags = clusters(2)
    tags[0] = ["$\\frac{$", "雨", "🥁", "a_b^c"]
    pictures.embedding_map(embeddings, tags, tmp_path / "map.png", 0)
    pictures.reconstructions(noise(1), noise(1), ["$\\frac{$ 雨.wav\n🥁, $x$"], tmp_path / "r.png")
    assert distinct_colours(pixels(tmp_path / "r.png")) > 60


def test_the_readers_matplotlib_is_left_alone(tmp_path):
    with mpl.rc_context({"font.size": 33, "axes.facecolor": "black"}):
        before = mpl.rcParams.copy()
        DRAW["loss"](tmp_path / "styled.png", 0)
        assert mpl.rcParams.copy() == before
    code = (
        "import sys; import coala_jax.evaluation.pictures as p, pathlib;"
        "p.loss_curves([{'kind': 'train', 'epoch': 1, 'loss': 1.0}], pathlib.Path(sys.argv[1]));"
        "print([m for m in ('matplotlib.pyplot', 'jax', 'torch', 'tensorflow')"
        " if m in sys.modules])"
    )
    path = str(tmp_path / "p.png")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
