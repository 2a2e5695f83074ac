"""The arms of `benchmarks.train_step` train the same model, and XLA counts the same products."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from benchmarks import pytorch_arm, train_step
from benchmarks.workload import NARROW, Sizes, make_workload, step_flop
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps

SHAPES = Sizes(batch=3)


def test_the_arms_train_the_same_model(monkeypatch):
    monkeypatch.setattr(pytorch_arm, "cores", lambda: 1)
    largest = train_step.check_same_model("e_c", NARROW)
    assert 0 < largest["losses"] < 1e-5 and 0 < largest["update"] < 1e-2


def test_xla_counts_the_same_products():
    """In the real step as an accelerator gets it; what lies between the products adds 2 %."""
    config = make_workload("cnn", SHAPES).config
    model = build_model("cnn", config.model, SHAPES.tags, parallel.AXIS)
    optimizer = steps.make_optimizer(config.optimizer, planned_steps=1)
    rows, everywhere = PartitionSpec(parallel.AXIS), PartitionSpec()
    step = jax.shard_map(
        lambda *given: steps.train_step(*given, model=model, optimizer=optimizer, loss=config.loss),
        mesh=Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,)),
        in_specs=(everywhere, rows),
        out_specs=everywhere,
        check_vma=False,
    )
    batch = {
        "patches": jax.ShapeDtypeStruct((SHAPES.batch, 96, 96), jnp.float32),
        "tags": jax.ShapeDtypeStruct((SHAPES.batch, SHAPES.tags), jnp.uint8),
        "valid": jax.ShapeDtypeStruct((SHAPES.batch,), jnp.bool_),
    }
    state = jax.eval_shape(lambda: steps.initial_state(model, optimizer, seed=0))
    lowered = jax.jit(step).trace(state, batch).lower(lowering_platforms=("cuda",))
    counted = lowered.cost_analysis()["flops"] / SHAPES.batch
    assert 1.0 < counted / step_flop(config, SHAPES.tags) < 1.04
