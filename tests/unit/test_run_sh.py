"""run.sh, with an environment in which Python writes down what it is asked to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "awk", "cat", "cksum", "dirname", "grep", "sed", "tee")
FAKE_PYTHON = """#!/bin/bash
echo "$*" >>"{log}"
[[ "$*" == *"sys.exit(sys.version_info"* ]] && exit {too_old}
[[ $* == -V ]] && echo "Python 3.9.1"
exit 0
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with an environment already made, and a PATH with no apt-get and no GPU on it."""
    for name in ("run.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    path = tmp_path / "path"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(shutil.which(tool))
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for place in (path / "python3", tmp_path / ".venv/bin/python", tmp_path / ".venv/bin/pip"):
        write_python(place, tmp_path / "log")
    return tmp_path


def write_python(place, log, too_old=0):
    place.write_text(FAKE_PYTHON.format(log=log, too_old=too_old))
    place.chmod(0o755)


def run(checkout, *arguments, **environment):
    return subprocess.run(
        [checkout / "run.sh", *arguments],
        env={"PATH": str(checkout / "path"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(checkout):
    """What Python was asked to do, less the questions of the script itself."""
    lines = (checkout / "log").read_text().splitlines()
    return [line for line in lines if line.startswith("-m ")]


def installs(checkout):
    """What pip was asked to install, less what is asked of it every time."""
    pip = "-m pip install --disable-pip-version-check --no-build-isolation "
    return [call.removeprefix(pip) for call in calls(checkout) if "pip install" in call]


SET_UP = ["--require-hashes -r locks/build.txt", "--require-hashes -r requirements.txt"]
PROJECT = ["--no-deps -e ."]


def test_flags_are_passed_on_to_training(checkout):
    site = checkout / ".venv/lib/python3.12/site-packages"
    site.mkdir(parents=True)
    process = run(checkout, "--config=configs/ae_c.py", "--workdir=a folder")
    assert process.returncode == 0, process.stderr
    # Found before a folder of the package's name, from wherever Python is started.
    assert (site / "coala_jax_checkout.pth").read_text() == f"{checkout}\n"
    assert calls(checkout)[-1] == "-m coala_jax.main --config=configs/ae_c.py --workdir=a folder"


@pytest.mark.parametrize("lock", ["requirements.txt", "locks/search.txt"])
def test_what_is_installed_is_not_installed_again_until_a_lock_changes(checkout, lock):
    run(checkout, "--x")
    assert installs(checkout) == SET_UP + PROJECT
    run(checkout, "--x")
    assert len(installs(checkout)) == 3
    with (checkout / lock).open("a") as file:
        file.write("# changed\n")
    run(checkout, "--x")
    assert len(installs(checkout)) == 6


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_an_accelerator_takes_the_lock_of_its_extra(checkout, device):
    if device == "cuda":
        (checkout / "path/nvidia-smi").symlink_to(shutil.which("true"))
    run(checkout, "--x", COALA_DEVICE=device)
    extra = f"--require-hashes -r requirements.txt -r locks/{device}.txt"
    assert installs(checkout) == [*SET_UP, extra, *PROJECT]


def test_extras_come_from_their_locks_and_pytorch_from_a_file_of_its_own(checkout):
    process = run(checkout, "install", "search", "test")
    assert process.returncode == 0, process.stderr
    assert installs(checkout)[3:] == [
        "--require-hashes -r requirements.txt -r locks/search.txt",
        "--require-hashes -r requirements.txt -r locks/test.txt",
        "-r locks/test-unhashed.txt",
    ]


def test_a_file_that_is_not_the_one_of_the_lock_is_refused_in_a_sentence(checkout):
    python = checkout / ".venv/bin/python"
    said = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    python.write_text(f"#!/bin/bash\necho '{said}' >&2\nexit 1\n")
    process = run(checkout, "--x")
    assert process.returncode == 1
    assert said in process.stderr  # pip names the package after it
    assert process.stderr.splitlines()[-1].startswith("[run.sh] nothing was installed: a file is")


def test_without_apt_it_goes_on_with_synthetic_sounds_and_says_so_first_and_last(checkout):
    process = run(checkout, COALA_WORKDIR="elsewhere")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    for line in (lines[0], lines[-1]):
        assert "synthetic" in line and "apt-get" in line
    programs = [call for call in calls(checkout) if "pip" not in call]
    assert programs == [
        "-m coala_jax.cli demo --corpus=synthetic --workdir=elsewhere",
    ]


@pytest.mark.parametrize(
    ("arguments", "program"),
    [(["resolve"], ".ci/resolve.py"), (["lock", "--upgrade"], ".ci/lock.py --upgrade")],
)
def test_the_programs_of_the_locks_need_nothing_but_python(checkout, arguments, program):
    process = run(checkout, *arguments)
    assert process.returncode == 0, process.stderr
    assert (checkout / "log").read_text().splitlines()[-1] == program
    assert calls(checkout) == []  # nothing is installed


def test_without_a_result_it_does_not_say_done(checkout):
    python = checkout / ".venv/bin/python"
    python.write_text(python.read_text().replace("exit 0", '[[ "$*" != *demo* ]]'))
    process = run(checkout)
    assert process.returncode != 0
    assert "done" not in process.stdout


def test_help_is_the_head_of_the_script(checkout):
    process = run(checkout, "--help")
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout.startswith("./run.sh   ") and "COALA_DEVICE=" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "token"),
    [
        (["nonsense"], {}, "nonsense"),
        (["install"], {}, "which extra"),
        (["install", "serach"], {}, "no locks/serach.txt"),
        (["--x"], {"PYTHON": "no-python"}, "no-python"),
        (["--x"], {"COALA_DEVICE": "abacus"}, "COALA_DEVICE is abacus"),
        (["--x"], {"COALA_DEVICE": "cuda"}, "nvidia-smi"),
        ([], {"COALA_CORPUS": "radio"}, "COALA_CORPUS is radio"),
        (["test"], {}, "python3 is Python 3.9.1"),
    ],
)
def test_wrong_input_and_an_old_python_get_a_sentence(checkout, arguments, environment, token):
    if arguments == ["test"]:
        write_python(checkout / "path/python3", checkout / "log", too_old=1)
    process = run(checkout, *arguments, **environment)
    assert process.returncode == 1
    assert token in process.stderr
