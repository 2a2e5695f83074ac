"""A list of sounds in Debian packages: which package, which file, which bytes, which tags."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError, CorpusSound

COLUMNS = ("package", "path", "sha256", "tags", "group", "licence")
COLUMNS_WITH_CONTAINER = ("package", "container", *COLUMNS[1:])
NONE = "-"  # in the column container: the sound is a file of its own
_SHARE = "usr/share/"


@dataclass(frozen=True)
class ListedSound:
    """A sound of the list: the file in a package, and what it must be.

    Attributes:
        package: name of the Debian package.
        path: path inside the package, below usr/share/; or inside the container.
        sha256: hexadecimal SHA-256 of the file.
        sound: the sound as the corpus names it.
        container: path of the container (`containers.py`) that holds the sound, inside the package
            and below usr/share/; empty if the sound is a file of its own.
    """

    package: str
    path: str
    sha256: str
    sound: CorpusSound
    container: str = ""


def read_list(*paths: Path) -> list[ListedSound]:
    """Reads tab-separated lists, one after the other; lines that begin with # are comments.

    The columns are COLUMNS, or COLUMNS_WITH_CONTAINER.

    Raises:
        CorpusError: a column is missing, a row is malformed, or a path occurs twice.
    """
    sounds: dict[str, ListedSound] = {}
    columns = (COLUMNS, COLUMNS_WITH_CONTAINER)
    for where, row in (row for path in paths for row in read_rows(path, *columns)):
        container, name = locate(row, where)
        if name in sounds:
            raise CorpusError(f"{where}: {name} is listed twice")
        tags = tuple(row["tags"].split())
        sound = CorpusSound(name, tags, row["group"], row["licence"], row["package"])
        sounds[name] = ListedSound(row["package"], row["path"], row["sha256"], sound, container)
    return list(sounds.values())


def read_rows(path: Path, *known: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a list whose columns are one of the `known` sets, in this order; all are filled.

    Each set holds `package` and `sha256`.

    Yields:
        The file and line of the row, for messages, and the row.

    Raises:
        CorpusError: the columns are none of these, or a row is malformed.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
        numbered = [(n, line) for n, line in lines if not line.startswith("#")]
    rows = csv.DictReader((line for _, line in numbered), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = tuple(rows.fieldnames or ())
    if columns not in map(tuple, known):
        names = " or ".join(str(list(choice)) for choice in known)
        raise CorpusError(f"{path}: the columns must be {names}, not {rows.fieldnames}")
    for (number, _), row in zip(numbered[1:], rows, strict=True):
        where = f"{path}, line {number}"
        if None in row or None in row.values() or not all(row.values()):
            raise CorpusError(f"{where}: each of the {len(columns)} columns must be filled")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", row["package"]):
            raise CorpusError(f"{where}: invalid package name {row['package']!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"]):
            raise CorpusError(f"{where}: invalid SHA-256 {row['sha256']!r}")
        yield where, row


def locate(row: Mapping[str, str], where: str) -> tuple[str, str]:
    """The container of a row's sound, empty if there is none, and the file in an audio folder.

    where: the file and line of the row, for messages.

    Raises:
        CorpusError: the container, or a path without one, is not below usr/share/; or the path
            leads out of the container.
    """
    container, path = row.get("container", NONE), row["path"]
    if container == NONE:
        return "", f"{row['package']}/{_below_share(path, where)}"
    _below_share(container, where)
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise CorpusError(f"{where}: {path!r} leads out of its container")
    return container, f"{row['package']}/{path}"


def _below_share(path: str, where: str) -> str:
    if not path.startswith(_SHARE) or ".." in PurePosixPath(path).parts:
        raise CorpusError(f"{where}: {path!r} is not below {_SHARE}")
    return path.removeprefix(_SHARE)
