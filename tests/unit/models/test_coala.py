import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.default_config import get_config
from coala_jax.models.autoencoders import (
    AudioDecoder,
    AudioEncoder,
    TagDecoder,
    TagEncoder,
    flatten_maps,
)
from coala_jax.models.coala import build_model, initial_variables
from coala_jax.models.layers import BatchInfo, BatchNorm, Dropout
from tests.synthetic import random_batch, tiny_config, tiny_model

TAGS = 6
FILTERS, HIDDEN, LATENT = 2, 8, 18
SETTINGS = tiny_config(model__filters=FILTERS, model__tag_hidden=HIDDEN).model

# Weights and biases of the paper's model, worked out layer by layer.
AUDIO_ENCODER = (16 * 128 + 128 + 256) + 4 * (16 * 128 * 128 + 128 + 256)
TAG_ENCODER = (1000 * 512 + 512 + 1024) + (512 * 512 + 512 + 1024) + (512 * 1152 + 1152 + 2304)
LINEAR, DECODERS = 1152 * 1152, {"audio_decoder": 1_052_163, "tag_decoder": 1_370_040}


@pytest.mark.parametrize("case", ["ae_c", "e_c", "cnn"])
@pytest.mark.parametrize(("mode", "bias"), [("paper", 1152), ("released", 0)])
def test_parameters_are_as_many_as_those_of_the_two_truths(case, mode, bias):
    """In the released code an encoder with its transform has 2,379,648 or 2,697,600."""
    assert (AUDIO_ENCODER + LINEAR, TAG_ENCODER + LINEAR) == (2_379_648, 2_697_600)
    wanted = {"audio_encoder": AUDIO_ENCODER, "tag_encoder": TAG_ENCODER}
    wanted |= dict.fromkeys(("audio_transform", "tag_transform"), LINEAR + bias)
    if case == "ae_c":
        wanted |= DECODERS
    elif case == "cnn":
        wanted = {"audio_encoder": AUDIO_ENCODER, "hidden_layer": LINEAR + 1152}
        wanted["output_layer"] = 1152 * 1000 + 1000
        assert sum(wanted.values()) == 3_533_800
    model = build_model(case, get_config(mode).model, tags=1000)
    params = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0)))["params"]
    found = {name: sum(leaf.size for leaf in jax.tree.leaves(params[name])) for name in params}
    assert found == wanted


@pytest.mark.parametrize(
    ("case", "decoders", "outputs"),
    [
        ("ae_c", 2, {"audio_aligned", "tag_aligned", "audio_logits", "tag_logits"}),
        ("e_c", 0, {"audio_aligned", "tag_aligned"}),
        ("cnn", 0, {"tag_logits"}),
    ],
)
def test_each_case_computes_what_its_losses_need(case, decoders, outputs, monkeypatch):
    called = []
    for network in (AudioDecoder, TagDecoder):
        original = network.__call__
        monkeypatch.setattr(
            network,
            "__call__",
            lambda *args, original=original: called.append(original) or original(*args),
        )
    model = build_model(case, SETTINGS, TAGS)
    patches, tags = jnp.zeros((2, 96, 96)), jnp.zeros((2, TAGS))
    shapes = jax.eval_shape(
        lambda: vars(model.init_with_output(jax.random.key(0), patches, tags)[0])
    )
    assert {name for name, shape in shapes.items() if shape is not None} == outputs
    assert len(called) == decoders


def test_flattened_in_the_order_channel_mel_time():
    # Each value spells its place: hundreds for the channel, tens for mel, ones for time.
    mel, time, channel = np.meshgrid(range(3), range(3), range(4), indexing="ij")
    maps = jnp.asarray(100 * channel + 10 * mel + time, jnp.float32)[None]
    wanted = [100 * c + 10 * m + t for c in range(4) for m in range(3) for t in range(3)]
    assert flatten_maps(maps)[0].tolist() == wanted


@functools.cache
def weights(seed: int, axis: str | None = None):
    """The first variables of AE-C."""
    return initial_variables(build_model("ae_c", SETTINGS, TAGS, axis), jax.random.key(seed))


