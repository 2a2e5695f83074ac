"""Resident and streamed examples give the same rows, in the order of the split."""

import threading
import time
from contextlib import closing
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.data.dataset import SplitReader
from coala_jax.data.input_pipeline import epoch_batches
from coala_jax.data.source_weights import make_sampling
from coala_jax.data.tfrecord import DatasetError
from coala_jax.training import parallel, step_blocks
from coala_jax.training.step_blocks import InputPipeline, StepBlock, make_input_pipelines
from tests.synthetic import tiny_config, write_random_dataset

EXAMPLES, TAGS, BATCH = 26, 6, 4
STEPS = 7  # an epoch's, the last of 2 examples
SOURCES = "ab" * 6 + "c" * 14  # 6, 6 and 14
PLACES = pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step_blocks") / "dataset"
    write_random_dataset(folder, EXAMPLES, validation=5, tags=TAGS, sources=SOURCES)
    return folder


@pytest.fixture(scope="module")
def split(dataset) -> SplitReader:
    return SplitReader(dataset, "train")


def make(
    split, resident, devices=1, steps_per_call=3, dtype=np.float32, sampling=None
) -> InputPipeline:
    return InputPipeline(
        split,
        jax.devices()[:devices],
        batch_size=BATCH,
        steps_per_call=steps_per_call,
        resident=resident,
        patch_dtype=np.dtype(dtype),
        seed=3,
        drop_last=False,
        sampling=sampling,
    )


def batches_of(block: StepBlock, resident: bool) -> list[dict[str, np.ndarray]]:
    """The batches that a block stands for, put together from what its devices hold."""
    devices = range(len(block.indices))
    data = {name: np.asarray(values) for name, values in block.data.items()}
    batches = []
    for step in range(block.steps):
        own = block.indices[:, step]
        batch = {"valid": (own >= 0).ravel()}
        for name, values in data.items():
            taken = [(values if resident else values[d])[own[d]] for d in devices]
            batch[name] = np.concatenate(taken)
        batches.append(batch)
    return batches


def assert_epoch(batches, split, epoch: int, start: int = 0) -> None:
    wanted = epoch_batches(EXAMPLES, BATCH, 3, epoch)[start:]
    for batch, indices in zip(batches, wanted, strict=True):
        assert batch["valid"].tolist() == [row < len(indices) for row in range(BATCH)]
        for row, index in enumerate(indices):
            example = split[int(index)]
            np.testing.assert_array_equal(batch["patches"][row], example.patch)
            assert np.flatnonzero(batch["tags"][row]).tolist() == example.tags.tolist()


@PLACES
@pytest.mark.parametrize(("devices", "steps_per_call"), [(1, 3), (2, 1), (4, 3), (4, 100)])
def test_rows_come_in_the_order_of_the_epoch(split, resident, devices, steps_per_call):
    """From the middle of an epoch to the end of the next."""
    pipeline = make(split, resident, devices, steps_per_call)
    assert pipeline.steps_per_epoch == STEPS
    with closing(pipeline.blocks(first_step=STEPS + 2, epochs=3)) as blocks:
        batches = [batch for block in blocks for batch in batches_of(block, resident)]
    assert_epoch(batches[: STEPS - 2], split, epoch=1, start=2)
    assert_epoch(batches[STEPS - 2 :], split, epoch=2)


@PLACES
@pytest.mark.parametrize("devices", [1, 4])
def test_weighted_epochs_have_what_they_draw_in_shuffled_order(split, resident, devices):
    """19 draws, so 5 steps, from the middle of an epoch on; validation is never weighted."""
    sampling = make_sampling(split, "a=1.5,b=0.5,c=0.5", seed=3)
    pipeline = make(split, resident, devices, sampling=sampling)
    assert (pipeline.examples, pipeline.steps_per_epoch) == (9 + 3 + 7, 5)
    with closing(pipeline.blocks(first_step=5 + 2, epochs=3)) as blocks:
        batches = [batch for block in blocks for batch in batches_of(block, resident)]
    assert len(batches) == 3 + 5
    rows = np.concatenate([batch["patches"][batch["valid"]] for batch in batches])
    orders = [np.concatenate(epoch_batches(19, BATCH, 3, epoch)) for epoch in (1, 2)]
    wanted = [sampling.of_epoch(epoch + 1)[order] for epoch, order in enumerate(orders)]
    wanted = np.concatenate([wanted[0][2 * BATCH :], wanted[1]])
    np.testing.assert_array_equal(rows, [split[int(index)].patch for index in wanted])


def test_weights_are_of_the_training_split_alone(dataset):
    weights = {"data__source_weights": "a=2,c=0", "seed": 3}
    training, validation = pipelines_for(dataset, **weights)
    assert (training.examples, validation.examples) == (12 + 6, 5)
    again = make_sampling(training.split, "a=2,c=0", seed=3)
    np.testing.assert_array_equal(training.sampling.of_epoch(1), again.of_epoch(1))
    assert pipelines_for(dataset)[0].sampling is None


@pytest.mark.parametrize(
    ("steps_per_call", "first_step", "lengths"),
    [
        (1, 0, [1] * 14),
        (3, 0, [3, 3, 1] * 2),
        (7, 0, [7, 7]),
        (8, 0, [7, 7]),
        (3, 6, [1, 3, 3, 1]),
        (3, 9, [3, 2]),
        (3, 14, []),
    ],
)
def test_blocks_end_with_the_epoch_and_have_one_shape(split, steps_per_call, first_step, lengths):
    """Of one shape, so that one program serves them all."""
    pipeline = make(split, resident=False, steps_per_call=steps_per_call)
    blocks = list(pipeline.blocks(first_step, epochs=2))
    assert [block.steps for block in blocks] == lengths
    assert len({str(jax.tree.map(jnp.shape, tuple(block))) for block in blocks}) == bool(blocks)


