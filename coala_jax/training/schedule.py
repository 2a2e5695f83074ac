"""The learning rate of each step of a run."""

import optax
from ml_collections import ConfigDict


def learning_rate(settings: ConfigDict, planned_steps: int) -> float | optax.Schedule:
    """The rate of every step, or a function of how many steps were taken before.

    Args:
        settings: `config.optimizer`.
        planned_steps: of the whole run, after which "cosine" has come to 0.
    """
    if settings.schedule == "constant":
        # A number: Optax would count steps for a function, in a state that needs no count.
        return settings.learning_rate
    return optax.cosine_decay_schedule(settings.learning_rate, planned_steps)


def rate_at(rate: float | optax.Schedule, step: int) -> float:
    """The rate of the step before which `step` were taken."""
    return float(rate(step)) if callable(rate) else rate


def later(rate: float | optax.Schedule, first_step: int) -> float | optax.Schedule:
    """The rate by the count of an optimiser that takes its first step after `first_step` others."""
    return (lambda count: rate(count + first_step)) if callable(rate) else rate
