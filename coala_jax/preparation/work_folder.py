"""The folder beside a dataset in which it is made."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coala_jax.data.tfrecord import DatasetError

_STAMP, _LOCK = "made_from", "lock"


def discard_work(out: Path) -> None:
    """Removes what a run left that was killed when it had just finished."""
    work = out.with_name(out.name + ".work")
    if (work / _STAMP).is_file():
        shutil.rmtree(work)


@contextmanager
def work_folder(out: Path, made_from: str) -> Iterator[Path]:
    """`OUT.work`, for this process alone; emptied unless it is of what `made_from` stands for.

    Raises:
        DatasetError: another process is at work in it, or it holds something else.
    """
    work = out.with_name(out.name + ".work")
    stamp = work / _STAMP
    if work.exists() and not stamp.is_file() and any(work.iterdir()):
        raise DatasetError(
            f"{work}: it is needed to make {out} and holds something else; move it away, or "
            "choose another --out"
        )
    work.mkdir(parents=True, exist_ok=True)
    with (work / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(f"{out}: another process is making it; wait for that one") from error
        if stamp.is_file() and stamp.read_text() != made_from:
            print(f"{work}: it is of other sounds or of another analysis, and begun anew")
            for path in work.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
        stamp.write_text(made_from)
        yield work
