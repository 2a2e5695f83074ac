"""The built-in model: it comes with the package, and is used where no other is named."""

import os
from pathlib import Path

DEFAULT = "default"  # its name where a folder could be named
_FOLDER = Path(__file__).parents[1] / "weights"


def default_model_folder() -> Path:
    """Where it lies, which differs from installation to installation.

    Raises:
        ValueError: this installation lacks it.
    """
    if not (_FOLDER / "model.json").is_file():
        raise ValueError(
            f"{_FOLDER}: the built-in model is missing. Fix: install coala_jax again, or name the "
            "folder of another model"
        )
    return _FOLDER


def is_default(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of the built-in model, however its path is written."""
    return Path(folder).resolve() == _FOLDER.resolve()


def name_of(folder: str | os.PathLike[str] | None) -> str:
    """What messages call a model; None is the built-in one."""
    return "the built-in model" if folder is None else f"the model {os.fspath(folder)}"
