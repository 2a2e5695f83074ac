"""What pyproject.toml says is installed: every package, and every file in them that is no code."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
# Where each top-level folder of the repository is installed.
PLACES = {"coala_jax": "coala_jax"} | {
    folder: package for package, folder in SETUPTOOLS["package-dir"].items()
}


def package_of(folder: Path) -> str:
    top, *below = folder.relative_to(ROOT).parts
    return ".".join([PLACES[top], *below])


def test_the_packages_are_the_folders_with_an_init_file():
    folders = [path.parent for top in PLACES for path in (ROOT / top).rglob("__init__.py")]
    assert len(folders) > 10
    assert sorted(map(package_of, folders)) == sorted(SETUPTOOLS["packages"])


def test_every_file_that_is_no_code_is_package_data():
    found = set()
    for package, patterns in SETUPTOOLS["package-data"].items():
        folder = next(p.parent for t in PLACES for p in (ROOT / t).rglob("__init__.py")
                      if package_of(p.parent) == package)  # fmt: skip
        found |= {path for pattern in patterns for path in folder.glob(pattern)}
    files = {path for top in PLACES for path in (ROOT / top).rglob("*") if path.is_file()}
    data = {p for p in files if p.suffix not in (".py", ".pyc")}
    assert data and found == data
