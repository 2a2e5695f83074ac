import functools

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


@pytest.fixture(scope="module")
def run():
    """AE-C in float64 on one device: state, batch and the two mapped steps."""
    with jax.enable_x64(True):
        config = tiny_config(model__filters=2, model__tag_hidden=8)
        devices = tuple(jax.devices()[:1])
        model = build_model("ae_c", config.model, TAGS, parallel.AXIS, jnp.float64)
        optimizer = optax.sgd(LEARNING_RATE)
        state = steps.initial_state(model, optimizer, seed=0)
        batch = random_batch(ROWS, VALID, TAGS)
        shared = {"model": model, "loss": config.loss}
        train = functools.partial(steps.train_step, optimizer=optimizer, **shared)
        evaluate = functools.partial(steps.eval_step, **shared)
        train = parallel.map_step(train, devices, outputs=2)
        # The mapped step reuses the memory of its state; each call is given a copy.
        yield (
            jax.device_get(state),
            batch,
            lambda s, b=batch: jax.device_get(train(jax.tree.map(jnp.copy, s), rows(b))),
            lambda s: jax.device_get(
                parallel.map_step(evaluate, devices, outputs=1)(s, rows(batch))
            ),
            model,
            config,
        )


def test_steps_in_one_call_are_the_steps_one_by_one(run):
    """Rows by index, the metrics of every step, and padding rows."""
    state, batch, train, _, model, config = run
    examples = {name: batch[name] for name in ("patches", "tags")}
    indices = np.array([[4, 0, 1, 3, 2, 5], [5, 2, 0, 1, -1, -1], [0, 1, 2, 3, 4, -1]], np.int32)
    devices = tuple(jax.devices()[:1])
    with jax.enable_x64(True):
        in_calls = functools.partial(
            steps.train_steps, model=model, optimizer=optax.sgd(LEARNING_RATE), loss=config.loss
        )
        in_calls = parallel.map_steps(in_calls, devices, shared_data=True)
        placed = parallel.place_data(examples, devices, shared=True)
        not_taken = np.full((2, 6), SKIP_STEP, np.int32)
        rows = np.concatenate([indices, not_taken])[None]
        got, curves = jax.device_get(in_calls(jax.tree.map(jnp.copy, state), placed, rows))
        assert not any(np.any(values[3:]) for pair in curves.values() for values in pair)
        for place, own in enumerate(indices):
            valid = own >= 0
            # What a padding row holds does not matter: here the last example.
            chosen = {name: values[own] for name, values in examples.items()}
            state, pairs = train(state, chosen | {"valid": valid})
            at_step = {name: (t[place], w[place]) for name, (t, w) in curves.items()}
            assert at_step["loss"][1] == valid.sum()
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), at_step, pairs)
    assert got.step == 3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), got, state)


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


def rows(batch):
    return parallel.split_rows(batch, jax.devices()[:1])


def test_the_step_descends_the_gradient_of_the_loss_it_reports(run):
    """Against the slope of the reported mean loss along a random direction, dropout on."""
    state, _, train, *_ = run
    with jax.enable_x64(True):
        new, pairs = train(state)
        rng = np.random.default_rng(0)
        direction = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), state.params)

        def loss_at(distance):
            moved = jax.tree.map(lambda p, d: p + distance * d, state.params, direction)
            total, count = train(state.replace(params=moved))[1]["loss"]
            return total / count

        # Far enough for the digits of float64, near enough that no ReLU changes sides.
        slope = (loss_at(1e-8) - loss_at(-1e-8)) / 2e-8
    taken = jax.tree.map(lambda p, q, d: ((p - q) * d).sum(), state.params, new.params, direction)
    assert sum(jax.tree.leaves(taken)) / LEARNING_RATE == pytest.approx(slope, rel=1e-5)
    squares = jax.tree.map(lambda p, q: ((p - q) ** 2).sum(), state.params, new.params)
    norm = np.sqrt(sum(jax.tree.leaves(squares))) / LEARNING_RATE
    assert pairs["gradient_norm"][0] / pairs["gradient_norm"][1] == pytest.approx(norm, rel=1e-6)


