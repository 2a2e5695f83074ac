"""Checkpoints from which a run resumes bit for bit (Orbax).

A checkpoint holds the whole train state, whose step is also the position in the data, and the best
model so far where a run keeps it. The run's config is stored beside the checkpoints and must agree
when the run resumes.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.default_config import result_settings
from coala_jax.training import digests, parallel
from coala_jax.training.best import BestModel
from coala_jax.training.steps import TrainState

CONFIG = "config.json"

# How messages of TensorStore or JAX begin when a file, a store or memory is unavailable.
_UNREACHABLE = (
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
)
# Phrases of Orbax, which has no exception class for this.
_MISMATCH = ("tree structures do not match", "not compatible with the stored shape")


class Progress(NamedTuple):
    """All that a run has come to, which one checkpoint holds.

    best: None where the last epoch is kept.
    """

    state: TrainState
    best: BestModel | None = None


class Checkpoints:
    """The checkpoints of one run, in `workdir/checkpoints`, each with checksums beside it."""

    def __init__(self, workdir: Path, keep: int) -> None:
        self._folder = workdir.resolve() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._thread = ThreadPoolExecutor(1, "checksums")
        self._saving: Future[None] | None = None

    def save(self, progress: Progress) -> None:
        """Saves under the state's step, in the background; an interrupted save leaves no trace."""
        self.wait()
        # A copy, because Orbax writes while the next step reuses the state's memory.
        copied = progress._replace(state=jax.tree.map(jnp.copy, progress.state))
        step = int(copied.state.step)
        saved = parallel.saveable(_saved(copied))
        if self._manager.save(step, args=ocp.args.StandardSave(saved)):
            self._saving = self._thread.submit(self._finish, step)

    def wait(self) -> None:
        """Waits until everything is saved, and raises what went wrong."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()

    def _finish(self, step: int) -> None:
        """Waits until all processes have saved; the lead then writes the checksums."""
        self._manager.wait_until_finished()
        if parallel.is_lead():
            digests.write_digests(self._folder / str(step))
            digests.remove_orphans(self._folder)

    def restore_latest(self, like: Progress) -> Progress:
        """The newest whole checkpoint, placed as `like` is, or `like` itself when there is none.

        Damaged ones that are newer are moved aside. All processes must call it.

        Raises:
            ValueError: there are checkpoints, and none is whole or can be read.
        """
        step = self._choose()
        if step is None:
            return like
        target = jax.tree.map(_target, parallel.saveable(_saved(like)))
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # some of what TensorStore raises Orbax makes a bare Exception
            raise ValueError(_restore_error(self._folder / str(step), error)) from error
        restored = parallel.usable(restored)
        if like.best is None:
            return Progress(restored)
        return Progress(restored["state"], jax.tree.map(np.asarray, restored["best"]))

    def _choose(self) -> int | None:
        """The step of the newest whole checkpoint, by what the lead has read."""
        steps, chosen = sorted(self._manager.all_steps(), reverse=True), []

        def check() -> None:
            if parallel.is_lead() and steps:
                chosen.append(_newest_whole(self._folder, steps))

        parallel.lead_first(check)
        shared = parallel.gather_rows(np.array(chosen, np.int64))
        self._manager.reload()
        return int(shared[0]) if len(shared) else None

    def latest(self) -> str:
        """The newest checkpoint's folder, or that there is none, as a message names it."""
        self.wait()
        step = self._manager.latest_step()
        return "none yet" if step is None else str(self._folder / str(step))

    def close(self) -> None:
        """Waits until everything is saved."""
        with self._thread, closing(self._manager):
            self.wait()


def _newest_whole(folder: Path, steps: Sequence[int]) -> int:
    """The newest checkpoint that is as it was saved; newer ones are moved out of `folder`.

    One without checksums is taken for whole, with a warning.
    """
    damages: dict[int, str] = {}
    for step in steps:
        if not digests.has_digests(folder / str(step)):
            logging.warning(
                "%s: restored unchecked: it has no checksums, as an earlier version or a run that "
                "was killed while it wrote them leaves it",
                folder / str(step),
            )
        elif damage := digests.find_damage(folder / str(step)):
            damages[step] = damage
            continue
        for damaged, damage in damages.items():
            aside = _move_aside(folder / str(damaged))
            logging.warning(
                "%s: this checkpoint is damaged: %s; moved to %s. The run resumes from %s",
                folder / str(damaged),
                damage,
                aside,
                folder / str(step),
            )
        return step
    raise ValueError(
        f"{folder}: no checkpoint is whole: {'; '.join(damages.values())}. Fix: copy the folder "
        "again from where it is whole, or move it aside to train from the start"
    )


