"""The ablation: which programs it runs, and what it does when it is run again."""

import json
from pathlib import Path

import pytest

from experiments import ablation


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """The commands of the programs, each of which leaves what the real one would."""
    found = []

    def program(module: str, *flags: str) -> None:
        found.append([module, *flags])
        given = dict(flag.split("=", 1) for flag in flags if "=" in flag)
        if module == "coala_jax.main":
            if given["--workdir"].endswith("cnn-8x60-64-0.001-seed1"):
                raise RuntimeError("out of memory")
            record = Path(given["--workdir"], "results.json")
        elif module == "coala_jax.evaluation.run":
            record = Path(given["--out"], "results.json")
        else:
            names = {"sample_corpus": "sounds.csv", "from_folder": "manifest.json"}
            record = Path(given["--out"], names.get(module.split(".")[-1], "made"))
        record.parent.mkdir(parents=True, exist_ok=True)
        outcomes = [{"task": "events", "model": "AE-C paper", "mean": 0.98765}]
        record.write_text(json.dumps({"outcomes": outcomes}))

    monkeypatch.setattr(ablation, "_program", program)
    return found


def test_every_case_is_trained_and_all_are_evaluated_at_both_levels(tmp_path, commands, capsys):
    flags = [f"--out={tmp_path}", "--filters=8", "--mode", "paper"]
    assert ablation.main(flags) == 0
    trained = [command[1] for command in commands if command[0] == "coala_jax.main"]
    assert trained == [
        f"--config={ablation.ROOT}/configs/{case}.py:paper" for case in ("ae_c", "e_c", "cnn")
    ]
    recorded, peak = (command for command in commands if "evaluation" in command[0])
    models = [flag.split("=")[1] for flag in recorded if flag.startswith("--model")]
    names = ["AE-C paper", "E-C paper", "CNN paper", "untrained paper", "MFCC paper"]
    assert models == names
    assert [flag for flag in peak if flag.startswith("--task")] == [
        f"--task={tmp_path / 'tasks' / task}" for task in ("instruments", "events")
    ]
    assert any(flag.startswith("--data=") for flag in recorded)
    assert not any(flag.startswith("--data=") for flag in peak)
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["accuracies"]["peak"] == {"events": {"AE-C paper": 0.9877}}
    assert json.loads(capsys.readouterr().out) == record


def test_run_again_it_does_what_is_not_done(tmp_path, commands, capsys):
    flags = [f"--out={tmp_path}", "--filters=8", "--mode", "paper"]
    assert ablation.main(flags) == 0
    commands.clear()
    assert ablation.main([*flags, "--seed", "0", "1"]) == 1
    assert "out of memory" in capsys.readouterr().err
    assert [command[0].split(".")[-1] for command in commands] == ["proxy_tasks", *["main"] * 3]
    assert all("--config.seed=1" in command for command in commands[1:])


def test_a_program_that_fails_is_named():
    with pytest.raises(RuntimeError, match=r"coala_jax\.no_program"):
        ablation._program("coala_jax.no_program")
