import dataclasses
import hashlib
import json
import re
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from coala_jax import storage
from coala_jax.audio.decode import LEVELS
from coala_jax.audio.frontend import FrontEnd
from coala_jax.models.coala import initial_variables
from coala_jax.models.pretrained import (
    DESCRIPTION,
    DTYPES,
    KNOWN,
    WEIGHTS,
    ModelError,
    PretrainedModel,
)
from tests.damage import flipped, truncated
from tests.synthetic import tiny_config


@pytest.fixture(scope="module")
def model() -> PretrainedModel:
    """A model whose arrays hold values that a careless writer would change."""
    config = tiny_config(model__filters=2, model__tag_hidden=8)
    model = PretrainedModel(
        case="ae_c",
        vocabulary=["café", "chien qui aboie", "dog", "ドラム", "e", "f"],
        tag_counts=[9, 8, 7, 6, 5, 4],
        tag_processing="paper",
        front_end=FrontEnd().to_dict(),
        level="recorded",
        scaler={"minimum": -15.942384719848633, "maximum": 0.1 + 0.2},
        pooling="mean",
        config={"case": "ae_c", "seed": 0, "model": config.model.to_dict()},
        dataset_digest="5" * 64,
        variables={},
    )
    model = model.untrained(seed=0)
    special = np.array([-0.0, 1e-42, np.inf, -np.inf, np.nan, 3.4e38, 1 / 3, 1.0], np.float32)
    model.variables["params"]["tag_encoder"]["norm_0"]["bias"] = special
    return model


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def arrays(model: PretrainedModel) -> dict[str, tuple]:
    return {
        jax.tree_util.keystr(path): (leaf.dtype, leaf.shape, leaf.tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(model.variables)
    }


def test_loading_gives_what_was_saved_bit_for_bit(model, folder):
    loaded = PretrainedModel.load(folder)
    assert arrays(loaded) == arrays(model)
    for field in dataclasses.fields(model):
        if field.name != "variables":
            assert getattr(loaded, field.name) == getattr(model, field.name)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_equal_models_give_equal_bytes(model, folder, tmp_path):
    again = tmp_path / "again"
    PretrainedModel.load(folder).save_pretrained(again)
    in_another_order = dataclasses.replace(model, front_end=dict(reversed(model.front_end.items())))
    in_another_order.save_pretrained(str(tmp_path / "reversed"))
    for name in (DESCRIPTION, WEIGHTS):
        content = (folder / name).read_bytes()
        assert (again / name).read_bytes() == (tmp_path / "reversed" / name).read_bytes() == content


def test_half_precision_stays_that_in_the_file(model, folder, tmp_path):
    name = "params.audio_encoder.convolution_0.kernel"
    kernel = flatten_dict(model.variables, sep=".")[name].astype(np.float16)
    flat = flatten_dict(model.variables, sep=".") | {name: kernel}
    half = dataclasses.replace(model, variables=unflatten_dict(flat, sep="."))
    half.save_pretrained(tmp_path / "half")
    size = (tmp_path / "half" / WEIGHTS).stat().st_size
    assert 0 <= (folder / WEIGHTS).stat().st_size - size - 2 * kernel.size < 64  # of the header
    loaded = PretrainedModel.load(tmp_path / "half")
    assert arrays(loaded) == arrays(half) != arrays(model)
    assert loaded.digest == half.digest != model.digest
    dtypes = json.loads((tmp_path / "half" / DESCRIPTION).read_text())["variables"]["dtypes"]
    assert dtypes[name] == "float16"
    assert sorted(set(dtypes.values())) == sorted(DTYPES)
    assert list(dtypes.values()).count("float16") == 1


def test_the_digest_is_that_of_weights_and_description(model, folder):
    assert re.fullmatch("[0-9a-f]{64}", model.digest)
    assert PretrainedModel.load(folder).digest == model.digest
    in_another_order = dataclasses.replace(model, front_end=dict(reversed(model.front_end.items())))
    assert in_another_order == model
    assert in_another_order.digest == model.digest
    changed = {
        dataclasses.replace(model, vocabulary=list("abcdef")).digest,
        dataclasses.replace(model, scaler=model.scaler | {"minimum": -16.0}).digest,
        dataclasses.replace(model, config=model.config | {"seed": 1}).digest,
        dataclasses.replace(model, dataset_digest="6" * 64).digest,
        dataclasses.replace(model, level="peak").digest,
        model.untrained(seed=0).digest,  # one bias differs
    }
    assert len(changed | {model.digest}) == 7


def test_saving_replaces_the_folder_whole(model, folder):
    (folder / "stale.txt").write_text("from an older version")
    (folder.parent / "model.tmp").mkdir()  # what a killed run left
    other = dataclasses.replace(model, vocabulary=list("abcdef")).untrained(seed=1)
    other.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert PretrainedModel.load(folder).vocabulary == list("abcdef")


def test_untrained_is_fresh_and_seeded(model):
    module = model.module()
    fresh = model.untrained(seed=3)
    wanted = dataclasses.replace(
        model, variables=jax.device_get(initial_variables(module, jax.random.key(3)))
    )
    assert arrays(fresh) == arrays(wanted)
    assert dataclasses.replace(fresh, variables={}) == dataclasses.replace(model, variables={})
    assert fresh.dataset_digest == model.dataset_digest
    for seed in (0, 4):
        other = arrays(model.untrained(seed))
        same = {name for name, value in arrays(fresh).items() if other[name] == value}
        assert same == {name for name in other if "norm" in name}


def seal(folder, content):
    """Writes a description on purpose, with the digest that is right for it."""
    text = json.dumps(content | {"digest": "0" * 64})
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / DESCRIPTION).write_text(text.replace("0" * 64, digest))


