"""What every picture shares: equal bytes for equal input, whole files, a style that stays ours."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from coala_jax.evaluation import pictures, sound_map
from coala_jax.reporting import style


def metrics(epochs):
    """The loss and two measures of a run that gets better."""
    return [
        {"kind": kind, "epoch": epoch, "loss": 5 / epoch + shift, "macro_auc": 0.5, "mrr": 0.1}
        for epoch in range(1, epochs + 1)
        for kind, shift in (("train", 0.0), ("validation", 0.3))
    ]


def noise(sounds, seed=0):
    return np.random.default_rng(seed).random((sounds, 96, 96), dtype=np.float32)


def tagged_sounds(sounds, seed=0):
    """Embeddings in 40 dimensions, and the tags of each."""
    embeddings = np.random.default_rng(seed).normal(size=(sounds, 40)).astype(np.float32)
    return embeddings, [[("drum", "bird", "piano")[i % 3], "sound"] for i in range(sounds)]


def pixels(path):
    """The picture as uint8 [row, column, red green blue]."""
    return np.round(imread(path)[..., :3] * 255).astype(np.uint8)


def distinct_colours(image):
    return len(np.unique(image.reshape(-1, 3), axis=0))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("seven c", "seven c"),
        ("eight ch", "eight ch"),
        ("nine char", "nine ch…"),
        ("eleven chars", "eleven…"),  # no blank before the dots
        (" two\nlines\t", "two lin…"),
        ("  a   \n b ", "a b"),
        ("", ""),
    ],
)
def test_a_text_is_cut_to_one_line_of_eight_characters(text, cut):
    assert style.cut(text, 8) == cut


DRAW = {
    "loss": lambda out, seed: pictures.loss_curves(metrics(3 + seed), out),
    "reconstructions": lambda out, seed: pictures.reconstructions(
        noise(2, seed), noise(2, 9), ["a\nb", "c\nd"], out
    ),
    "map": lambda out, seed: sound_map.embedding_map(*tagged_sounds(15, seed), out, 0),
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
        path.write(b"half")
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
    embeddings, tags = tagged_sounds(6)
    tags[0] = ["$\\frac{$", "雨", "🥁", "a_b^c"]
    sound_map.embedding_map(embeddings, tags, tmp_path / "map.png", 0)
    pictures.reconstructions(noise(1), noise(1), ["$\\frac{$ 雨.wav\n🥁, $x$"], tmp_path / "r.png")
    assert distinct_colours(pixels(tmp_path / "r.png")) > 60


def test_the_readers_matplotlib_is_left_alone(tmp_path):
    with mpl.rc_context({"font.size": 33, "axes.facecolor": "black"}):
        before = mpl.rcParams.copy()
        DRAW["loss"](tmp_path / "styled.png", 0)
        assert mpl.rcParams.copy() == before
    code = (
        "import sys, pathlib; from coala_jax.evaluation import pictures, sound_map;"
        "metrics = [{'kind': 'train', 'epoch': 1, 'loss': 1.0}];"
        "pictures.loss_curves(metrics, pathlib.Path(sys.argv[1]));"
        "print([m for m in ('matplotlib.pyplot', 'jax', 'torch', 'tensorflow')"
        " if m in sys.modules])"
    )
    path = str(tmp_path / "p.png")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
