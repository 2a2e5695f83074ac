"""Checkpoints from which a run resumes bit for bit (Orbax).

A checkpoint holds the whole train state, whose step is also the position in the data, and the best
model so far where a run keeps it. Beside each are its checksums.
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

from coala_jax import storage
from coala_jax.training import digests, parallel
from coala_jax.training.best import BestModel
from coala_jax.training.checkpoint_errors import is_disk_full, restore_error
from coala_jax.training.metrics import Sums
from coala_jax.training.steps import TrainState

_SUMS = "epoch_sums"  # in the metadata of a checkpoint


class Progress(NamedTuple):
    """All that a run has come to, which one checkpoint holds.

    best: None where the last epoch is kept.
    sums: of the metrics of an epoch that has begun, as far as it is trained; None after its
        validation, when the next one begins.
    """

    state: TrainState
    best: BestModel | None = None
    sums: Sums | None = None

    def epochs_done(self, steps_per_epoch: int) -> int:
        """The number of epochs that are trained, validated and evaluated."""
        step = int(self.state.step)
        return (step if self.sums is None else step - 1) // steps_per_epoch


class Checkpoints:
    """The checkpoints of one run, in `workdir/checkpoints`, each with checksums beside it."""

    def __init__(self, workdir: Path, keep: int) -> None:
        self._folder = workdir.resolve() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._thread = ThreadPoolExecutor(1, "checksums")
        self._saving: Future[None] | None = None
        self._size = 0  # of a checkpoint, in bytes

    def save(self, progress: Progress) -> None:
        """Saves under the state's step, in the background; an interrupted save leaves no trace."""
        self.wait()
        self.check_space(progress)
        # A copy, because Orbax writes while the next step reuses the state's memory.
        copied = progress._replace(state=jax.tree.map(jnp.copy, progress.state))
        step = int(copied.state.step)
        saved = parallel.saveable(_saved(copied))
        beside = None if copied.sums is None else {_SUMS: copied.sums}
        # Does nothing where the step is saved already: after a signal in an epoch's validation,
        # which is done again from there.
        if self._manager.save(step, args=ocp.args.StandardSave(saved), custom_metadata=beside):
            self._saving = self._thread.submit(self._finish, step)

    def wait(self) -> None:
        """Waits until everything is saved, and raises what went wrong."""
        if self._saving is None:
            return
        saving, self._saving = self._saving, None
        try:
            saving.result()
        except Exception as error:
            if is_disk_full(error):
                raise storage.DiskFullError(self._folder, self._size) from error
            raise

    def check_space(self, progress: Progress) -> None:
        """Raises ValueError if there is no room for a checkpoint; all processes must call it.

        Orbax would find out when it has written half of it.
        """
        leaves = jax.tree.leaves(_saved(progress))
        self._size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

        def check() -> None:
            free = storage.free_bytes(self._folder)
            if parallel.is_lead() and free is not None and free < self._size:
                raise storage.DiskFullError(self._folder, self._size)

        parallel.lead_first(check)

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
            raise ValueError(restore_error(self._folder / str(step), error)) from error
        restored = parallel.usable(restored)
        sums = (self._manager.metadata(step).custom_metadata or {}).get(_SUMS)
        if sums is not None:  # JSON has no tuples
            sums = {name: [(total, weight) for total, weight in sums[name]] for name in sums}
        if like.best is None:
            return Progress(restored, sums=sums)
        return Progress(restored["state"], jax.tree.map(np.asarray, restored["best"]), sums)

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
    state, best, _ = progress
    return state if best is None else {"state": state, "best": best}


def _target(leaf: Any) -> Any:
    """What Orbax restores a leaf as: on the devices, or on the host."""
    return ocp.utils.to_shape_dtype_struct(leaf) if isinstance(leaf, jax.Array) else leaf
