"""The work folder of a run: locked against a second one, and rid of what a killed one left."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import storage
from coala_jax.training import digests, parallel

MODEL_FOLDER = "model"
LOCK, LEASE = "lock", "lease.json"
_LEASE_S, _RENEWED_EVERY_S = 90, 20  # a lease that is not renewed ends by itself
_SETTLE_S = 2.0  # after which a lease written by two is that of the last
_exit = os._exit  # of the process, from any thread
_OTHER_RUN = "Fix: wait until it ends, or end it; or choose another --workdir"


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Holds the folder for this run, on all its processes, and sweeps it first.

    The lead holds a lock of the system, which ends with its process, however that ends. Where a
    store has no such locks, it renews a lease.

    Raises:
        ValueError: another run holds it; says which process, on which host and since when.
    """
    with contextlib.ExitStack() as held:

        def hold() -> None:
            if parallel.is_lead():
                storage.path(workdir).mkdir(parents=True, exist_ok=True)
                held.enter_context(_locked(workdir))
                sweep(workdir)

        parallel.lead_first(hold)
        yield


def sweep(workdir: Path) -> None:
    """Removes what a process that was killed had not finished writing."""
    folder = storage.path(workdir)
    storage.sweep_temporary(folder)
    storage.recover_folder(folder / MODEL_FOLDER)
    (folder / f"{MODEL_FOLDER}.tmp").rmtree(missing_ok=True)
    checkpoints = folder / "checkpoints"
    if checkpoints.is_dir():
        storage.sweep_temporary(checkpoints)
        digests.remove_orphans(checkpoints)
        for path in checkpoints.iterdir():
            if ".orbax-checkpoint-tmp" in path.name:
                path.rmtree()


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    if not storage.is_local(workdir):
        with _leased(workdir):
            yield
        return
    # Not emptied by opening it: it names the process that holds it.
    with storage.path(workdir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(_held(workdir, storage.read_bytes(workdir / LOCK))) from error
        except OSError:  # such as a mounted store without locks
            with _leased(workdir):
                yield
            return
        file.truncate(0)
        file.write(json.dumps(_own()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextlib.contextmanager
def _leased(workdir: Path) -> Iterator[None]:
    """As `_locked`, by a file that says until when it holds."""
    file, own = storage.path(workdir / LEASE), _own() | {"id": uuid.uuid4().hex}

    def renew() -> None:
        storage.write_json(file, own | {"until": time.time() + _LEASE_S})

    if file.exists() and _lease(file).get("until", 0) > time.time():
        raise ValueError(_held(workdir, storage.read_bytes(file)))
    renew()
    time.sleep(_SETTLE_S)
    if _lease(file).get("id") != own["id"]:  # two began at once, and the other was the last
        raise ValueError(_held(workdir, storage.read_bytes(file)))
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(_RENEWED_EVERY_S):
            if _lease(file).get("id", own["id"]) != own["id"]:
                # This process was suspended, and the other writes here by now: not even a
                # checkpoint may be saved.
                logging.error("%s. This run ends", _held(workdir, storage.read_bytes(file)))
                _exit(1)
                break
            try:
                renew()
            except OSError as error:
                logging.warning("%s: cannot be renewed (%s); tried again", file, error)

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _lease(file).get("id") == own["id"]:
            file.unlink(missing_ok=True)


def _lease(file: storage.PathLike) -> dict[str, Any]:
    """The content of a lease; none where it is damaged."""
    try:
        found = storage.read_json(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _own() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _held(workdir: Path, content: bytes) -> str:
    """That another run holds the folder, by what it wrote of itself."""
    try:
        holder = json.loads(content)
        who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has just begun
        who = "another process"
    return f"{workdir}: a training is running in this folder: {who}. {_OTHER_RUN}"
