import json
import struct
from contextlib import closing

from coala_jax.training import journal
from coala_jax.training.journal import Journal


def write(workdir, step, entries):
    with closing(Journal(workdir, step)) as open_journal:
        for kind, epoch, at, figures in entries:
            open_journal.write(kind, epoch, at, figures)


def test_what_is_written_is_read(tmp_path):
    write(tmp_path, 0, [("train", 1, 5, {"loss": 2.5}), ("validation", 1, 5, {"loss": 3.0})])
    assert journal.read(tmp_path) == [
        {"kind": "train", "epoch": 1, "step": 5, "loss": 2.5},
        {"kind": "validation", "epoch": 1, "step": 5, "loss": 3.0},
    ]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    write(tmp_path, 0, [("train", epoch, 5 * epoch, {"loss": 1.0}) for epoch in (1, 2, 3)])
    write(tmp_path, 10, [("train", 3, 15, {"loss": 7.0})])
    assert [(e["step"], e["loss"]) for e in journal.read(tmp_path)] == [
        (5, 1.0),
        (10, 1.0),
        (15, 7.0),
    ]


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    whole = {"kind": "train", "step": 1}
    (tmp_path / journal.METRICS).write_text(json.dumps(whole) + "\n" + '{"kind": "tr')
    assert journal.read(tmp_path) == [whole]
    write(tmp_path, 1, [("train", 2, 2, {})])
    assert [entry["step"] for entry in journal.read(tmp_path)] == [1, 2]


def test_tensorboard_gets_every_figure(tmp_path):
    write(tmp_path, 0, [("train", 1, 5, {"loss": 2.5, "tag_loss": 0.5})])
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    from tensorboardX.proto.event_pb2 import Event

    content, values = events.read_bytes(), []
    while content:  # an event file is a TFRecord file
        (length,) = struct.unpack_from("<Q", content)
        values.append(Event.FromString(content[12 : 12 + length]).summary.value)
        content = content[16 + length :]
    found = {value.tag: value.simple_value for group in values for value in group}
    assert found == {"train/loss": 2.5, "train/tag_loss": 0.5}
