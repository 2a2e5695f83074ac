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
from tests.synthetic import random_examples, write_random_dataset

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
