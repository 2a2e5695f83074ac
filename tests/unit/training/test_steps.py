import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from coala_jax.data.input_pipeline import SKIP_STEP
from coala_jax.models.coala import Coala, Outputs, build_model
from coala_jax.training import parallel, steps
from tests import pytorch_coala
from tests.synthetic import random_batch, tiny_config

TAGS, ROWS, VALID = 7, 6, 5
LEARNING_RATE = 0.01


def rows(batch):
    return parallel.split_rows(batch, jax.devices()[:1])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_rows_are_taken_from_examples_as_they_are_kept(dtype):
    """0 and 1 come back as themselves, all values as float32, and padding as zeros."""
    kept = np.linspace(0, 1, 256).astype(np.float32)
    kept = np.arange(256, dtype=np.uint8) if dtype == "uint8" else kept.astype(jnp.dtype(dtype))
    patches = np.stack([kept, kept[::-1], np.full_like(kept, 1)])
    tags = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
    taken = jax.jit(steps._batch)({"patches": patches, "tags": tags}, np.array([1, -1, 0]))
    assert taken["valid"].tolist() == [True, False, True]
    assert taken["tags"].tolist() == [[0, 1], [0, 0], [1, 0]]
    values = kept.astype(np.float64) / (255 if dtype == "uint8" else 1)
    wanted = np.stack([values[::-1], np.zeros_like(values), values])
    assert taken["patches"].dtype == np.float32
    np.testing.assert_allclose(taken["patches"], wanted, rtol=1e-7)
    assert taken["patches"][2, -1] == 1.0


class Products(Coala):
    """Outputs that are one product each: what a loss does to them shows in four weights."""

    def setup(self):
        def weights(name, *shape):
            return self.param(name, jax.random.normal, shape, self.param_dtype)

        self.audio_weights, self.tag_weights = weights("audio", 96, 5), weights("tag", TAGS, 5)
        self.cell_weights, self.word_weights = weights("cell", 96, 96), weights("word", TAGS, TAGS)
        self.unused = self.variable("batch_stats", "unused", jnp.zeros, 1)

    def __call__(self, patches, tags, info=None):
        patches, tags = patches.astype(self.param_dtype), tags.astype(self.param_dtype)
        return Outputs(
            audio_aligned=patches[:, :, 0] @ self.audio_weights,
            tag_aligned=tags @ self.tag_weights,
            audio_logits=patches * self.cell_weights[None],
            tag_logits=tags @ self.word_weights,
        )


def batch_with_equal_tags():
    """Rows 0, 2 and 3 have the same tags, and the padding row too."""
    batch = random_batch(ROWS, VALID, TAGS)
    batch["tags"][[2, 3, 5]] = batch["tags"][0]
    assert len(np.unique(batch["tags"], axis=0)) == 3
    return batch


@functools.cache
def gradient_and_metrics(**loss_settings):
    """Of one step of `Products` in float64, its rows on three devices.

    Weights, gradient by weight and the metrics' pairs.
    """
    config = tiny_config(**{f"loss__{key}": value for key, value in loss_settings.items()})
    batch, devices = batch_with_equal_tags(), tuple(jax.devices()[:3])
    with jax.enable_x64(True):
        model = Products(TAGS, axis_name=parallel.AXIS, param_dtype=jnp.float64)
        optimizer = optax.sgd(1.0)
        state = steps.initial_state(model, optimizer, seed=0)
        weights = jax.device_get(state.params)
        step = functools.partial(
            steps.train_step, model=model, optimizer=optimizer, loss=config.loss
        )
        train = parallel.map_step(step, devices, outputs=2)
        new, pairs = jax.device_get(train(state, parallel.split_rows(batch, devices)))
    return weights, {name: weights[name] - new.params[name] for name in weights}, pairs


