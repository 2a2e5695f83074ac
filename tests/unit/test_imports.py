"""Who may import whom, and who may open files, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "coala_jax"

# A room may import itself, the modules at the top that hold no room, and these rooms.
ROOMS = {
    "audio": set(),
    "tags": set(),
    "data": set(),
    "ops": set(),
    "models": {"ops"},
    "preparation": {"audio", "tags", "data"},
    "training": {"data", "default_config", "models"},
    "embedding": {"audio", "tags", "models", "data.scaler"},
    "evaluation": {"audio", "tags", "data", "embedding", "models"},
    "reporting": set(),
    "serve": {"audio", "embedding"},
    # The command `coala`, which stands on top of everything.
    "cli": {
        "audio",
        "config_keys",
        "data",
        "data_prep",
        "default_config",
        "embedding",
        "flags",
        "logs",
        "main",
        "models",
        "preparation",
        "reporting",
        "serve",
        "training",
        "training_run",
    },
}
# A module that is a program may import more than its room: it stands on top.
PROGRAMS = {
    "evaluation/run.py": {"flags", "logs", "reporting"},
    "reporting/__main__.py": {"flags"},
    "data/verify.py": {"cli"},  # as a program, another name of a command
}
TOP = {
    "main": {"config_keys", "default_config", "flags", "logs", "training_run"},
    "config_keys": {"default_config"},
    "default_config": {"data"},
    "flags": set(),  # which programs alone may import
    "logs": set(),
    "prefetch": set(),
    "sklearn": {"embedding"},
    "storage": set(),
    "training_run": {
        *("data", "default_config", "embedding", "evaluation", "logs", "models", "reporting"),
        "training",
        "training_run",
    },
}


def imported_rooms(path: Path) -> set[str]:
    """The rooms and top modules of coala_jax that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {
            "data.scaler" if p[1:3] == ["data", "scaler"] else p[1]  # what is applied in use, too
            for p in parts
            if p[0] == "coala_jax" and len(p) > 1
        }
        assert not any(p[0] in ("configs", "data_prep", "tests") for p in parts), path
    return found - {"__version__", "prefetch", "storage"}  # every room may import these two


def test_the_rooms_are_those_of_the_map():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == ROOMS.keys()
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert files == TOP.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below(room):
    for path in (PACKAGE / room).rglob("*.py"):
        allowed = ROOMS[room] | {room}
        if "data" in allowed:
            allowed |= {"data.scaler"}
        allowed |= PROGRAMS.get(path.relative_to(PACKAGE).as_posix(), set())
        assert imported_rooms(path) <= allowed, path


@pytest.mark.parametrize("module", TOP)
def test_a_top_module_imports_only_what_it_may(module):
    assert imported_rooms(PACKAGE / f"{module}.py") <= TOP[module]


FILE_METHODS = ("open", "read_bytes", "read_text", "write_bytes", "write_text")


def opened_by_another_road(path: Path) -> list[str]:
    """The calls in a file that open files, but for those of `storage` or on a path that it made."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called, place = node.func, f"{path.name}:{node.lineno}"
        if isinstance(called, ast.Name) and called.id == "open":
            found.append(place)
        if isinstance(called, ast.Attribute) and called.attr in FILE_METHODS:
            owner = ast.unparse(called.value)
            # Sound is read by soundfile, what the package ships by importlib.resources.
            if not owner.startswith(("storage", "files(", "(files(")):
                found.append(place)
    return found


def test_no_module_opens_files_but_through_storage():
    paths = [path for path in PACKAGE.rglob("*.py") if path.stem != "storage"]
    assert [place for path in paths for place in opened_by_another_road(path)] == []
    assert opened_by_another_road(PACKAGE / "storage.py")  # or this test would show nothing
