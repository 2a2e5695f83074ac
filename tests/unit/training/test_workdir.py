import errno
import fcntl
import json
import os
import re
import socket
import threading

import pytest

from coala_jax.training import workdir
from coala_jax.training.workdir import lock


def held(folder):
    own = f"process {os.getpid()} on {socket.gethostname()}"
    return pytest.raises(ValueError, match=rf"^{folder}: .*{own}, since 20\d\d-.*Fix: ")


@pytest.fixture(params=["lock", "lease"])
def kind(request, monkeypatch):
    """The system's locks, or a store that has none."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "lease":
        monkeypatch.setattr(fcntl, "flock", no_locks)
        monkeypatch.setattr(workdir, "_SETTLE_S", 0.0)
    return request.param


def test_a_folder_is_held_once_and_let_go(kind, tmp_path):
    for _ in range(2):
        with lock(tmp_path / "w"), held(tmp_path / "w"), lock(tmp_path / "w"):
            pass
    with pytest.raises(RuntimeError, match="of the run"), lock(tmp_path / "w"):
        raise RuntimeError("of the run")
    with lock(tmp_path / "w"):
        pass
    assert not (tmp_path / "w" / workdir.LEASE).exists()


def test_what_a_killed_run_wrote_of_itself_holds_nothing(tmp_path):
    """The system's lock ends with its process."""
    (tmp_path / workdir.LOCK).write_text('{"host": "a", "pid": 1, "since": "now"}')
    with lock(tmp_path), held(tmp_path), lock(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["lease"], indirect=True)
@pytest.mark.parametrize("left", ['{"until": 1, "pid": 1}', '{"until', "[]"])
def test_a_lease_that_ended_or_is_damaged_holds_nothing(kind, left, tmp_path):
    (tmp_path / workdir.LEASE).write_text(left)
    with lock(tmp_path):
        assert json.loads((tmp_path / workdir.LEASE).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("kind", ["lease"], indirect=True)
def test_of_two_leases_at_once_the_last_counts(kind, tmp_path, monkeypatch):
    other = {"id": "other", "pid": 7, "host": "there", "since": "now"}
    monkeypatch.setattr(
        workdir.time, "sleep", lambda _: (tmp_path / workdir.LEASE).write_text(json.dumps(other))
    )
    with pytest.raises(ValueError, match="process 7 on there"), lock(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["lease"], indirect=True)
def test_a_lease_is_renewed_and_a_run_that_lost_it_ends(kind, tmp_path, monkeypatch, caplog):
    """As after it was suspended for longer than its lease."""
    ended = threading.Event()
    monkeypatch.setattr(workdir, "_RENEWED_EVERY_S", 0.01)
    monkeypatch.setattr(workdir, "_exit", lambda _: ended.set())
    file = tmp_path / workdir.LEASE
    with lock(tmp_path):
        first = json.loads(file.read_text())["until"]
        while json.loads(file.read_text())["until"] == first:
            pass
        assert not ended.is_set()
        other = {"id": "other", "pid": 7, "host": "there", "since": "now", "until": 2e9}
        while not ended.wait(0.01):  # a renewal may have been on its way
            file.write_text(json.dumps(other))
    assert "process 7 on there" in caplog.text
    assert json.loads(file.read_text()) == other  # which it is not to end


def test_a_holder_that_wrote_nothing_yet_is_another_process(tmp_path):
    with lock(tmp_path):
        (tmp_path / workdir.LOCK).write_text("")
        with (
            pytest.raises(ValueError, match=re.escape("another process. Fix: wait")),
            lock(tmp_path),
        ):
            pass


def test_leftovers_are_swept_and_a_model_gets_its_name_back(tmp_path):
    kept = ["config.json", "mine.tmp", "checkpoints/5/array", "checkpoints/5.sha256"]
    swept = [
        "config.json.0a1b2c3d.tmp",
        "checkpoints/7.orbax-checkpoint-tmp/default/array",
        "checkpoints/5.sha256.0a1b2c3d.tmp",
        "checkpoints/3.sha256",
        "model.tmp/model.json",
    ]
    for name in [*kept, *swept, "model.old/model.json"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with lock(tmp_path):
        pass
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, "model/model.json", workdir.LOCK}
