"""A key depends on all that a result depends on, and on nothing else."""

import shutil
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


def test_another_device_library_or_precision_has_another_key(monkeypatch):
    now, version = jax.devices()[0], cache._version
    kinds = ("gpu", now.device_kind), (now.platform, "NVIDIA H100")
    others = [SimpleNamespace(platform=a, device_kind=b) for a, b in kinds]
    keys = [cache.key([1], MODULE)]
    for other in others:
        with monkeypatch.context() as patch:
            patch.setattr(jax, "devices", lambda other=other: [other])
            keys.append(cache.key([1], MODULE))
    for name in cache._LIBRARIES:
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_version", lambda one, n=name: version(one) + "1" * (one == n))
            keys.append(cache.key([1], MODULE))
    for setting in (jax.enable_x64(True), jax.default_matmul_precision("bfloat16")):
        with setting:
            keys.append(cache.key([1], MODULE))
    assert len(set(keys)) == len(keys) > 5
    assert cache.key([1], MODULE) == keys[0]


@pytest.fixture
def source(tmp_path):
    """A copy of the package's source."""
    root = Path(coala_jax.__file__).parent
    return Path(shutil.copytree(root, tmp_path / "package", ignore=lambda *_: ["__pycache__"]))


@pytest.mark.parametrize(
    ("modules", "changed", "counts"),
    [
        (vector_cache._MODULES, "audio/frontend.py", True),
        (vector_cache._MODULES, "embedding/pooling.py", True),
        (vector_cache._MODULES, "ops/convolution.py", True),  # three imports deep
        (vector_cache._MODULES, "evaluation/baselines.py", True),
        (vector_cache._MODULES, "evaluation/probe.py", False),
        (vector_cache._MODULES, "training/losses.py", False),
        (comparison.HEAD_MODULES, "evaluation/classifiers.py", True),
        (comparison.HEAD_MODULES, "models/layers.py", False),
        ((descriptors.__name__,), "evaluation/descriptors.py", True),
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
