"""Files, local or remote: reading, atomic writing, digests and cached arrays.

Paths go through `etils.epath`, so that a folder may be on a disk or in an object store. A file is
written completely or not at all: under another name first, synced to the disk, then renamed.
Nothing else in this package opens files for writing, except to append.
"""

import ast
import errno
import functools
import hashlib
import io
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import IO, Any

import google_crc32c
import numpy as np
from absl import logging
from etils import epath

PathLike = str | os.PathLike[str]

_NO_DIGEST = "0" * 64  # in the place of the digest while it is computed
_SEAL = "seal"
_SEALED = re.compile(r'\{\s*"[^"]{4}": "[^"]{64}"')
_CHECKED = re.compile(rb'\{"[^"]{6}": "[^"]{8}", ')  # how `json_line` begins
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.tmp$")  # as `write_bytes` names what it writes
_PACKAGE = __name__.partition(".")[0]


class DiskFullError(OSError):
    """A disk has no room for a file, or a quota forbids it: says for how much, and where."""

    def __init__(self, name: PathLike, size: int) -> None:
        free = free_bytes(name)
        room = "" if free is None else f", and {size_text(free)} are free"
        super().__init__(
            f"{name}: no space left on the disk: it takes {size_text(size)}{room}. Fix: make room "
            "there and run it again, or choose another folder"
        )
        self.errno = errno.ENOSPC


def is_disk_full(error: BaseException) -> bool:
    """Whether the system says that there is no space left, or no more is allowed."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_bytes(name: PathLike) -> int | None:
    """Free space on the disk of a file or folder that may not exist yet; None where remote."""
    if not is_local(name):
        return None
    place = os.path.abspath(name)  # noqa: PTH100 of a name that may be no path of this system
    while not os.path.exists(place):  # noqa: PTH110
        place = os.path.dirname(place)  # noqa: PTH120
    return shutil.disk_usage(place).free


def size_text(size: int) -> str:
    """Bytes as messages name them: 512 bytes, 1.5 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def path(name: PathLike) -> epath.Path:
    """A local path, or one of an object store: `gs://...` or `s3://...`."""
    return epath.Path(name)


def is_local(name: PathLike) -> bool:
    """Whether system calls (locks, links, fsync) work on the path."""
    return "://" not in os.fspath(name)


def is_file(name: PathLike) -> bool:
    """Whether there is such a file; a name that the system refuses to look up is none.

    `Path.is_file` raises where a name is too long, or lies in a folder that may not be read.
    """
    try:
        return path(name).is_file()
    except (OSError, ValueError):
        return False


def read_bytes(name: PathLike) -> bytes:
    """The content of a file. Raises OSError."""
    return path(name).read_bytes()


def open_binary(name: PathLike) -> io.FileIO | io.BytesIO:
    """A local file, unbuffered and with a descriptor; a remote one, read into memory."""
    if is_local(name):
        return open(name, "rb", buffering=0)  # noqa: PTH123 the caller closes it
    return io.BytesIO(read_bytes(name))


def read_json(name: PathLike) -> Any:
    """The content of a JSON file in UTF-8, without the seal of `write_record` where it has one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON in UTF-8, or its seal is broken; the message names the file.
    """
    try:
        text = read_bytes(name).decode()
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not valid JSON in UTF-8 ({error})") from error
    # By the place of the seal: its key may be what is damaged.
    is_record = isinstance(content, dict) and _SEALED.match(text)
    if is_record and not is_sealed(text, content.pop(_SEAL, None)):
        raise ValueError(
            f"{name}: damaged or edited: its seal is not that of its content. Fix: copy it again, "
            "or have it made again"
        )
    return content


def json_line(entry: Mapping[str, Any]) -> str:
    """A line of a file for `read_json_lines`; its first entry is the checksum of the others."""
    others = json.dumps(entry)[1:].encode()
    return (_beginning(others) + others).decode() + "\n"


