"""The wheel, in an environment of its own: it has a model, prepares, trains and embeds."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {  # folders of the checkout, and where they are installed
    "coala_jax": "coala_jax",
    "configs": "coala_jax/configs",
    "data_prep": "coala_jax/data_prep",
}
OTHERS = ("tests", "benchmarks", "experiments")  # not in the wheel

PROGRAM = """
import contextlib, io, json, runpy, sys
from pathlib import Path

def program(module, *flags):  # python -m MODULE FLAGS
    sys.argv = [module, *flags]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, end.code

import coala_jax
here = Path(coala_jax.__file__).parent
assert Path(sys.prefix) in here.parents, here
program("coala_jax.data_prep.sample_corpus", "--corpus=synthetic", "--sounds=20", "--out=corpus")
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="coala")
coala = command.load()
said = io.StringIO()
with contextlib.redirect_stdout(said):
    assert not coala(["tags", "corpus/audio/synthetic/000000.wav", "--top=2", "--json"])
assert len(json.loads(said.getvalue())["tags"]) == 2, said.getvalue()
assert not coala([
    "prepare", "--audio=corpus/audio", "--tags=corpus/sounds.csv", "--out=dataset",
    "--validation_fraction=0.3", "--workers=1",
])
assert not coala([
    "train", "quickstart", "--data=dataset", "--workdir=run", "--set=train.epochs=1",
    "--set=train.batch_size=8", "--set=model.filters=2", "--set=model.tag_hidden=8",
    "--set=case=cnn",
])
for folder in ("dataset", "run/model"):
    assert not coala(["verify", folder])
assert not coala(["info", "run"])
from coala_jax.embedding.embedder import load
import numpy
vector = load("run/model").embed("corpus/audio/synthetic/000000.wav")[0]
numpy.save("vector.npy", vector)
outside = [
    name for name, module in list(sys.modules.items())
    if name.split(".")[0] == "coala_jax" and here not in Path(module.__file__).parents
]
assert not outside, outside
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build leaves files in its folder, and takes those of the one before."""
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, *OTHERS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    run([sys.executable, "-c", build], source)
    (built,) = (source / "dist").iterdir()
    return built


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {file.filename: file.file_size for file in archive.infolist()}
        names = {name for name in sizes if ".dist-info/" not in name}
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected
    assert {
        *("coala_jax/configs/ae_c.py", "coala_jax/data_prep/sample_corpus/small.tsv"),
        *("coala_jax/data_prep/proxy_tasks/events.tsv", "coala_jax/data_prep/from_folder.py"),
        *("coala_jax/weights/model.safetensors", "coala_jax/weights/bank.safetensors"),
        "coala_jax/weights/model.json",
    } < names
    model = [size for name, size in sizes.items() if name.startswith("coala_jax/weights/")]
    assert sum(model) <= 6 * 2**20  # which every installation downloads


def test_the_installed_wheel_prepares_trains_and_embeds(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # The locked packages, but not coala_jax: .pth files in a folder that one names are not read.
    (packages / "locked.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([*install, f"--target={packages}", str(wheel)], tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    run([str(environment / "bin" / "python"), "-I", "-c", PROGRAM], work)
    vector = np.load(work / "vector.npy")
    assert vector.shape == (9 * 2,) and np.isfinite(vector).all() and vector.any()