def test_steps_in_one_call_are_the_steps_one_by_one():
    """Rows by index, the metrics of every step, and padding rows."""
    batch, devices = batch_with_equal_tags(), tuple(jax.devices()[:1])
    examples = {name: batch[name] for name in ("patches", "tags")}
    indices = np.array([[4, 0, 1, 3, 2, 5], [5, 2, 0, 1, -1, -1], [0, 1, 2, 3, 4, -1]], np.int32)
    with jax.enable_x64(True):
        model = Products(TAGS, axis_name=parallel.AXIS, param_dtype=jnp.float64)
        optimizer = optax.sgd(LEARNING_RATE)
        shared = {"model": model, "optimizer": optimizer, "loss": tiny_config().loss}
        state = jax.device_get(steps.initial_state(model, optimizer, seed=0))
        one = parallel.map_step(functools.partial(steps.train_step, **shared), devices, outputs=2)
        in_calls = parallel.map_steps(
            functools.partial(steps.train_steps, **shared), devices, shared_data=True
        )
        placed = parallel.place_data(examples, devices, shared=True)
        not_taken = np.full((2, 6), SKIP_STEP, np.int32)
        taken = np.concatenate([indices, not_taken])[None]
        # A mapped step reuses the memory of its state; each is given a copy.
        got, curves = jax.device_get(in_calls(jax.tree.map(jnp.copy, state), placed, taken))
        assert not any(np.any(values[3:]) for pair in curves.values() for values in pair)
        for place, own in enumerate(indices):
            valid = own >= 0
            # What a padding row holds does not matter: here the last example.
            chosen = {name: values[own] for name, values in examples.items()} | {"valid": valid}
            state, pairs = jax.device_get(one(jax.tree.map(jnp.copy, state), rows(chosen)))
            at_step = {name: (t[place], w[place]) for name, (t, w) in curves.items()}
            assert at_step["loss"][1] == valid.sum()
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), at_step, pairs)
    assert got.step == 3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), got, state)


SETTINGS = [
    {},
    {"reduction": "sum"},
    {"kl_offset": 0.01, "temperature": 0.3, "equal_tags_are_negatives": False},
    {"contrastive": "nt_xent"},
    {"contrastive": "nt_xent", "reduction": "sum"},
    {"contrastive": "nt_xent", "kl_offset": 1e-5, "equal_tags_are_negatives": False},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: ",".join(map(str, s.values())))
def test_every_loss_setting_reaches_the_gradient_as_in_pytorch(settings):
    """Against PyTorch's valid rows, all on one device: its gradients and its losses.

    Where all sums are sums, the gradient is that of the literal text.
    """
    batch = batch_with_equal_tags()
    weights, gradients, pairs = gradient_and_metrics(**settings)

    theirs = {name: torch.tensor(values, requires_grad=True) for name, values in weights.items()}
    patches = torch.tensor(batch["patches"][:VALID], dtype=torch.float64)
    tags = torch.tensor(batch["tags"][:VALID])
    outputs = pytorch_coala.Outputs(
        audio_latent=patches[:, 0],
        audio_aligned=patches[:, :, 0] @ theirs["audio"],
        tag_aligned=tags.double() @ theirs["tag"],
        reconstruction=torch.sigmoid(patches * theirs["cell"]),
        tag_probability=torch.sigmoid(tags.double() @ theirs["word"]),
    )
    wanted = pytorch_coala.losses(outputs, patches, tags, pytorch_coala.LossSettings(**settings))
    wanted["loss"].backward()
    for name, gradient in gradients.items():
        found = theirs[name].grad.numpy()
        np.testing.assert_allclose(gradient, found, rtol=0, atol=1e-9 * np.abs(found).max())
    # Eq. 10 may be negative, which its name says.
    if settings.get("contrastive") != "nt_xent":
        wanted["signed_contrastive_loss"] = wanted.pop("contrastive_loss")
    assert pairs.keys() == wanted.keys() | {"gradient_norm"}
    for name, value in wanted.items():
        total, count = pairs[name]
        assert count == VALID
        found = total if settings.get("reduction") == "sum" else total / count
        assert found == pytest.approx(value.item(), rel=1e-9), name


def test_the_state_depends_on_the_seed_alone():
    model = build_model("cnn", tiny_config().model, TAGS)
    first, again, other = (
        steps.initial_state(model, optax.sgd(0.1), seed=seed) for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.key, other.key)  # and see test_coala for the weights


