"""What pyproject.toml installs: packages, and their files that are not code; its version."""

import glob
import re
import tomllib
from pathlib import Path

import coala_jax

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
# Where each top-level folder of packages is installed.
PLACES = {folder: package for package, folder in SETUPTOOLS["package-dir"].items()}
PLACES["coala_jax"] = "coala_jax"


def folders() -> dict[str, Path]:
    """The folders with an __init__.py, by the package that each is installed as."""
    found = {}
    for top, place in PLACES.items():
        for path in (ROOT / top).rglob("__init__.py"):
            name = ".".join([place, *path.parent.relative_to(ROOT / top).parts])
            found[name] = path.parent
    return found


def test_the_packages_are_the_folders_with_an_init_file():
    assert len(folders()) > 10
    assert sorted(folders()) == sorted(SETUPTOOLS["packages"])


def test_every_file_that_is_not_code_is_package_data():
    installed = {
        folders()[package] / name
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        # As setuptools reads a pattern; in Python 3.11 a Path's ** finds folders alone.
        for name in glob.glob(pattern, root_dir=folders()[package], recursive=True)  # noqa: PTH207
    }
    files = {path for top in PLACES for path in (ROOT / top).rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in (".py", ".pyc")}
    assert data and {path for path in installed if path.is_file()} == data


def test_the_version_is_the_same_everywhere():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert PYPROJECT["project"]["version"] == coala_jax.__version__ == cited[1]
