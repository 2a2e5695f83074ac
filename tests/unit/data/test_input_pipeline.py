"""Epochs as tables of indices (properties), and examples loaded by index."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.data.input_pipeline import (
    PADDING,
    SKIP_STEP,
    UINT8_STEPS,
    assemble,
    epoch_batches,
    epoch_indices,
    load,
    steps_per_epoch,
)
from coala_jax.data.schema import Example
from coala_jax.training.setup import start_run
from coala_jax.training.step_blocks import make_input_pipelines
from tests.synthetic import random_examples, tiny_config, write_random_dataset

EXAMPLES, TAGS = 13, 6
properties = settings(deadline=None, derandomize=True, max_examples=100)
epochs = {
    "examples": st.integers(2, 60),
    "batch_size": st.integers(3, 20),
    "seed": st.none() | st.integers(0, 2**32),
    "epoch": st.integers(0, 1000),
}


@properties
@given(**epochs)
@example(examples=13, batch_size=4, seed=0, epoch=0)  # 3n + 1: the last batch of one takes another
@example(examples=4, batch_size=3, seed=None, epoch=0)
def test_an_epoch_has_every_example_once_and_no_batch_of_one(examples, batch_size, seed, epoch):
    batches = epoch_batches(examples, batch_size, seed, epoch)
    together = np.concatenate(batches).tolist()
    assert sorted(together) == list(range(examples))
    assert seed is not None or together == sorted(together)
    sizes = [len(batch) for batch in batches]
    assert min(sizes) >= 2
    assert len(sizes) == -(-examples // batch_size) == steps_per_epoch(examples, batch_size)
    # All are full but the last, and the one before it where that gave one up.
    given_up = examples % batch_size == 1 and examples > batch_size
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1 - given_up) + [batch_size - 1] * given_up


@properties
@given(**epochs)
@example(examples=13, batch_size=4, seed=0, epoch=0)
def test_dropping_the_last_batch_leaves_the_whole_ones(examples, batch_size, seed, epoch):
    whole = examples // batch_size
    assert steps_per_epoch(examples, batch_size, drop_last=True) == whole
    if not whole:
        with pytest.raises(ValueError, match="last_batch"):
            epoch_batches(examples, batch_size, seed, epoch, drop_last=True)
        return
    batches = epoch_batches(examples, batch_size, seed, epoch, drop_last=True)
    assert [len(batch) for batch in batches] == [batch_size] * whole
    kept = np.concatenate(epoch_batches(examples, batch_size, seed, epoch))[: whole * batch_size]
    np.testing.assert_array_equal(np.concatenate(batches), kept)


@properties
@given(**epochs, drop_last=st.booleans())
def test_the_table_is_the_batches_and_the_same_for_equal_arguments(
    examples, batch_size, seed, epoch, drop_last
):
    """So a run may resume at any step: it reads the same table from there on."""
    drop_last = drop_last and examples >= batch_size
    table = epoch_indices(examples, batch_size, seed, epoch, drop_last)
    assert table.shape == (steps_per_epoch(examples, batch_size, drop_last), batch_size)
    batches = epoch_batches(examples, batch_size, seed, epoch, drop_last)
    for row, batch in zip(table, batches, strict=True):
        assert row.tolist() == batch.tolist() + [PADDING] * (batch_size - len(batch))
    np.testing.assert_array_equal(
        table, epoch_indices(examples, batch_size, seed, epoch, drop_last)
    )


def test_every_seed_and_epoch_has_an_order_of_its_own():
    places = list(itertools.product(range(4), range(4)))
    orders = {tuple(np.concatenate(epoch_batches(50, 8, *place)).tolist()) for place in places}
    assert len(orders) == len(places)
    assert tuple(range(50)) not in orders


def test_what_is_dropped_differs_from_epoch_to_epoch():
    dropped = {
        frozenset(range(13)) - set(np.concatenate(epoch_batches(13, 4, 0, epoch, True)).tolist())
        for epoch in range(60)
    }
    assert dropped == {frozenset([index]) for index in range(13)}


def test_what_cannot_be_batched_is_refused():
    for examples, batch_size in ((0, 4), (1, 4), (10, 2), (10, 0)):
        with pytest.raises(ValueError):
            epoch_batches(examples, batch_size, seed=0, epoch=0)


def test_only_training_drops_its_last_batch(tmp_path):
    """Of seven sounds to train on, three; of five to validate on, none."""
    write_random_dataset(tmp_path / "dataset", train=7, validation=5)
    splits = [SplitReader(tmp_path / "dataset", split) for split in ("train", "validation")]
    config = tiny_config(train__last_batch="drop", train__batch_size=4)
    training, validation = make_input_pipelines(config, *splits, jax.devices()[:1])
    assert (training.steps_per_epoch, validation.steps_per_epoch) == (1, 2)
    keys = {"case": "cnn", "data__path": str(tmp_path / "dataset"), "train__batch_size": 8}
    with pytest.raises(ValueError, match="last_batch"):
        start_run(tiny_config(**keys, train__last_batch="drop"), tuple(jax.devices()[:1]))


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> SplitReader:
    folder = tmp_path_factory.mktemp("pipeline") / "dataset"
    write_random_dataset(folder, train=EXAMPLES, validation=2, tags=TAGS)
    return SplitReader(folder, "train")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_assemble_pads_with_zeros_that_are_not_valid(count):
    examples = random_examples(count, TAGS)
    batch = assemble(examples, rows=4, vocabulary_size=TAGS)
    assert batch["valid"].tolist() == [row < count for row in range(4)]
    for row, one in enumerate(examples):
        np.testing.assert_array_equal(batch["patches"][row], one.patch)
        assert np.flatnonzero(batch["tags"][row]).tolist() == one.tags.tolist()
    assert batch["tags"].max(initial=0) <= 1
    assert not batch["patches"][count:].any()
    assert not batch["tags"][count:].any()


@pytest.mark.parametrize(
    ("dtype", "bound"), [("uint8", 1 / 510), ("bfloat16", 1 / 512), ("float16", 1 / 4096)]
)
def test_patches_are_rounded_to_the_nearest(split, dtype, bound):
    """The bounds of the config's comment; of 120,000 random values the worst comes near them."""
    loaded = load(split, np.arange(EXAMPLES), jnp.dtype(dtype))["patches"]
    assert loaded.dtype == dtype
    scale = UINT8_STEPS if dtype == "uint8" else 1
    wanted = np.stack([split[index].patch for index in range(EXAMPLES)])
    worst = np.abs(loaded.astype(float) / scale - wanted).max()
    assert 0.98 * bound < worst <= bound + 1e-7


