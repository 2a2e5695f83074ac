"""The training program as a user starts it: one whole run, and a sentence for each wrong input."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coala_jax import training_run
from coala_jax.reporting import training_report
from tests.synthetic import tiny_config, write_random_dataset

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config.model.filters=2",
    "--config.model.tag_hidden=8",
    "--config.train.batch_size=8",
    "--config.train.epochs=1",
]


def run(arguments, **environment):
    told = {**os.environ, "COALA_DEVICE": "cpu", "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={name: value for name, value in told.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
    )


RUN_AND_LOOK = """
import sys
from absl import app
from coala_jax import main

def run_and_look(argv):
    main.main(argv)
    assert not {"tensorflow", "torch"} & sys.modules.keys()
    print("loaded neither")

app.run(run_and_look, flags_parser=main.parse)
"""


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
    process = run(["-c", RUN_AND_LOOK, *flags])
    assert process.returncode == 0, process.stderr
    return workdir, process


def test_a_run_leaves_a_model_a_record_and_a_report_and_says_where(finished):
    workdir, process = finished
    record = json.loads((workdir / "results.json").read_text())
    assert (record["kind"], record["corpus"], record["epochs"]) == ("training", "random", 1)
    for who in ("trained", "untrained", "chance", "popularity"):
        for measure in ("macro_auc", "mrr", "map", "recall_at_10"):
            assert 0.0 <= record["retrieval"][who][measure] <= 1.0
    assert training_report.summary(record, workdir) in process.stdout
    for name in training_report.CONTENTS:
        assert (workdir / name).exists(), name
        if name != "tensorboard" or importlib.util.find_spec(name):
            assert str(workdir / name) in process.stdout
    # Of two halves, the results are of the one that did not choose.
    assert record["sounds"] == {"train": 18, "validation": 12}
    assert record["source_weights"] == ""
    kept = record["kept"]
    assert (kept["rule"], kept["selection_sounds"], kept["reported_sounds"]) == ("best", 6, 6)
    assert {figures["sounds"] for figures in record["retrieval"].values()} == {6}
    curve = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    (measured,) = (entry["macro_auc"] for entry in curve if "macro_auc" in entry)
    assert kept["macro_auc"] == pytest.approx(measured, abs=1e-7)
    assert "training ae_c on 1 x cpu: 18 sounds" in process.stdout + process.stderr


def test_a_run_never_loads_tensorflow_or_pytorch(finished):
    assert "loaded neither" in finished[1].stdout


CONFIG, WORKDIR = "--config=configs/quickstart.py", "--workdir={folder}/w"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--config=configs/none.py", WORKDIR], "configs/none.py"),
        (["--config={folder}/wrong.py", WORKDIR], "broken on purpose"),
        (["--config=configs/ae_c.py:novel", WORKDIR], "'novel'"),
        ([CONFIG, WORKDIR, "--config.case=vae"], "config.case"),
        ([CONFIG, WORKDIR, "stray"], "stray"),
        ([CONFIG, WORKDIR], "config.data.path"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_wrong_flag_gets_one_line_before_jax_is_loaded(flags, told, tmp_path):
    (tmp_path / "wrong.py").write_text("raise NameError('broken on purpose')")
    code = (
        "import sys; from absl import app; from coala_jax import main\n"
        "try: app.run(main.main, flags_parser=main.parse)\n"
        "finally: print('jax' in sys.modules)"
    )
    process = run(["-c", code, *(flag.format(folder=tmp_path) for flag in flags)])
    assert (process.returncode, process.stdout) == (1, "False\n")
    (line,) = process.stderr.splitlines()
    assert line.startswith("coala_jax.main: ") and told in line
    assert not (tmp_path / "w").exists()


def test_a_missing_dataset_gets_one_line(tmp_path):
    flags = ["--config=configs/quickstart.py", f"--workdir={tmp_path / 'w'}"]
    process = run(["-m", "coala_jax.main", *flags, f"--config.data.path={tmp_path / 'none'}"])
    assert process.returncode == 1
    assert process.stderr.startswith(f"coala_jax.main: {tmp_path / 'none'}: ")
    assert len(process.stderr.splitlines()) == 1
    assert not (tmp_path / "w").exists()


def test_a_missing_device_is_named_before_anything_is_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("COALA_DEVICE", "cuda")
    monkeypatch.setattr(training_run.logs, "start", lambda *_: None)
    with pytest.raises(ValueError, match="COALA_DEVICE=cuda"):
        training_run.train(tiny_config(data__path=str(dataset)), tmp_path / "w", [])
    assert not (tmp_path / "w").exists()


FIRST_STEP = """
import sys
from pathlib import Path
import jax
from coala_jax.models import coala
from coala_jax.training import parallel, setup
from tests.synthetic import ShallowEncoder, tiny_config

coala.AudioEncoder = ShallowEncoder  # any program will do
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.split("/")[-1]))
parallel.keep_compiled_steps()
config = tiny_config(case="cnn", data__path=sys.argv[1])
run, state = setup.start_run(config, tuple(jax.devices()))
assert len(run.devices) == 2
jax.block_until_ready(run.train_steps(state, *next(run.training.blocks(0, 1))))
print("hits", events.count("cache_hits"), "misses", events.count("cache_misses"))
"""


def test_the_second_start_finds_every_compiled_step_on_two_devices(dataset, tmp_path):
    told = {
        "JAX_COMPILATION_CACHE_DIR": None,  # the tests' own would win
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_NUM_CPU_DEVICES": "2",
        # The narrow steps of a test compile in less than the second from which JAX keeps them.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
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
