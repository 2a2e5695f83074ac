"""What `./run.sh resolve` says of a resolver's answers; the resolver here is our own script."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

_UV = """#!/bin/sh
case "$*" in
*--extra=impossible*)
    echo "error: No solution found when resolving dependencies" >&2
    echo "  cause: because impossible needs numpy<2 and numpy==2.4.6" >&2
    exit 1 ;;
*--extra=unread*) echo "error: Failed to fetch: numpy" >&2; exit 2 ;;
*--extra=plot*) echo "pandas==3.1.1 ; python_full_version >= '3.11'" ;;
esac
echo "numpy==2.4.6"
"""


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("resolve", ROOT / ".ci" / "resolve.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "resolve", module)  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def project(
    folder: Path, *extras: str, lock: str = "numpy==2.4.6\n", plot: str = "pandas==3.1.1\n"
) -> tuple[str, Path]:
    """A project of these extras and its resolver."""
    lines = [f'{extra} = ["{extra}"]' for extra in extras]
    (folder / "pyproject.toml").write_text(
        "\n".join(["[project]", "[project.optional-dependencies]", *lines])
    )
    (folder / "requirements.txt").write_text(lock)
    (folder / "locks").mkdir(exist_ok=True)
    (folder / "locks" / "plot.txt").write_text(plot)
    uv = folder / "uv"
    uv.write_text(_UV)
    uv.chmod(0o755)
    return str(uv), folder


def test_names_the_extra_that_conflicts_and_goes_on(resolve, tmp_path, capsys):
    assert resolve.check(*project(tmp_path, "plot")) == 0
    assert "extra plot: adds 1\n  pandas 3.1.1\n" in capsys.readouterr().out
    assert resolve.check(*project(tmp_path, "impossible", "plot")) == 1
    said = capsys.readouterr().out
    for token in ("extra impossible: CONFLICT", "needs numpy<2", "extra plot: adds 1"):
        assert token in said


def test_a_lock_that_lacks_a_dependency(resolve, tmp_path, capsys):
    assert resolve.check(*project(tmp_path, lock="jax==0.10.2\n")) == 1
    assert "coala_jax alone: adds 1\n  numpy 2.4.6\n" in capsys.readouterr().out


def test_a_lock_of_an_extra_that_lacks_a_dependency(resolve, tmp_path, capsys):
    assert resolve.check(*project(tmp_path, "plot", plot="")) == 1
    assert "The locks lack pandas. Fix: ./run.sh lock" in capsys.readouterr().out


def test_no_network_is_no_conflict(resolve, tmp_path, capsys):
    assert resolve.check(*project(tmp_path, "unread")) == 2
    assert "Failed to fetch: numpy" in capsys.readouterr().out
