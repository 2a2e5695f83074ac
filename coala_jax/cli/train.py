"""Trains a model on a dataset; the same command resumes a run that was interrupted.

    coala train quickstart --data=dataset/mine --set loss.temperature=0.2 --workdir=runs/mine

CONFIG is ae_c, e_c or cnn, the paper's three cases; free, the recipe for sounds of your own;
quickstart, which is small and fast; or a Python file of your own with a function get_config.
CONFIG:released follows the authors' code where it differs from their text. At the end the model is
in WORKDIR/model, with a report beside it.
"""

import argparse
import difflib
import inspect
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, resources
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from coala_jax import config_keys, logs, storage, training_run
from coala_jax.default_config import flat
from coala_jax.flags import Parser, run

PROGRAM = "coala train"
AGAIN = "the same command resumes from the last checkpoint"
_CONFIGS = "coala_jax.configs"


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__, config_keys.help_text("--set KEY=VALUE"))
    parser.add_argument("config", metavar="CONFIG", help="name of a config, or a file: ./my.py")
    parser.add_argument("--data", metavar="FOLDER", help="dataset to train on")
    parser.add_argument(
        "--init", metavar="MODEL", help="pretrained model to start from; default: the built-in one"
    )
    parser.add_argument(
        "--workdir", type=Path, metavar="FOLDER", help="folder of the run (runs/CONFIG-DATASET)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the config, as listed below; may be given several times",
    )
    return parser


def config_names() -> list[str]:
    """The configs that are installed."""
    files = [file.name for file in resources.files(_CONFIGS).iterdir()]
    return sorted(name[:-3] for name in files if name.endswith(".py") and name[0] != "_")


def load_config(given: str) -> ConfigDict:
    """The config of a name or a file, in the mode after the colon if there is one.

    Raises:
        ValueError: there is none, or it has no such mode; says which there are.
    """
    name, *mode = given.split(":", 1)
    try:
        make = _maker(name)
        if mode and not inspect.signature(make).parameters:
            raise ValueError(f"its get_config takes no mode. Fix: leave out :{mode[0]}")
        return make(*mode).lock()
    except Exception as error:  # a config is a program: anything may be raised
        cause = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{name}: {cause}{error}") from error


def _maker(name: str) -> Callable[..., ConfigDict]:
    """The function get_config of a config's name or file."""
    if name in (names := config_names()):
        return import_module(f"{_CONFIGS}.{name}").get_config
    fix = f"Fix: name {', '.join(names)} or a file of yours, ./my.py"
    if not (name.endswith(".py") or "/" in name):
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"no such config{hint} {fix}")
    if not Path(name).is_file():
        raise ValueError(f"no such file. {fix}")
    found = runpy.run_path(name)
    if "get_config" not in found:
        raise ValueError("it has no function get_config. Fix: write one")
    return found["get_config"]


def settings_of(flags: argparse.Namespace) -> tuple[ConfigDict, Path]:
    """The config and the folder of the run.

    Raises:
        ValueError: the config, a key or a value does not exist or no dataset is named; says which.
    """
    config = load_config(flags.config)
    known = flat(config.to_dict())
    for setting in flags.set:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: no value. Fix: --set {setting}=VALUE")
        value = config_keys.parse_value(key, text, known, prefix="")
        config.update_from_flattened_dict({key: value})
    if flags.data:
        config.data.path = flags.data
    if flags.init:
        config.init.model = flags.init
    if not config.data.path:
        raise ValueError("--data is missing. Fix: add the dataset, such as --data=dataset/mine")
    if flags.workdir:
        return config, flags.workdir
    name = flags.config.split(":")
    parts = [Path(name[0]).stem, *name[1:], _folder_name(config.data.path)]
    return config, Path("runs", "-".join(parts))


def _folder_name(path: str) -> str:
    return (Path(path).resolve() if storage.is_local(path) else storage.path(path)).name


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    program = parser()
    flags = program.parse_args(argv)
    try:
        config, workdir = settings_of(flags)
    except ValueError as error:
        program.error(str(error))
    logs.start()
    if not flags.workdir:
        logging.info("the run is in %s; --workdir chooses another folder", workdir)

    def train() -> None:
        training_run.train(config, workdir, [*PROGRAM.split(), *argv])

    return run(PROGRAM, train, AGAIN)
