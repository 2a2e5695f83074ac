"""The command `coala`: its subcommands, and what is said of mistakes."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from coala_jax import cli


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: coala {name} ") and f"\n    coala {name} " in shown
    assert f"coala {name}" == importlib.import_module(cli.COMMANDS[name][0]).PROGRAM


HELP = """
import sys
from coala_jax import cli
for words in (["--help"], ["train", "--help"], ["verify", "--help"], ["evaluate", "--help"]):
    try:
        assert cli.main(words) == 0
    except SystemExit as end:
        assert not end.code
print("loaded", {"jax", "librosa"} & sys.modules.keys())
"""


def test_help_loads_neither_jax_nor_librosa():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert done.stdout.endswith("loaded set()\n"), done.stderr
    assert "  train       trains a model" in done.stdout


def test_without_a_command_it_helps_and_it_knows_its_version(capsys):
    assert cli.main([]) == 0
    assert cli.main(["--version"]) == 0
    assert "usage: coala COMMAND" in (shown := capsys.readouterr().out)
    assert shown.endswith("coala_jax 0.1.0\n")


LISTS = "Fix: coala {} --help lists the flags"


MISTAKES = {
    "trian": "coala: trian is unknown; did you mean train? Fix: coala --help lists the commands",
    "sing": "coala: sing is unknown. Fix: coala --help lists the commands",
    "train": f"coala train: CONFIG is missing. {LISTS.format('train')}",
    "train quickstrat --data=d": (
        "coala train: quickstrat: no such config; did you mean quickstart? Fix: name ae_c, cnn, "
        "e_c, free, quickstart or a file of yours, ./my.py"
    ),
    "train ./none.py --data=d": (
        "coala train: ./none.py: no such file. Fix: name ae_c, cnn, e_c, free, quickstart or a "
        "file of yours, ./my.py"
    ),
    "train ./modeless.py:released --data=d": (
        "coala train: ./modeless.py: its get_config takes no mode. Fix: leave out :released"
    ),
    "train ./empty.py --data=d": (
        "coala train: ./empty.py: it has no function get_config. Fix: write one"
    ),
    "train ./broken.py --data=d": (
        f"coala train: ./broken.py: KeyError: 'x'. {LISTS.format('train')}"
    ),
    "train quickstart:novel --data=d": (
        "coala train: quickstart: the config's mode is 'novel'; it must be paper or released. "
        f"{LISTS.format('train')}"
    ),
    "train quickstart": (
        "coala train: --data is missing. Fix: add the dataset, such as --data=dataset/mine"
    ),
    "train quickstart --dataset=d": (
        f"coala train: --dataset is unknown; did you mean --data? {LISTS.format('train')}"
    ),
    "train quickstart --data=d --set train.epochs=1.5": (
        f"coala train: train.epochs is '1.5'; it must be a whole number. {LISTS.format('train')}"
    ),
    "train quickstart --data=d --set loss.tau=1": (
        "coala train: loss.tau does not exist; the nearest key is loss.temperature. "
        f"{LISTS.format('train')}"
    ),
    "train quickstart --data=d --set train.epochs": (
        "coala train: --set train.epochs: no value. Fix: --set train.epochs=VALUE"
    ),
    "prepare --audio=a --out=b --taggs=c": (
        f"coala prepare: --taggs is unknown; did you mean --tags? {LISTS.format('prepare')}"
    ),
    "prepare --audio=a --tags=b --out=c --validation-fraction=2": (
        "coala prepare: --validation_fraction is 2.0; it must be between 0 and 1. "
        f"{LISTS.format('prepare')}"
    ),
    "prepare --audio=a --tags=b --out=c --noise=-1": (
        "coala prepare: --noise is -1.0; it must be at least 0 and finite. "
        f"{LISTS.format('prepare')}"
    ),
    "evaluate --model=mfcc --data=d --out=o": (
        "coala evaluate: --data and --audio go together: descriptors need the sounds. "
        f"{LISTS.format('evaluate')}"
    ),
    "verify a b": f"coala verify: unexpected arguments: b. {LISTS.format('verify')}",
    "demo --corpus=radio": (
        f"coala demo: --corpus is 'radio'; it must be debian or synthetic. {LISTS.format('demo')}"
    ),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    imports = "from coala_jax.default_config import get_config as make\n"
    Path("modeless.py").write_text(imports + "def get_config():\n    return make()\n")
    Path("empty.py").write_text(imports)
    Path("broken.py").write_text("{}['x']")
    try:
        code = cli.main(words.split())
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.err, captured.out) == (2, f"{MISTAKES[words]}\n", "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_ctrl_c_is_one_sentence(name, monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(cli.COMMANDS[name][0]), "main", interrupted)
    assert cli.main([name]) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"coala {name}: interrupted. Fix: ")
