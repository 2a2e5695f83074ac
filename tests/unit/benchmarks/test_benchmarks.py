"""What all benchmarks share: flags, missing packages, turns, watched programs, the record."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from benchmarks import measure, result
from benchmarks.measure import BenchmarkError, in_turn

PROGRAMS = (
    *("train_step", "embed", "schedule", "prepare", "probe", "retrieval", "search"),
    "seeded_faults",
)


@pytest.mark.parametrize("program", [*PROGRAMS, "results_table", "released_script"])
def test_help(program, capsys):
    with pytest.raises(SystemExit) as ended:
        import_module(f"benchmarks.{program}").main(["--help"])
    assert ended.value.code == 0
    assert f"benchmarks.{program}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "package", "fix"),
    [
        ("train_step", "torch", "./run.sh install test"),
        ("train_step", "jax", "./run.sh install test"),
        ("schedule", "coala_jax", "pip install -r requirements.txt"),
        ("prepare", "resampy", "./run.sh install benchmark"),
        ("embed", "resampy", "./run.sh install test benchmark"),
    ],
)
def test_a_missing_package_ends_in_one_sentence(program, package, fix, monkeypatch, capsys):
    module = import_module(f"benchmarks.{program}")
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert module.main(["--out=x"] if program == "schedule" else []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"benchmarks.{program}: ") and package in line and line.endswith(fix)


def test_every_second_round_starts_with_the_last():
    log = []
    runs = {name: lambda name=name: log.append(name) or len(log) for name in "ab"}
    assert in_turn(runs, 3) == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert "".join(log) == "abbaab"


def test_the_memory_of_children_counts():
    child = "held = b'x' * 200_000_000; print('held', flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        megabytes = measure.session_mb(process.pid)
        process.communicate(b"\n")
    assert 200 < megabytes < 260
    assert measure.session_mb(process.pid) == 0


def test_a_program_that_fails_is_an_error_with_its_words(tmp_path):
    code = "import sys; print('first'); print('the cause', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BenchmarkError, match="3: first the cause"):
        measure.measure([sys.executable, "-uc", code], tmp_path / "log")


def test_the_record_is_written_as_it_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(result, "device_name", lambda: "Quick (TM) 3000, 2 cores")
    result.finish("mine", {"value": 1.5}, ["--rounds", "1"], tmp_path, ["numpy"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((tmp_path / "mine-quick-tm-3000-2-cores.json").read_text()) == printed
    assert (printed["value"], printed["device"]) == (1.5, "Quick (TM) 3000, 2 cores")
    assert printed["command"] == "python -m benchmarks.mine --rounds 1"
    assert printed["versions"].keys() == {"python", "numpy"}