def inputs():
    batch = random_batch(rows=4, valid=4, tags=TAGS)
    return jnp.asarray(batch["patches"]), jnp.asarray(batch["tags"])


def dense(params, x) -> np.ndarray:
    return np.asarray(x) @ np.asarray(params["kernel"]) + np.asarray(params.get("bias", 0))


@pytest.mark.integration
def test_coala_wires_its_networks():
    """Decoders see the latents, transforms too; every method gives what the call gives."""
    model, variables = build_model("ae_c", SETTINGS, TAGS), weights(0)
    patches, tags = inputs()

    def part(name: str, network, x):
        own = {kind: tree[name] for kind, tree in variables.items() if name in tree}
        return network.apply(own, x)

    @jax.jit
    def compute(patches, tags):
        bound = model.bind(variables)
        maps = part("audio_encoder", AudioEncoder(FILTERS, 0.0), patches)
        latent = part("tag_encoder", TagEncoder(HIDDEN, LATENT, 0.0), tags.astype(jnp.float32))
        wanted = {
            "maps": maps,
            "latent": latent,
            "audio_logits": part("audio_decoder", AudioDecoder(FILTERS, 0.0), maps),
            "tag_logits": part("tag_decoder", TagDecoder(TAGS, HIDDEN, 0.0), latent),
        }
        got = {
            "encode_audio": bound.encode_audio(patches),
            "project_audio": bound.project_audio(patches),
            "project_tags": bound.project_tags(tags),
            "reconstruct": bound.reconstruct(patches),
            "reconstruct_tags": bound.reconstruct_tags(tags),
        }
        return wanted, got, bound(patches, tags)

    wanted, got, outputs = compute(patches, tags)
    flat = np.asarray(wanted["maps"]).transpose(0, 3, 1, 2).reshape(4, LATENT)
    audio_aligned = dense(variables["params"]["audio_transform"], flat)
    tag_aligned = dense(variables["params"]["tag_transform"], wanted["latent"])
    for a, b in [
        (got["encode_audio"], flat),
        (outputs.audio_aligned, audio_aligned),
        (got["project_audio"], audio_aligned),
        (outputs.tag_aligned, tag_aligned),
        (got["project_tags"], tag_aligned),
        (outputs.audio_logits, wanted["audio_logits"]),
        (got["reconstruct"], 1 / (1 + np.exp(-np.asarray(wanted["audio_logits"])))),
        (outputs.tag_logits, wanted["tag_logits"]),
        (got["reconstruct_tags"], wanted["tag_logits"]),
    ]:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "audio", "tag", "transforms"),
    [("paper", "0123", "01", 0.0), ("released", "i012", "0", 0.25)],
)
def test_dropout_is_where_the_mode_has_it(mode, audio, tag, transforms):
    """`i` is a network's input. That each drops is shown for each network by itself."""
    model, found = build_model("ae_c", get_config(mode).model, TAGS), {}

    def note(module, method):
        rate = getattr(module, "rate", getattr(module, "dropout_rate", 0.0))
        if isinstance(module, Dropout) or (isinstance(module, BatchNorm) and rate):
            place = module.path[-1].rpartition("_")[2][0]
            found.setdefault(module.path[0], {})[place] = rate
        return False

    def apply():
        info = BatchInfo(jnp.ones(2, bool), jnp.arange(2, dtype=jnp.int32))
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        inputs = jnp.zeros((2, 96, 96)), jnp.zeros((2, TAGS)), info
        model.init(keys, *inputs, capture_intermediates=note)

    jax.eval_shape(apply)
    assert found == {
        "audio_encoder": dict.fromkeys("01234", 0.25),
        "tag_encoder": dict.fromkeys("012", 0.25),
        "audio_decoder": dict.fromkeys(audio, 0.25),
        "tag_decoder": dict.fromkeys(tag, 0.25),
        "audio_transform_dropout": {"d": transforms},
        "tag_transform_dropout": {"d": transforms},
    }


