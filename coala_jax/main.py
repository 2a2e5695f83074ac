"""Trains COALA: python -m coala_jax.main --config=configs/ae_c.py --workdir=W --config.data.path=D

`coala train` does the same by the config's name. The same command resumes an interrupted run from
its last checkpoint. Every key of the config is a flag: --config.train.epochs=5.

  --config=FILE       config of the run; FILE:released follows the authors' code
  --workdir=FOLDER    folder for checkpoints, metrics and the model
"""

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from coala_jax import config_keys, logs, training_run
from coala_jax import flags as program_flags
from coala_jax.default_config import flat, get_config

PROGRAM = "coala_jax.main"
AGAIN = "the same command resumes from the last checkpoint"
_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings of the run.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and the model.")


def main(argv: list[str]) -> int:
    """Runs the program; returns its exit code."""
    logs.start()

    def train() -> None:
        if argv[1:]:
            raise ValueError(f"unexpected arguments {' '.join(argv[1:])}: it takes flags only")
        command = ["python", "-m", PROGRAM, *sys.argv[1:]]
        training_run.train(_CONFIG.value, Path(_WORKDIR.value), command)

    return program_flags.run(PROGRAM, train, AGAIN)


def parse(argv: list[str], program: str = PROGRAM, about: str | None = __doc__) -> list[str]:
    """Parses the flags; a mistake in them, or in the config file, ends the program with a line."""
    if any(re.fullmatch(r"--?(help|helpshort|h|\?)", word) for word in argv[1:]):
        print(about, config_keys.help_text("--config.KEY=VALUE"), sep="\n")
        sys.exit(0)
    if mistake := _mistake(argv[1:]):
        sys.exit(f"{program}: {program_flags.with_fix(mistake, program)}")
    try:
        left = flags.FLAGS(argv)
        _CONFIG.value.to_dict()  # the first use raises what went wrong with the file
        return left
    except Exception as error:  # a config is a program: anything may be raised
        # absl puts more lines above the reason
        reason = (str(error).strip() or repr(error)).splitlines()[-1].strip()
        if "get_config() takes 0 positional arguments" in reason:
            reason = "the config's get_config takes no mode, such as :released after the file"
        reason = re.sub(r"^(Type|Value)Error: ", "", reason)
        fixed = program_flags.with_fix(f"invalid flags or config: {reason}", program)
        sys.exit(f"{program}: {fixed}")


def _mistake(words: Sequence[str]) -> str:
    """What is wrong with the flags, as far as it can be said before the config is read."""
    given = list(itertools.takewhile(lambda word: word != "--", words))
    names = [word[2:].partition("=")[0] for word in given if word.startswith("--")]
    for name in names:
        is_key = name.removeprefix("no").startswith("config.")
        if not (is_key or name in flags.FLAGS or name.removeprefix("no") in flags.FLAGS):
            return program_flags.unknown(f"--{name}", [f"--{known}" for known in flags.FLAGS])
    known = flat(get_config().to_dict())
    for word, following in itertools.zip_longest(given, given[1:]):
        if match := re.fullmatch(r"--?config\.([^=]+)(?:=(.*))?", word, re.DOTALL):
            key, text = match.groups(default=following)
            try:
                is_switch = isinstance(known.get(key), bool) and "=" not in word
                if not (is_switch or text is None):
                    config_keys.parse_value(key, text, known)
            except ValueError as error:
                return str(error)
    for flag, example in (("config", "configs/ae_c.py"), ("workdir", "runs/ae_c")):
        if not any(re.match(rf"--?{flag}(=|$)|--?help", word) for word in words):
            return f"--{flag} is missing. Fix: add it, such as --{flag}={example}"
    return ""


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
