"""Collectives counted in compiled programs, and times on paper worked out by hand."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest

from benchmarks import communication
from benchmarks.collectives import Counted, compiled_step, count
from benchmarks.communication import EXAMPLE_BYTES, EXAMPLE_FLOP, Accelerator, estimate, takes_over
from benchmarks.measure import BenchmarkError
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps
from tests.synthetic import tiny_config

DEVICES, ROWS, TAGS = 2, 8, 6
COUNTED = Counted(
    all_reduces=9,
    small_all_reduces=8,
    all_reduced_bytes=4_000_000,
    gathers=1,
    gathered_bytes_per_row=1000.0,
)
# Round figures: 8 devices a node, 1 GB/s within and 0.5 GB/s between, 1 and 10 us a hop.
MACHINE = Accelerator("round", 1e12, 1e12, 8, 1e9, 1e-6, 0.5e9, 1e-5, "invented")


def test_every_kind_of_collective_is_counted_once_with_its_size():
    def step(rows):
        total = parallel.all_sum({"a": rows.sum(0), "b": rows.astype(jnp.bfloat16).sum()})
        gathered = parallel.gather(rows)
        part = jax.lax.psum_scatter(gathered, parallel.AXIS, tiled=True)
        return total, gathered, part

    devices = tuple(jax.devices()[:DEVICES])
    mapped = jax.pmap(step, axis_name=parallel.AXIS, devices=devices)
    text = mapped.lower(jax.ShapeDtypeStruct((DEVICES, 4, 5), jnp.float32)).compile().as_text()
    counted = count(text, DEVICES, ROWS)
    # XLA sums bfloat16 as float32 on a CPU: 5 values, and one.
    assert counted.all_reduced_bytes in (5 * 4 + 2, 5 * 4 + 4)
    assert counted.all_reduces in (1, 2)
    assert counted.gathers == 2
    assert counted.gathered_bytes_per_row == (8 * 5 * 4 + 8 * 5 * 4) / ROWS


@pytest.fixture(scope="module")
def counted_step():
    return count(compiled_step(tiny_config(), TAGS, DEVICES, ROWS), DEVICES, ROWS)


def test_a_step_sums_its_gradients_and_four_vectors_a_batch_norm(counted_step):
    config = tiny_config()
    model = build_model("ae_c", config.model, TAGS, parallel.AXIS)
    state = jax.eval_shape(
        functools.partial(steps.initial_state, model, steps.make_optimizer(config.optimizer), 0)
    )
    shapes = [leaf.shape for leaf in jax.tree.leaves(state.params)]
    kernels = sum(math.prod(shape) for shape in shapes if len(shape) > 1)
    vectors = sum(shape[0] for shape in shapes if len(shape) == 1)
    # Mean and variance forward, and their two gradients: of each layer, its units.
    layers = [4] * 5 + [4] * 4 + [1] + [16, 16, 36] + [16, 16, TAGS]
    least = kernels + 4 * sum(layers)
    # XLA need not sum a vector whose gradient is zero or is one of those sums. Beside it all there
    # are four losses, their weight, and the number of valid rows in each layer.
    most = least + vectors + 4 + 1 + len(layers)
    assert least <= counted_step.all_reduced_bytes / 4 <= most


def test_a_step_gathers_tag_vectors_with_their_gradients_and_validity(counted_step):
    aligned = 9 * 4  # values of a vector at 4 filters
    assert counted_step.gathered_bytes_per_row == 2 * 4 * aligned + 1
    assert counted_step.gathers == 3


def test_a_collective_it_does_not_know_is_refused():
    for line in ("%a = f32[4]{0} all-to-all(%b)", "%a = f32[4]{0} all-reduce-start(%b)"):
        with pytest.raises(BenchmarkError, match="does not count"):
            count(line, DEVICES, ROWS)


def test_a_tuple_is_as_large_as_its_parts():
    line = "  %a = (f32[2,3]{1,0}, pred[], /*index=5*/bf16[7]{0}) all-reduce(%b, %c), to_apply=%d"
    assert count(line, DEVICES, ROWS) == Counted(1, 1, 24 + 1 + 14, 0, 0.0)


def test_a_result_that_only_reads_a_collective_is_none():
    assert count("  %a = f32[4]{0} add(%all-reduce.3, %b)", DEVICES, ROWS).number == 0


def test_eight_devices_of_one_node_on_paper():
    step = estimate(COUNTED, MACHINE, devices=8, rows=16, share_of_peak=0.5)
    similarities = 6 * 1152 * 128
    compute = 16 * ((EXAMPLE_FLOP + similarities) / 0.5e12 + EXAMPLE_BYTES / 1e12)
    assert step.compute_s == pytest.approx(compute)
    assert step.bytes_s == pytest.approx(7 / 8 * (2 * 4e6 + 1000 * 128) / 1e9)
    assert step.number_s == pytest.approx(10 * 6 * 1e-6)  # three hops up, three down
    assert step.step_s == pytest.approx(compute + 7112e-6 + 60e-6)


def test_between_nodes_the_slower_rate_and_both_kinds_of_hops_count():
    step = estimate(COUNTED, MACHINE, devices=32, rows=16, share_of_peak=0.5)
    assert step.bytes_s == pytest.approx(31 / 32 * (2 * 4e6 + 1000 * 512) / 0.5e9)
    assert step.number_s == pytest.approx(10 * (6 * 1e-6 + 4 * 1e-5))


def test_one_device_tells_nobody_anything():
    step = estimate(COUNTED, MACHINE, devices=1, rows=16, share_of_peak=0.5)
    assert step.communication_s == 0
    assert takes_over(COUNTED, MACHINE, 1, 0.5) is None


def test_communication_takes_over_where_it_equals_computing():
    rows = takes_over(COUNTED, MACHINE, 8, 0.5)
    less = estimate(COUNTED, MACHINE, 8, rows - 1, 0.5)
    enough = estimate(COUNTED, MACHINE, 8, rows, 0.5)
    assert less.compute_s < less.communication_s
    assert enough.compute_s >= enough.communication_s
    # 7060 us that do not grow, and 7 us a row gathered, against 4814 us a row and a little.
    assert rows == 2


def test_the_table_has_both_batches_of_every_number_of_devices():
    entries = communication.table(COUNTED, 0.5)
    sizes = [(entry["devices"], entry["rows_per_device"]) for entry in entries]
    assert sizes == 2 * [(1, 128), (8, 16), (8, 128), (64, 2), (64, 128), (256, 128)]
    first = entries[0]
    assert first["minutes_of_200_epochs"] == pytest.approx(
        170_906 * 200 / 128 * first["step_ms"] / 60e3
    )
