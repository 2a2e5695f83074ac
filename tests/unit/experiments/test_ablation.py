"""The ablation: which programs it runs, and what it does when it is run again."""

import json
import sys

import pytest

from experiments import ablation, programs


def trained(commands) -> list[str]:
    workdirs = [
        f for command in commands if command[0] == "main" for f in command if "workdir" in f
    ]
    return [flag.rpartition("/")[2] for flag in workdirs]


def test_every_case_is_trained_at_every_level_and_all_are_evaluated_at_once(tmp_path, commands):
    assert ablation.main([f"--out={tmp_path}", "--seed", "0"]) == 0
    arms = ("ae-c", "ae-c-no-notes", "e-c", "cnn")
    size = "32-filters-300-steps-seed-0"
    assert trained(commands) == [
        f"{arm}-{level}-{size}" for level in ("peak", "recorded") for arm in arms
    ]
    assert (tmp_path / "notes.txt").read_text().split() == ["notes/a.flac", "notes/b.flac"]
    (evaluation,) = (command for command in commands if command[0] == "run")
    models = [flag.split("=")[1] for flag in evaluation if flag.startswith("--model=")]
    rows = ["AE-C", "untrained", "AE-C, no notes", "E-C", "CNN"]
    assert models == [
        name
        for level in ("peak", "recorded")
        for name in [*(f"{row}, {level} #0" for row in rows), f"MFCC, {level}"]
    ]
    assert "--model=MFCC, peak=mfcc:peak" in evaluation
    record = json.loads((tmp_path / "results.json").read_text())
    of_e_c = record["accuracies"]["peak"]["E-C"]["events"]["layers"]
    assert of_e_c["seeds"] == [0.5]
    assert of_e_c["over_mfcc"]["difference"] == of_e_c["over_untrained"]["difference"] == 0
    assert "| CNN | 50.0 (+0.0, +0.0) |" in (tmp_path / "results.md").read_text()


def test_run_again_it_does_what_is_not_done(tmp_path, commands):
    flags = [f"--out={tmp_path}", "--level", "peak"]
    assert ablation.main([*flags, "--seed", "0"]) == 0
    commands.clear()
    assert ablation.main([*flags, "--seed", "0", "1"]) == 0
    assert len(trained(commands)) == 4
    assert all(run.endswith("seed-1") for run in trained(commands))
    assert json.loads((tmp_path / "results.json").read_text())["seeds"] == [0, 1]


def test_without_minutes_nothing_is_trained(tmp_path, commands):
    assert ablation.main([f"--out={tmp_path}", "--minutes=0"]) == 0
    assert not trained(commands)


def test_a_program_that_fails_ends_it_with_its_name(monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match=r"no_program ended with exit code 1"):
        programs.program("coala_jax.no_program")
