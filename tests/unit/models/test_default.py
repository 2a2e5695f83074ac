"""The built-in model: whichever lies in the package, it is whole, small and ready for use."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from coala_jax.models import default
from coala_jax.models.default import default_model_folder, is_default, name_of
from coala_jax.models.pretrained import DECODERS, ModelError, PretrainedModel
from tests.damage import flipped

_MOST_BYTES = 6 * 2**20  # which every installation downloads


@pytest.fixture(scope="module")
def folder():
    return default_model_folder()


def test_its_digest_is_that_of_its_content(folder, tmp_path):
    model = PretrainedModel.load(folder)
    assert model.digest == json.loads((folder / "model.json").read_text())["digest"]
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    for file in ("model.safetensors", "bank.safetensors", "model.json"):
        size = (copy / file).stat().st_size
        for _ in flipped(copy / file, [4 * size]):
            with pytest.raises(ModelError, match=rf"{file}: (damaged|invalid)"):
                PretrainedModel.load(copy)
    assert PretrainedModel.load(copy).digest == model.digest


def test_it_is_in_float16_without_decoders_and_tells_tags(folder):
    model = PretrainedModel.load(folder)
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert not [name for name in arrays if name.split(".")[1] in DECODERS]
    assert model.case in ("ae_c", "e_c") and model.bank is not None
    assert len(model.vocabulary) > 100 and len(model.bank) > 100


def test_it_is_small_enough_to_come_with_the_package(folder):
    assert sum(file.stat().st_size for file in folder.iterdir()) <= _MOST_BYTES


def test_it_is_known_however_its_path_is_written(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert is_default(folder) and is_default(str(folder / "..") + "/weights")
    assert is_default(tmp_path / "link") and not is_default(tmp_path)
    assert name_of(None) == "the built-in model" and name_of("a/b") == "the model a/b"


def test_an_installation_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(default, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"built-in model is missing\. Fix: install coala_jax "):
        default_model_folder()
