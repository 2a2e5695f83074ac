import dataclasses
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from coala_jax import storage
from coala_jax.models.coala import initial_variables
from coala_jax.models.pretrained import (
    DESCRIPTION,
    DTYPES,
    WEIGHTS,
    ModelError,
    PretrainedModel,
)
from tests.damage import flipped, truncated
from tests.synthetic import tiny_model


@pytest.fixture(scope="module")
def model() -> PretrainedModel:
    """A model whose arrays hold values that a careless writer would change."""
    model = tiny_model(
        "ae_c",
        vocabulary=["café", "chien qui aboie", "dog", "ドラム", "e", "f"],
        tag_counts=[9, 8, 7, 6, 5, 4],
        scaler={"minimum": -15.942384719848633, "maximum": 0.1 + 0.2},
    )
    special = np.array([-0.0, 1e-42, -3.4e38, 1e-38, -1e-45, 3.4e38, 1 / 3, 1.0], np.float32)
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
    assert PretrainedModel.load(folder).digest == model.digest
    in_another_order = dataclasses.replace(model, front_end=dict(reversed(model.front_end.items())))
    assert in_another_order.digest == model.digest
    changes = (
        *({"vocabulary": list("abcdef")}, {"dataset_digest": "6" * 64}, {"level": "peak"}),
        {"pooling": "layers"},
        *({"scaler": model.scaler | {"minimum": -16.0}}, {"config": model.config | {"seed": 1}}),
    )
    changed = {dataclasses.replace(model, **change).digest for change in changes}
    changed.add(model.untrained(seed=0).digest)  # one bias differs
    assert len(changed | {model.digest}) == 8


def test_saving_replaces_the_folder_whole(model, folder):
    (folder / "stale.txt").write_text("from an older version")
    (folder.parent / "model.tmp").mkdir()  # what a killed run left
    other = dataclasses.replace(model, vocabulary=list("abcdef")).untrained(seed=1)
    other.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert PretrainedModel.load(folder).vocabulary == list("abcdef")


def test_untrained_is_fresh_and_seeded(model):
    fresh = model.untrained(seed=3)
    wanted = jax.device_get(initial_variables(model.module(), jax.random.key(3)))
    assert arrays(fresh) == arrays(dataclasses.replace(model, variables=wanted))
    assert dataclasses.replace(fresh, variables={}) == dataclasses.replace(model, variables={})


def test_a_slim_model_has_no_decoders_and_half_the_bits(tmp_path):
    model = tiny_model("ae_c")
    slim = model.slim()
    slim.save_pretrained(tmp_path / "slim")
    loaded = PretrainedModel.load(tmp_path / "slim")
    assert arrays(loaded) == arrays(slim)
    names = ("audio_encoder", "audio_transform", "tag_encoder", "tag_transform")
    assert sorted(slim.variables["params"]) == sorted(names)
    for path, leaf in flatten_dict(slim.variables).items():
        assert leaf.dtype == np.float16
        np.testing.assert_allclose(leaf, flatten_dict(model.variables)[path], rtol=1e-3, atol=1e-7)
    assert loaded.case == "ae_c"
    assert slim.slim().digest == slim.digest


def test_a_weight_beyond_float16_is_refused(model):
    with pytest.raises(ValueError, match=r"tag_encoder\.norm_0\.bias has values beyond float16"):
        model.slim()


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
SETTINGS = {"filters": 0, "tag_hidden": 8, "dropout_rate": 0.25}

# What is done to a folder, and what the message names.
DAMAGE = {
    "no-folder": (shutil.rmtree, "no such folder"),
    "no-description": (lambda folder: (folder / DESCRIPTION).unlink(), DESCRIPTION),
    "no-weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
    "older-format": (change(format=2, digest=..., dataset_digest=...), "format 2", "format 3"),
    "newer-format": (change(format=4), "format 4"),
    "no-format": (change(format=...), "format None"),
    "edited": (edit(b"22000", b"26000"), "digest"),
    "no-digest": (edit(b'"digest"', b'"digits"'),),
    "odd-digest": (edit(b'"digest": "', b'"digest": 0, "was": "'),),
    **{
        name: (lambda folder, content=content: (folder / DESCRIPTION).write_bytes(content),)
        for name, content in {
            "empty": b"", "cut": b'{"format": 1, "ca', "deep": b"[" * 100_000, "list": b"[1]",
            "not-text": b"\xff\xfe",
        }.items()
    },
    "pooling": (change(pooling="max"), "pooling max"),
    "level": (change(level="loud"), "level loud"),
    "bank": (change(bank=[[1.0]]), "bank"),
    "no-scaler": (change(scaler=...), "scaler"),
    "no-pooling": (change(pooling=...), "pooling"),
    "unknown-field": (change(more=1), "more"),
    "unknown-case": (change(case="vae"), "'vae'"),
    "no-settings": (change(config={}), "'model'"),
    "no-filters": (change(config={"model": {}}), "filters"),
    "settings-no-table": (change(config={"model": 3}),),
    "vocabulary-no-list": (change(vocabulary=6),),
    "tag-counts": (change(tag_counts=[1, 2]), "2 tag_counts", "6 tags"),
    "no-width": (change(config={"model": SETTINGS}),),
    "other-weights": (not_safetensors,),
    "no-digest-of-weights": (change(variables={}), "sha256"),
    "e_c": (change(case="e_c"), "audio_decoder."),
    "other-vocabulary": (
        change(vocabulary=list("abcde"), tag_counts=[5, 4, 3, 2, 1]),
        *("batch_stats.tag_decoder.norm_2.mean", "float32[6]", "float32[5]"),
    ),
    "missing-array": (with_arrays(lambda w: w.pop(BIAS)), BIAS, "float32[2]"),
    "other-type": (
        with_arrays(lambda w: w.update({BIAS: np.zeros(2, np.float16)})),
        *(BIAS, "float16[2]", "float32[2]"),
    ),
    "unknown-type": (
        with_arrays(lambda w: w.update({BIAS: np.zeros(2, np.float64)}), {BIAS: "float64"}),
        "float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_refused(folder, case):
    damage, *tokens = DAMAGE[case]
    damage(folder)
    with pytest.raises(ModelError) as error:
        PretrainedModel.load(folder)
    assert all(token in str(error.value) for token in (str(folder), *tokens))


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
def test_flipped_bits_and_cuts_are_refused(folder, name):
    size = (folder / name).stat().st_size
    bits = range(0, 8 * size, 8 * size // 1500)
    cuts = np.linspace(0, size - 1, 60).astype(int).tolist()
    for change, places in ((flipped, bits), (truncated, cuts)):
        for place in change(folder / name, places):
            with pytest.raises(ModelError):
                PretrainedModel.load(folder)
                pytest.fail(f"{change.__name__} at {place} was not seen")
    PretrainedModel.load(folder)
