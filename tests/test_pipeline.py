import dataclasses
from contextlib import closing

import jax
import numpy as np
import pytest

from coala_jax.data.pipeline import (
    assemble,
    batches,
    epoch_batches,
    load_batch,
    steps_per_epoch,
)
from coala_jax.data.records import SplitReader
from coala_jax.training import loop
from coala_jax.training.checkpoint import Checkpoints
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


def test_the_batches_are_those_that_are_whole(split):
    """13 examples: 4 batches of 4, 4, 3 and 2, or 3 of 4, of which all rows are valid."""
    assert [b["valid"].sum() for b in batches(split, 4, seed=3, epoch=2)] == [4, 4, 3, 2]
    numbers = epoch_batches(EXAMPLES, 4, 3, epoch=2, drop_last=True)
    whole = list(batches(split, 4, seed=3, epoch=2, start=1, drop_last=True))
    assert len(whole) == len(numbers) - 1 == 2
    for batch, own in zip(whole, numbers[1:], strict=True):
        assert batch["valid"].all()
        assert_equal(batch, load_batch(split, own, range(4)))


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
    return loop._start(tiny_config(**keys | changes), tuple(jax.devices()[:1]))


def test_a_run_leaves_out_sounds_of_training_alone(tmp_path):
    run, state = start_of_run(tmp_path, train__last_batch="drop")
    steps = run.batches(run.train, seed=0, epoch=0, drop_last=run.drop_last)
    assert [batch["valid"].sum() for batch in steps] == [4]
    assert run.steps_per_epoch == 1
    validated = []

    def eval_step(state, batch):
        validated.append(batch["valid"].sum())
        return {"loss": (0.0, 1.0)}

    with closing(Checkpoints(tmp_path / "w", keep=1)) as checkpoints:
        loop._validate(dataclasses.replace(run, eval_step=eval_step), state, 0, checkpoints)
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


def assert_equal(got, wanted, rows=slice(None)) -> None:
    for key in wanted:
        np.testing.assert_array_equal(got[key], wanted[key][rows], err_msg=key)


@pytest.mark.parametrize("count", [8, 6, 3], ids=["full", "some-padding", "all-padding"])
def test_a_process_loads_its_rows_of_the_whole_batch(split, count):
    numbers = np.array([12, 3, 5, 0, 7, 1, 9, 2])[:count]
    whole = load_batch(split, numbers, range(8))
    assert_equal(whole, assemble([split[int(n)] for n in numbers], 8, TAGS))
    assert_equal(load_batch(split, numbers, range(4, 8)), whole, slice(4, 8))
    assert_equal(load_batch(split, numbers, range(4)), whole, slice(4))


@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_goes_on_exactly_where_it_was(split, seed):
    whole = list(batches(split, 4, seed=seed, epoch=2))
    numbers = epoch_batches(EXAMPLES, 4, seed, epoch=2)
    assert len(whole) == len(numbers) == 4
    for batch, own in zip(whole, numbers, strict=True):
        assert_equal(batch, load_batch(split, own, range(4)))
    for start in range(5):
        rest = list(batches(split, 4, seed=seed, epoch=2, start=start, rows=range(2, 4)))
        assert len(rest) == len(whole) - start
        for got, wanted in zip(rest, whole[start:], strict=True):
            assert_equal(got, wanted, slice(2, 4))
