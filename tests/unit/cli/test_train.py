"""coala train: the settings that it hands over are those of the training module."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coala_jax import cli, training_run
from coala_jax.cli import train

ROOT = Path(__file__).parents[3]


def test_help_of_training_lists_the_keys_with_their_comments(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert "  loss.temperature = 0.1\n      tau of Eq. 11" in capsys.readouterr().out


# What `training_run.train` is handed, from the flags of the training module.
MODULE = """
import json, sys
from absl import app
from coala_jax import main, training_run

def train(config, workdir, command):
    print(json.dumps([config.to_dict(), str(workdir), config.is_locked, command]))
    assert "jax" not in sys.modules

training_run.train = train
app.run(main.main, flags_parser=main.parse)
"""


def test_a_command_trains_with_the_settings_of_the_module(monkeypatch):
    given = {
        "loss.temperature": "1", "train.epochs": "3", "data.placement": "host",
        "loss.equal_tags_are_negatives": "false",
    }  # fmt: skip
    flags = [f"--config={ROOT}/configs/quickstart.py:released", "--workdir=w"]
    flags += ["--config.data.path=d/x", *(f"--config.{k}={v}" for k, v in given.items())]
    module = subprocess.run(
        [sys.executable, "-c", MODULE, *flags], cwd=ROOT, env=os.environ, capture_output=True
    )
    config, workdir, is_locked, command = json.loads(module.stdout)
    assert command == ["python", "-m", "coala_jax.main", *flags]
    handed = []
    monkeypatch.setattr(training_run, "train", lambda *words: handed.append(words))
    settings = [word for pair in given.items() for word in ("--set", "=".join(pair))]
    words = ["quickstart:released", "--data=d/x", *settings, "--workdir=w"]
    assert cli.main(["train", *words]) == 0
    ((ours, ours_workdir, ours_command),) = handed
    assert (ours.to_dict(), str(ours_workdir), ours.is_locked) == (config, workdir, is_locked)
    assert repr(ours.loss.temperature) == "1.0"
    assert ours_command == ["coala", "train", *words]


def test_a_config_of_ones_own_and_the_folder_of_a_run_that_is_not_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "configs" / "cnn.py").read_text().replace("epochs = 20", "epochs = 7")
    Path("my.py").write_text(source)

    def settings(*words):
        return train.settings_of(train.parser().parse_args(words))

    config, workdir = settings("./my.py", "--data=dataset/mine/")
    assert (config.case, config.train.epochs, config.data.path) == ("cnn", 7, "dataset/mine/")
    assert workdir == Path("runs/my-mine")
    assert settings("my.py:released", "--data=.")[1] == Path(f"runs/my-released-{tmp_path.name}")
    assert settings("ae_c", "--data=gs://bucket/birds")[1] == Path("runs/ae_c-birds")
    assert settings("ae_c", "--set=data.path=d")[0].data.path == "d"


def test_the_configs_are_those_of_the_folder():
    assert train.config_names() == ["ae_c", "cnn", "e_c", "free", "quickstart"]