def change(**fields):
    """A function that changes fields of a folder's description; ... takes one out."""

    def damage(folder):
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) | fields
        seal(folder, {key: value for key, value in content.items() if value is not ...})

    return damage


def write(content: bytes):
    return lambda folder: (folder / DESCRIPTION).write_bytes(content)


def with_arrays(edit, dtypes=()):
    """Weights changed on purpose, their digest with them."""

    def damage(folder):
        weights = safetensors.numpy.load_file(folder / WEIGHTS)
        edit(weights)
        safetensors.numpy.save_file(weights, folder / WEIGHTS)
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        content["variables"]["sha256"] = storage.file_sha256(folder / WEIGHTS)
        content["variables"]["dtypes"].update(dtypes)
        seal(folder, content)

    return damage


def not_safetensors(folder):
    (folder / WEIGHTS).write_bytes(b"PK")
    change(variables={"sha256": hashlib.sha256(b"PK").hexdigest(), "dtypes": {}})(folder)


def edit(old: bytes, new: bytes):
    """An edit by hand, which leaves the digest as it was."""

    def damage(folder):
        content = (folder / DESCRIPTION).read_bytes()
        assert old in content
        (folder / DESCRIPTION).write_bytes(content.replace(old, new))

    return damage


BIAS = "params.audio_encoder.norm_0.bias"
INVALID = "model: invalid pretrained model"
NO_JSON = "model.json: not the description of a model"
NEWER = "a newer version wrote this model. Fix: update coala_jax"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(shutil.rmtree, "model: not a pretrained model", id="no-folder"),
        pytest.param(
            lambda folder: (folder / DESCRIPTION).unlink(),
            "it has no model.json. Fix: name the folder that a training run leaves",
            id="no-description",
        ),
        pytest.param(
            lambda folder: (folder / WEIGHTS).unlink(),
            "it has no model.safetensors",
            id="no-weights",
        ),
        pytest.param(
            change(format=2, digest=..., dataset_digest=...),
            "model.json: format 2: this version reads format 3. Fix: train again, or use the "
            "version that wrote it",
            id="older-format",
        ),
        pytest.param(change(format=4), "format 4: this version reads", id="newer-format"),
        pytest.param(change(format=...), "format None: this version reads", id="no-format"),
        pytest.param(
            edit(b"22000", b"26000"), "model.json: damaged or edited: its digest", id="edited"
        ),
        pytest.param(edit(b'"digest"', b'"digits"'), "damaged or edited", id="no-digest"),
        pytest.param(edit(b'"digest": "', b'"digest": 0, "was": "'), "damaged", id="odd-digest"),
        pytest.param(write(b""), NO_JSON, id="empty"),
        pytest.param(write(b'{"format": 1, "ca'), NO_JSON, id="cut"),
        pytest.param(write(b"[" * 100_000), NO_JSON, id="deep"),
        pytest.param(write(b"[1]"), NO_JSON, id="list"),
        pytest.param(write(b"1"), NO_JSON, id="number"),
        pytest.param(write(b"\xff\xfe"), NO_JSON, id="not-text"),
        pytest.param(change(pooling="layers"), f"unknown pooling layers: {NEWER}", id="pooling"),
        pytest.param(change(level="loud"), f"unknown level loud: {NEWER}", id="level"),
        pytest.param(change(bank=[[1.0]]), f"unknown bank .*: {NEWER}", id="bank"),
        pytest.param(change(scaler=...), f"{INVALID} .*scaler", id="no-scaler"),
        pytest.param(change(pooling=...), f"{INVALID} .*pooling", id="no-pooling"),
        pytest.param(change(more=1), f"{INVALID} .*more", id="unknown-field"),
        pytest.param(change(case="vae"), f"{INVALID} .*'vae'.*ae_c, e_c, cnn", id="unknown-case"),
        pytest.param(change(config={}), f"{INVALID} .*'model'", id="no-settings"),
        pytest.param(change(config={"model": {}}), f"{INVALID} .*filters", id="no-filters"),
        pytest.param(change(config={"model": 3}), INVALID, id="settings-no-table"),
        pytest.param(change(vocabulary=6), INVALID, id="vocabulary-no-list"),
        pytest.param(
            change(tag_counts=[1, 2]), f"{INVALID} .*2 tag_counts for 6 tags", id="tag-counts"
        ),
        pytest.param(
            change(config={"model": {"filters": 0, "tag_hidden": 8, "dropout_rate": 0.25}}),
            INVALID,
            id="no-width",
        ),
        pytest.param(not_safetensors, INVALID, id="other-weights"),
        pytest.param(change(variables={}), f"{INVALID} .*sha256", id="nothing-of-the-weights"),
        pytest.param(
            change(case="e_c"), r"audio_decoder\.\S* is float32\S* where .* has none", id="e_c"
        ),
        pytest.param(
            change(vocabulary=list("abcde"), tag_counts=[5, 4, 3, 2, 1]),
            r"model.safetensors: batch_stats.tag_decoder.norm_2.mean is float32\[6\] where the "
            r"model of model.json has float32\[5\]. Fix: copy the two files from one model",
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
        pytest.param(
            with_arrays(
                lambda weights: weights.update({BIAS: np.zeros(2, np.float64)}), {BIAS: "float64"}
            ),
            f"{INVALID} .*arrays of float64, not float32 or float16",
            id="unknown-type",
        ),
    ],
)
def test_a_damaged_folder_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=f"(?s){message}") as caught:
        PretrainedModel.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
def test_flipped_bits_and_cuts_are_refused(folder, name):
    size = (folder / name).stat().st_size
    bits = range(0, 8 * size, 3 if name == DESCRIPTION else 29)
    cuts = np.linspace(0, size - 1, 300).astype(int).tolist()
    for change, places in ((flipped, bits), (truncated, cuts)):
        for place in change(folder / name, places):
            with pytest.raises(ModelError):
                PretrainedModel.load(folder)
                pytest.fail(f"{change.__name__} at {place} was not seen")
    PretrainedModel.load(folder)


def test_the_levels_of_a_description_are_those_of_decoding():
    assert KNOWN["level"] == LEVELS
