import io
import json
import struct
from contextlib import closing

import numpy as np
import pytest
from matplotlib.image import imread

from coala_jax import storage
from coala_jax.training import metric_writer
from coala_jax.training.metric_writer import MetricWriter, Samples


def write(workdir, step, entries):
    with closing(MetricWriter(workdir, step)) as open_journal:
        for kind, epoch, at, figures in entries:
            open_journal.write(kind, epoch, at, figures)


def test_what_is_written_is_read(tmp_path):
    write(tmp_path, 0, [("train", 1, 5, {"loss": 2.5}), ("validation", 1, 5, {"loss": 3.0})])
    assert metric_writer.read(tmp_path) == [
        {"kind": "train", "epoch": 1, "step": 5, "loss": 2.5},
        {"kind": "validation", "epoch": 1, "step": 5, "loss": 3.0},
    ]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    write(tmp_path, 0, [("train", epoch, 5 * epoch, {"loss": 1.0}) for epoch in (1, 2, 3)])
    write(tmp_path, 10, [("train", 3, 15, {"loss": 7.0})])
    assert [(e["step"], e["loss"]) for e in metric_writer.read(tmp_path)] == [
        (5, 1.0),
        (10, 1.0),
        (15, 7.0),
    ]


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    whole = {"kind": "train", "step": 1}
    (tmp_path / metric_writer.METRICS).write_text(json.dumps(whole) + "\n" + '{"kind": "tr')
    assert metric_writer.read(tmp_path) == [whole]
    write(tmp_path, 1, [("train", 2, 2, {})])
    assert [entry["step"] for entry in metric_writer.read(tmp_path)] == [1, 2]


@pytest.mark.parametrize("damaged", [b'{"kind": "tr', b"\xff\xfe", b"[]", b'{"kind": "train"}'])
def test_a_damaged_line_is_named_with_its_file(tmp_path, damaged):
    path = tmp_path / metric_writer.METRICS
    content = b'{"kind": "train", "step": 1}\n' + damaged + b'\n{"kind": "train", "step": 2}\n'
    path.write_bytes(content)
    for read in (metric_writer.read, lambda workdir: write(workdir, 2, [])):
        with pytest.raises(ValueError, match=rf"{path}, line 2: not an entry .*Fix: correct"):
            read(tmp_path)
    assert path.read_bytes() == content


def test_a_failing_disk_leaves_the_figures_so_far(tmp_path, monkeypatch):
    write(tmp_path, 0, [("train", 1, 5, {"loss": 2.5})])

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 5, [])
    assert [entry["step"] for entry in metric_writer.read(tmp_path)] == [5]
    assert {path.name for path in tmp_path.iterdir()} == {metric_writer.METRICS, "tensorboard"}


def events_of(workdir) -> list:
    (file,) = (workdir / "tensorboard").glob("events.out.tfevents.*")
    from tensorboardX.proto.event_pb2 import Event

    content, events = file.read_bytes(), []
    while content:  # an event file is a TFRecord file
        (length,) = struct.unpack_from("<Q", content)
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_tensorboard_gets_every_figure(tmp_path):
    write(tmp_path, 0, [("train", 1, 5, {"loss": 2.5, "tag_loss": 0.5})])
    values = [value for event in events_of(tmp_path) for value in event.summary.value]
    found = {value.tag: value.simple_value for value in values}
    assert found == {"train/loss": 2.5, "train/tag_loss": 0.5}


# A name with all that could end a line or a cell.
TAGS = [
    {"id": "a|b-é\u2028\x85.wav", "tags": ["dog", "bark"], "heard": ["dog", "cat"]},
    {"id": "c.wav", "tags": ["cat"], "heard": ["bird"]},
]
PICTURE = np.array([[0, 0.5, 1], [0.25, 0.75, 1]], np.float32)


def write_samples(workdir, step, at, samples):
    with closing(MetricWriter(workdir, step)) as open_journal:
        for number in at:
            open_journal.write("train", number // 5, number, {"loss": 1.0})
            open_journal.write_samples(number // 5, number, samples)


def test_samples_are_written_and_read(tmp_path):
    write_samples(tmp_path, 0, [5], Samples(TAGS, PICTURE))
    assert metric_writer.read(tmp_path) == [
        {"kind": "train", "epoch": 1, "step": 5, "loss": 1.0},
        {"kind": "samples", "epoch": 1, "step": 5, "sounds": TAGS},
    ]


def test_samples_are_dropped_when_a_run_goes_back(tmp_path):
    """In the file they are gone; TensorBoard hides what a session that starts anew will replace."""
    write_samples(tmp_path, 0, [5, 10], Samples(TAGS, PICTURE))
    assert [entry["step"] for entry in metric_writer.read(tmp_path)] == [5, 5, 10, 10]
    (tmp_path / "tensorboard").rename(tmp_path / "before")
    write_samples(tmp_path, 5, [], None)
    left = metric_writer.read(tmp_path)
    assert [(entry["kind"], entry["step"]) for entry in left] == [("train", 5), ("samples", 5)]
    assert left[1]["sounds"] == TAGS
    starts = [e.step for e in events_of(tmp_path) if e.session_log.status == e.session_log.START]
    assert starts == [6]


def test_samples_of_nothing_leave_nothing(tmp_path):
    write_samples(tmp_path, 0, [5], None)
    assert [entry["kind"] for entry in metric_writer.read(tmp_path)] == ["train"]


@pytest.mark.parametrize("picture", [PICTURE, None], ids=["picture", "no-decoder"])
def test_tensorboard_gets_the_samples(tmp_path, picture):
    write_samples(tmp_path, 0, [5], Samples(TAGS, picture))
    events = [event for event in events_of(tmp_path) if event.summary.value]
    assert {event.step for event in events} == {5}
    values = {value.tag: value for event in events for value in event.summary.value}
    (text,) = values.pop("samples/tags/text_summary").tensor.string_val
    assert text.decode() == (
        "| id | tags | heard |\n|---|---|---|\n"
        "| a\\|b-é\u2028\x85.wav | dog, bark | dog, cat |\n"
        "| c.wav | cat | bird |"
    )
    assert values.pop("train/loss").simple_value == 1.0
    if picture is not None:
        encoded = values.pop("samples/spectrograms").image.encoded_image_string
        shown = imread(io.BytesIO(encoded))[..., :3] * 255
        assert shown.shape == (2, 3, 3)
        np.testing.assert_allclose(shown[..., 0], np.floor(picture * 255), atol=1e-3)
    assert not values
