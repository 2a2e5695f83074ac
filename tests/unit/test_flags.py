"""The class of all programs' flags: how flags may be written, and what is said of wrong ones."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

from coala_jax import storage
from coala_jax.flags import Parser, at_least, run

ROOT = Path(__file__).parents[2]
PLACES = {"coala_jax": "coala_jax", "data_prep": "coala_jax.data_prep"}
PLACES |= {"experiments": "experiments", "benchmarks": "benchmarks"}


def modules(text: str) -> list[str]:
    """The modules whose source holds the text, as they are imported."""
    found = []
    for folder, package in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if text in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return found


PROGRAMS = modules("def parser() -> Parser:")


def test_no_program_has_another_class_of_flags():
    assert modules("argparse.ArgumentParser") == ["coala_jax.flags"]
    assert set(modules(" Parser(")) - {"coala_jax.flags"} == set(PROGRAMS)
    assert len(PROGRAMS) > 15


@pytest.mark.parametrize("name", PROGRAMS)
def test_flags_are_snake_case_and_each_says_what_it_is(name):
    program = importlib.import_module(name).parser()
    assert type(program) is Parser
    assert program.prog in program.description  # an example
    for action in program._actions[1:]:  # all but --help
        assert all(re.fullmatch(r"--[a-z0-9]+(_[a-z0-9]+)*", o) for o in action.option_strings)
        assert action.help and not re.match(r"of |\(|default", action.help), action.dest
    names = {option for action in program._actions for option in action.option_strings}
    assert not names & {"--dataset", "--output", "--batch", "--threads"}  # these have other names
    assert program.format_help().startswith(f"usage: {program.prog} ")


def program() -> Parser:
    parser = Parser("coala prepare", "Does it.\n\n    coala prepare --tags=t.csv")
    parser.add_argument("--tags", required=True)
    parser.add_argument("--max_seconds", type=float, default=0.0)
    parser.add_argument("--workers", type=at_least(1))
    parser.add_argument("--seed", type=int, nargs="+", action="extend")
    parser.add_argument("--level", choices=("recorded", "peak"))
    parser.add_argument("--allow_missing", action="store_true")
    return parser


@pytest.mark.parametrize(
    "words",
    ["--tags=a-b --max-seconds=2 --allow-missing", "--tags a-b --max_seconds 2 --allow_missing"],
)
def test_hyphens_are_underscores_and_a_value_follows_a_space_or_a_sign(words):
    flags = program().parse_args([*words.split(), "--seed", "-1", "2", "--seed=3"])
    assert (flags.tags, flags.max_seconds, flags.allow_missing) == ("a-b", 2.0, True)
    assert flags.seed == [-1, 2, 3]


LISTS = "Fix: coala prepare --help lists the flags"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--taggs=a", f"--taggs is unknown; did you mean --tags? {LISTS}"),
        ("--tags=a --zebra", f"--zebra is unknown. {LISTS}"),
        ("--tag=a", f"--tag is unknown; did you mean --tags? {LISTS}"),
        ("", f"--tags is missing. {LISTS}"),
        ("--tags", f"--tags needs a value. {LISTS}"),
        ("--tags=a --seed", f"--seed needs a value. {LISTS}"),
        ("--tags=a stray", f"unexpected arguments: stray. {LISTS}"),
        ("--tags=a --seed=1.5", f"--seed is '1.5'; it must be a whole number. {LISTS}"),
        ("--tags=a --max-seconds=x", f"--max_seconds is 'x'; it must be a number. {LISTS}"),
        (
            "--tags=a --workers=0",
            f"--workers is '0'; it must be a whole number of at least 1. {LISTS}",
        ),
        (
            "--tags=a --workers=b",
            f"--workers is 'b'; it must be a whole number of at least 1. {LISTS}",
        ),
        ("--tags=a --level=loud", f"--level is 'loud'; it must be recorded or peak. {LISTS}"),
        (
            "--tags=a --allow-missing=yes",
            f"--allow_missing is a switch and takes no value. {LISTS}",
        ),
    ],
)
def test_a_wrong_flag_ends_with_one_line_and_exit_code_2(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        program().parse_args(words.split())
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == (f"coala prepare: {said}\n", "")


def test_a_module_is_named_as_it_is_started(capsys):
    with pytest.raises(SystemExit):
        Parser("benchmarks.probe", None).error("it fails. Fix: wait")
    assert capsys.readouterr().err == "benchmarks.probe: it fails. Fix: wait\n"
    assert Parser("benchmarks.probe", None).format_usage().startswith("usage: python -m bench")


def test_help_has_what_must_be_given_first_and_ends_with_0(capsys):
    with pytest.raises(SystemExit) as ended:
        program().parse_args(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: coala prepare --tags=TAGS [--flag=value ...]\n\nDoes it.\n")


def test_help_has_what_may_be_given_in_brackets():
    parser = Parser("coala info", "Says it.")
    parser.add_argument("folder", metavar="FOLDER", nargs="?")
    assert parser.format_usage() == "usage: coala info [FOLDER] [--flag=value ...]\n"


def test_the_end_of_a_program(capsys):
    def fails(error: BaseException) -> None:
        raise error

    assert run("coala x", lambda: None) == 0
    assert run("coala x", lambda: 3) == 3
    assert run("coala x", lambda: fails(ValueError("a: b. Fix: c"))) == 1
    assert capsys.readouterr().err == "coala x: a: b. Fix: c\n"
    assert run("coala x", lambda: fails(KeyboardInterrupt()), "run it again to resume") == 130
    assert capsys.readouterr().err.strip() == "coala x: interrupted. Fix: run it again to resume"
    with pytest.raises(AssertionError):  # a bug keeps its traceback
        run("coala x", lambda: fails(AssertionError()))


def test_at_least_takes_its_bound():
    assert at_least(0)("0") == 0
    with pytest.raises(argparse.ArgumentTypeError):
        at_least(0)("-1")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            storage.DiskFullError("runs/a", 12_000_000),
            r"runs/a: no space .* takes 12\.0 MB, .*Fix: ",
        ),
        (OSError(28, "No space left on device", "a.npz"), r"a\.npz: no space left .* then again"),
        (OSError(28, "No space left on device"), r"no space left on the disk\. Fix: .* then again"),
        (OSError(13, "Permission denied", "a.npz"), r"\[Errno 13\] Permission denied: 'a.npz'"),
    ],
)
def test_a_program_says_what_a_full_disk_lacks_where_that_is_known(error, said, capsys):
    def work() -> None:
        raise error

    assert run("coala embed", work, "again") == 1
    assert re.fullmatch(rf"coala embed: {said}.*\n", capsys.readouterr().err)
