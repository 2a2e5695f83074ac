import dataclasses
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.data.input_pipeline import (
    UINT8_STEPS,
    assemble,
    epoch_batches,
    epoch_indices,
    load,
    steps_per_epoch,
)
from coala_jax.data.schema import Example
from coala_jax.training import loop
from coala_jax.training.checkpoint import Checkpoints
from coala_jax.training.setup import start_run
from tests.synthetic import random_examples, tiny_config, write_random_dataset

EXAMPLES, TAGS = 13, 6


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> SplitReader:
    folder = tmp_path_factory.mktemp("pipeline") / "dataset"
    write_random_dataset(folder, train=EXAMPLES, validation=2, tags=TAGS)
    return SplitReader(folder, "train")


@pytest.mark.parametrize(
    ("examples", "batch_size", "sizes"),
    [
        pytest.param(2, 4, [2], id="fewest"),
        pytest.param(3, 4, [3], id="n-1"),
        pytest.param(4, 4, [4], id="n"),
        pytest.param(5, 4, [3, 2], id="n+1"),
        pytest.param(6, 4, [4, 2], id="n+2"),
        pytest.param(11, 4, [4, 4, 3], id="3n-1"),
        pytest.param(12, 4, [4, 4, 4], id="3n"),
        pytest.param(13, 4, [4, 4, 3, 2], id="3n+1"),
        pytest.param(14, 4, [4, 4, 4, 2], id="3n+2"),
        pytest.param(4, 3, [2, 2], id="smallest-batch"),
    ],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_every_example_comes_once(examples, batch_size, sizes, seed):
    numbers = epoch_batches(examples, batch_size, seed, epoch=1)
    assert [len(batch) for batch in numbers] == sizes
    assert steps_per_epoch(examples, batch_size) == len(sizes)
    together = np.concatenate(numbers).tolist()
    assert (sorted(together) if seed is not None else together) == list(range(examples))


@pytest.mark.parametrize(
    ("examples", "batch_size", "whole"),
    [(4, 4, 1), (5, 4, 1), (7, 4, 1), (11, 4, 2), (12, 4, 3), (13, 4, 3), (3, 3, 1)],
    ids=["n", "n+1", "2n-1", "3n-1", "3n", "3n+1", "smallest-batch"],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_a_partial_last_batch_is_left_out(examples, batch_size, whole, seed):
    numbers = epoch_batches(examples, batch_size, seed, epoch=1, drop_last=True)
    assert [len(batch) for batch in numbers] == [batch_size] * whole
    assert steps_per_epoch(examples, batch_size, drop_last=True) == whole
    together = np.concatenate(numbers).tolist()
    order = np.concatenate(epoch_batches(examples, batch_size, seed, epoch=1)).tolist()
    assert together == order[: batch_size * whole]


def test_what_is_left_out_differs_from_epoch_to_epoch():
    left_out = {
        frozenset(range(13)) - set(np.concatenate(epoch_batches(13, 4, 0, epoch, True)).tolist())
        for epoch in range(60)
    }
    assert left_out == {frozenset([number]) for number in range(13)}


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3, 2]), (True, [4, 4, 4])])
def test_the_table_of_an_epoch_has_a_row_a_batch_and_ends_in_no_example(seed, drop_last, sizes):
    table = epoch_indices(EXAMPLES, 4, seed, epoch=2, drop_last=drop_last)
    assert (table >= 0).sum(axis=1).tolist() == sizes
    numbers = epoch_batches(EXAMPLES, 4, seed, epoch=2, drop_last=drop_last)
    for row, batch in zip(table, numbers, strict=True):
        assert row.tolist() == batch.tolist() + [-1] * (4 - len(batch))


@pytest.mark.parametrize(("examples", "batch_size"), [(2, 3), (3, 4), (127, 128)])
def test_not_one_whole_batch_is_refused(examples, batch_size):
    assert steps_per_epoch(examples, batch_size, drop_last=True) == 0
    message = rf"{examples} examples make no batch of {batch_size}; lower .*last_batch=keep"
    with pytest.raises(ValueError, match=message):
        epoch_batches(examples, batch_size, seed=0, epoch=0, drop_last=True)


def start_of_run(folder, **changes):
    """Seven sounds to train on and five to validate on, in batches of four."""
    write_random_dataset(folder / "dataset", train=7, validation=5)
    keys = {"case": "cnn", "data__path": str(folder / "dataset"), "train__batch_size": 4}
    return start_run(tiny_config(**keys | changes), tuple(jax.devices()[:1]))


