"""The training program as a user starts it: one whole run, and a sentence for each wrong input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic import write_random_dataset

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config.model.filters=2",
    "--config.model.tag_hidden=8",
    "--config.train.batch_size=8",
    "--config.train.epochs=1",
]


def run(arguments, device="cpu", **environment):
    told = {**os.environ, "COALA_DEVICE": device, "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={name: value for name, value in told.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
    )


def run_main(*flags, device="cpu"):
    return run(["-m", "coala_jax.main", *flags], device)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main") / "dataset"
    write_random_dataset(folder, train=18, validation=12, tags=3)
    return folder


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "w"
    flags = [
        "--config=configs/quickstart.py",
        f"--workdir={workdir}",
        f"--config.data.path={dataset}",
        *SMALL,
    ]
    process = run_main(*flags)
    assert process.returncode == 0, process.stderr
    return workdir, flags, process.stdout


def test_a_run_leaves_a_model_a_report_and_pictures_and_says_where(finished):
    workdir, _, output = finished
    report = json.loads((workdir / "report.json").read_text())
    assert report["corpus"] == "random"
    for who in ("trained", "untrained", "chance", "popularity"):
        for measure in ("macro_auc", "mrr", "map", "recall_at_10"):
            assert 0.0 <= report["retrieval"][who][measure] <= 1.0
    assert report["retrieval"]["popularity"]["macro_auc"] == 0.5
    for name in (
        *("report.json", "metrics.jsonl", "tensorboard", "model"),
        *("losses.png", "reconstructions.png", "embedding_map.png"),
    ):
        assert (workdir / name).exists(), name
        assert str(workdir / name) in output
    assert "training ae_c on 1 x cpu: 18 sounds and 12 for validation of random" in output


RUN_AGAIN = """
import sys
from absl import app
from coala_jax import main

def run_and_look(argv):
    main.main(argv)
    assert not {"tensorflow", "torch"} & sys.modules.keys()
    print("loaded neither")

app.run(run_and_look)
"""


def test_run_again_it_does_not_train_again_and_never_loads_tensorflow_or_pytorch(finished):
    workdir, flags, _ = finished
    before = (workdir / "metrics.jsonl").read_text()
    process = run(["-c", RUN_AGAIN, *flags])
    assert process.returncode == 0, process.stderr
    assert "going on after step 3" in process.stdout
    assert "loaded neither" in process.stdout
    assert (workdir / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("flags", "device", "message"),
    [
        pytest.param(
            ["--config.data.path={none}"],
            "cpu",
            "none: this folder is no dataset (it has no manifest.json); make one with "
            "python -m coala_jax.data_prep.from_folder",
            id="no-dataset",
        ),
        pytest.param(
            ["--config.data.path={dataset}", "--config.train.batch=8"],
            "cpu",
            "config.train.batch does not exist; the nearest key is config.train.batch_size",
            id="no-such-key",
        ),
        pytest.param(
            ["--config.data.path={dataset}", "--config.case=vae"],
            "cpu",
            "config.case is 'vae'; it must be one of ae_c, e_c, cnn",
            id="bad-value",
        ),
        pytest.param(["--config=configs/none.py"], "cpu", "configs/none.py", id="no-such-config"),
        pytest.param([], "cpu", "config.data.path is ''; it must be the folder", id="no-path"),
        pytest.param(
            ["--config.data.path={dataset}"],
            "cuda",
            "COALA_DEVICE=cuda asks for a gpu, but JAX shows cpu only; check its driver",
            id="other-device",
        ),
        pytest.param(
            ["--config.data.path={dataset}", "stray"], "cpu", "flags only, not stray", id="stray"
        ),
    ],
)
def test_wrong_input_gets_a_sentence_and_no_traceback(flags, device, message, dataset, tmp_path):
    places = {"none": tmp_path / "none", "dataset": dataset}
    process = run_main(
        "--config=configs/quickstart.py",
        f"--workdir={tmp_path / 'w'}",
        *(flag.format(**places) for flag in flags),
        device=device,
    )
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "w").exists()


FIRST_STEP = """
import sys
from pathlib import Path
import jax
from coala_jax.training import parallel, setup
from tests.synthetic import tiny_config

events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.split("/")[-1]))
parallel.keep_compiled_steps()
config = tiny_config(case="cnn", data__path=sys.argv[1])
run, state = setup.start_run(config, tuple(jax.devices()))
assert len(run.devices) == 2
jax.block_until_ready(run.train_steps(state, *next(run.training.blocks(0, 1))))
print("hits", events.count("cache_hits"), "misses", events.count("cache_misses"))
"""

# As a user starts it: the tests' own cache would win.
WITHOUT_CACHE = {"JAX_COMPILATION_CACHE_DIR": None}


def test_the_second_start_finds_every_compiled_step_on_two_devices(dataset, tmp_path):
    told = {
        **WITHOUT_CACHE,
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_NUM_CPU_DEVICES": "2",
        # The narrow steps of a test compile in less than the second from which JAX keeps them.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }

    def start():
        process = run(["-c", FIRST_STEP, str(dataset)], **told)
        assert process.returncode == 0, process.stderr
        return {
            name: int(count) for name, count in re.findall(r"(hits|misses) (\d+)", process.stdout)
        }

    first, second = start(), start()
    assert (first["hits"], second["misses"]) == (0, 0)
    assert first["misses"] == second["hits"] > 1
    assert any((tmp_path / "coala_jax" / "compiled").iterdir())


def test_a_folder_that_keeps_nothing_costs_a_sentence(tmp_path):
    """The run goes on, here to the next sentence."""
    (tmp_path / "file").write_text("")
    flags = ["--config=configs/quickstart.py", f"--workdir={tmp_path / 'w'}"]
    flags.append(f"--config.data.path={tmp_path / 'none'}")
    told = {**WITHOUT_CACHE, "XDG_CACHE_HOME": str(tmp_path / "file")}
    told["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")  # which would complain as well
    process = run(["-m", "coala_jax.main", *flags], **told)
    first, second = process.stderr.splitlines()
    assert first.startswith("compiled steps cannot be kept for the next start (")
    assert str(tmp_path / "file" / "coala_jax") in first
    assert first.endswith("set JAX_COMPILATION_CACHE_DIR to a folder that can be written")
    assert "this folder is no dataset" in second
