"""Examples on the device and examples read ahead give the same rows, in the order of the split."""

import dataclasses
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
from coala_jax.data.tfrecord import DatasetError
from coala_jax.training import parallel, step_blocks
from coala_jax.training.step_blocks import InputPipeline, make_input_pipelines
from tests.synthetic import tiny_config, write_random_dataset

EXAMPLES, TAGS, BATCH = 26, 6, 4  # an epoch is 7 steps, the last of 2 examples
STEPS = 7


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feed") / "dataset"
    write_random_dataset(folder, train=EXAMPLES, validation=5, tags=TAGS)
    return folder


@pytest.fixture(scope="module")
def split(dataset) -> SplitReader:
    return SplitReader(dataset, "train")


def make(
    split, resident: bool, devices: int = 1, steps_per_call: int = 3, **changes
) -> InputPipeline:
    settings = {"batch_size": BATCH, "seed": 3, "drop_last": False}
    return InputPipeline(
        split,
        jax.devices()[:devices],
        steps_per_call=steps_per_call,
        resident=resident,
        **{"patch_dtype": np.dtype(np.float32)} | settings | changes,
    )


def rows_of(call: step_blocks.StepBlock, resident: bool) -> list[dict[str, np.ndarray]]:
    """The batches that a call stands for, put together from what its devices hold."""
    devices, steps = len(call.numbers), call.steps
    data = {name: np.asarray(values) for name, values in call.data.items()}
    batches = []
    for step in range(steps):
        batch = {"valid": (call.numbers[:, step] >= 0).ravel()}
        for name, values in data.items():
            of_devices = [values] * devices if resident else values
            taken = [of_devices[d][call.numbers[d, step]] for d in range(devices)]
            batch[name] = np.concatenate(taken)
        batches.append(batch)
    return batches


def assert_epoch(batches, split, epoch: int, start: int = 0) -> None:
    wanted = epoch_batches(EXAMPLES, BATCH, 3, epoch)[start:]
    for batch, numbers in zip(batches, wanted, strict=True):
        assert batch["valid"].tolist() == [row < len(numbers) for row in range(BATCH)]
        for row, number in enumerate(numbers):
            example = split[int(number)]
            np.testing.assert_array_equal(batch["patches"][row], example.patch)
            assert np.flatnonzero(batch["tags"][row]).tolist() == example.tags.tolist()


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
@pytest.mark.parametrize("steps_per_call", [1, 3, 100])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_the_rows_are_those_of_the_order_wherever_they_lie(
    split, resident, steps_per_call, devices
):
    """From the middle of an epoch to the end of the next."""
    source = make(split, resident, devices, steps_per_call)
    assert source.steps_per_epoch == STEPS
    with closing(source.calls(first_step=STEPS + 2, epochs=3)) as calls:
        batches = [batch for call in calls for batch in rows_of(call, resident)]
    assert_epoch(batches[: STEPS - 2], split, epoch=1, start=2)
    assert_epoch(batches[STEPS - 2 :], split, epoch=2)


@pytest.mark.parametrize(
    ("steps_per_call", "first_step", "lengths"),
    [
        (1, 0, [1] * 7 + [1] * 7),
        (3, 0, [3, 3, 1] * 2),
        (4, 0, [4, 3] * 2),
        (7, 0, [7, 7]),
        (8, 0, [7, 7]),
        (3, 6, [1, 3, 3, 1]),
        (3, 9, [3, 2]),
        (3, 14, []),
    ],
)
def test_calls_end_with_the_epoch_and_have_one_shape(split, steps_per_call, first_step, lengths):
    """Of one shape, so that one program serves them all."""
    source = make(split, resident=False, steps_per_call=steps_per_call)
    calls = list(source.calls(first_step, epochs=2))
    assert [call.steps for call in calls] == lengths
    shapes = {jax.tree.map(jnp.shape, tuple(call)).__repr__() for call in calls}
    assert len(shapes) == (1 if calls else 0)


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_each_device_holds_what_its_rows_need(split, resident):
    source = make(split, resident, devices=2, patch_dtype=np.dtype(np.uint8))
    with closing(source.calls(0, epochs=1)) as calls:
        patches = next(calls).data["patches"]
    assert patches.dtype == np.uint8
    shapes = {shard.data.shape for shard in patches.addressable_shards}
    # A call of 3 steps of 2 rows each.
    assert shapes == ({(EXAMPLES, 96, 96)} if resident else {(1, 3 * 2, 96, 96)})
    assert len(patches.addressable_shards) == 2


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_a_stream_works_two_calls_ahead_and_no_further(split):
    begun = []
    results = step_blocks._ahead(lambda item: begun.append(item) or item, range(10))
    for number in range(4):
        assert next(results) == number
        wait_until(lambda: len(begun) >= number + 3)  # noqa: B023
        time.sleep(0.01)
        assert begun == list(range(number + 3))
    results.close()
    assert readers() == []