def test_a_run_leaves_out_sounds_of_training_alone(tmp_path):
    run, state = start_of_run(tmp_path, train__last_batch="drop")
    (call,) = run.training.blocks(0, epochs=1)
    assert (call.indices >= 0).sum(axis=2).tolist() == [[4]]
    assert run.training.steps_per_epoch == 1
    validated = []

    def eval_steps(state, data, numbers):
        validated.extend((numbers >= 0).sum(axis=(0, 2)).tolist())
        return {"loss": (np.zeros(call.steps), np.ones(call.steps))}

    run, calls = dataclasses.replace(run, eval_steps=eval_steps), run.validation.blocks(0, epochs=1)
    with closing(Checkpoints(tmp_path / "w", keep=1)) as checkpoints:
        loop._validate(run, state, 0, calls, checkpoints)
    assert validated == [3, 2]


def test_a_run_without_one_whole_batch_is_refused_before_it_begins(tmp_path):
    with pytest.raises(ValueError, match="7 examples make no batch of 8; lower the batch size"):
        start_of_run(tmp_path, train__last_batch="drop", train__batch_size=8)


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(np.concatenate(epoch_batches(50, 8, seed, epoch)).tolist())

    places = [(seed, epoch) for seed in range(4) for epoch in range(4)]
    orders = {order(*place) for place in places}
    assert len(orders) == len(places)
    assert tuple(range(50)) not in orders
    assert orders == {order(*place) for place in places}


@pytest.mark.parametrize(
    ("examples", "batch_size", "message"),
    [
        (0, 4, "0 examples cannot make a batch; at least 2"),
        (1, 4, "1 examples cannot make a batch; at least 2"),
        (10, 2, "batch_size is 2; it must be at least 3"),
        (10, 0, "batch_size is 0; it must be at least 3"),
    ],
)
def test_what_cannot_be_batched_is_refused(examples, batch_size, message):
    with pytest.raises(ValueError, match=message):
        epoch_batches(examples, batch_size, seed=0, epoch=0)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_assemble_fills_up_with_zeros_that_are_not_valid(count):
    examples = random_examples(count, TAGS)
    batch = assemble(examples, rows=4, vocabulary_size=TAGS)
    assert batch["valid"].tolist() == [row < count for row in range(4)]
    for row, example in enumerate(examples):
        np.testing.assert_array_equal(batch["patches"][row], example.patch)
        assert np.flatnonzero(batch["tags"][row]).tolist() == example.tags.tolist()
    assert batch["tags"].max(initial=0) <= 1
    assert not batch["patches"][count:].any()
    assert not batch["tags"][count:].any()


def off_by(split, dtype) -> float:
    """The largest distance of a patch from what it is kept as."""
    kept = load(split, np.arange(EXAMPLES), jnp.dtype(dtype))["patches"]
    assert kept.dtype == dtype
    scale = UINT8_STEPS if dtype == "uint8" else 1
    return max(
        np.abs(kept[number].astype(float) / scale - split[number].patch).max()
        for number in range(EXAMPLES)
    )


@pytest.mark.parametrize(
    ("dtype", "bound"), [("uint8", 1 / 510), ("bfloat16", 1 / 512), ("float16", 1 / 4096)]
)
def test_patches_are_rounded_to_the_nearest(split, dtype, bound):
    """The bounds of the config's comment; of 120,000 random values the worst comes near them."""
    assert 0.98 * bound < off_by(split, dtype) <= bound + 1e-7


def test_float32_patches_and_tags_are_those_on_disk(split):
    numbers = np.array([12, -1, 3, 3, -1])
    loaded = load(split, numbers, np.dtype(np.float32))
    for row, number in enumerate(numbers):
        if number < 0:
            assert not loaded["patches"][row].any()
            assert not loaded["tags"][row].any()
        else:
            np.testing.assert_array_equal(loaded["patches"][row], split[int(number)].patch)
            assert np.flatnonzero(loaded["tags"][row]).tolist() == split[int(number)].tags.tolist()
    assert loaded["tags"].max() == 1


def write_examples(folder, train, validation, tags):
    folder.mkdir()
    write_dataset(
        folder,
        name="few",
        fingerprint="none",
        front_end=FrontEnd().to_dict(),
        vocabulary=[f"tag{number}" for number in range(tags)],
        splits={"train": train, "validation": validation},
    )


def test_uint8_refuses_what_it_cannot_keep(tmp_path):
    one, above = (np.full((96, 96), value, np.float32) for value in (1.0, 1.0000002))
    tags = np.array([0])
    examples = [Example(one, tags, "whole.wav"), Example(above, tags, "loud.wav", frame=24)]
    write_examples(tmp_path / "dataset", examples, random_examples(2, TAGS), TAGS)
    split = SplitReader(tmp_path / "dataset", "train")
    assert (load(split, np.array([0]), np.dtype(np.uint8))["patches"] == 255).all()
    message = r"loud.wav, frame 24: .* up to 1.0000002\d*, and uint8 .*float16"
    with pytest.raises(ValueError, match=message):
        load(split, np.array([0, 1]), np.dtype(np.uint8))
    load(split, np.array([1]), np.dtype(np.float16))
