import dataclasses
import hashlib
import json
import re
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from coala_jax.audio.frontend import FrontEnd
from coala_jax.models.coala import initial_variables
from coala_jax.models.frozen import DESCRIPTION, WEIGHTS, FrozenModel, ModelError
from tests.synthetic import tiny_config


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    """A model whose arrays hold values that a careless writer would change."""
    config = tiny_config(model__filters=2, model__tag_hidden=8)
    model = FrozenModel(
        case="ae_c",
        vocabulary=["café", "chien qui aboie", "dog", "ドラム", "e", "f"],
        tag_processing="paper",
        front_end=FrontEnd().to_dict(),
        scaler={"minimum": -15.942384719848633, "maximum": 0.1 + 0.2},
        config={"case": "ae_c", "seed": 0, "model": config.model.to_dict()},
        variables={},
    )
    model = model.untrained(seed=0)
    special = np.array([-0.0, 1e-42, np.inf, -np.inf, np.nan, 3.4e38, 1 / 3, 1.0], np.float32)
    model.variables["params"]["tag_encoder"]["norm_0"]["bias"] = special
    return model


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def arrays(model: FrozenModel) -> dict[str, tuple]:
    return {
        jax.tree_util.keystr(path): (leaf.dtype, leaf.shape, leaf.tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(model.variables)
    }


def test_loading_gives_what_was_saved_bit_for_bit(model, folder):
    loaded = FrozenModel.load(folder)
    assert arrays(loaded) == arrays(model)
    for field in ("case", "vocabulary", "front_end", "scaler", "config"):
        assert getattr(loaded, field) == getattr(model, field)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_equal_models_give_equal_bytes(model, folder, tmp_path):
    again = tmp_path / "again"
    FrozenModel.load(folder).save(again)
    for name in (DESCRIPTION, WEIGHTS):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_digest_is_that_of_weights_and_description(model, folder):
    assert re.fullmatch("[0-9a-f]{64}", model.digest)
    assert FrozenModel.load(folder).digest == model.digest
    in_another_order = dataclasses.replace(model, front_end=dict(reversed(model.front_end.items())))
    assert in_another_order == model
    assert in_another_order.digest == model.digest
    changed = {
        dataclasses.replace(model, vocabulary=list("abcdef")).digest,
        dataclasses.replace(model, scaler=model.scaler | {"minimum": -16.0}).digest,
        dataclasses.replace(model, config=model.config | {"seed": 1}).digest,
        model.untrained(seed=0).digest,  # one bias differs
    }
    assert len(changed | {model.digest}) == 5


def test_saving_replaces_the_folder_whole(model, folder):
    (folder / "stale.txt").write_text("from an older version")
    (folder.parent / "model.tmp").mkdir()  # what a killed run left
    other = dataclasses.replace(model, vocabulary=list("abcdef")).untrained(seed=1)
    other.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert FrozenModel.load(folder).vocabulary == list("abcdef")


def test_untrained_is_fresh_and_seeded(model):
    module = model.module()
    fresh = model.untrained(seed=3)
    wanted = dataclasses.replace(
        model, variables=jax.device_get(initial_variables(module, jax.random.key(3)))
    )
    assert arrays(fresh) == arrays(wanted)
    assert dataclasses.replace(fresh, variables={}) == dataclasses.replace(model, variables={})
    for seed in (0, 4):
        other = arrays(model.untrained(seed))
        same = {name for name, value in arrays(fresh).items() if other[name] == value}
        assert same == {name for name in other if "norm" in name}


def change(**fields):
    """A function that changes fields of a folder's description; None takes one out."""

    def damage(folder):
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) | fields
        content = {key: value for key, value in content.items() if value is not None}
        (folder / DESCRIPTION).write_text(json.dumps(content))

    return damage


def write(content: bytes):
    return lambda folder: (folder / DESCRIPTION).write_bytes(content)


