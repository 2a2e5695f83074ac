"""The config of a run, beside its checkpoints: it must agree when the run resumes."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from coala_jax import storage
from coala_jax.default_config import result_settings
from coala_jax.training import parallel

CONFIG = "config.json"


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
            _check_no_checkpoints(path)
            workdir.mkdir(parents=True, exist_ok=True)
            storage.write_json(path, wanted)
        else:
            raise ValueError(
                f"{path}: not visible to every process of this run. Fix: give all of them the same "
                "--workdir, on shared storage"
            )

    parallel.lead_first(check_or_write)


def _check_no_checkpoints(path: Path) -> None:
    """Raises ValueError if there are checkpoints, which must not go on with other settings."""
    checkpoints = path.with_name("checkpoints")
    if checkpoints.is_dir() and any(folder.is_dir() for folder in checkpoints.iterdir()):
        raise ValueError(
            f"{path}: missing, though {checkpoints} holds a run, whose settings it has. Fix: copy "
            "it back, or choose another --workdir"
        )


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
