import json
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.training import metric_writer
from coala_jax.training.metric_writer import METRICS, MetricWriter, Samples, read

SAMPLES = Samples([{"id": "a|b-é\u2028\x85.wav", "tags": ["dog", "bark"], "heard": ["cat"]}])


def write(workdir, step, epochs=(), samples=None, done=0):
    """Five steps per epoch; the loss is the epoch's number."""
    with closing(MetricWriter(workdir, step, done)) as writer:
        for epoch in epochs:
            writer.write("train", epoch, 5 * epoch, {"loss": float(epoch)})
            writer.write_samples(epoch, 5 * epoch, samples)


def test_what_is_written_is_read(tmp_path):
    write(tmp_path, 0, [1], SAMPLES)
    assert read(tmp_path) == [
        {"kind": "train", "epoch": 1, "step": 5, "loss": 1.0},
        {"kind": "samples", "epoch": 1, "step": 5, "sounds": SAMPLES.tags},
    ]


@pytest.mark.parametrize("samples", [SAMPLES, None], ids=["samples", "no-samples"])
def test_resuming_drops_the_entries_after_the_checkpoint(tmp_path, samples):
    write(tmp_path, 0, [1, 2, 3], samples)
    write(tmp_path, 10, [3], samples)
    kinds = ["train"] if samples is None else ["train", "samples"]
    wanted = [(kind, step) for step in (5, 10, 15) for kind in kinds]
    assert [(entry["kind"], entry["step"]) for entry in read(tmp_path)] == wanted


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    whole = {"kind": "train", "step": 1}
    (tmp_path / METRICS).write_text(json.dumps(whole) + "\n" + '{"kind": "tr')
    assert read(tmp_path) == [whole]
    write(tmp_path, 1, [1])
    assert [entry["step"] for entry in read(tmp_path)] == [1, 5]


@pytest.mark.parametrize(
    "damaged", [b'{"kind": "tr', b"\xff\xfe", b"[]", b'{"kind": "train"}', b'{"step": "1"}']
)
def test_a_damaged_line_is_named_and_kept(tmp_path, damaged):
    content = b'{"kind": "train", "step": 1}\n' + damaged + b'\n{"kind": "train", "step": 2}\n'
    (tmp_path / METRICS).write_bytes(content)
    for attempt in (read, lambda workdir: write(workdir, 2)):
        with pytest.raises(ValueError) as error:
            attempt(tmp_path)
        assert f"{tmp_path / METRICS}, line 2" in str(error.value)
    assert (tmp_path / METRICS).read_bytes() == content


def test_resuming_a_run_of_before_there_were_checksums_gives_its_lines_one(tmp_path):
    (tmp_path / METRICS).write_text('{"kind": "train", "step": 1}\n')
    write(tmp_path, 1, [1])
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert len(lines) == 2 and all("crc32c" in json.loads(line) for line in lines)


def test_resuming_says_that_metrics_before_the_checkpoint_are_missing(tmp_path, caplog):
    write(tmp_path, 0)
    write(tmp_path, 0, done=0)
    assert not caplog.messages
    write(tmp_path, 10, [3], done=2)
    (message,) = caplog.messages
    assert f"{tmp_path / METRICS}: " in message and "epoch 2" in message
    (tmp_path / METRICS).write_text(
        storage.json_line({"kind": "validation", "epoch": 2, "step": 10})
    )
    write(tmp_path, 10, [3], done=2)
    assert len(caplog.messages) == 1


def test_a_full_disk_leaves_the_metrics_so_far(tmp_path, monkeypatch):
    write(tmp_path, 0, [1])

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync", no_space)
    with pytest.raises(OSError):
        write(tmp_path, 5)
    assert [entry["step"] for entry in read(tmp_path)] == [5]
    assert {path.name for path in tmp_path.iterdir()} == {METRICS, "tensorboard"}


def test_a_kill_loses_nothing_of_an_epoch_that_is_synced(tmp_path, monkeypatch):
    """Neither file is closed; each is on the disk."""
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
    )
    writer = MetricWriter(tmp_path, 0)
    writer.write("train", 1, 5, {"loss": 1.0})
    synced.clear()
    writer.sync()
    assert [entry["step"] for entry in read(tmp_path)] == [5]
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
    assert synced == [METRICS, events.name]
    writer.close()


def test_only_the_lead_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(metric_writer.parallel, "is_lead", lambda: False)
    write(tmp_path, 0, [1], Samples([], np.zeros((2, 2), np.float32)))
    assert not any(tmp_path.iterdir())
