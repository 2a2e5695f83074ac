"""Vectors of files: their order, their cache on disk, and files that cannot be read."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from etils import epath

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import features, vector_cache
from coala_jax.evaluation.baselines import Mfcc
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.features import extract
from tests.synthetic import tiny_model
from tests.unit.embedding.test_embedder import noise


class Counting:
    """An evaluator whose vectors are worked out by hand; it records what it was asked for."""

    def __init__(self, name: str = "counting", sample_rate_hz: int = 8_000, stop_after=None):
        self.name = name
        self.digest = hashlib.sha256(name.encode()).hexdigest()
        self.sample_rate_hz = sample_rate_hz
        self.asked = []
        self._stop_after = stop_after

    def embed_clips(self, waveforms, policy):
        rows = []
        for waveform in waveforms:
            if len(self.asked) == self._stop_after:
                raise KeyboardInterrupt
            self.asked.append((waveform.size, policy))
            rows.append([waveform.size, waveform.sum(), self.sample_rate_hz])
        return np.array(rows, np.float32)


SIZES = [800 * place for place in range(1, 8)]  # in samples
FILES = [f"folder/é{place}.wav" for place in range(len(SIZES))]


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "audio" / "folder").mkdir(parents=True)
    for place, (file, size) in enumerate(zip(FILES, SIZES, strict=True)):
        write(tmp_path / "audio" / file, size, seed=place)
    return tmp_path / "audio"


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _blocks_of_three(monkeypatch):
    monkeypatch.setattr(features, "_BLOCK_CLIPS", 3)


def write(path: Path, samples: int, seed: int) -> None:
    soundfile.write(path, noise(samples, seed), 8_000, subtype="FLOAT")


def vectors_of(root: Path, files, cache: Path, evaluator, policy: str = "paper") -> np.ndarray:
    extracted = extract(root, files, [evaluator], policy, cache)
    assert extracted.failures == {}
    assert extracted.files == tuple(files)
    return extracted.vectors[evaluator.name]


def blocks(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def wanted(root: Path, files=FILES, rate_hz: int = 8_000) -> np.ndarray:
    waveforms = [decode.load(root / file, rate_hz) for file in files]
    return np.array([[w.size, w.sum(), rate_hz] for w in waveforms], np.float32)


def test_rows_are_the_files_in_order_at_each_sample_rate(root, cache):
    source, high = Counting(), Counting("high", 22_000)
    files = [FILES[place] for place in (6, 0, 3, 1, 5, 2, 4)]
    extracted = extract(root, files, [source, high], "paper", cache)
    assert (extracted.files, extracted.failures) == (tuple(files), {})
    np.testing.assert_array_equal(extracted.vectors["counting"], wanted(root, files))
    np.testing.assert_array_equal(extracted.vectors["high"], wanted(root, files, 22_000))
    assert source.asked == [(round(800 * place), "paper") for place in (7, 1, 4, 2, 6, 3, 5)]
    assert len(blocks(cache)) == 2 * 3


@pytest.mark.integration
def test_a_model_and_the_baseline_share_the_decoding(root, cache, monkeypatch):
    model, mfcc, loaded = Embedder(tiny_model("ae_c")), Mfcc("paper"), []

    def load(path, *rest, **options):
        loaded.append(path)
        return decode.load(path, *rest, **options)

    monkeypatch.setattr(features, "load", load)
    extracted = extract(root, FILES, [ModelEvaluator("model", model), mfcc], "masked", cache)
    assert sorted(loaded) == sorted(root / file for file in FILES)
    for row, file in enumerate(FILES):
        vector = model.embed(root / file, policy="masked")[0]
        np.testing.assert_array_equal(extracted.vectors["model"][row], vector)
        vector = mfcc.clip_vector(decode.load(root / file, 22_000), "masked")
        np.testing.assert_array_equal(extracted.vectors["MFCC"][row], vector)


def test_known_vectors_are_not_computed_again_whatever_the_files_are_called(
    root, cache, tmp_path, monkeypatch
):
    first = vectors_of(root, FILES, cache, Counting())
    monkeypatch.setattr(features, "load", None)  # nothing is decoded either
    again, moved = Counting(), [f"{place}.bin" for place in range(len(FILES))]
    for file, name in zip(FILES, moved, strict=True):
        shutil.copy(root / file, tmp_path / name)
    for folder, files in ((root, FILES), (tmp_path, moved)):
        np.testing.assert_array_equal(vectors_of(folder, files, cache, again), first)
    assert again.asked == []
    monkeypatch.undo()
    write(root / FILES[2], 7200, seed=99)  # other content under a known name
    np.testing.assert_array_equal(vectors_of(root, FILES, cache, again), wanted(root))
    assert again.asked == [(7200, "paper")]


@pytest.mark.parametrize(
    ("name", "policy", "source"),
    [
        pytest.param("other", "paper", {}, id="evaluator"),
        pytest.param("counting", "masked", {}, id="policy"),
        pytest.param("counting", "paper", {"coala_jax.models.layers": "changed"}, id="source"),
    ],
)
def test_vectors_of_another_evaluator_policy_or_source_are_not_reused(
    root, cache, monkeypatch, name, policy, source
):
    vectors_of(root, FILES, cache, Counting())
    seen = storage.source_digests(vector_cache._MODULES)
    assert source.keys() <= seen.keys()
    monkeypatch.setattr(storage, "source_digests", lambda modules: seen | source)
    other = Counting(name)
    vectors_of(root, FILES, cache, other, policy)
    assert other.asked == [(size, policy) for size in SIZES]


@pytest.mark.parametrize("stop_after", [2, 3, 6])
def test_re_running_after_a_kill_reuses_whole_blocks(root, cache, stop_after):
    with pytest.raises(KeyboardInterrupt):
        vectors_of(root, FILES, cache, Counting(stop_after=stop_after))
    whole = stop_after // 3 * 3  # in blocks that were written
    source = Counting()
    np.testing.assert_array_equal(vectors_of(root, FILES, cache, source), wanted(root))
    assert len(source.asked) == len(FILES) - whole


def test_one_evaluator_more_costs_only_its_own_vectors(root, cache):
    first, second = Counting("first"), Counting("second", stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        extract(root, FILES, [first, second], "paper", cache)
    assert len(first.asked) == 6
    first, second = Counting("first"), Counting("second")
    extracted = extract(root, FILES, [first, second], "paper", cache)
    assert len(first.asked) == 1
    assert len(second.asked) == 4
    for name in ("first", "second"):
        np.testing.assert_array_equal(extracted.vectors[name], wanted(root))


def test_a_block_that_cannot_be_written_leaves_nothing(root, cache, monkeypatch):
    def replace(*_):
        raise OSError("full")

    monkeypatch.setattr(type(epath.Path(cache)), "replace", replace)
    with pytest.raises(OSError, match="full"):
        vectors_of(root, FILES, cache, Counting())
    assert blocks(cache) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:-1], id="cut"),
        pytest.param(lambda content: content.replace(b"(3, 3)", b"(3, 2)"), id="shape"),
        pytest.param(lambda content: content[:-300] + b"?" + content[-299:], id="entry"),
    ],
)
def test_a_damaged_block_is_reported_once_and_recomputed(root, cache, caplog, damage):
    vectors_of(root, FILES, cache, Counting())
    block = max(blocks(cache), key=lambda path: path.stat().st_size)
    content = block.read_bytes()
    assert damage(content) != content
    block.write_bytes(damage(content))
    # Whoever reads it removes it, also where other files are wanted.
    extract(root, ["none.wav"], [Counting()], "paper", cache)
    assert len(blocks(cache)) == 2
    source, again = Counting(), Counting()
    np.testing.assert_array_equal(vectors_of(root, FILES, cache, source), wanted(root))
    assert len(source.asked) == 3
    assert caplog.text.count(str(block)) == len(caplog.records) == 1
    vectors_of(root, FILES, cache, again)
    assert again.asked == []


def test_equal_files_and_equal_evaluators_are_embedded_once(root, cache):
    shutil.copy(root / FILES[0], root / "copy.wav")
    files = ["copy.wav", *FILES[:2], FILES[1]]
    source, same = Counting(), Counting()
    same.name = "same"
    extracted = extract(root, files, [source, same], "paper", cache)
    assert extracted.files == tuple(files)
    for name in ("counting", "same"):
        np.testing.assert_array_equal(extracted.vectors[name], wanted(root)[[0, 0, 1, 1]])
    assert len(source.asked) + len(same.asked) == 2


def test_failures_have_their_cause_and_are_tried_again(root, cache):
    (root / "text.wav").write_text("no sound")
    (root / "empty.wav").write_bytes(b"")
    (root / "same.wav").write_bytes(b"")
    files = ["none.wav", FILES[0], "text.wav", "folder", "empty.wav", FILES[1], "same.wav"]
    for _ in range(2):  # causes are not cached
        extracted = extract(root, files, [Counting("it")], "paper", cache)
        assert extracted.files == (FILES[0], FILES[1])
        sha = {f: hashlib.sha256((root / f).read_bytes()).hexdigest() for f in extracted.files}
        assert extracted.digests == sha
        np.testing.assert_array_equal(extracted.vectors["it"], wanted(root)[:2])
        causes = extracted.failures
        assert list(causes) == ["none.wav", "text.wav", "folder", "empty.wav", "same.wav"]
        assert "No such file" in causes["none.wav"] and "zero bytes" in causes["empty.wav"]
        assert str(root) not in "".join(causes.values())
    soundfile.write(root / "text.wav", np.zeros(800), 8_000)  # silence, which has a vector
    assert "text.wav" in extract(root, files, [Counting("it")], "paper", cache).files
    nothing = extract(root, ["none.wav"], [Counting("it")], "paper", cache)
    assert nothing.files == () and nothing.vectors["it"].shape == (0, 0)


def test_a_vector_that_is_not_finite_is_a_failure(root, cache):
    class Overflowing(Counting):
        def embed_clips(self, waveforms, policy):
            vectors = super().embed_clips(waveforms, policy)
            vectors[vectors[:, 0] == 1600, 1] = np.inf
            return vectors

    both = [Overflowing("it"), Counting("fine")]
    extracted = extract(root, FILES, both, "paper", cache)
    assert list(extracted.failures) == [FILES[1]]
    for name in ("it", "fine"):
        np.testing.assert_array_equal(extracted.vectors[name], np.delete(wanted(root), 1, axis=0))


def test_long_sounds_make_smaller_blocks(root, cache, monkeypatch):
    monkeypatch.setattr(features, "_BLOCK_SAMPLES", 4_000)
    vectors_of(root, FILES, cache, Counting())
    read = [storage.read_arrays(path)["vectors"] for path in blocks(cache)]
    assert sorted(sorted(vectors[:, 0].tolist()) for vectors in read) == [
        [800, 1600, 2400],
        [3200, 4000],
        [4800],
        [5600],
    ]


def test_equal_names_and_unknown_policies_are_errors(root, cache):
    both = [Counting("it"), Counting("it", 22_000)]
    with pytest.raises(ValueError, match="it, it"):
        extract(root, FILES, both, "paper", cache)
    with pytest.raises(ValueError, match="mean"):
        extract(root, FILES, both[:1], "mean", cache)
    assert not cache.exists()


@pytest.mark.parametrize("level", ["recorded", "peak"])
def test_a_clip_far_beyond_full_scale_is_listed_where_loudness_is_heard(root, cache, level):
    soundfile.write(root / FILES[1], np.full(800, 9.0), 8_000, subtype="FLOAT")
    evaluator = Counting()
    evaluator.level = level
    extracted = extract(root, FILES, [evaluator], "paper", cache)
    assert list(extracted.failures) == ([FILES[1]] if level == "recorded" else [])
    assert len(extracted.files) == len(FILES) - len(extracted.failures)
    assert all("where full scale is 1" in cause for cause in extracted.failures.values())
