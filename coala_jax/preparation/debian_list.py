"""A list of sounds in Debian packages: which package, which file, which bytes, which tags."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coala_jax.preparation.corpus_folder import CorpusError, CorpusSound

COLUMNS = ("package", "path", "md5", "tags", "group", "licence")
_SHARE = "usr/share/"


@dataclass(frozen=True)
class ListedSound:
    """A sound of the list: where it sits in which package, and what it must be.

    Attributes:
        package: name of the Debian package.
        path: path inside the package, below usr/share/.
        md5: hexadecimal MD5 of the file.
        sound: the sound as the corpus names it.
    """

    package: str
    path: str
    md5: str
    sound: CorpusSound


def read_list(path: Path) -> list[ListedSound]:
    """Reads a tab-separated list of sounds; lines that begin with # are remarks.

    Raises:
        CorpusError: a column is missing, a row is malformed, or a path occurs twice.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
        numbered = [(n, line) for n, line in lines if not line.startswith("#")]
    rows = csv.DictReader((line for _, line in numbered), delimiter="\t", quoting=csv.QUOTE_NONE)
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise CorpusError(f"{path} has the columns {rows.fieldnames}, not {list(COLUMNS)}")
    sounds: dict[str, ListedSound] = {}
    for (number, _), row in zip(numbered[1:], rows, strict=True):
        if None in row or None in row.values() or not all(row.values()):
            raise CorpusError(f"{path}, line {number}: {len(COLUMNS)} filled columns are needed")
        if not row["path"].startswith(_SHARE) or ".." in PurePosixPath(row["path"]).parts:
            raise CorpusError(f"{path}, line {number}: {row['path']} is not below {_SHARE}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", row["package"]):
            raise CorpusError(f"{path}, line {number}: {row['package']} is no package name")
        if not re.fullmatch(r"[0-9a-f]{32}", row["md5"]):
            raise CorpusError(f"{path}, line {number}: {row['md5']} is no MD5")
        name = f"{row['package']}/{row['path'].removeprefix(_SHARE)}"
        if name in sounds:
            raise CorpusError(f"{path}, line {number}: {name} is listed twice")
        sound = CorpusSound(name, tuple(row["tags"].split()), row["group"], row["licence"])
        sounds[name] = ListedSound(row["package"], row["path"], row["md5"], sound)
    return list(sounds.values())
