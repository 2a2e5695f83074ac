"""The benchmarks of growth and of the stream: what they time, and the arithmetic of it."""

import contextlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import growth, result, stream
from benchmarks.growth import Plan, Point, Training
from benchmarks.measure import BenchmarkError
from benchmarks.random_dataset import RandomSounds, write_random_dataset
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Manifest
from tests.synthetic import tiny_config

TAGS = 6


@pytest.mark.parametrize(
    ("batch", "steps", "calls"), [(128, 1, 4), (512, 1, 1), (1024, 1, 1), (128, 2, 2), (128, 8, 1)]
)
def test_every_point_is_timed_on_as_many_patches_as_whole_calls_allow(batch, steps, calls):
    plan = Plan.of(Point(1000, batch), patches=512, steps_per_call=steps)
    assert plan == Plan(calls, steps)
    assert plan.patches(Point(1000, batch)) == calls * steps * batch


def test_timing_takes_the_steps_of_its_plan_and_refuses_those_that_diverged():
    training = Training(tiny_config(case="cnn"), TAGS)
    data = training.place(growth.random_examples(20, TAGS))
    assert training.seconds(data, 8, Plan(3, 2)) > 0
    assert int(training.state.step) == 6
    broken = jax.tree.map(lambda weights: weights * jnp.nan, training.state.params)
    training.state = training.state.replace(params=broken)
    with pytest.raises(BenchmarkError, match="no longer a number"):
        training.seconds(data, 8, Plan(1, 2))


def test_random_examples_have_all_bytes_and_ten_tags_of_a_thousand():
    examples = growth.random_examples(200, growth.TAGS)
    assert set(np.unique(examples["patches"])) == set(range(256))
    assert examples["tags"].max() == 1
    assert 9.0 < examples["tags"].sum(axis=1).mean() < 11.0


class Recorder:
    """Takes a second a call, and a tenth more in each round; notes what it was asked."""

    def __init__(self):
        self.asked, self.data = [], []

    def place(self, examples):
        self.data.append(len(examples["patches"]))
        return len(examples["patches"])

    def seconds(self, data, batch, plan):
        self.asked.append((data, batch))
        return plan.calls * (1.0 + 0.1 * (len(self.asked) > 4))


def test_points_take_turns_in_both_orders_and_data_are_placed_once():
    points = [Point(10, 4), Point(20, 4), Point(20, 8)]
    training = Recorder()
    seconds = growth.in_turn(training, {point: Plan(2, 1) for point in points}, rounds=2)
    assert training.data == [10, 20]
    forth = [(10, 4), (20, 4), (20, 8)]
    assert training.asked == [*forth, *forth, *reversed(forth)]  # the first compile
    # Two calls of a second and of 4 patches each; from the fifth question on, a tenth more.
    assert seconds[points[0]] == pytest.approx([2.0 / 8, 2.2 / 8])
    assert seconds[points[2]] == pytest.approx([2.2 / 16, 2.2 / 16])


def test_the_summary_compares_medians_at_the_ends():
    seconds = {point: [0.3, 0.1, 0.2] for point in growth.POINTS}
    seconds[Point(growth.PAPER_PATCHES, 128)] = [0.9, 0.3, 0.1]
    seconds[Point(10_000, 1024)] = [0.1, 0.1, 5.0]
    memory = {point: {"process_mb": 7.0} for point in growth.POINTS}
    summary = growth.summary(seconds, memory)
    assert summary["time_per_patch_170906_over_1000"] == pytest.approx(1.5)
    assert summary["time_per_patch_batch_1024_over_128"] == pytest.approx(0.5)
    first = summary["points"][0]
    assert (first["examples"], first["batch"], first["process_mb"]) == (1000, 128, 7.0)
    assert first["patches_per_second"] == pytest.approx(5.0)


def test_a_result_is_written_as_it_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(result, "device_name", lambda: "Quick (TM) 3000, 2 cores")
    result.finish("growth", {"value": 1.5}, ["--rounds", "1"], tmp_path)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    (path,) = tmp_path.iterdir()
    assert path.name == "growth-quick-tm-3000-2-cores.json"
    assert json.loads(path.read_text()) == printed
    assert printed["command"] == "python -m benchmarks.growth --rounds 1"
    assert printed["value"] == 1.5
    assert printed["versions"].keys() == {"python", "jax", "jaxlib", "flax", "numpy"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random") / "dataset"
    write_random_dataset(folder, train=300, validation=3, tags=20)
    return folder


def test_a_random_dataset_holds_what_it_was_asked_for(dataset):
    assert Manifest.load(dataset).counts == {"train": 300, "validation": 3}
    written, made = SplitReader(dataset, "train")[7], RandomSounds(300, 20, seed=0)[7]
    np.testing.assert_array_equal(written.patch, made.patch)
    np.testing.assert_array_equal(written.tags, made.tags)


def test_random_sounds_with_a_tag_in_common_are_alike():
    sounds = RandomSounds(400, 1000, seed=0)
    by_tags = [
        (set(sound.tags.tolist()), sound.patch.ravel())
        for sound in map(sounds.__getitem__, range(60))
    ]
    alike, different = [], []
    for number, (tags, patch) in enumerate(by_tags):
        for others, other in by_tags[:number]:
            shared = bool(tags & others)
            (alike if shared else different).append(np.corrcoef(patch, other)[0, 1])
    assert np.mean(alike) > np.mean(different) + 0.05


def test_what_was_interrupted_is_no_dataset(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RandomSounds, "__getitem__", stop)
    with pytest.raises(KeyboardInterrupt):
        write_random_dataset(tmp_path / "dataset", train=3, validation=2, tags=4)
    assert not (tmp_path / "dataset").exists()
    monkeypatch.undo()
    write_random_dataset(tmp_path / "dataset", train=3, validation=2, tags=4)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_the_stream_is_timed_over_whole_epochs(dataset, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(stream.time, "perf_counter", lambda: float(next(clock)))
    assert stream.streamed_per_second(dataset, "uint8") == [300.0] * 3


class Readings:
    """A timers on which each batch takes as many milliseconds as are written here."""

    def __init__(self):
        self._seconds = dict.fromkeys(MILLISECONDS, 0.0)

    def timing(self, name):
        self._seconds[name] += 1e-3 * MILLISECONDS[name]
        return contextlib.nullcontext()

    def read(self):
        return self._seconds


MILLISECONDS = {"read": 1, "parse": 2, "load": 7, "place": 3}


def test_the_stages_of_the_stream_add_up_to_reading(dataset, monkeypatch):
    monkeypatch.setattr(stream, "Timers", Readings)
    each = 1000 / 128  # us a patch for a millisecond a batch
    assert stream.stages(dataset, "float32") == pytest.approx(
        {
            "read_and_checksum_us": 1 * each,
            "parse_us": 2 * each,
            "cast_and_copy_us": (7 - 1 - 2) * each,
            "to_device_us": 3 * each,
        }
    )
