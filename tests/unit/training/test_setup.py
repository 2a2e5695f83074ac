"""What a run freezes beside its weights."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from coala_jax.training import steps
from coala_jax.training.setup import Run
from tests.synthetic import tiny_config, tiny_model, write_random_dataset


@pytest.mark.parametrize("pooling", ["mean", "layers"])
@pytest.mark.parametrize("initial", [None, "mean", "layers"])
def test_the_pooling_is_that_of_the_config_whatever_the_run_starts_from(pooling, initial, tmp_path):
    """It stands by itself, and not among the settings that trained the model."""
    weight = jnp.zeros(2, jnp.float32)
    state = steps.TrainState(jnp.int32(0), {"w": weight}, {"m": weight}, {}, weight)
    run = SimpleNamespace(
        config=tiny_config(model__pooling=pooling),
        manifest=write_random_dataset(tmp_path / "data", train=4, validation=2),
        init_model=None if initial is None else tiny_model("ae_c", pooling=initial),
        init_digest="",
    )
    model = Run.freeze(run, state)
    assert model.pooling == pooling
    assert "pooling" not in model.config["model"]
    assert model.module().filters == 4  # which is built without it
