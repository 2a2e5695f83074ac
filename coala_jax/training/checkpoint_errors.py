"""What the errors of Orbax and TensorStore mean, which have no classes for it."""

from pathlib import Path

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


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that there was no space left."""
    while error is not None:
        if "No space left" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def restore_error(folder: Path, error: BaseException) -> str:
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