def test_dropout_changes_from_step_to_step_and_not_otherwise(run):
    state, _, train, *_ = run
    with jax.enable_x64(True):
        same = [train(state)[1]["loss"][0] for _ in range(2)]
        later = train(state.replace(step=np.int32(1)))[1]["loss"][0]
        other = train(state.replace(key=state.key + np.uint32(1)))[1]["loss"][0]
        assert train(state)[0].step == 1
    assert same[0] == same[1]
    assert len({float(loss) for loss in (same[0], later, other)}) == 3


def test_evaluation_has_the_losses_of_the_valid_rows(run):
    """With running statistics; PyTorch's losses of the model's outputs, summed over the rows."""
    state, batch, _, evaluate, model, config = run
    with jax.enable_x64(True):
        pairs = evaluate(state)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        inputs = jnp.asarray(batch["patches"]), jnp.asarray(batch["tags"])
        outputs = jax.jit(model.apply)(variables, *inputs)
    logits, tag_logits, audio, tag = (
        torch.tensor(np.asarray(getattr(outputs, name))[:VALID])
        for name in ("audio_logits", "tag_logits", "audio_aligned", "tag_aligned")
    )
    wanted = pytorch_coala.losses(
        pytorch_coala.Outputs(None, None, audio, tag, logits.sigmoid(), tag_logits.sigmoid()),
        torch.tensor(batch["patches"][:VALID]).double(),
        torch.tensor(batch["tags"][:VALID]),
        pytorch_coala.LossSettings(**config.loss),
    )
    wanted["signed_contrastive_loss"] = wanted.pop("contrastive_loss")
    assert pairs.keys() == wanted.keys()
    for name, value in wanted.items():
        assert pairs[name][0] == pytest.approx(VALID * value.item(), rel=1e-9), name
        assert pairs[name][1] == VALID


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


def with_open_relus(params):
    """Batch norms with biases of 3: a ReLU that flips would hide how near two gradients are."""

    def opened(path, leaf):
        is_norm_bias = path[1].key.startswith("norm") and path[2].key == "bias"
        return leaf + 3 if is_norm_bias else leaf

    return jax.tree_util.tree_map_with_path(opened, params)


def test_bfloat16_is_for_products_alone(run):
    """Parameters, statistics, optimiser and metrics stay float32.

    The gradient of each network is within 2 % of float64's in norm, for bfloat16 has 8 bits; where
    ReLUs flip, at fresh weights and five rows, 10 to 30 % of an encoder's are another.
    """
    state, batch, train, _, _, config = run
    state = state.replace(params=with_open_relus(state.params))
    with jax.enable_x64(True):
        exact, _ = train(state)
    wanted = jax.tree.map(lambda p, q: (p - q) / LEARNING_RATE, state.params, exact.params)

    optimizer = optax.adam(0.1)
    single = jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, state)
    single = single.replace(opt_state=optimizer.init(single.params))
    product_dtype = jnp.dtype("bfloat16")
    model = build_model("ae_c", config.model, TAGS, parallel.AXIS, product_dtype=product_dtype)
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, loss=config.loss)
    with jax.numpy_dtype_promotion("standard"):  # Adam's count asks for it
        train = parallel.map_step(step, tuple(jax.devices()[:1]), outputs=2)
        new, pairs = jax.device_get(train(single, rows(batch)))
    moments = new.opt_state[0]
    for tree in (new.params, new.batch_stats, moments.mu, moments.nu, pairs):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(tree)} == {"float32"}

    gradients = jax.tree.map(lambda mean: mean / (1 - 0.9), moments.mu)
    assert gradients.keys() == wanted.keys()
    for name in wanted:
        got, exact = (
            np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree[name])])
            for tree in (gradients, wanted)
        )
        distance = np.linalg.norm(got - exact) / np.linalg.norm(exact)
        assert 1e-4 < distance < 0.02, name


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
        optimizer, parameter = steps.make_optimizer(settings), jnp.array(3.0)
        with jax.numpy_dtype_promotion("standard"):
            state = optimizer.init(parameter)
            for gradient in gradients:
                update, state = optimizer.update(jnp.array(gradient), state)
                parameter += update
        assert float(parameter) == pytest.approx(wanted, rel=1e-5), name