@PLACES
def test_each_device_holds_what_its_rows_need(split, resident):
    with closing(make(split, resident, devices=2, dtype=np.uint8).blocks(0, epochs=1)) as blocks:
        patches = next(blocks).data["patches"]
    assert patches.dtype == np.uint8
    shapes = [shard.data.shape for shard in patches.addressable_shards]
    # Streamed: 3 steps of 2 rows each.
    assert shapes == 2 * [(EXAMPLES, 96, 96) if resident else (1, 3 * 2, 96, 96)]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def wait_until(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_stream_works_two_blocks_ahead_and_no_further():
    begun = []
    results = step_blocks._prefetched(lambda item: begun.append(item) or item, range(10))
    for number in range(4):
        assert next(results) == number
        wait_until(lambda: len(begun) >= number + 3)  # noqa: B023
        time.sleep(0.01)
        assert begun == list(range(number + 3))
    results.close()
    assert threads() == []


def test_closing_a_stream_waits_for_what_is_being_read_and_begins_nothing_more():
    begun, proceed = [], threading.Event()

    def work(item):
        begun.append(item)
        return item if item == 0 else proceed.wait(10)

    results = step_blocks._prefetched(work, range(10))
    assert next(results) == 0
    wait_until(lambda: begun == [0, 1])
    threading.Timer(0.05, proceed.set).start()
    results.close()
    assert proceed.is_set()
    assert begun == [0, 1]
    assert threads() == []


@PLACES
def test_a_damaged_record_is_named_where_training_waits_for_it(tmp_path, resident):
    write_random_dataset(tmp_path / "dataset", train=EXAMPLES, validation=5, tags=TAGS)
    split = SplitReader(tmp_path / "dataset", "train")
    (shard,) = (tmp_path / "dataset").glob("*train.tfrecord*")
    content = bytearray(shard.read_bytes())
    content[int(split._shards[0]._offsets[9]) + 100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{shard.name}: record 9 "):
        list(make(SplitReader(tmp_path / "dataset", "train"), resident).blocks(0, epochs=1))
    assert threads() == []


def pipelines_for(dataset, devices=None, **changes):
    splits = [SplitReader(dataset, name) for name in ("train", "validation")]
    config = tiny_config(train__batch_size=BATCH, **changes)
    return make_input_pipelines(config, *splits, devices or jax.devices()[:1])


TRAIN_BYTES = {"float32": 26 * (36864 + 6), "bfloat16": 26 * (18432 + 6), "uint8": 26 * (9216 + 6)}
VALIDATION_BYTES = 5 * (36864 + 6)


@pytest.mark.parametrize("dtype", TRAIN_BYTES)
@pytest.mark.parametrize(
    ("room", "resident"),
    [
        (-1, (False, False)),
        (0, (True, False)),
        (VALIDATION_BYTES - 1, (True, False)),
        (VALIDATION_BYTES, (True, True)),
    ],
)
def test_what_fits_a_quarter_of_a_cpu_s_memory_is_resident(
    dataset, monkeypatch, dtype, room, resident
):
    """`room` is what remains of the quarter beside the training patches."""
    memory = 4 * (TRAIN_BYTES[dtype] + room)
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: memory)
    training, validation = pipelines_for(dataset, data__patch_dtype=dtype)
    assert (training.resident, validation.resident) == resident
    assert (training.patch_dtype, validation.patch_dtype) == (jnp.dtype(dtype), np.float32)
    on_host = pipelines_for(dataset, data__patch_dtype=dtype, data__placement="host")
    assert not any(pipeline.resident for pipeline in on_host)


def test_memory_of_a_cpu_is_shared_by_its_devices():
    one, four = (parallel.memory_bytes(jax.devices()[:count]) for count in (1, 4))
    assert one > 1e8
    assert four == one // 4


def test_what_does_not_fit_is_refused_with_what_would(dataset, monkeypatch):
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: TRAIN_BYTES["float32"])
    assert pipelines_for(dataset, data__placement="device")[0].resident
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: TRAIN_BYTES["uint8"])
    with pytest.raises(ValueError, match=r"config\.data\.placement") as error:
        pipelines_for(dataset, data__placement="device")
    for token in ("0.00096 GB as float32", "placement=host", "patch_dtype=uint8 (0.00024 GB)"):
        assert token in str(error.value)
    assert "patch_dtype=float16" not in str(error.value)


def accelerators(*sizes: int | None) -> list[Mock]:
    """GPUs with this much memory, or that do not tell."""
    stats = [size and {"bytes_limit": size} for size in sizes]
    place = {"platform": "gpu", "process_index": 0}
    return [Mock(jax.Device, **place, memory_stats=lambda s=s: s) for s in stats]


ENOUGH = 2 * TRAIN_BYTES["float32"]


@pytest.mark.parametrize(
    ("sizes", "placement", "resident"),
    [
        ((ENOUGH, ENOUGH), "auto", True),
        ((ENOUGH, ENOUGH - 1), "auto", False),  # the smaller one counts
        ((None,), "auto", False),
        ((None,), "device", True),
    ],
)
def test_an_accelerator_gives_half_of_its_memory(dataset, sizes, placement, resident):
    training, _ = pipelines_for(dataset, accelerators(*sizes), data__placement=placement)
    assert (training.resident, training.steps_per_call) == (resident, 64)


def test_steps_per_call_are_the_config_s_or_the_device_s(dataset):
    gpu = accelerators(ENOUGH)
    assert pipelines_for(dataset, gpu, train__steps_per_call=5)[0].steps_per_call == 5
    assert [pipeline.steps_per_call for pipeline in pipelines_for(dataset)] == [4, 4]
