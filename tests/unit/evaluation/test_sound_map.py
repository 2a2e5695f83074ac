"""The map of sounds: where sounds, colours and names stand."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from coala_jax.evaluation import sound_map
from coala_jax.reporting import style


def clusters(sounds_each=20, seed=0):
    """Three groups far apart in 40 dimensions, and their tags."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(3, 40)) * 10
    embeddings = np.repeat(centres, sounds_each, axis=0) + generator.normal(
        size=(3 * sounds_each, 40)
    )
    names = np.repeat(["drum", "bird", "piano"], sounds_each)
    return embeddings.astype(np.float32), [[name, "sound"] for name in names]


@pytest.mark.parametrize("sounds", [3, 4, 9])
def test_few_sounds_are_mapped_by_principal_components(sounds):
    embeddings = np.random.default_rng(sounds).normal(size=(sounds, 20)).astype(np.float32)
    standard = embeddings.astype(np.float64)
    standard = (standard - standard.mean(axis=0)) / standard.std(axis=0)
    left, length, _ = np.linalg.svd(standard, full_matrices=False)
    expected = left[:, :2] * length[:2]
    got = sound_map.project(embeddings, seed=0)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-9)


@pytest.mark.parametrize("sounds_each", [4, 20], ids=["12 sounds", "60 sounds"])
def test_groups_stay_together_on_the_map(sounds_each):
    embeddings, tags = clusters(sounds_each)
    positions = sound_map.project(embeddings, seed=3)
    ways = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + np.diag(
        np.full(len(positions), np.inf)
    )
    nearest = ways.argmin(axis=1)
    assert all(tags[i] == tags[j] for i, j in enumerate(nearest))


def test_a_map_changes_neither_from_run_to_run_nor_with_the_scale_of_embeddings():
    embeddings, _ = clusters()
    first, again = (sound_map.project(embeddings, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    scaled = embeddings * np.float32(4) + np.float32(8)
    assert np.abs(sound_map.project(scaled, seed=1) - first).max() < 0.2 * np.ptp(first)


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
    positions = sound_map.project(embeddings, seed=0)
    assert positions.shape == (sounds, 2) and np.isfinite(positions).all()
    assert np.all(positions == 0) == (kind == "all alike")


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_sound_is_coloured_by_the_rarest_of_its_common_tags():
    tags = [["drum"]] * 3 + [["drum", "kick"]] * 2 + [["kick", "drum"]] + [["bird"]] * 2 + [[]] * 2
    positions = np.random.default_rng(0).normal(size=(len(tags), 2))
    figure = sound_map.map_figure(positions, tags)
    assert legend_of(figure) == ["drum (3)", "kick (3)", "bird (2)", "other tags (2)"]
    drawn = {c.get_label(): np.array(c.get_offsets()) for c in figure.axes[0].collections}
    np.testing.assert_array_equal(drawn["kick (3)"], positions[3:6])
    np.testing.assert_array_equal(drawn["other tags (2)"], positions[8:])


def test_two_names_of_the_same_sounds_share_one_colour():
    tags = [["ping", "notification"]] * 8 + [["drum"]] * 4
    figure = sound_map.map_figure(np.random.default_rng(0).normal(size=(12, 2)), tags)
    assert legend_of(figure) == ["notification (8)", "drum (4)"]


def test_no_more_tags_are_coloured_than_there_are_colours():
    tags = [[f"tag {i % 14:02d}"] for i in range(28 + 9)]
    figure = sound_map.map_figure(np.random.default_rng(0).normal(size=(37, 2)), tags)
    assert legend_of(figure) == [f"tag {i:02d} (3)" for i in range(9)] + ["other tags (10)"]
    assert len(set(style.COLOURS)) == len(set(style.MARKERS)) == 9


@pytest.mark.parametrize("spread", [1.0, 1e-3], ids=["spread", "on one spot"])
def test_names_stand_near_their_sounds_and_do_not_overlap(spread):
    generator = np.random.default_rng(1)
    tags = [[f"name {i % 9}", f"other {i % 20:02d}"] for i in range(200)]
    positions = generator.normal(size=(200, 2)) * spread
    positions[:2] = [[-4, -4], [4, 4]]
    figure = sound_map.map_figure(positions, tags)
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
    figure = sound_map.map_figure(corners, [[f"a rather long name {i}"] for i in range(4)])
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
    figure = sound_map.map_figure(positions, tags)
    anchors = {t.get_text(): t.xy for t in figure.axes[0].texts}
    np.testing.assert_array_equal(anchors["a"], positions[int(np.argmin(summed))])
    np.testing.assert_array_equal(anchors["b"], [20, 20])


def test_of_many_sounds_some_are_picked_by_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_map, "MAP_SOUNDS", 8)
    seen = []
    monkeypatch.setattr(
        sound_map, "map_figure", lambda positions, tags: seen.append((positions, tags)) or Figure()
    )
    embeddings, _ = clusters(4)
    tags = [[str(number)] for number in range(12)]
    for seed in (0, 0, 1):
        sound_map.embedding_map(embeddings, tags, tmp_path / "map.png", seed)
    picks = [[int(t[0]) for t in tags_of] for _, tags_of in seen]
    assert picks[0] == picks[1] != picks[2]
    assert len(picks[0]) == 8 and picks[0] == sorted(set(picks[0]))
    np.testing.assert_array_equal(seen[0][0], sound_map.project(embeddings[picks[0]], 0))


def test_maps_that_cannot_be_are_refused(tmp_path):
    embeddings, tags = clusters(2)
    with pytest.raises(ValueError, match="2 embeddings and tags of 2 sounds: a map needs"):
        sound_map.embedding_map(embeddings[:2], tags[:2], tmp_path / "map.png", 0)
    with pytest.raises(ValueError, match="6 embeddings and tags of 5 sounds"):
        sound_map.embedding_map(embeddings, tags[:5], tmp_path / "map.png", 0)
    embeddings[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 embeddings not finite"):
        sound_map.embedding_map(embeddings, tags, tmp_path / "map.png", 0)
    assert not list(tmp_path.iterdir())
