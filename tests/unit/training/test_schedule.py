"""The rate of each step, by hand and as the optimisers apply it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.training import schedule, steps
from coala_jax.training.frozen import AUDIO_ENCODER
from tests.synthetic import tiny_config

STEPS = 6
# 0.4 * (1 + cos(pi * step / 6)) / 2
BY_HAND = [
    0.4,
    0.2 * (1 + math.sqrt(3) / 2),
    0.3,
    0.2,
    0.1,
    0.2 * (1 - math.sqrt(3) / 2),
]


def settings_of(**changes):
    changes = {"learning_rate": 0.4, "schedule": "cosine"} | changes
    return tiny_config(**{f"optimizer__{key}": value for key, value in changes.items()}).optimizer


def test_the_cosine_by_hand():
    rate = schedule.learning_rate(settings_of(), STEPS)
    found = [schedule.rate_at(rate, step) for step in range(STEPS + 1)]
    assert found == pytest.approx([*BY_HAND, 0], abs=1e-7)


def test_the_constant_rate_is_the_config_s_number():
    rate = schedule.learning_rate(settings_of(schedule="constant"), STEPS)
    assert rate == 0.4 and isinstance(rate, float)
    assert {schedule.rate_at(rate, step) for step in (0, STEPS, 999)} == {0.4}


@pytest.mark.parametrize("frozen_steps", [0, 2])
@jax.numpy_dtype_promotion("standard")  # a schedule divides a count
def test_each_step_has_the_rate_of_the_run_s_step(frozen_steps):
    """Also in an optimiser whose own count begins after the frozen steps. SGD moves by the rate."""
    optimizer = steps.make_optimizer(settings_of(), STEPS, frozen_steps)
    ones = {AUDIO_ENCODER: jnp.ones(()), "tag_encoder": jnp.ones(())}
    state, moved = optimizer.init(ones), []
    for step in range(STEPS):
        updates, after = optimizer.update(ones, state)
        if step < frozen_steps:  # as `frozen.hold` does
            updates[AUDIO_ENCODER] = jnp.zeros(())
            held = {AUDIO_ENCODER: state.inner_states[AUDIO_ENCODER]}
            after = after._replace(inner_states=after.inner_states | held)
        state = after
        moved.append([-float(updates[name]) for name in ones])
    audio, tags = np.transpose(moved)
    np.testing.assert_allclose(tags, BY_HAND, atol=1e-7)
    np.testing.assert_allclose(audio, [0] * frozen_steps + BY_HAND[frozen_steps:], atol=1e-7)
