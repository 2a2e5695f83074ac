"""Checksums of a checkpoint's files, beside its folder: `STEP.sha256`, as `sha256sum -c` reads it.

Orbax checks neither the arrays nor the descriptions that it reads: of a flipped bit in a weight a
run would never know.
"""

from etils import epath

from coala_jax import storage

SUFFIX = ".sha256"


def digest_file(folder: storage.PathLike) -> epath.Path:
    """The file with the checksums of a checkpoint's folder."""
    folder = storage.path(folder)
    return folder.with_name(folder.name + SUFFIX)


def write_digests(folder: storage.PathLike) -> None:
    """Writes the checksums of a checkpoint that is complete; needs no other process."""
    lines = [f"{storage.file_sha256(path)}  {name}\n" for name, path in _files(folder).items()]
    storage.write_text(digest_file(folder), "".join(lines))


def has_digests(folder: storage.PathLike) -> bool:
    """Whether there are checksums; a checkpoint of an earlier version has none."""
    return digest_file(folder).exists()


def find_damage(folder: storage.PathLike) -> str:
    """The first file that is not as it was saved, and how; empty if all are.

    Raises:
        OSError: a file cannot be read.
    """
    wanted = {}
    # A damaged line is one of a file that does not exist, and so is its file one without a line.
    for line in storage.read_bytes(digest_file(folder)).decode(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        wanted[name] = digest
    found = _files(folder)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is not among the files of {digest_file(folder).name}"
        if storage.file_sha256(found[name]) != wanted[name]:
            return f"{name} is not as it was saved: its SHA-256 differs"
    return ""


def remove_orphans(checkpoints: storage.PathLike) -> None:
    """Removes the checksums of checkpoints that are no longer there."""
    for path in storage.path(checkpoints).glob(f"*{SUFFIX}"):
        if not path.with_name(path.name.removesuffix(SUFFIX)).exists():
            path.unlink(missing_ok=True)


def _files(folder: storage.PathLike) -> dict[str, epath.Path]:
    """The files of a checkpoint by their path from the folder of all checkpoints."""
    folder = storage.path(folder)
    waiting, found = [folder], {}
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir():
                waiting.append(path)
            else:
                found[f"{folder.name}/{path.relative_to(folder).as_posix()}"] = path
    return dict(sorted(found.items()))
