"""The locks: every file of every package has its hash, and all of them fit pyproject.toml."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
LOCKS = {path.stem: path for path in (ROOT / "locks").glob("*.txt")}
BASE = ROOT / "requirements.txt"
UNHASHED = {"torch", "tensorflow", "tensorflow-cpu"}
FIX = "Fix: ./run.sh lock"

PIN = r"[a-z0-9-]+==\S+(?: ; [^\\\n]+)?"
HASHED = re.compile(
    rf"# \./run\.sh lock\n(?:{PIN}(?: \\\n    --hash=sha256:[0-9a-f]{{64}})+\n(?:    #.*\n)*)+"
)


@pytest.fixture
def lock(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / ".ci")
    return importlib.import_module("lock")


def releases(*locks: Path) -> dict[str, str]:
    text = "\n".join(lock.read_text(encoding="utf-8") for lock in locks)
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_every_extra_and_group_has_its_lock():
    assert set(LOCKS) == {*EXTRAS, *GROUPS, "test-unhashed"}, FIX


@pytest.mark.parametrize("lock", [BASE, *LOCKS.values()], ids=lambda lock: lock.stem)
def test_every_package_is_pinned_and_has_hashes(lock):
    text = lock.read_text(encoding="utf-8")
    if lock.stem == "test-unhashed":
        assert set(releases(lock)) == UNHASHED
        assert re.fullmatch(rf"# \./run\.sh lock\n(?:{PIN}\n)+", text), FIX
    else:
        assert HASHED.fullmatch(text), FIX
        assert not set(releases(lock)) & UNHASHED


def test_what_several_locks_hold_is_the_same(lock):
    """pip installs several locks at once only where their releases and hashes agree."""
    found = {}
    for path in [BASE, *(LOCKS[name] for name in LOCKS if name != "test-unhashed")]:
        for pin, block in lock.split_pins(path.read_text(encoding="utf-8")).items():
            name, release = pin.split(" ;")[0].split("==")
            known = (release, sorted(re.findall(r"sha256:\w+", block)))
            assert found.setdefault(name, known) == known, f"{name} in {path}. {FIX}"


@pytest.mark.parametrize(
    ("wanted", "locks"),
    [
        pytest.param(PYPROJECT["project"]["dependencies"], [BASE], id="coala_jax"),
        *(pytest.param(GROUPS[name], [LOCKS.get(name, BASE)], id=name) for name in GROUPS),
        *(
            pytest.param(
                EXTRAS[name],
                [BASE, *(path for stem, path in LOCKS.items() if stem.split("-")[0] == name)],
                id=name,
            )
            for name in EXTRAS
        ),
    ],
)
def test_what_pyproject_asks_for_is_in_the_lock(wanted, locks):
    locked = releases(*locks)
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in locked, f"{requirement} is not locked. {FIX}"
        assert requirement.specifier.contains(locked[name]), f"{requirement} != {locked[name]}"


def test_the_tests_bring_no_cuda():
    assert not [name for name in releases(LOCKS["test"]) if name.startswith(("nvidia", "cuda"))]


def block(pin):
    return f"{pin} \\\n    --hash=sha256:00\n    # via x\n"


def test_an_extra_adds_what_the_base_lacks_or_has_for_some_platforms_only(lock):
    base = "# head\n" + block("a==1") + block("b==2 ; sys_platform == 'win32'")
    extra = "".join(map(block, ("a==1", "b==2", "c==3", "torch==4")))
    assert lock.split_extra(extra, base) == (block("b==2") + block("c==3"), "torch==4\n")
