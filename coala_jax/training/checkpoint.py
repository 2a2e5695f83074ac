"""Checkpoints from which a run goes on bit for bit (Orbax).

A checkpoint holds the whole train state; the step in it is also the position in the data. The
config that it belongs to stands beside the checkpoints and must agree when a run goes on.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from coala_jax.default_config import result_settings
from coala_jax.training import parallel
from coala_jax.training.steps import TrainState

CONFIG = "config.json"


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
        except Exception as error:  # of TensorStore, of JSON, of the file system: all mean the same
            raise ValueError(
                f"{self._folder / str(step)}: this checkpoint cannot be read "
                f"({str(error).splitlines()[0]}); delete that folder, and the run goes on from the "
                "one before"
            ) from error
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


def claim(workdir: Path, config: ConfigDict, data_digest: str) -> None:
    """Records the config of a new run, or checks it against that of the run to go on with.

    Raises:
        ValueError: `workdir` holds a run with other settings or other data; says which.
    """
    path = workdir / CONFIG
    wanted = {"data_digest": data_digest, **config.to_dict()}
    if not path.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        temporary.rename(path)
        return
    found, wanted = (result_settings(run) for run in (json.loads(path.read_text()), wanted))
    for key in sorted(found.keys() | wanted.keys()):
        # A run may go on for longer. What its data hold is compared by their digest.
        if found.get(key) == wanted.get(key) or key == "train.epochs":
            continue
        if key == "data_digest":
            raise ValueError(
                f"{workdir}: the run in this folder was trained on another dataset; "
                "choose another --workdir, or delete this one"
            )
        raise ValueError(
            f"{workdir}: the run in this folder has {key} = {found.get(key)!r}, and "
            f"this one {wanted.get(key)!r}; choose another --workdir, or delete this one"
        )