def _beginning(others: bytes) -> bytes:
    """Of a line with these entries: their checksum."""
    return b'{"crc32c": "%08x", ' % google_crc32c.value(others)


def read_json_lines(name: PathLike, key: str) -> list[dict[str, Any]]:
    """The objects of a file that has one per line, without a last line that was cut off.

    Those of `json_line` are checked, and are without their checksum.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is damaged, or no object with this key; the message names file and line.
    """
    entries = []
    for number, line in enumerate(read_bytes(name).split(b"\n")[:-1], start=1):
        try:
            # By the place of the checksum: its key may be what is damaged.
            if (checked := _CHECKED.match(line)) is not None:
                others = line[checked.end() :]
                if checked[0] != _beginning(others):
                    raise ValueError("its checksum is not that of its content")
                line = b"{" + others
            entry = json.loads(line)
            entry[key]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{name}, line {number}: damaged or edited ({error!r}). Fix: copy the file again, "
                "or delete the line to go on without it"
            ) from error
        entries.append(entry)
    return entries


def write_bytes(name: PathLike, data: bytes) -> None:
    """Writes a file completely or not at all, and syncs it to the disk."""
    target = path(name)
    # A name of its own, since two processes may write the same file at the same time.
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with explaining_full_disk(target, len(data)):
            temporary.write_bytes(data)
            sync(temporary)
            temporary.replace(target)
    except BaseException:
        if temporary.exists():
            temporary.unlink()
        raise
    sync(target.parent)


def is_temporary(name: PathLike) -> bool:
    """Whether `write_bytes` writes to this name before the file gets its own."""
    return _TEMPORARY.search(os.fspath(name)) is not None


def sweep_temporary(folder: PathLike, older_seconds: float = 0.0) -> None:
    """Removes what processes that were killed within `write_bytes` have left in a folder.

    older_seconds: how long nothing was written to it, where another process may be writing.
    """
    for file in path(folder).iterdir():
        if is_temporary(file.name) and time.time() - file.stat().mtime >= older_seconds:
            file.unlink(missing_ok=True)


@contextmanager
def explaining_full_disk(name: PathLike, size: int) -> Iterator[None]:
    """Makes of the system's error that a disk is full a sentence with `size`, the bytes wanted."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(name, size) from error


def write_text(name: PathLike, text: str) -> None:
    """`write_bytes` of text in UTF-8."""
    write_bytes(name, text.encode())


def write_json(name: PathLike, content: Any) -> None:
    """`write_text` of the content's `json_text`."""
    write_text(name, json_text(content))


def write_record(name: PathLike, content: Mapping[str, Any], *, escaped: bool = False) -> None:
    """`write_json` with a seal as its first entry, so that `read_json` finds every damage.

    escaped: whether all but ASCII is, for texts that are not UTF-8.
    """
    sealed = {_SEAL: _NO_DIGEST} | dict(content)
    text = json.dumps(sealed, indent=1, ensure_ascii=escaped, allow_nan=False) + "\n"
    write_text(name, text.replace(_NO_DIGEST, sha256(text.encode()), 1))


def json_text(content: Any) -> str:
    """Readable JSON: indented, not escaped. Raises ValueError on NaN."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def open_after(name: PathLike, size: int) -> IO[bytes]:
    """Opens a local file to write after its first `size` bytes; the rest is cut off.

    Raises:
        OSError: the file cannot be written.
    """
    if size == 0:
        return path(name).open("wb")
    file = open(name, "r+b")  # noqa: SIM115, PTH123 the caller closes it; etils has no such mode
    file.truncate(size)
    file.seek(size)
    return file


class OpenFiles:
    """Reads pieces of many files, keeping the last few open; threads may share it."""

    def __init__(self, most: int = 64) -> None:
        self._most, self._lock = most, threading.Lock()
        self._files: OrderedDict[str, IO[bytes]] = OrderedDict()

    def read(self, name: PathLike, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer where the file ends. Raises OSError."""
        key = os.fspath(name)
        with self._lock:
            file = self._files.pop(key, None)
            if file is None:
                if len(self._files) == self._most:
                    self._files.popitem(last=False)[1].close()
                file = path(name).open("rb")
            self._files[key] = file
            file.seek(offset)
            return file.read(size)

    def close(self) -> None:
        """Closes all files; a later `read` reopens its own."""
        while self._files:
            self._files.popitem()[1].close()

    def __del__(self) -> None:
        self.close()


