"""run.sh, with an environment in which Python writes down what it is asked to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "awk", "cat", "cksum", "dirname", "grep", "sed")
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


def test_flags_are_passed_on_to_training(checkout):
    site = checkout / ".venv/lib/python3.12/site-packages"
    site.mkdir(parents=True)
    process = run(checkout, "--config=configs/ae_c.py", "--workdir=a folder")
    assert process.returncode == 0, process.stderr
    # Found before a folder of the package's name, from wherever Python is started.
    assert (site / "coala_jax_checkout.pth").read_text() == f"{checkout}\n"
    assert calls(checkout)[-1] == "-m coala_jax.main --config=configs/ae_c.py --workdir=a folder"


def test_what_is_installed_is_not_installed_again_until_the_lock_changes(checkout):
    run(checkout, "--x")
    installs = [call for call in calls(checkout) if "pip install" in call]
    assert [call.split("install ", 1)[1] for call in installs] == [
        "--disable-pip-version-check -r requirements.txt",
        "--disable-pip-version-check --no-deps -e .",
    ]
    run(checkout, "--x")
    assert len([call for call in calls(checkout) if "pip install" in call]) == 2
    with (checkout / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    run(checkout, "--x")
    assert len([call for call in calls(checkout) if "pip install" in call]) == 4


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_an_accelerator_takes_its_extra_under_the_same_lock(checkout, device):
    if device == "cuda":
        (checkout / "path/nvidia-smi").symlink_to(shutil.which("true"))
    run(checkout, "--x", COALA_DEVICE=device)
    assert calls(checkout)[-2].endswith(f"-c requirements.txt -e .[{device}]")


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


def test_resolving_needs_nothing_but_python(checkout):
    process = run(checkout, "resolve")
    assert process.returncode == 0, process.stderr
    assert (checkout / "log").read_text().splitlines()[-1] == ".ci/resolve.py"
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
        (["nonsense"], {}, "coala_jax.main"),
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