def flip_a_byte(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1000] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def with_arrays(edit):
    """Weights changed on purpose, their checksum with them."""

    def damage(folder):
        weights = safetensors.numpy.load_file(folder / WEIGHTS)
        edit(weights)
        safetensors.numpy.save_file(weights, folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        change(weights_sha256=digest)(folder)

    return damage


def not_safetensors(folder):
    (folder / WEIGHTS).write_bytes(b"PK")
    change(weights_sha256=hashlib.sha256(b"PK").hexdigest())(folder)


BIAS = "params.audio_encoder.norm_0.bias"
NO_MODEL = "model: no model can be made of what it holds"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(shutil.rmtree, "model: this folder is no frozen model", id="no-folder"),
        pytest.param(
            lambda folder: (folder / DESCRIPTION).unlink(),
            r"no frozen model \(it has no model.json\); a training run leaves one",
            id="no-description",
        ),
        pytest.param(
            lambda folder: (folder / WEIGHTS).unlink(),
            r"no frozen model \(it has no model.safetensors\)",
            id="no-weights",
        ),
        pytest.param(
            flip_a_byte,
            "model.safetensors: its checksum is not the one in model.json",
            id="flipped-byte",
        ),
        pytest.param(change(weights_sha256=None), "its checksum is not", id="no-checksum"),
        pytest.param(
            change(format=3),
            "model.json: format 3 is not format 2, the one this version reads",
            id="newer-format",
        ),
        pytest.param(change(format=None), "format None is not format 2", id="no-format"),
        pytest.param(write(b""), "model.json: this describes no model", id="empty"),
        pytest.param(write(b'{"format": 1, "ca'), "this describes no model", id="cut"),
        pytest.param(write(b"[1]"), "this describes no model", id="list"),
        pytest.param(write(b"1"), "this describes no model", id="number"),
        pytest.param(write(b"\xff\xfe"), "this describes no model", id="not-text"),
        pytest.param(change(scaler=None), f"{NO_MODEL} .*scaler", id="no-scaler"),
        pytest.param(change(more=1), f"{NO_MODEL} .*more", id="unknown-field"),
        pytest.param(change(case="vae"), f"{NO_MODEL} .*'vae'.*ae_c, e_c, cnn", id="unknown-case"),
        pytest.param(change(config={}), f"{NO_MODEL} .*'model'", id="no-settings"),
        pytest.param(change(config={"model": {}}), f"{NO_MODEL} .*filters", id="no-filters"),
        pytest.param(change(config={"model": 3}), NO_MODEL, id="settings-no-table"),
        pytest.param(change(vocabulary=6), NO_MODEL, id="vocabulary-no-list"),
        pytest.param(
            change(config={"model": {"filters": 0, "tag_hidden": 8, "dropout_rate": 0.25}}),
            NO_MODEL,
            id="no-width",
        ),
        pytest.param(not_safetensors, NO_MODEL, id="other-weights"),
        pytest.param(
            change(case="e_c"), r"audio_decoder\.\S* is float32\S* where .* has none", id="e_c"
        ),
        pytest.param(
            change(vocabulary=list("abcde")),
            r"model.safetensors: batch_stats.tag_decoder.norm_2.mean is float32\[6\] where the "
            r"model of model.json has float32\[5\]; the two files do not belong together",
            id="other-vocabulary",
        ),
        pytest.param(
            with_arrays(lambda weights: weights.pop(BIAS)),
            re.escape(f"{BIAS} is missing where the model of model.json has float32[2]"),
            id="missing-array",
        ),
        pytest.param(
            with_arrays(lambda weights: weights.update({BIAS: np.zeros(2, np.float16)})),
            re.escape(f"{BIAS} is float16[2] where the model of model.json has float32[2]"),
            id="other-type",
        ),
    ],
)
def test_a_damaged_folder_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=f"(?s){message}") as caught:
        FrozenModel.load(folder)
    assert str(folder) in str(caught.value)