def test_float32_patches_and_tags_are_those_on_disk(split):
    indices = np.array([12, PADDING, 3, 3, SKIP_STEP])
    loaded = load(split, indices, np.dtype(np.float32))
    for row, index in enumerate(indices.tolist()):
        if index < 0:
            assert not loaded["patches"][row].any()
            assert not loaded["tags"][row].any()
        else:
            np.testing.assert_array_equal(loaded["patches"][row], split[index].patch)
            assert np.flatnonzero(loaded["tags"][row]).tolist() == split[index].tags.tolist()
    assert loaded["tags"].max() == 1


def test_uint8_refuses_what_it_cannot_store(tmp_path):
    one, above = (np.full((96, 96), value, np.float32) for value in (1.0, 1.0000002))
    tags = np.array([0])
    examples = [Example(one, tags, "whole.wav"), Example(above, tags, "loud.wav", frame=24)]
    write_dataset(
        tmp_path,
        name="few",
        fingerprint="none",
        front_end=FrontEnd().to_dict(),
        vocabulary=["tag"],
        splits={"train": examples, "validation": []},
    )
    split = SplitReader(tmp_path, "train")
    assert (load(split, np.array([0]), np.dtype(np.uint8))["patches"] == 255).all()
    with pytest.raises(ValueError, match=r"loud\.wav, frame 24: .*patch_dtype"):
        load(split, np.array([0, 1]), np.dtype(np.uint8))
    load(split, np.array([1]), np.dtype(np.float16))
