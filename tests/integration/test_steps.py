"""AE-C's training and evaluation step: gradient, dropout, losses and precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from coala_jax.models.coala import build_model
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
            lambda s: jax.device_get(train(jax.tree.map(jnp.copy, s), rows(batch))),
            lambda s: jax.device_get(
                parallel.map_step(evaluate, devices, outputs=1)(s, rows(batch))
            ),
            model,
            config,
        )


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
