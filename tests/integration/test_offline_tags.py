"""Tags are processed offline, from the package's own files, whoever owns them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "coala_jax"

OFFLINE = """
import socket, sys
def refuse(*arguments, **keywords):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.getaddrinfo = refuse
import coala_jax, coala_jax.tags.vocabulary
assert not {"nltk", "inflect", "jax"} & set(sys.modules), "imported before tags are processed"
from coala_jax.tags import normalize
assert normalize.__file__.startswith(sys.argv[1]), normalize.__file__
print(*normalize.normalize_tags(["the", "Drums", "lens"]))
print(*normalize.normalize_tags(["the", "Drums", "lens"], "released"))
"""


def test_it_works_offline_from_files_that_nltk_refuses_itself(tmp_path: Path) -> None:
    """As under umask 002, and where the test may do so, owned by another user."""
    copy = tmp_path / "installed" / "coala_jax"
    (copy / "audio").mkdir(parents=True)
    for name in ("__init__.py", "storage.py"):
        shutil.copy(PACKAGE / name, copy / name)
    shutil.copytree(PACKAGE / "tags", copy / "tags")
    for path in (copy, *copy.rglob("*")):
        if os.getuid() == 0:
            os.chown(path, 12345, 12345)
        path.chmod(0o775 if path.is_dir() else 0o664)
    environment = {"PATH": "", "HOME": str(tmp_path / "none"), "NLTK_DATA": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", OFFLINE, str(copy)],
        env=environment | {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("drum lens\ndrum len\n", "")
