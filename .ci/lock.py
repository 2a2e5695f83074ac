"""Makes the locks: requirements.txt, and in locks/ what each extra adds to it.

    ./run.sh lock                        # after a change of pyproject.toml; releases stay
    ./run.sh lock --upgrade-package=jax  # what follows goes to uv: this moves a release

Every package has the SHA-256 of each of its files, for every platform and Python. A group of
pyproject.toml (what builds, uploads and locks) has a complete lock, since it is installed alone.
Nothing is installed. Exit status: 0 done, 2 packages cannot be read or do not fit.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from resolve import NO_ANSWER, ROOT, installed_uv, uv_compile

HEADER = "# ./run.sh lock\n"
# A build of one's own has a hash of its own, and these are built by many (no CUDA, other CPUs).
# What they need is locked, less the CUDA libraries that PyTorch brings on Linux.
UNHASHED = {"torch", "tensorflow", "tensorflow-cpu"}


def split_pins(lock: str) -> dict[str, str]:
    """The lines of each package, by the first of them: name, release and marker."""
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    return {block.splitlines()[0].removesuffix(" \\"): block for block in blocks if "==" in block}


def split_extra(lock: str, base: str) -> tuple[str, str]:
    """What a lock adds to the base: the lines of packages with hashes, and of `UNHASHED`.

    A package that the base has for some platforms only is added where the lock has it for others.
    """
    known, hashed, unhashed = split_pins(base), "", ""
    for pin, block in split_pins(lock).items():
        if pin.split("==")[0] in UNHASHED:
            unhashed += f"{pin}\n"
        elif pin not in known:
            hashed += block
    return hashed, unhashed


def make_locks(uv: str, root: Path, upgrades: Sequence[str]) -> None:
    """Writes all locks; releases that are locked stay where `upgrades`, flags of uv, let them.

    Raises:
        subprocess.CalledProcessError: uv could not; it has said why.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = list(project["project"]["optional-dependencies"])
    groups = list(project["dependency-groups"])
    base, locks = root / "requirements.txt", root / "locks"
    locks.mkdir(exist_ok=True)

    def compile_lock(*arguments: str) -> str:
        command = [*uv_compile(uv), "--generate-hashes", *arguments]
        return subprocess.run(command, cwd=root, stdout=-1, text=True, check=True).stdout

    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "everything.txt"
        # uv keeps the releases of the file that it writes to.
        everything.write_text("".join(file.read_text() for file in locks.glob("*.txt")))
        compile_lock("pyproject.toml", f"--output-file={base}", *upgrades)
        base.write_text(HEADER + base.read_text())
        compile_lock(
            *("pyproject.toml", "--all-extras", *(f"--group={group}" for group in groups)),
            *(f"--constraints={base}", f"--output-file={everything}", *upgrades),
        )
        fixed = ("--no-annotate", f"--constraints={everything}")
        for group in groups:
            (locks / f"{group}.txt").write_text(HEADER + compile_lock(f"--group={group}", *fixed))
        for extra in extras:
            lock = compile_lock("pyproject.toml", f"--extra={extra}", *fixed)
            hashed, unhashed = split_extra(lock, base.read_text())
            (locks / f"{extra}.txt").write_text(HEADER + hashed)
            if unhashed:
                (locks / f"{extra}-unhashed.txt").write_text(HEADER + unhashed)


def main() -> int:
    try:
        with installed_uv() as uv:
            make_locks(uv, ROOT, sys.argv[1:])
    except subprocess.CalledProcessError:
        print(f"The locks could not be made. {NO_ANSWER}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
