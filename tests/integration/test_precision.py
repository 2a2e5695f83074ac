"""bfloat16 products train as float32 ones do: the difference is less than that of another seed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps
from tests.synthetic import random_batch, tiny_config

TAGS, ROWS, BATCHES, EPOCHS = 12, 8, 4, 8
DEVICES = tuple(jax.devices()[:1])


@functools.cache
def mapped_step(precision: str):
    """The model, its optimiser and their step on one device, traced once for all seeds."""
    config = tiny_config(optimizer__learning_rate=0.01)
    model = build_model(
        "ae_c", config.model, TAGS, parallel.AXIS, jnp.float32, jnp.dtype(precision)
    )
    optimizer = steps.make_optimizer(config.optimizer)
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, loss=config.loss)
    return model, optimizer, parallel.map_step(step, DEVICES, outputs=2)


def curves(seed: int, precision: str) -> dict[str, np.ndarray]:
    """The mean of each loss over each epoch."""
    model, optimizer, step = mapped_step(precision)
    state = parallel.place_state(steps.initial_state(model, optimizer, seed), DEVICES)
    taken = []
    for number in range(EPOCHS * BATCHES):
        batch = random_batch(ROWS, ROWS, TAGS, seed=number % BATCHES)
        state, pairs = step(state, parallel.split_rows(batch, DEVICES))
        taken.append({name: total / weight for name, (total, weight) in pairs.items()})
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.float32)}
    return {
        name: np.array([float(each[name]) for each in taken]).reshape(EPOCHS, BATCHES).mean(axis=1)
        for name in taken[0]
    }


def test_bfloat16_stays_within_the_spread_of_three_seeds():
    of_seeds, of_bfloat16 = [curves(seed, "float32") for seed in range(3)], curves(0, "bfloat16")
    for name in ("loss", "audio_loss", "tag_loss", "signed_contrastive_loss"):
        seeds, got = np.array([each[name] for each in of_seeds]), of_bfloat16[name]
        assert not np.array_equal(got, seeds[0]), name  # or it was float32 again
        spread = (seeds.max(axis=0) - seeds.min(axis=0)).max()
        assert np.abs(got - seeds[0]).max() <= spread, name
        assert got[-1] < got[0], name
