"""Checks that the locks are complete, and that what later work needs resolves on top of them.

It needs nothing but Python: it puts uv into an environment that is thrown away, and uv reads only
the metadata of packages, for every platform and every Python that the locks are for. Nothing is
installed. Exit status: 0 all is well, 1 a conflict or a lock that lacks something (named), 2
packages cannot be read.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NO_ANSWER = (
    "Packages cannot be read (above is why; most often there is no network): whether anything "
    "conflicts is not known. Fix: run it again where packages can be fetched; uv takes a mirror "
    "from UV_DEFAULT_INDEX and certificates from SSL_CERT_FILE."
)

TOGETHER = "all of these together"

# What later work needs and no extra names yet; an entry goes when its extra comes. The lower bounds
# count: without them a resolver that meets a conflict answers with a release of ten years ago.
LATER = {
    "apache-beam>=2.70": "preparation and embedding on many machines",
    "s3fs>=2026.1": "datasets and runs in an object store",
    "moto[s3,server]>=5.1": "an object store on this machine, for the tests",
    "datasets>=4": "sounds from Hugging Face",
    "webdataset>=1.0": "sounds in tar files",
    "h5py>=3.14": "sounds in HDF5, as the authors have them",
    "onnxruntime>=1.22": "the exported encoder, run",
    "tensorflow-cpu>=2.20": "a dataset read by TensorFlow Datasets",
}


@dataclass(frozen=True)
class Resolution:
    """What uv answered: release by package, or why there is none."""

    releases: dict[str, str]
    error: str = ""

    @property
    def conflict(self) -> bool:
        """Whether packages exclude each other, and not merely that nothing could be read."""
        return "No solution found" in self.error


def read_releases(requirements: str) -> dict[str, str]:
    """Release by package of a file of pinned requirements; markers and comments are passed over."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", requirements, re.MULTILINE))


@contextmanager
def installed_uv() -> Iterator[str]:
    """The path of uv, of the release that makes the locks, while the context lasts.

    Raises:
        subprocess.CalledProcessError: pip could not install it, and has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin")
        pip = [programs / "python", "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*pip, "-r", ROOT / "locks" / "uv.txt"], check=True)
        yield str(programs / "uv")


def uv_compile(uv: str) -> list[str]:
    """The command that resolves for every platform and Python, less what it resolves."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version=3.11"]
    command += ["--fork-strategy=fewest", "--no-header", "--no-python-downloads"]
    return [*command, "--system-certs"]  # as pip where a company or a sandbox has its own


def resolve(uv: str, root: Path, extras: list[str], more: list[str]) -> Resolution:
    """Resolves the package with these extras and requirements, the lock's releases held fixed.

    Those of the extras' locks are, too, unless more is asked for: later work may move them.
    """
    command = [*uv_compile(uv), "--no-annotate", "pyproject.toml", "-"]
    locks = [root / "requirements.txt", *([] if more else sorted((root / "locks").glob("*.txt")))]
    command += [f"--constraints={lock}" for lock in locks]
    command += [f"--extra={extra}" for extra in extras]
    answer = subprocess.run(
        command, cwd=root, input="\n".join(more), capture_output=True, text=True, check=False
    )
    return Resolution(read_releases(answer.stdout), answer.stderr if answer.returncode else "")


def fill(text: str) -> str:
    """The text in indented lines that part no name at its hyphens."""
    return textwrap.fill(
        text, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )


def read_locked(root: Path, extras: list[str]) -> dict[str, str]:
    """Release by package of requirements.txt and of what these extras add to it."""
    locks = [root / "requirements.txt"]
    locks += [lock for extra in extras for lock in (root / "locks").glob(f"{extra}*.txt")]
    return read_releases("\n".join(lock.read_text(encoding="utf-8") for lock in locks))


def check(uv: str, root: Path) -> int:
    """Prints what each extra adds to the lock, or why it does not fit; returns the exit status."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = read_locked(root, [])
    extras, later = list(project["optional-dependencies"]), list(LATER)
    questions: list[tuple[str, list[str], list[str]]] = [
        ("coala_jax alone", [], []),
        *((f"extra {extra}", [extra], []) for extra in extras),
        *((f"later {wanted}, for {LATER[wanted]}", [], [wanted]) for wanted in later),
        (TOGETHER, extras, later),
    ]
    failed = []
    for name, wanted, more in questions:
        answer = resolve(uv, root, wanted, more)
        if answer.error:
            print(f"{name}: {'CONFLICT' if answer.conflict else 'NO ANSWER'}")
            print(textwrap.indent(answer.error.rstrip(), "  "), flush=True)
            if not answer.conflict:
                print(NO_ANSWER)
                return 2
            failed.append(name)
            continue
        added = {key: value for key, value in answer.releases.items() if key not in base}
        print(f"{name}: adds {len(added)}")
        if added and name != TOGETHER:  # whose list is the others' lists again
            print(fill(", ".join(f"{key} {value}" for key, value in added.items())))
        if not more and (missing := added.keys() - read_locked(root, wanted)):
            failed.append(name)
            print(f"  The locks lack {', '.join(sorted(missing))}. Fix: ./run.sh lock")
        sys.stdout.flush()
    if failed:
        print(f"{len(failed)} of {len(questions)} do not fit: {'; '.join(failed)}")
        return 1
    print(f"all {len(questions)} resolve on top of the lock")
    return 0


def main() -> int:
    try:
        with installed_uv() as uv:
            return check(uv, ROOT)
    except subprocess.CalledProcessError:
        print(NO_ANSWER)
        return 2


if __name__ == "__main__":
    sys.exit(main())
