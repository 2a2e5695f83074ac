"""N devices compute what one device computes; each way to get that wrong makes the test fail."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_jax.data.input_pipeline import epoch_indices
from coala_jax.models import coala
from coala_jax.models.coala import build_model
from coala_jax.ops import normalization
from coala_jax.training import parallel, steps
from tests.synthetic import ShallowEncoder, random_batch, random_state, tiny_config

TAGS = 12
EXAMPLES, ROWS = 21, 8
NARROW = {"model__filters": 2, "model__tag_hidden": 8}


RATE = 0.005


@functools.cache
def program(devices: int, case: str, dtype: str, **changes: object):
    """The model and its mapped steps; traced once for all runs that share them."""
    config = tiny_config(**NARROW, **changes)
    model = build_model(case, config.model, TAGS, parallel.AXIS, jnp.dtype(dtype))
    many = functools.partial(
        steps.train_steps, model=model, optimizer=optax.sgd(RATE), loss=config.loss
    )
    return model, parallel.map_steps(many, tuple(jax.devices()[:devices]), shared_data=True)


def train(
    devices: int,
    steps_taken: int = 1,
    case: str = "ae_c",
    dtype: str = "float64",
    steps_per_call: int = 1,
    nudge: int = 0,
    shared: bool = True,
    **changes: object,
):
    """The parameters before, and state and metrics of each step, over epochs of 21 examples.

    The last batch of each epoch has 5 rows of 8. `nudge` moves one weight in ten by one ulp.
    `shared` False traces anew, as a test needs that changes what is traced.
    """
    examples = random_batch(EXAMPLES, EXAMPLES, TAGS)
    epochs = range(-(-steps_taken * ROWS // EXAMPLES))
    table = np.concatenate([epoch_indices(EXAMPLES, ROWS, 0, epoch) for epoch in epochs])
    with jax.enable_x64(dtype == "float64"):
        used = tuple(jax.devices()[:devices])
        make = program if shared else program.__wrapped__
        model, mapped = make(devices, case, dtype, **changes)
        data = {name: examples[name] for name in ("patches", "tags")}
        data = parallel.place_data(data, used, shared=True)
        state, pairs = random_state(model, optax.sgd(RATE)), []
        if nudge:
            state = state.replace(params=jax.tree.map(ulps(nudge), state.params))
        before = state.params
        state = parallel.place_state(state, used)
        for first in range(0, steps_taken, steps_per_call):
            indices = parallel.split_steps(table[first : first + steps_per_call], used)
            state, curves = mapped(state, data, indices)
            curves = jax.device_get(curves)
            pairs += [jax.tree.map(lambda c, s=s: c[s], curves) for s in range(steps_per_call)]
        return before, jax.device_get(state), pairs


def ulps(seed: int) -> Callable[[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)

    def nudged(leaf: np.ndarray) -> np.ndarray:
        chosen = rng.random(leaf.shape) < 0.1
        return np.where(chosen, np.nextafter(leaf, np.full_like(leaf, np.inf)), leaf)

    return nudged


def assert_equal(wanted, got, tolerance: float) -> None:
    """Every tensor to `tolerance` of its largest value."""
    wanted, got = (jax.tree_util.tree_leaves_with_path(tree) for tree in (wanted, got))
    for (path, a), (_, b) in zip(wanted, got, strict=True):
        largest = np.abs(a).max()
        np.testing.assert_allclose(
            b, a, rtol=0, atol=tolerance * largest, err_msg=jax.tree_util.keystr(path)
        )


@functools.cache
def one_device(steps_taken: int, case: str, **changes: object):
    return train(1, steps_taken, case, **changes)


def check_against_one_device(
    devices: int,
    steps_taken: int,
    case: str = "ae_c",
    steps_per_call: int = 1,
    shared: bool = True,
    **changes: object,
) -> None:
    _, wanted_state, wanted_pairs = one_device(steps_taken, case, **changes)
    _, state, pairs = train(
        devices, steps_taken, case, steps_per_call=steps_per_call, shared=shared, **changes
    )
    assert len(pairs) == steps_taken
    assert_equal(wanted_pairs, pairs, 1e-9)
    assert_equal(wanted_state, state, 1e-9)


def test_neither_devices_nor_steps_per_call_change_a_run():
    """AE-C; NT-Xent on several devices is in unit/training/test_steps.py."""
    check_against_one_device(8, 30, steps_per_call=5)


@pytest.fixture
def one_convolution(monkeypatch):
    """In place of five, which the run of AE-C has: a fifth to compile."""
    monkeypatch.setattr(coala, "AudioEncoder", ShallowEncoder)


@pytest.mark.usefixtures("one_convolution")
def test_devices_do_not_change_the_tag_classifier():
    check_against_one_device(8, 2, "cnn")


@pytest.mark.usefixtures("one_convolution")
def test_float32_losses_and_gradient_agree():
    before, one, (one_pairs,) = train(1, case="e_c", dtype="float32")
    _, eight, (eight_pairs,) = train(8, case="e_c", dtype="float32")
    del one_pairs["gradient_norm"], eight_pairs["gradient_norm"]
    assert_equal(one_pairs, eight_pairs, 1e-5)

    def gradient(state) -> np.ndarray:
        taken = jax.tree.map(lambda old, new: (old - new) / RATE, before, state.params)
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(taken)])

    wanted, got = gradient(one), gradient(eight)
    assert np.linalg.norm(got - wanted) <= 1e-3 * np.linalg.norm(wanted)


@pytest.mark.usefixtures("one_convolution")
def test_float32_curves_stay_within_what_one_ulp_of_the_weights_does():
    """Float32 training is chaotic: what eight devices change is compared with what nothing does."""

    def curve(devices: int, nudge: int = 0) -> np.ndarray:
        *_, pairs = train(devices, 40, "e_c", dtype="float32", nudge=nudge)
        return np.array([each["loss"][0] / each["loss"][1] for each in pairs])

    one = curve(1)
    spread = max(np.abs(curve(1, nudge) - one).max() for nudge in (1, 2, 3))
    assert 0 < spread < 0.25 * np.abs(one).max()
    assert np.abs(curve(8) - one).max() <= 2 * spread


def batch_norm_per_device(monkeypatch):
    monkeypatch.setattr(normalization, "_all_sum", lambda values, axis_name: values)


def local_negatives(monkeypatch):
    gather = parallel.gather

    def gather_valid_rows_of_this_device_only(rows):
        everything = gather(rows)
        if rows.dtype != jnp.bool_:
            return everything
        return jnp.zeros_like(everything).at[parallel.row_index(rows.shape[0])].set(rows)

    monkeypatch.setattr(parallel, "gather", gather_valid_rows_of_this_device_only)


def gradient_not_summed(monkeypatch):
    # The gradient is the one tree of trees that a step sums.
    all_sum = parallel.all_sum
    nested = lambda t: isinstance(t, dict) and any(isinstance(v, dict) for v in t.values())  # noqa: E731
    monkeypatch.setattr(parallel, "all_sum", lambda t: t if nested(t) else all_sum(t))


def gradient_times_devices(monkeypatch):
    all_sum = parallel.all_sum

    def too_often(tree):
        nested = isinstance(tree, dict) and any(isinstance(v, dict) for v in tree.values())
        return all_sum(all_sum(tree)) if nested else all_sum(tree)

    monkeypatch.setattr(parallel, "all_sum", too_often)


def dropout_of_the_device(monkeypatch):
    monkeypatch.setattr(parallel, "row_index", lambda rows: jnp.arange(rows, dtype=jnp.int32))


@pytest.mark.parametrize(
    "mutate",
    [
        None,
        batch_norm_per_device,
        local_negatives,
        gradient_not_summed,
        gradient_times_devices,
        dropout_of_the_device,
    ],
)
@pytest.mark.usefixtures("one_convolution")
def test_the_check_sees_what_it_is_for(mutate, monkeypatch):
    """In a network on which without the mistake it passes."""
    one_device(2, "e_c")  # as the product computes it
    if mutate is None:
        check_against_one_device(4, 2, "e_c", shared=False)
        return
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_against_one_device(4, 2, "e_c", shared=False)


@pytest.mark.usefixtures("one_convolution")
@jax.numpy_dtype_promotion("standard")  # Optax's Adam needs it
def test_the_step_compiles_once():
    compiled = []
    listen = lambda event, *_, **__: compiled.append(event)  # noqa: E731
    config, devices = tiny_config(**NARROW), tuple(jax.devices()[:2])
    model = build_model("cnn", config.model, TAGS, parallel.AXIS)
    optimizer = optax.adam(1e-3)
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, loss=config.loss)
    mapped = parallel.map_step(step, devices, outputs=2)
    state = parallel.place_state(random_state(model, optimizer), devices)
    batch = parallel.split_rows(random_batch(8, 8, TAGS), devices)
    state, _ = jax.block_until_ready(mapped(state, batch))
    jax.monitoring.register_event_duration_secs_listener(listen)
    for _ in range(2):
        state, _ = jax.block_until_ready(mapped(state, batch))
    jax.monitoring.unregister_event_duration_listener(listen)
    assert [event for event in compiled if "compile" in event] == []
