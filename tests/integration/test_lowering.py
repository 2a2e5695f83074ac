"""Many train steps in a call, at the paper's sizes, lowered for accelerators that are not there."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from coala_jax.default_config import get_config
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps

DEVICES, TAGS, STEPS, EXAMPLES = 8, 1000, 64, 10_000


@pytest.mark.parametrize(
    ("case", "mode", "convolutions", "norms"), [("ae_c", "released", 9, 16), ("cnn", "paper", 5, 5)]
)
def test_the_steps_lower_for_accelerators_and_never_call_the_host(case, mode, convolutions, norms):
    """`jax.export` takes no pmap, so the steps are mapped by `shard_map`."""
    config = get_config(mode)
    model = build_model(
        case, config.model, TAGS, parallel.AXIS, jnp.float32, product_dtype=jnp.bfloat16
    )
    optimizer = steps.make_optimizer(config.optimizer, planned_steps=1)
    many = functools.partial(steps.train_steps, model=model, optimizer=optimizer, loss=config.loss)
    everywhere, rows = PartitionSpec(), PartitionSpec(None, parallel.AXIS)
    mapped = jax.shard_map(
        many,
        mesh=Mesh(np.array(jax.devices()[:DEVICES]), (parallel.AXIS,)),
        in_specs=(everywhere, everywhere, rows),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    data = {
        "patches": jax.ShapeDtypeStruct((EXAMPLES, 96, 96), jnp.uint8),
        "tags": jax.ShapeDtypeStruct((EXAMPLES, TAGS), jnp.uint8),
    }
    indices = jax.ShapeDtypeStruct((STEPS, config.train.batch_size), jnp.int32)
    state = jax.eval_shape(lambda: steps.initial_state(model, optimizer, seed=0))
    exported = jax.export.export(jax.jit(mapped), platforms=["tpu", "cuda"])(state, data, indices)
    text = exported.mlir_module()

    gathered = re.findall(r'"stablehlo.all_gather".*-> tensor<(\d+)x', text)
    assert ("128" in gathered) == (case == "ae_c")  # the aligned vectors of the whole batch
    assert f"num_partitions = {DEVICES}" in text
    # Batch norm alone sums three times a layer: count, mean, variance.
    assert text.count('"stablehlo.all_reduce"') >= 3 * norms
    # XLA's own convolution there, matrix products on a CPU.
    assert text.count("stablehlo.convolution") >= 3 * convolutions
    assert "bf16" in text
    calls = set(re.findall(r"stablehlo.custom_call @(\w+)", text))
    assert not [name for name in calls if "callback" in name.lower() or "host" in name.lower()]
    for word in ("infeed", "outfeed", "stablehlo.send", "stablehlo.recv"):
        assert word not in text
