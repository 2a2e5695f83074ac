"""A key depends on all that a result depends on, and on nothing else."""

import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import coala_jax
from coala_jax import storage
from coala_jax.evaluation import cache, comparison, descriptors, vector_cache

MODULE = "coala_jax.evaluation.classifiers"


def test_equal_content_has_an_equal_key_and_other_content_or_modules_do_not():
    keys = [cache.key(content, MODULE) for content in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [1])]
    assert keys[0] == keys[1] != keys[2]
    assert cache.key([1], "coala_jax.evaluation.baselines") != keys[2]


def device(monkeypatch, **changes):
    now = jax.devices()[0]
    other = {"platform": now.platform, "device_kind": now.device_kind} | changes
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(**other)])


def library(monkeypatch, name):
    monkeypatch.setattr(
        cache, "_version", lambda asked: metadata.version(asked) + "1" * (asked == name)
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda patch: device(patch, platform="gpu"), id="backend"),
        pytest.param(lambda patch: device(patch, device_kind="NVIDIA H100"), id="device-kind"),
        *(
            pytest.param(lambda patch, name=name: library(patch, name), id=name)
            for name in cache._LIBRARIES
        ),
    ],
)
def test_another_device_or_library_has_another_key(change, monkeypatch):
    before = cache.key([1], MODULE)
    with monkeypatch.context() as patch:
        change(patch)
        assert cache.key([1], MODULE) != before
    assert cache.key([1], MODULE) == before


def test_another_precision_has_another_key():
    keys = {cache.key([1], MODULE)}
    with jax.enable_x64(True):
        keys.add(cache.key([1], MODULE))
    with jax.default_matmul_precision("bfloat16"):
        keys.add(cache.key([1], MODULE))
    assert len(keys) == 3


@pytest.fixture
def source(tmp_path):
    """A copy of the package's source."""
    root = Path(coala_jax.__file__).parent
    return Path(shutil.copytree(root, tmp_path / "package", ignore=lambda *_: ["__pycache__"]))


@pytest.mark.parametrize(
    ("modules", "changed", "counts"),
    [
        (vector_cache._MODULES, "audio/frontend.py", True),
        (vector_cache._MODULES, "data/scaler.py", True),
        (vector_cache._MODULES, "embedding/pooling.py", True),
        (vector_cache._MODULES, "ops/convolution.py", True),  # three imports deep
        (vector_cache._MODULES, "evaluation/baselines.py", True),
        (vector_cache._MODULES, "evaluation/probe.py", False),
        (vector_cache._MODULES, "training/losses.py", False),
        (comparison.HEAD_MODULES, "evaluation/probe.py", True),
        (comparison.HEAD_MODULES, "evaluation/classifiers.py", True),
        (comparison.HEAD_MODULES, "models/layers.py", False),
        ((descriptors.__name__,), "evaluation/descriptors.py", True),
        ((descriptors.__name__,), "audio/decode.py", True),
        ((descriptors.__name__,), "evaluation/probe.py", False),
    ],
)
def test_source_that_computes_counts_and_no_other(source, modules, changed, counts):
    before = storage.source_digests(modules)
    storage.source_digests.cache_clear()
    assert storage.source_digests(modules, source) == before
    storage.source_digests.cache_clear()
    assert (source / changed).is_file()
    with (source / changed).open("a") as file:
        file.write("\n")
    assert (storage.source_digests(modules, source) != before) == counts


def test_what_is_cached_is_not_computed_again(tmp_path):
    asked = []

    def compute():
        asked.append(1)
        return {"x": np.arange(3)}

    for _ in range(2):
        np.testing.assert_array_equal(cache.cached(tmp_path / "a", "k", compute)["x"], [0, 1, 2])
    assert asked == [1]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["k.npz"]
