import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps
from tests.synthetic import random_batch, tiny_config

TAGS, ROWS, VALID = 7, 6, 5
LEARNING_RATE = 0.01


@pytest.fixture(scope="module")
def run():
    """AE-C in float64 on one device: state, batch and the two mapped steps."""
    with jax.enable_x64(True):
        config = tiny_config()
        devices = tuple(jax.devices()[:1])
        model = build_model("ae_c", config.model, TAGS, parallel.AXIS, jnp.float64)
        optimizer = optax.sgd(LEARNING_RATE)
        state = steps.initial_state(model, optimizer, seed=0)
        batch = random_batch(ROWS, VALID, TAGS)
        shared = {"model": model, "loss": config.loss}
        train = functools.partial(steps.train_step, optimizer=optimizer, **shared)
        evaluate = functools.partial(steps.eval_step, **shared)
        train = parallel.map_step(train, devices, outputs=2)
        # The mapped step gives up the state it gets; each call is handed a copy.
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
        new, _ = train(state)
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


def test_the_gradient_norm_is_that_of_what_was_taken(run):
    state, _, train, *_ = run
    with jax.enable_x64(True):
        new, pairs = train(state)
    taken = jax.tree.map(lambda p, q: ((p - q) ** 2).sum(), state.params, new.params)
    norm = np.sqrt(sum(jax.tree.leaves(taken))) / LEARNING_RATE
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


def test_evaluation_reports_equation_13_over_the_valid_rows(run):
    state, batch, _, evaluate, model, config = run
    with jax.enable_x64(True):
        pairs = evaluate(state)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        patches, tags = jnp.asarray(batch["patches"]), jnp.asarray(batch["tags"])
        outputs = jax.jit(model.apply)(variables, patches, tags)
    logits, tag_logits, sounds, sets = (
        np.asarray(getattr(outputs, name))[:VALID]
        for name in ("audio_logits", "tag_logits", "audio_aligned", "tag_aligned")
    )
    x, y = batch["patches"].astype(float)[:VALID], batch["tags"][:VALID]
    reconstructed = 1 / (1 + np.exp(-logits))
    divergence = x * np.log(np.maximum(x, 1e-300) / reconstructed) - x + reconstructed
    audio = divergence.sum(axis=2).mean(axis=1)
    predicted = 1 / (1 + np.exp(-tag_logits))
    tags = -np.where(y, np.log(predicted), np.log(1 - predicted)).mean(axis=1)
    cosine = np.array(
        [[a @ t / np.linalg.norm(a) / np.linalg.norm(t) for t in sets] for a in sounds]
    )
    similarity = np.exp(cosine / config.loss.temperature)
    others = similarity.sum(axis=1) - similarity.diagonal()
    contrastive = -np.log(similarity.diagonal() / others)
    wanted = {
        "audio_loss": audio,
        "tag_loss": tags,
        "contrastive_loss": contrastive,
        "loss": 5 * audio + 5 * tags + 10 * contrastive,
    }
    assert pairs.keys() == wanted.keys()
    for name, values in wanted.items():
        assert pairs[name][0] == pytest.approx(values.sum(), rel=1e-9), name
        assert pairs[name][1] == VALID


def test_the_state_depends_on_the_seed_alone():
    config = tiny_config()
    model = build_model("e_c", config.model, TAGS)
    first, again, other = (
        steps.initial_state(model, optax.sgd(0.1), seed=seed) for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernels = [state.params["audio_encoder"]["convolution_0"]["kernel"] for state in (first, other)]
    assert not np.array_equal(*kernels)
    assert not np.array_equal(first.key, other.key)


@pytest.mark.parametrize(("name", "made"), [("sgd", optax.sgd), ("adam", optax.adam)])
def test_the_optimizer_of_the_config(name, made):
    """Two steps on one number; Adam's count asks for promotion."""
    settings = tiny_config(optimizer__name=name, optimizer__learning_rate=0.5).optimizer
    with jax.numpy_dtype_promotion("standard"):
        values = []
        for optimizer in (steps.make_optimizer(settings), made(0.5)):
            parameter, state = jnp.array(3.0), optimizer.init(jnp.array(3.0))
            for gradient in (1.0, -0.25):
                update, state = optimizer.update(jnp.array(gradient), state)
                parameter += update
            values.append(float(parameter))
    assert values[0] == values[1]
    if name == "sgd":
        assert values[0] == 3.0 - 0.5 * 1.0 + 0.5 * 0.25