def _move_aside(checkpoint: Path) -> epath.Path:
    """Moves a checkpoint beside the folder of all, under a name that is free."""
    folder, number = storage.path(checkpoint), 1
    aside = beside = folder.parent.parent / f"damaged-{folder.name}"
    while aside.exists():
        number += 1
        aside = beside.with_name(f"{beside.name}-{number}")
    folder.rename(aside)
    digests.remove_orphans(folder.parent)
    return aside


def _saved(progress: Progress) -> Any:
    """What a checkpoint holds: without a best model, the state alone."""
    return progress.state if progress.best is None else progress._asdict()


def _target(leaf: Any) -> Any:
    """What Orbax restores a leaf as: on the devices, or on the host."""
    return ocp.utils.to_shape_dtype_struct(leaf) if isinstance(leaf, jax.Array) else leaf


def check_or_write_config(
    workdir: Path, config: ConfigDict, data_digest: str, init_digest: str = ""
) -> None:
    """Writes the config of a new run, or checks it against that of the run to resume.

    The lead writes, then every process checks its own config, data and the model to start from; if
    one of them fails, all fail.

    Raises:
        ValueError: `workdir` holds a run with other settings, other data or another model to start
            from, or cannot be used.
    """
    path = workdir / CONFIG
    wanted = {"data_digest": data_digest, "init_digest": init_digest, **config.to_dict()}

    def check_or_write() -> None:
        if path.exists():
            _check_config(path, wanted)
        elif parallel.is_lead():
            workdir.mkdir(parents=True, exist_ok=True)
            storage.write_json(path, wanted)
        else:
            raise ValueError(
                f"{path}: not visible to every process of this run. Fix: give all of them the same "
                "--workdir, on shared storage"
            )

    parallel.lead_first(check_or_write)


def _check_config(path: Path, wanted: dict[str, Any]) -> None:
    """Raises ValueError if the run that `path` describes has other settings or data."""
    hint = "Fix: choose another --workdir"
    try:
        saved = storage.read_json(path)
        if not (isinstance(saved, dict) and isinstance(saved.get("data_digest"), str)):
            raise ValueError(f"{path}: invalid config of a run")
    except ValueError as error:
        raise ValueError(
            f"{error}. {hint}; or, if the run in this folder had the same config and dataset, move "
            "that file aside and start again"
        ) from error
    found, compared = result_settings(saved), result_settings(wanted)
    for key in sorted(found.keys() | compared.keys()):
        if found.get(key) == compared.get(key):
            continue
        if key == "train.epochs":
            if compared["optimizer.schedule"] == "constant":
                continue  # a run may be extended
            raise ValueError(
                f"{path.parent}: the learning rate of the run in this folder decays to 0 over "
                f"train.epochs = {found.get(key)!r}: with {compared.get(key)!r} its first epochs "
                f"would have been others, too. {hint}"
            )
        # Its data and first model are compared by their digests.
        if key == "data_digest":
            raise ValueError(
                f"{path.parent}: the run in this folder was trained on another dataset. {hint}"
            )
        if key == "init_digest":
            raise ValueError(
                f"{path.parent}: the run in this folder started from another model than this one's "
                f"config.init.model, or one of the two from none. {hint}"
            )
        raise ValueError(
            f"{path.parent}: the run in this folder has {key} = {found.get(key)!r}, this one has "
            f"{compared.get(key)!r}. {hint}"
        )


def _restore_error(folder: Path, error: BaseException) -> str:
    """Why a checkpoint cannot be restored, and a fix that loses no data."""
    while error.__cause__ is not None:  # Orbax reports what it was doing, TensorStore the reason
        error = error.__cause__
    text = str(error).partition(" [tensorstore_spec")[0]
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"
    missing = isinstance(error, FileNotFoundError) or text.startswith("NOT_FOUND")
    if not missing and (
        isinstance(error, (OSError, MemoryError))
        or "os_error_code" in text
        or text.startswith(_UNREACHABLE)
    ):
        return (
            f"{folder}: this checkpoint cannot be read, though it may be intact: {reason}. "
            "Fix: make it readable and start again"
        )
    if any(phrase in text for phrase in _MISMATCH):
        return (
            f"{folder}: this checkpoint is of another model or optimizer than the config: {reason}"
            ". Fix: use the version of coala_jax that saved it, or choose another --workdir"
        )
    return (
        f"{folder}: this checkpoint is damaged or incomplete: {reason}. Fix: move that folder "
        f"aside, such as to {folder.parent.parent / f'damaged-{folder.name}'}; the run then "
        "resumes from the checkpoint before it"
    )