def test_leaving_a_stream_waits_for_what_is_being_read_and_begins_nothing_more():
    begun, go_on = [], threading.Event()

    def work(item):
        begun.append(item)
        return item if item == 0 else go_on.wait(10)

    results = step_blocks._ahead(work, range(10))
    assert next(results) == 0
    wait_until(lambda: begun == [0, 1])
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert go_on.is_set()
    assert begun == [0, 1]
    assert readers() == []


def wait_until(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_leaving_a_stream_leaves_no_thread(split, taken):
    with closing(make(split, resident=False, steps_per_call=1).calls(0, epochs=2)) as calls:
        for _ in range(taken):
            next(calls)
        assert len(readers()) == (1 if taken else 0)
    assert readers() == []


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_a_damaged_record_is_named_where_the_training_waits_for_it(tmp_path, resident):
    write_random_dataset(tmp_path / "dataset", train=EXAMPLES, validation=5, tags=TAGS)
    split = SplitReader(tmp_path / "dataset", "train")
    (shard,) = (tmp_path / "dataset").glob("*train.tfrecord*")
    content = bytearray(shard.read_bytes())
    content[int(split._shards[0]._offsets[9]) + 100] ^= 1
    shard.write_bytes(content)
    split = SplitReader(tmp_path / "dataset", "train")
    message = rf"{shard.name}: record 9 at byte \d+: its checksum does not match its data"
    with pytest.raises(DatasetError, match=message):
        list(make(split, resident).calls(0, epochs=1))
    assert readers() == []


def feeds_for(dataset, devices=None, **changes):
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
def test_what_takes_a_quarter_of_a_cpu_s_memory_lies_there(
    dataset, monkeypatch, dtype, room, resident
):
    """`room` is what remains of the quarter beside the training sounds."""
    memory = 4 * (TRAIN_BYTES[dtype] + room)
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: memory)
    training, validation = feeds_for(dataset, data__patch_dtype=dtype)
    assert (training.resident, validation.resident) == resident
    assert training.patch_dtype == jnp.dtype(dtype)
    assert validation.patch_dtype == np.float32
    on_host = feeds_for(dataset, data__patch_dtype=dtype, data__placement="host")
    assert not any(source.resident for source in on_host)


def test_memory_of_a_cpu_is_shared_by_its_devices():
    one, four = (parallel.memory_bytes(jax.devices()[:count]) for count in (1, 4))
    assert one > 1e8
    assert four == one // 4


def test_what_does_not_fit_is_refused_with_what_would(dataset, monkeypatch):
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: TRAIN_BYTES["float32"])
    training, _ = feeds_for(dataset, data__placement="device")
    assert training.resident
    monkeypatch.setattr(parallel, "memory_bytes", lambda devices: TRAIN_BYTES["uint8"])
    message = (
        r"config.data.placement is 'device', and the sounds to train on take 0.00096 GB as "
        r"float32, where a device has 0.00024 GB; choose config.data.placement=host or "
        r"config.data.patch_dtype=uint8 \(0.00024 GB\)$"
    )
    with pytest.raises(ValueError, match=message):
        feeds_for(dataset, data__placement="device")


def gpus(*sizes: int) -> list[Mock]:
    stats = [{"bytes_limit": size} for size in sizes]
    place = {"platform": "gpu", "process_index": 0}
    return [Mock(jax.Device, **place, memory_stats=lambda s=s: s) for s in stats]


def test_an_accelerator_gives_half_of_its_memory_and_takes_many_steps_a_call(dataset):
    """Of two, the smaller one counts."""
    enough = 2 * TRAIN_BYTES["float32"]
    for sizes, resident in [((enough, enough), True), ((enough, enough - 1), False)]:
        training, _ = feeds_for(dataset, gpus(*sizes))
        assert (training.resident, training.steps_per_call) == (resident, 64)
    assert feeds_for(dataset, gpus(enough), train__steps_per_call=5)[0].steps_per_call == 5
    assert [step_blocks.steps_per_call for feed in feeds_for(dataset)] == [4, 4]


def test_an_accelerator_that_does_not_tell_its_memory_is_streamed_to(dataset):
    silent = [Mock(jax.Device, platform="tpu", process_index=0, memory_stats=lambda: None)]
    assert not feeds_for(dataset, silent)[0].resident
    assert feeds_for(dataset, silent, data__placement="device")[0].resident


def test_a_feed_says_where_it_lies(split):
    assert str(make(split, True)) == "patches as float32 on the device, 0.00096 GB"
    large = dataclasses.replace(make(split, False), patch_dtype=np.dtype(np.uint8))
    assert str(large) == "patches as uint8 from disk ahead of use, 0.00024 GB"