def sync(name: PathLike) -> None:
    """Waits until a file, or a folder's entries, are on the disk; remote ones always are."""
    if not is_local(name):
        return
    descriptor = os.open(name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(new: PathLike, name: PathLike) -> None:
    """Replaces `name` by the finished folder `new`; one of them is complete at every moment.

    A process killed between the two renames leaves the old folder as `NAME.old`.
    """
    new, target = path(new), path(name)
    old = target.with_name(target.name + ".old")
    recover_folder(target)
    if target.exists():
        target.rename(old)
    new.rename(target)
    sync(target.parent)
    if old.exists():
        old.rmtree()


def recover_folder(name: PathLike) -> None:
    """Gives the old folder its name back where `replace_folder` was killed before the new one."""
    target = path(name)
    old = target.with_name(target.name + ".old")
    if old.exists() and not target.exists():
        old.rename(target)
    old.rmtree(missing_ok=True)


def sha256(data: bytes) -> str:
    """The SHA-256 in hexadecimal, as all digests here."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(name: PathLike) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(content: Any) -> str:
    """The SHA-256 of a JSON value, whatever the order of its keys."""
    return sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())


@functools.cache
def source_digests(modules: tuple[str, ...], root: Traversable | None = None) -> dict[str, str]:
    """SHA-256 of the source of the modules and of all modules of the package that they import.

    root: the package's folder, if not that of the running one.
    """
    root = root or resources.files(_PACKAGE)
    waiting, digests = list(modules), {}
    while waiting:
        name = waiting.pop()
        package, *parts = name.split(".")
        if package != _PACKAGE or not parts or name in digests:
            continue
        for end in ([f"{parts[-1]}.py"], [parts[-1], "__init__.py"]):
            file = root.joinpath(*parts[:-1], *end)
            if file.is_file():  # else the name is one in a module
                source = file.read_bytes()
                digests[name] = sha256(source)
                waiting += _imports(source)
    return digests


def _imports(source: bytes) -> Iterator[str]:
    """Everything that may be an imported module's name, within functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def seal(form: int, content: Mapping[str, Any]) -> tuple[str, str]:
    """The `json_text` of content with its format number and its own digest, and that digest.

    The digest is the SHA-256 of the text with zeros in the digest's place: all damage shows.
    """
    text = json_text({"format": form, "digest": _NO_DIGEST} | dict(content))
    digest = sha256(text.encode())
    return text.replace(_NO_DIGEST, digest, 1), digest


def is_sealed(text: str, digest: object) -> bool:
    """Whether the text is as `seal` made it, given the digest in it."""
    # Of another length it could be anywhere in the text, which would grow beyond all bounds.
    if not isinstance(digest, str) or len(digest) != len(_NO_DIGEST):
        return False
    return digest == sha256(text.replace(digest, _NO_DIGEST).encode())


def write_arrays(name: PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Caches arrays by name in one npz file, followed by a digest; makes its folder."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    data = buffer.getvalue()
    path(name).parent.mkdir(parents=True, exist_ok=True)
    # NumPy checks the CRC-32 of the arrays it finds, but may miss one whose entry is damaged.
    write_bytes(name, data + hashlib.sha256(data).digest())


def read_arrays(name: PathLike) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None if there is no file or, with a warning, if it is damaged.

    Never loads a pickle.
    """
    try:
        data = read_bytes(name)
    except FileNotFoundError:
        return None
    content, digest = data[:-32], data[-32:]
    if hashlib.sha256(content).digest() != digest:
        logging.warning("%s: damaged arrays; not used", name)
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays.items())
