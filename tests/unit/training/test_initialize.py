"""What a run takes from a pretrained model, and from which it refuses to start."""

import dataclasses

import jax
import numpy as np
import pytest
from coala_jax.configs import free

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import Manifest
from coala_jax.models.coala import build_model, initial_variables
from coala_jax.models.default import default_model_folder
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import initialize
from tests.synthetic import random_weights, tiny_config, tiny_model, write_random_dataset

VOCABULARY = ["tag4", "new", "tag1", "bird", "tag0"]
KNOWN = {0: 4, 2: 1, 4: 0}  # place of a tag here: its place in the model of six tags


def config_of(case="ae_c", **changes):
    widths = {"model__filters": 2, "model__tag_hidden": 8}
    return tiny_config(case=case, data__path="data", init__model="old", **widths | changes)


def test_a_run_starts_from_the_built_in_model_or_from_none():
    model = initialize.load(tiny_config(init__model="default"))
    assert model.digest == PretrainedModel.load(default_model_folder()).digest
    assert initialize.load(tiny_config(init__model="")) is None


def fresh_variables(case):
    module = build_model(case, config_of().model, len(VOCABULARY))
    shapes = jax.eval_shape(lambda: initial_variables(module, jax.random.key(0)))
    return random_weights(shapes, seed=1)


TAGGED = {  # arrays with an axis of tags, by how a tag's values are taken from them
    ("params", "tag_encoder", "dense_0", "kernel"): lambda array, tag: array[tag],
    ("params", "tag_decoder", "dense_2", "kernel"): lambda array, tag: array[:, tag],
    ("params", "output_layer", "kernel"): lambda array, tag: array[:, tag],
    **{
        path: lambda array, tag: array[tag]
        for path in (
            ("params", "tag_decoder", "dense_2", "bias"),
            ("params", "tag_decoder", "norm_2", "scale"),
            ("params", "tag_decoder", "norm_2", "bias"),
            ("batch_stats", "tag_decoder", "norm_2", "mean"),
            ("batch_stats", "tag_decoder", "norm_2", "var"),
            ("params", "output_layer", "bias"),
        )
    },
}


def leaves(tree) -> dict:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {tuple(key.key for key in path): np.asarray(leaf) for path, leaf in found}


@pytest.mark.parametrize(
    ("case", "source", "kept_fresh"),
    [
        ("ae_c", "ae_c", set()),
        ("e_c", "ae_c", set()),
        ("ae_c", "e_c", {"audio_decoder", "tag_decoder"}),
        ("cnn", "cnn", set()),
        ("cnn", "e_c", {"hidden_layer", "output_layer"}),
        (
            "ae_c",
            "cnn",
            {"audio_decoder", "audio_transform", "tag_decoder", "tag_encoder", "tag_transform"},
        ),
    ],
)
def test_weights_are_the_model_s_and_tags_find_their_own_by_name(case, source, kept_fresh):
    model = tiny_model(source)
    noise = np.random.default_rng(2)
    variables = jax.tree.map(
        lambda leaf: noise.normal(size=leaf.shape).astype(np.float16), model.variables
    )
    model = dataclasses.replace(model, variables=variables)
    fresh = fresh_variables(case)
    got, before, given = (
        leaves(tree)
        for tree in (initialize.transferred(fresh, model, VOCABULARY), fresh, variables)
    )
    assert got.keys() == before.keys()
    for path, found in got.items():
        assert (found.shape, found.dtype) == (before[path].shape, np.float32)
        if path[1] in kept_fresh:
            np.testing.assert_array_equal(found, before[path], err_msg=path)
        elif path in TAGGED:
            of = TAGGED[path]
            for place in range(len(VOCABULARY)):
                old = KNOWN.get(place)
                wanted = of(before[path], place) if old is None else of(given[path], old)
                np.testing.assert_array_equal(of(found, place), wanted, err_msg=path)
        else:
            np.testing.assert_array_equal(found, given[path], err_msg=path)
    assert {path[1] for path in got} >= kept_fresh
    told = initialize.describe(config_of(), model, VOCABULARY, fresh["params"])
    rest = f"; {', '.join(sorted(kept_fresh))} fresh" if kept_fresh else ""
    assert told == f"initialised from old: 3 of 5 tags known, 2 new{rest}"


