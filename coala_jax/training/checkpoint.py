"""Checkpoints from which a run goes on bit for bit (Orbax).

A checkpoint holds the whole train state; the step in it is also the position in the data. The
config that it belongs to stands beside the checkpoints and must agree when a run goes on.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.default_config import result_settings
from coala_jax.training import parallel
from coala_jax.training.steps import TrainState

CONFIG = "config.json"

# What a message of TensorStore or JAX begins with when a file, a store or memory is not to be had.
_UNREACHABLE = (
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
)
# Words of Orbax, which has no class of its own for this.
_MISMATCH = ("tree structures do not match", "not compatible with the stored shape")


class Checkpoints:
    """The checkpoints of one run, in `workdir/checkpoints`."""

    def __init__(self, workdir: Path, keep: int) -> None:
        self._folder = workdir.resolve() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, state: TrainState) -> None:
        """Saves under the state's step, in the background; an interrupted save leaves no trace."""
        # A copy, because Orbax writes while the next step gives up the state's memory.
        state = parallel.saveable(jax.tree.map(jnp.copy, state))
        self._manager.save(int(state.step), args=ocp.args.StandardSave(state))

    def restore_latest(self, like: TrainState) -> TrainState:
        """The newest checkpoint, placed as `like` is, or `like` itself when there is none."""
        step = self._manager.latest_step()
        if step is None:
            return like
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, parallel.saveable(like))
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # some of what TensorStore raises Orbax makes a bare Exception
            raise ValueError(_restore_error(self._folder / str(step), error)) from error
        return parallel.usable(restored)

    def latest(self) -> str:
        """Where the newest checkpoint lies, in words."""
        self._manager.wait_until_finished()
        step = self._manager.latest_step()
        return "none was saved yet" if step is None else str(self._folder / str(step))

    def close(self) -> None:
        """Waits for what is being saved."""
        self._manager.wait_until_finished()
        self._manager.close()


def check_or_write_config(workdir: Path, config: ConfigDict, data_digest: str) -> None:
    """Records the config of a new run, or checks it against that of the run to go on with.

    The lead records, then all processes check, each its own config and data: what one of them
    refuses, all refuse.

    Raises:
        ValueError: `workdir` holds a run with other settings or other data, or cannot be used.
    """
    path = workdir / CONFIG
    wanted = {"data_digest": data_digest, **config.to_dict()}

    def check_or_write() -> None:
        if path.exists():
            _check_config(path, wanted)
        elif parallel.is_lead():
            workdir.mkdir(parents=True, exist_ok=True)
            storage.write_json(path, wanted)
        else:
            raise ValueError(
                f"{path}: not there for every process of this run. Fix: give all of them the same "
                "--workdir, on storage that they share"
            )

    parallel.lead_first(check_or_write)


def _check_config(path: Path, wanted: dict[str, Any]) -> None:
    """Raises ValueError where the run that `path` describes is not the one that is wanted."""
    hint = "Fix: choose another --workdir"
    try:
        saved = storage.read_json(path)
        if not (isinstance(saved, dict) and isinstance(saved.get("data_digest"), str)):
            raise ValueError(f"{path}: not the config of a run")
    except ValueError as error:
        raise ValueError(
            f"{error}. {hint}; or, if this is the config and the dataset of the run in this "
            "folder, move that file aside, and it is written anew"
        ) from error
    found, compared = result_settings(saved), result_settings(wanted)
    for key in sorted(found.keys() | compared.keys()):
        # A run may go on for longer. What its data hold is compared by their digest.
        if found.get(key) == compared.get(key) or key == "train.epochs":
            continue
        if key == "data_digest":
            raise ValueError(
                f"{path.parent}: the run in this folder was trained on another dataset. {hint}"
            )
        raise ValueError(
            f"{path.parent}: the run in this folder has {key} = {found.get(key)!r}, and "
            f"this one {compared.get(key)!r}. {hint}"
        )


def _restore_error(folder: Path, error: BaseException) -> str:
    """Why a checkpoint cannot be restored, and a way on that loses no data."""
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
            f"{folder}: this checkpoint cannot be read, which says nothing against its content: "
            f"{reason}. Fix: mend that and start again"
        )
    if any(phrase in text for phrase in _MISMATCH):
        return (
            f"{folder}: this checkpoint is of another model or optimizer than the config asks "
            f"for: {reason}. Fix: start again with the version of coala_jax that saved it, or "
            "choose another --workdir"
        )
    return (
        f"{folder}: this checkpoint is damaged or incomplete: {reason}. Fix: move that folder "
        f"aside, such as to {folder.parent.parent / f'damaged-{folder.name}'}; the run then goes "
        "on from the checkpoint before it"
    )
