"""The sounds of folders, recursively."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import soundfile

State = tuple[int, int]  # size and time of change of a file

# By which a file is a sound: formats of libsndfile, what it calls otherwise, and those it cannot
# read, so that a folder of them is not empty but full of failures that say what to do.
_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    *(".aif", ".aifc", ".oga", ".opus", ".snd", ".wv"),
    *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"),
}

_NOT_UTF8 = "its name is not in UTF-8. Fix: rename it"


class Found(NamedTuple):
    """The sounds of a folder.

    files: state by path, relative to the folder, with `/`; in the order of the paths.
    errors: why a subfolder or a file could not be looked at, by path.
    ignored: how many files are no sounds by their names.
    """

    files: dict[str, State]
    errors: dict[str, str]
    ignored: int


def find_sounds(root: Path, *, any_name: bool = False) -> Found:
    """All sounds below a folder, those of hidden files and folders left out; or one file.

    any_name: whether a name may be in another encoding than UTF-8; else it is among the errors,
        since no table could hold it.

    Raises:
        ValueError: there is no such folder or file, it may not be read, or no sound is in it.
    """
    if root.is_file():
        state = root.stat()
        return Found({root.name: (state.st_size, state.st_mtime_ns)}, {}, 0)
    if not root.is_dir():
        raise ValueError(f"{root}: no such file or folder. Fix: correct the path")
    files: dict[str, State] = {}
    errors: dict[str, str] = {}
    ignored = 0

    def refused(error: OSError) -> None:
        errors[Path(error.filename).relative_to(root).as_posix()] = str(error.strerror)

    for folder, folders, names in os.walk(root, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith(".") or Path(name).suffix.lower() not in _SUFFIXES:
                ignored += 1
                continue
            file = Path(folder, name)
            path = file.relative_to(root).as_posix()
            if not (any_name or _is_utf8(path)):
                errors[os.fsencode(path).decode(errors="backslashreplace")] = _NOT_UTF8
                continue
            try:
                state = file.stat()
                files[path] = (state.st_size, state.st_mtime_ns)
            except OSError as error:  # such as a link to nothing
                errors[path] = str(error.strerror)
    if not files and "." in errors:
        raise ValueError(f"{root}: cannot be read ({errors['.']}). Fix: correct its permissions")
    if not files and not errors:
        raise ValueError(
            f"{root}: no sound in it, of {ignored} files. Fix: name a folder of wav, flac, ogg, "
            "mp3 or other files that libsndfile reads"
        )
    return Found(dict(sorted(files.items())), errors, ignored)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # of the surrogates that Python puts for other bytes
        return False
    return True


def path_of(root: Path, path: str) -> Path:
    """The file of a path that `find_sounds` gave."""
    return root if root.is_file() else root / path


def first_lines(errors: Iterable[str], count: int = 3) -> str:
    """The first few errors, for a message."""
    errors = list(errors)
    return "; ".join(errors[:count]) + (" ..." if len(errors) > count else "")