def test_no_tag_in_common_leaves_all_rows_fresh():
    fresh = fresh_variables("e_c")
    got = initialize.transferred(fresh, tiny_model("e_c"), list("abcde"))
    path = ("params", "tag_encoder", "dense_0", "kernel")
    np.testing.assert_array_equal(leaves(got)[path], leaves(fresh)[path])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """Of log-mel patches."""
    folder = tmp_path_factory.mktemp("initialize") / "dataset"
    manifest = write_random_dataset(folder, 3, 2)
    return dataclasses.replace(manifest, settings=manifest.settings | {"scaling": "global"})


def test_a_model_of_the_same_front_end_is_taken_with_its_scaler(manifest):
    model = tiny_model("ae_c")
    initialize.check(config_of(), manifest, model)
    scaled = initialize.with_scaler(manifest, model)
    assert scaled.scaler == {"minimum": -15.0, "maximum": 5.0} != manifest.scaler
    assert dataclasses.replace(scaled, scaler=manifest.scaler) == manifest
    assert initialize.with_scaler(manifest, None) is manifest


@pytest.mark.parametrize("case", ["ae_c", "e_c", "cnn"])
def test_the_recipe_can_start_from_the_built_in_model(case, manifest):
    config = free.get_config()
    config.case, config.data.path, config.init.model = case, "data", "default"
    at_peak = dataclasses.replace(manifest, settings=manifest.settings | {"level": "peak"})
    initialize.check(config, at_peak, initialize.load(config))


OTHER = FrontEnd().to_dict()


@pytest.mark.parametrize(
    ("changes", "of_model", "tokens"),
    [
        ({}, {"front_end": OTHER | {"window": "hann"}}, "window 'hamming' 'hann' --window=hann"),
        ({}, {"front_end": OTHER | {"noise": 0.5}}, "noise --noise=0.5 from_folder"),
        ({}, {"front_end": OTHER | {"hop_samples": 256}}, "hop_samples 512 256"),
        ({}, {"level": "peak"}, "level 'recorded' 'peak' --level=peak from_folder"),
        ({}, {"scaler": Scaler.none().to_dict()}, "log-mel scaled from_folder"),
        ({"model__filters": 3}, {}, "config.model.filters 3 2 --config.model.filters=2"),
        ({"model__tag_hidden": 9}, {}, "config.model.tag_hidden 9 8"),
        ({"model__transform": "linear"}, {}, "config.model.transform 'linear' 'affine'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_with_the_flag_that_fits(
    changes, of_model, tokens, manifest
):
    with pytest.raises(ValueError) as error:
        initialize.check(config_of(**changes), manifest, tiny_model("ae_c", **of_model))
    assert all(token in str(error.value) for token in ["old", *tokens.split()])
    assert "Fix: " in str(error.value)


def test_patches_that_come_scaled_need_a_model_that_takes_them(manifest):
    settings = manifest.settings | {"scaling": "none"}
    scaled = dataclasses.replace(manifest, settings=settings)
    initialize.check(config_of(), scaled, tiny_model("ae_c", scaler=Scaler.none().to_dict()))
    with pytest.raises(ValueError, match=r"scaled patches, .* log-mel"):
        initialize.check(config_of(), scaled, tiny_model("ae_c"))


@pytest.mark.parametrize(("case", "source"), [("cnn", "ae_c"), ("ae_c", "cnn"), ("cnn", "cnn")])
def test_a_cnn_shares_its_audio_encoder_whatever_the_rest(case, source, manifest):
    config = config_of(case, model__tag_hidden=9, model__transform="linear")
    initialize.check(config, manifest, tiny_model(source))


def test_the_flags_that_a_message_names_are_those_of_the_program():
    from coala_jax.data_prep import from_folder

    assert set(initialize.FLAGS) == set(from_folder._FRONT_END)
    assert "level" in from_folder._SETTINGS
