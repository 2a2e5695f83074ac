"""The recipe: which programs it runs, in which pieces, and what it records."""

import json

import pytest
from coala_jax.configs.ae_c import get_config

from coala_jax.default_config import validate
from experiments import recipe


def trained(commands) -> list[str]:
    return [
        flag
        for command in commands
        if command[0] == "main"
        for flag in command
        if "workdir" in flag
    ]


def test_every_variant_is_a_config_that_differs_from_the_base_as_it_says():
    names = [variant.name for variant in recipe.VARIANTS]
    assert len(set(names)) == len(names)
    assert set(recipe.FINALISTS) <= set(names)
    for variant in recipe.VARIANTS:
        config = get_config()
        config.data.path = "dataset"
        config.update_from_flattened_dict(recipe.BASE | dict(variant.settings))
        validate(config)
        is_base = not (variant.settings or variant.without or variant.prepare)
        assert (is_base and variant.steps == recipe.STEPS) == (variant.name == recipe.REFERENCE)


def test_it_goes_on_in_pieces_and_compares_what_is_trained(tmp_path, commands, monkeypatch, capsys):
    monkeypatch.setattr(recipe, "VARIANTS", recipe.VARIANTS[:3])
    assert recipe.main([f"--out={tmp_path}"]) == 0
    runs = [
        f"--workdir={tmp_path}/runs/{n}"
        for n in ("base-seed0", "base-seed1", "e-c-seed0", "e-c-seed1", "no-notes-seed0")
    ]
    assert trained(commands) == runs
    excluded = {path.name: path.read_text().split() for path in tmp_path.glob("dataset*.txt")}
    assert excluded == {
        "dataset.txt": ["nexuiz-data/c.ogg", "notes/b.flac"],
        "dataset-minuet-data-timgm6mb-soundfont.txt": [
            "nexuiz-data/c.ogg",
            "notes/a.flac",
            "notes/b.flac",
        ],
    }
    of_base = next(command for command in commands if command[0] == "main")
    assert "--config.train.epochs=38" in of_base  # 300 steps of 128 on 1,000 sounds
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["runs"]["base"]["minutes"] == [1.5, 1.5]
    assert list(record["accuracies"]) == [
        "base",
        "no notes",
        "E-C",
        "untrained",
        "MFCC",
        "MFCC, peak",
    ]
    assert record["accuracies"]["E-C"]["events_dev"]["layers"]["over_reference"]["difference"] == 0
    assert (tmp_path / "results.md").read_text() in capsys.readouterr().out
    commands.clear()
    assert recipe.main([f"--out={tmp_path}"]) == 0
    assert [command[0] for command in commands] == [
        "proxy_tasks",
        "run",
    ]  # both reuse what is there


def test_when_the_minutes_are_over_it_evaluates_what_there_is(tmp_path, commands, monkeypatch):
    clock = iter(range(0, 10_000, 45))  # seconds: two trainings begin within the minute
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert recipe.main([f"--out={tmp_path}", "--minutes=1"]) == 0
    assert len(trained(commands)) == 1
    assert list(json.loads((tmp_path / "results.json").read_text())["runs"]) == ["base"]


@pytest.mark.parametrize("name", ["half of the notes an epoch"])
def test_weights_of_sources_change_the_epochs_and_not_the_steps(name, tmp_path, commands):
    variant = next(one for one in recipe.VARIANTS if one.name == name)
    recipe.programs.make_corpus(tmp_path / "corpus")
    recipe._train(tmp_path, variant, 0)
    # Half of one of two sources: 750 of 1,000 sounds an epoch, so 6 steps; 300 steps are 50 epochs.
    assert "--config.train.epochs=50" in commands[-1]
