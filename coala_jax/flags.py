"""The flags of all programs: one way to write them, and one way to say what is wrong with them.

Flags are `--snake_case`, and hyphens are read as underscores. A program's messages begin with its
name: `coala prepare`, or the module that `python -m` runs. A wrong flag ends it with exit code 2,
what it cannot do with 1, Ctrl-C with 130, SIGTERM in training with 143, each with one line on
standard error.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

_WANTED = {int: "a whole number", float: "a number"}  # what a flag's type takes
# What argparse says, and what we say.
_MISSING = "the following arguments are required: "
_SAID_BETTER = {
    "argument ": "",
    "unrecognized arguments": "unexpected arguments",
    ": expected at least one argument": " needs a value",
    ": expected one argument": " needs a value",
}


class Parser(argparse.ArgumentParser):
    """The flags of one program.

    program: its name, as messages begin.
    about: what it does, with an example, for `--help`.
    more: what `--help` says below the flags.
    """

    def __init__(self, program: str, about: str | None, more: str | None = None) -> None:
        self.program = program
        super().__init__(
            prog=command_of(program),
            description=about,
            epilog=more,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_known_args(  # what parse_args calls
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """A flag that does not exist is named before one that is missing."""
        words = list(sys.argv[1:] if args is None else args)
        known = {name: action for action in self._actions for name in action.option_strings}
        for place, word in enumerate(words):
            if word == "--":
                break
            if word.startswith("--"):
                given, *value = word.split("=", 1)
                name = "--" + given[2:].replace("-", "_")
                if name not in known:
                    self.error(unknown(given, known))
                if value and known[name].nargs == 0:
                    self.error(f"{name} is a switch and takes no value")
                words[place] = "=".join([name, *value])
        return super().parse_known_args(words, namespace)

    def format_usage(self) -> str:
        return f"{self._usage()}\n"

    def format_help(self) -> str:
        self.usage = self._usage().removeprefix("usage: ").replace("%", "%%")
        return super().format_help()

    def _usage(self) -> str:
        """What must be given, and arguments that may be; the rest has defaults."""
        needed = [
            f"{action.option_strings[-1]}={_metavar(action)}"
            if action.option_strings
            else _metavar(action)
            if action.required
            else f"[{_metavar(action)}]"
            for action in self._actions
            if action.required or not action.option_strings
        ]
        return " ".join(["usage:", self.prog, *needed, "[--flag=value ...]"])

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message as one line, and exit code 2."""
        if message.startswith(_MISSING):
            names = message.removeprefix(_MISSING)
            message = f"{names} {'are' if ',' in names else 'is'} missing"
        for said, better in _SAID_BETTER.items():
            message = message.replace(said, better, 1)
        self.exit(2, f"{self.program}: {with_fix(message, self.program)}\n")

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        try:
            return super()._get_value(action, text)
        except argparse.ArgumentError as error:
            wanted = _WANTED.get(action.type, error.message)
            self.error(f"{_name(action)} is {text!r}; it must be {wanted}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            wanted = " or ".join(map(str, action.choices))
            self.error(f"{_name(action)} is {value!r}; it must be {wanted}")


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else _metavar(action)


def command_of(program: str) -> str:
    """What a user types to run it."""
    return program if program.split(" ")[0] == "coala" else f"python -m {program}"


def with_fix(message: str, program: str) -> str:
    """The message with a way out, if it names none itself."""
    if "Fix:" in message:
        return message
    end = "" if message.endswith("?") else "."
    return f"{message}{end} Fix: {command_of(program)} --help lists the flags"


def at_least(least: int) -> Callable[[str], int]:
    """The type of a flag that takes whole numbers from `least` on."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least}")
        return value

    return whole_number


def unknown(given: str, known: Iterable[str]) -> str:
    """That a flag or a command does not exist, with the one that was probably meant."""
    near = difflib.get_close_matches(given, sorted(known), n=1)
    return f"{given} is unknown" + (f"; did you mean {near[0]}?" if near else "")


def run(program: str, work: Callable[[], int | None], again: str = "run it again") -> int:
    """Does a program's work and returns its exit code; an error or Ctrl-C becomes one line.

    again: how to go on after Ctrl-C.
    """
    try:
        return work() or 0
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{program}: {_sentence(error, again)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:  # or a signal that training has caught
        print(f"\n{program}: {str(error) or 'interrupted'}. Fix: {again}", file=sys.stderr)
        return getattr(error, "exit_code", 130)


def _sentence(error: Exception, again: str) -> str:
    """What the error says; a full disk in words, where a library has only the system's number."""
    if not isinstance(error, OSError):
        return str(error)
    from coala_jax import storage  # NumPy with it: not where all goes well

    if isinstance(error, storage.DiskFullError) or not storage.is_disk_full(error):
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}no space left on the disk. Fix: make room there; then {again}"