def test_the_optimizers_by_hand():
    """Two steps on one number; Adam's bias-corrected moments, with its count's promotion."""
    gradients, eps = (1.0, -0.25), 1e-8
    m, v, adam, sgd = 0.0, 0.0, 3.0, 3.0
    for count, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        adam -= 0.5 * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + eps)
        sgd -= 0.5 * gradient
    for name, wanted in {"sgd": sgd, "adam": adam}.items():
        settings = tiny_config(optimizer__name=name, optimizer__learning_rate=0.5).optimizer
        optimizer, parameter = steps.make_optimizer(settings, 1), jnp.array(3.0)
        with jax.numpy_dtype_promotion("standard"):
            state = optimizer.init(parameter)
            for gradient in gradients:
                update, state = optimizer.update(jnp.array(gradient), state)
                parameter += update
        assert float(parameter) == pytest.approx(wanted, rel=1e-5), name


class Listener(nn.Module):
    """In place of an audio encoder: a product, and a statistic that every step moves."""

    @nn.compact
    def __call__(self, patches):
        seen = self.variable("batch_stats", "seen", jnp.zeros, (1,), patches.dtype)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            seen.value = seen.value + 1
        return patches[:, :, 0] @ self.param("kernel", jax.random.normal, (96, 5), patches.dtype)


class Listening(Coala):
    """E-C of two products."""

    def setup(self):
        self.audio_encoder = Listener()
        self.tag_weights = self.param("tag", jax.random.normal, (TAGS, 5), self.param_dtype)

    def __call__(self, patches, tags, info=None):
        heard = self.audio_encoder(patches.astype(self.param_dtype))
        return Outputs(heard, tags.astype(self.param_dtype) @ self.tag_weights, None, None)


@pytest.mark.parametrize("name", ["sgd", "adam"])
@jax.numpy_dtype_promotion("standard")  # Optax's Adam needs it
def test_a_frozen_audio_encoder_does_not_move_and_then_begins_as_new(name):
    """On two devices, in one program. Adam's first step is the learning rate in each weight."""
    settings = tiny_config(optimizer__name=name, optimizer__learning_rate=LEARNING_RATE).optimizer
    batch, devices = random_batch(ROWS, ROWS, TAGS), tuple(jax.devices()[:2])
    model = Listening(TAGS, axis_name=parallel.AXIS)
    optimizer = steps.make_optimizer(settings, 4, frozen_steps=3)
    step = functools.partial(
        steps.train_step, model=model, optimizer=optimizer, loss=tiny_config().loss, frozen_steps=3
    )
    traced = []

    def counted(state, batch):
        traced.append(len(states))
        return step(state, batch)

    train = parallel.map_step(counted, devices, outputs=2)
    state = parallel.place_state(steps.initial_state(model, optimizer, 0), devices)
    states = [jax.device_get(state)]
    for _ in range(4):
        state, _ = train(state, parallel.split_rows(batch, devices))
        states.append(jax.device_get(state))

    def of_audio(state):
        return [
            leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(state)
            if "audio_encoder" in jax.tree_util.keystr(path)
        ]

    first, *frozen, last = states
    assert len(of_audio(first)) == {"sgd": 2, "adam": 5}[name]  # weights, statistic; Adam's three
    for before, after in itertools.pairwise([first, *frozen]):
        jax.tree.map(np.testing.assert_array_equal, of_audio(after), of_audio(before))
        assert np.abs(after.params["tag"] - before.params["tag"]).max() > 0
    assert not any(np.array_equal(a, b) for a, b in zip(*map(of_audio, (first, last)), strict=True))
    assert last.batch_stats["audio_encoder"]["seen"] == 1
    moved = last.params["audio_encoder"]["kernel"] - first.params["audio_encoder"]["kernel"]
    if name == "adam":
        np.testing.assert_allclose(np.abs(moved), LEARNING_RATE, rtol=1e-3)
    assert set(traced) == {1}  # before the first step alone


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_an_optimizer_of_its_own_changes_no_update(name):
    settings = tiny_config(optimizer__name=name).optimizer
    rng = np.random.default_rng(0)
    params, *gradients = (
        {key: rng.normal(size=3).astype(np.float32) for key in ("audio_encoder", "tag")}
        for _ in range(4)
    )
    updates = []
    for frozen_steps in (0, 1):
        optimizer = steps.make_optimizer(settings, 1, frozen_steps)
        with jax.numpy_dtype_promotion("standard"):
            state = optimizer.init(params)
            for gradient in gradients:
                update, state = optimizer.update(gradient, state, params)
        updates.append(update)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), *updates)