@pytest.mark.integration
def test_classifier_is_the_encoder_and_two_dense_layers():
    model = build_model("cnn", SETTINGS, TAGS)
    variables = initial_variables(model, jax.random.key(0))
    patches, tags = inputs()

    @jax.jit
    def compute(patches, tags):
        bound = model.bind(variables)
        return bound.encode_audio(patches), bound.predict_tags(patches), bound(patches, tags)

    latent, predicted, outputs = compute(patches, tags)
    hidden = np.maximum(dense(variables["params"]["hidden_layer"], latent), 0)
    wanted = dense(variables["params"]["output_layer"], hidden)
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs.tag_logits, wanted, rtol=0, atol=1e-6)
    assert outputs.audio_aligned is outputs.tag_aligned is outputs.audio_logits is None


def block_by_block(variables, patches: np.ndarray) -> list[np.ndarray]:
    """[row, mel, time, filter] after each block, by JAX's own convolution, norms by formula."""
    params, stats = (variables[kind]["audio_encoder"] for kind in ("params", "batch_stats"))
    maps, found = jnp.asarray(patches)[..., None], []
    for block in range(5):
        kernel, bias = (params[f"convolution_{block}"][name] for name in ("kernel", "bias"))
        maps = jax.lax.conv_general_dilated(
            maps, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        norm, running = params[f"norm_{block}"], stats[f"norm_{block}"]
        centred = np.asarray(maps) + np.asarray(bias) - np.asarray(running["mean"])
        scaled = centred / np.sqrt(np.asarray(running["var"]) + 1e-5) * np.asarray(norm["scale"])
        maps = jnp.asarray(np.maximum(scaled + np.asarray(norm["bias"]), 0))
        found.append(np.asarray(maps))
    return found


@pytest.mark.integration
@pytest.mark.parametrize("case", ["ae_c", "cnn"])
def test_the_layers_are_the_maps_of_all_blocks_in_three_bands(case):
    """Value by value: filter, mel band, then the times of one block after the other."""
    model = tiny_model(case)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: leaf + rng.uniform(0, 0.2, leaf.shape), model.variables)
    variables = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)
    patches = np.asarray(inputs()[0])
    bound = model.module().bind(variables)
    layers, latent = jax.jit(lambda x: (bound.encode_layers(x), bound.encode_audio(x)))(patches)
    assert layers.dtype == np.float32
    layers = np.asarray(layers).reshape(4, FILTERS, 3, 48 + 24 + 12 + 6 + 3)
    wanted = block_by_block(variables, patches)
    start = 0
    for maps in wanted:
        size = maps.shape[1]
        rows = size // 3  # of mel, in a band
        for band in range(3):
            mean = maps[:, band * rows : (band + 1) * rows].mean(axis=1)  # row, time, filter
            got = layers[:, :, band, start : start + size]
            np.testing.assert_allclose(got, mean.swapaxes(1, 2), rtol=0, atol=1e-5 * maps.max())
            assert mean.std() > 1e-3 * maps.max()  # or the comparison would be idle
        start += size
    np.testing.assert_allclose(layers[..., 90:].reshape(4, LATENT), latent, rtol=1e-6)


@pytest.mark.integration
@pytest.mark.parametrize(("case", "match"), [("e_c", "project_audio"), ("cnn", "predict_tags")])
def test_one_pass_gives_what_tags_are_matched_with_and_then_the_embedding(case, match):
    model = tiny_model(case)
    bound, patches = model.module().bind(model.variables), inputs()[0]
    for encode, both in (
        ("encode_audio", "match_and_encode"),
        ("encode_layers", "match_and_encode_layers"),
    ):
        apart = [jax.jit(getattr(bound, method))(patches) for method in (match, encode)]
        found = jax.jit(getattr(bound, both))(patches)
        np.testing.assert_allclose(found, np.concatenate(apart, axis=1), rtol=1e-5, atol=1e-6)


def test_initial_weights_depend_on_the_key_and_not_on_the_device_axis():
    trees = (weights(0), weights(0, "devices"), weights(1))
    leaves = (jax.tree_util.tree_leaves_with_path(tree["params"]) for tree in trees)
    for (path, a), (_, same), (_, other) in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, same)
        name = jax.tree_util.keystr(path)
        assert (np.asarray(a) == np.asarray(other)).all() == ("norm" in name), name


def test_an_unknown_case_is_refused():
    with pytest.raises(ValueError, match="'ae-c'"):
        build_model("ae-c", SETTINGS, TAGS)
