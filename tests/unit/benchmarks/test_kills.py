"""Kills of a small program that survives them, and of one that does not."""

import sys
from dataclasses import dataclass
from importlib import import_module

import pytest

from benchmarks import kill_programs, kills
from benchmarks.kill_watch import Aim, run_and_kill
from coala_jax import storage
from coala_jax.cli import COMMANDS

# Ten files, each written under another name first; resumed where they end. Then a file of them all.
CAREFUL = """
import os, pathlib, time
for number in range(10):
    if not os.path.exists(f"out/{number}"):
        os.makedirs("out", exist_ok=True)
        with open("out/new.tmp", "w") as file:
            time.sleep(0.02)
            file.write(str(number))
        os.replace("out/new.tmp", f"out/{number}")
"""
CARELESS = CAREFUL.replace("out/new.tmp", "out/{number}").replace('open("', 'open(f"')
CARELESS = CARELESS[: CARELESS.index("        os.replace")]


@dataclass(frozen=True)
class Script:
    """In the place of a `Program`."""

    code: str
    writes: dict
    words: tuple = ("script",)

    @property
    def command(self):
        return [sys.executable, "-S", "-E", "-c", self.code]

    def read(self, folder):
        return {path.name: path.read_bytes() for path in folder.glob("out/[0-9]")}


def try_kills(script, folder, count):
    folder.mkdir()
    reference = kills.Reference(script, folder)
    assert reference.writes == {"file": pytest.approx(10, abs=12)} and len(reference.digests) == 10
    return [
        kills.kill_once("script", script, folder, reference, turn, (0, turn))
        for turn in range(count)
    ]


def test_a_careful_program_leaves_the_same_and_a_careless_one_does_not(tmp_path):
    careful = try_kills(Script(CAREFUL, {"file": ["out/new.tmp"]}), tmp_path / "careful", 4)
    careless = try_kills(Script(CARELESS, {"file": ["out/*"]}), tmp_path / "careless", 4)
    assert all(trial["identical"] for trial in careful)
    assert not all(trial["identical"] for trial in careless if trial["killed"])
    figures = kills.summary([*careful, *careless])
    counts = figures["programs"]["script"].values()
    assert sum(kind["kills"] for kind in counts) == figures["kills"] > 0
    assert sum(kind["identical"] for kind in counts) == figures["identical"]
    assert all(trial["differing"] for trial in figures["different"])


def test_a_kill_lands_within_the_write_that_it_is_aimed_at(tmp_path):
    aim = Aim(["out/new.tmp"], 4, 0.0)
    command = Script(CAREFUL, {}).command
    code, killed = run_and_kill(command, tmp_path, tmp_path / "log", 60, aim)
    assert killed and code == -9
    assert len(list((tmp_path / "out").iterdir())) in range(2, 6)
    assert run_and_kill(command, tmp_path, tmp_path / "log", 60) == (0, False)
    with pytest.raises(TimeoutError, match="no end after 0 s"):
        sleeps = Script("import time; time.sleep(60)", {}).command
        run_and_kill(sleeps, tmp_path, tmp_path / "log", 0.2)


def test_trials_go_on_where_they_were(tmp_path, monkeypatch):
    script = Script(CAREFUL, {"file": ["out/new.tmp"]})
    monkeypatch.setattr(kills, "programs", lambda: {"script": script})
    monkeypatch.setattr(kills, "make_sounds", lambda folder: folder.mkdir(parents=True))
    (tmp_path / "script").mkdir()
    arguments = ({"script": script}, tmp_path, tmp_path / "out.jsonl")
    first = kills.run_trials(*arguments, 1, 60, 0)
    both = kills.run_trials(*arguments, 2, 60, 0)
    assert both[:1] == first and [trial["trial"] for trial in both] == [0, 1]
    assert storage.read_json_lines(tmp_path / "out.jsonl", "trial") == both
    assert kills.run_trials(*arguments, 3, 0, 0) == both  # no time is left


def test_each_kind_of_write_gets_a_share(tmp_path):
    for program in kill_programs.programs().values():
        assert 1 <= len(program.writes) <= 4  # else it would be less than a fifth
    kill_programs.make_sounds(tmp_path / "inputs")
    assert len(list((tmp_path / "inputs").glob("*.wav"))) == 24


@pytest.mark.parametrize("program", kill_programs.programs().values(), ids=lambda one: one.words[0])
def test_what_is_killed_is_a_command_of_today(program):
    command, *flags = program.words
    assert import_module(COMMANDS[command][0]).parser().parse_args(flags)
