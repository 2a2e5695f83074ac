"""Sweeps: real ones of two tiny points, and sweeps of runs that only pretend to train."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from coala_jax import main as training_program
from coala_jax import sweep
from coala_jax.evaluation import sweep_report
from coala_jax.evaluation.validation import ValidationSounds
from coala_jax.reporting import style
from coala_jax.training import loop, metric_writer
from tests.synthetic import tiny_config, write_random_dataset

ROOT = Path(__file__).parents[2]
RATES = "optimizer.learning_rate=0.005,1e30"
FINISHED, DIVERGED = "learning_rate=0.005", "learning_rate=1e+30"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "dataset"
    write_random_dataset(folder, train=19, validation=8, tags=4)
    return folder


def config_for(dataset, **changes):
    return tiny_config(data__path=str(dataset), case="e_c", **changes)


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


# --- Real runs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(dataset, tmp_path_factory):
    """A sweep that was interrupted in the second epoch of its first point, and then went on."""
    workdir = tmp_path_factory.mktemp("real") / "w"
    config = config_for(dataset, model__filters=2, report__samples=0)
    evaluate, epochs = ValidationSounds.evaluate, []

    def interrupted(sounds, embedder):
        epochs.append(len(epochs) + 1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return evaluate(sounds, embedder)

    one = jax.devices()[:1]  # of the eight: it compiles in half the time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: one)
        patch.setattr(ValidationSounds, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.run(config, RATES, workdir)
        assert not (workdir / "results.json").exists()
        sweep.run(config, RATES, workdir)
    assert epochs == [1, 2, 3]  # of three epochs begun, none was trained from the start again
    return workdir, config


def test_the_table_says_what_journals_and_reports_say(real):
    workdir, _ = real
    found = results(workdir)
    point, diverged = found["points"]
    folder = workdir / "points" / FINISHED
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        (kind, epoch) for epoch in (1, 2) for kind in ("train", "validation")
    ]
    report = json.loads((folder / "results.json").read_text())
    assert (point["point"], point["status"], point["epoch"]) == (FINISHED, "finished", 2)
    assert point["optimizer.learning_rate"] == 0.005
    for name in ("loss", "signed_contrastive_loss", "macro_auc", "mrr", "map", "recall_at_10"):
        assert point[name] == lines[-1][name]
    for name in ("macro_auc", "mrr", "map", "recall_at_10"):
        assert point[name] == report["retrieval"]["trained"][name]
        for reference in found["references"]:
            assert reference[name] == report["retrieval"][reference["point"]][name]
    assert [row["point"] for row in found["references"]] == ["untrained", "chance", "popularity"]
    assert point["best_mrr"] == max(lines[1]["mrr"], lines[3]["mrr"])
    assert point["seconds"] == pytest.approx(lines[0]["seconds"] + lines[2]["seconds"])
    assert point["audio_loss"] is None  # E-C has none
    assert found["best"]["mrr"] == [FINISHED]
    assert (diverged["point"], diverged["status"], diverged["mrr"]) == (DIVERGED, "diverged", None)


def test_a_point_that_diverges_says_where_and_the_sweep_goes_on(real):
    workdir, _ = real
    cause = json.loads((workdir / "points" / DIVERGED / "diverged.json").read_text())
    assert f"at step {cause['step']}, epoch {cause['epoch']};" in cause["message"]
    assert cause["epoch"] == 1
    assert results(workdir)["points"][1]["diverged_step"] == cause["step"]
    assert (workdir / "results.png").exists()


def test_what_is_done_is_not_trained_again(real, monkeypatch, capsys):
    workdir, config = real
    before = {path: path.read_bytes() for path in workdir.rglob("*.json*")}
    monkeypatch.setattr(training_program, "run", None)
    sweep.run(config, RATES, workdir)
    assert {path: path.read_bytes() for path in workdir.rglob("*.json*")} == before
    output = capsys.readouterr().out
    assert f"[1/2] {FINISHED}: done before" in output
    assert f"[2/2] {DIVERGED}: done before" in output


# --- Runs that pretend ------------------------------------------------------------------------


class Pretender:
    """In place of `main.run`: leaves what a run leaves, and remembers what it was asked for."""

    def __init__(self):
        self.trained, self.commands, self.fails = [], [], {}

    def __call__(self, config, workdir, flags_given):
        self.trained.append(workdir.name)
        self.commands.append(list(flags_given))
        workdir.mkdir(parents=True, exist_ok=True)
        figures = {"loss": 3.0, "macro_auc": 0.5, "mrr": 0.1, "map": 0.2, "recall_at_10": 0.3}
        entries = []
        for epoch in range(1, config.train.epochs + 1):
            entries.append({"kind": "train", "epoch": epoch, "step": epoch, "seconds": 1.0})
            entries.append({"kind": "validation", "epoch": epoch, "step": epoch, **figures})
        lines = [json.dumps(entry) + "\n" for entry in entries]
        (workdir / metric_writer.METRICS).write_text("".join(lines))
        if error := self.fails.get(workdir.name):
            raise error
        retrieval = dict.fromkeys(("trained", "untrained", "chance", "popularity"), figures)
        (workdir / "results.json").write_text(json.dumps({"retrieval": retrieval}))

    def asked(self):
        trained, self.trained = self.trained, []
        return trained


@pytest.fixture
def pretender(monkeypatch):
    """Nor is anything drawn, which takes most of the time."""
    monkeypatch.setattr(style, "write", lambda figure, out: out.touch())
    monkeypatch.setattr(sweep_report, "sweep_figure", lambda outcomes: None)
    pretender = Pretender()
    monkeypatch.setattr(training_program, "run", pretender)
    return pretender


GRID = "loss.temperature=0.1,0.20;loss.contrastive_weight=5"
NAMES = [f"temperature={temperature},contrastive_weight=5" for temperature in (0.1, 0.2)]


def test_points_are_trained_in_order_in_folders_named_by_what_changed(
    dataset, tmp_path, pretender, monkeypatch, capsys
):
    """Run as from a command line, and told how long it will take: 10 s a point by this clock."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(sweep.time, "monotonic", lambda: next(clock))
    grid = "train.batch_size=8,16,24"
    sweep.run(config_for(dataset), grid, tmp_path / "w", ["--config=c.py", "--config.seed=0"])
    names = ["batch_size=8", "batch_size=16", "batch_size=24"]
    assert pretender.trained == names
    assert pretender.commands[1] == [
        *("--config=c.py", "--config.seed=0"),
        f"--workdir={tmp_path / 'w' / 'points' / 'batch_size=16'}",
        "--config.train.batch_size=16",
    ]
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert headings == [
        "[1/3] batch_size=8",
        "[2/3] batch_size=16, about 20 s left",
        "[3/3] batch_size=24, about 10 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89.4, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h")],
)
def test_the_time_left_in_words(seconds, words):
    assert sweep._in_words(seconds) == words


def test_a_longer_grid_trains_the_new_points_alone(dataset, tmp_path, pretender):
    config = config_for(dataset)
    sweep.run(config, GRID, tmp_path / "w")
    assert pretender.asked() == NAMES
    # The order of keys and values does not matter, nor how they are written.
    longer = "config.loss.contrastive_weight=5.0,10; loss.temperature = .2, .1"
    sweep.run(config, longer, tmp_path / "w")
    assert pretender.asked() == [f"temperature={t},contrastive_weight=10" for t in (0.2, 0.1)]
    assert [row["point"] for row in results(tmp_path / "w")["points"]] == [
        f"temperature={t},contrastive_weight={w}" for t in (0.2, 0.1) for w in (5, 10)
    ]
    with pytest.raises(ValueError, match=r"also has loss\.contrastive_weight=10.0; keep that in"):
        sweep.run(config, GRID, tmp_path / "w")
    assert pretender.asked() == []


def test_a_point_whose_folder_or_report_is_gone_is_trained_again(dataset, tmp_path, pretender):
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    pretender.asked()
    shutil.rmtree(tmp_path / "w" / "points" / NAMES[0])
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    assert pretender.asked() == NAMES[:1]
    (tmp_path / "w" / "points" / NAMES[1] / "results.json").unlink()
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    assert pretender.asked() == NAMES[1:]


def test_more_epochs_train_all_points_on_and_an_old_report_does_not_pass_for_new(
    dataset, tmp_path, pretender
):
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    pretender.asked()
    pretender.fails = {NAMES[0]: KeyboardInterrupt()}  # after its last epoch, before its report
    with pytest.raises(KeyboardInterrupt):
        sweep.run(config_for(dataset, train__epochs=3), GRID, tmp_path / "w")
    pretender.fails = {}
    sweep.run(config_for(dataset, train__epochs=3), GRID, tmp_path / "w")
    assert pretender.asked() == [NAMES[0], *NAMES]
    assert [row["epoch"] for row in results(tmp_path / "w")["points"]] == [3, 3]
    with pytest.raises(ValueError, match=r"has train\.epochs = 3, and this one 2; choose another"):
        sweep.run(config_for(dataset), GRID, tmp_path / "w")


def test_the_table_of_a_sweep_that_stops_says_what_is_not_trained(dataset, tmp_path, pretender):
    pretender.fails = {NAMES[1]: RuntimeError("out of memory")}
    with pytest.raises(RuntimeError, match="out of memory"):
        sweep.run(config_for(dataset), GRID, tmp_path / "w")
    rows = results(tmp_path / "w")["points"]
    assert [row["status"] for row in rows] == ["finished", "not trained"]


def test_a_diverged_point_is_not_tried_again_until_its_folder_is_gone(
    dataset, tmp_path, pretender, capsys
):
    message = "loss is inf; last good checkpoint: none was saved yet."
    pretender.fails = {NAMES[0]: loop.DivergedError(message, 7, 3)}
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    assert f"{NAMES[0]} diverged: {message}" in capsys.readouterr().out
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    assert pretender.asked() == NAMES
    cause = json.loads((tmp_path / "w" / "points" / NAMES[0] / "diverged.json").read_text())
    assert cause == {"step": 7, "epoch": 3, "message": message}
    assert results(tmp_path / "w")["points"][0]["diverged_step"] == 7


def test_where_the_data_lies_and_what_is_reported_may_change(dataset, tmp_path, pretender):
    sweep.run(config_for(dataset), GRID, tmp_path / "w")
    shutil.copytree(dataset, tmp_path / "moved")
    changed = config_for(tmp_path / "moved", report__samples=1, checkpoint__keep=1)
    sweep.run(changed, GRID, tmp_path / "w")
    assert pretender.asked() == NAMES


def test_another_sweep_in_the_folder_is_refused_with_what_differs(dataset, tmp_path, pretender):
    workdir, config = tmp_path / "w", config_for(dataset)
    sweep.run(config, GRID, workdir)
    record = (workdir / "sweep.json").read_bytes()
    write_random_dataset(tmp_path / "other", train=19, validation=8, tags=3)
    for other, grid, message in (
        (config, "loss.temperature=0.1,0.2", r"is over loss\.temperature and loss\.contrastive_w"),
        (config_for(dataset, seed=3), GRID, r"has seed = 0, and this one 3; choose another"),
        (config_for(dataset, model__filters=8), GRID, r"has model\.filters = 4, and this one 8"),
        (config_for(tmp_path / "other"), GRID, "was trained on another dataset; choose another"),
        (config, GRID.replace("0.1,", ""), r"also has loss\.temperature=0\.1; keep that in --grid"),
    ):
        with pytest.raises(ValueError, match=rf"{workdir}: the sweep in this folder .*{message}"):
            sweep.run(other, grid, workdir)
    # What the grid replaces is no difference.
    sweep.run(config_for(dataset, loss__temperature=0.7), GRID, workdir)
    assert pretender.asked() == NAMES
    assert json.loads(record)["grid"] == json.loads((workdir / "sweep.json").read_text())["grid"]
    for damaged in ("{}", record.decode()[:40]):
        (workdir / "sweep.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"sweep\.json: .*choose another --workdir"):
            sweep.run(config, GRID, workdir)


# --- The grid ---------------------------------------------------------------------------------


def test_values_have_the_type_that_the_config_has_there():
    config = tiny_config(data__path="somewhere")
    grid = sweep.parse_grid(
        "train.batch_size=8, 16;loss.audio_weight=5,0.5;optimizer.name=sgd,adam;"
        "loss.equal_tags_are_negatives=true,False; config.seed=7",
        config,
    )
    assert grid == {
        "train.batch_size": [8, 16],
        "loss.audio_weight": [5.0, 0.5],
        "optimizer.name": ["sgd", "adam"],
        "loss.equal_tags_are_negatives": [True, False],
        "seed": [7],
    }
    types = [type(values[0]) for values in grid.values()]
    assert types == [int, float, str, bool, int]
    assert config.seed == 0


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("", "--grid is empty"),
        ("  ", "--grid is empty"),
        ("loss.temperature", "'loss.temperature' is not KEY=VALUE,VALUE"),
        ("loss.temperature=", "'loss.temperature=' is not KEY=VALUE,VALUE"),
        ("=0.1", "'=0.1' is not KEY=VALUE,VALUE"),
        ("loss.temperature=0.1;", "'' is not KEY=VALUE,VALUE"),
        ("loss.temprature=0.1", "does not exist; the nearest key is config.loss.temperature"),
        ("loss=0.1", "config.loss is a section; its keys are loss."),
        ("data.path=a,b", "config.data.path must be the same for all points"),
        ("report.samples=1,2", "config.report.samples must be the same for all points"),
        ("loss.temperature=0.1;loss.temperature=0.2", "loss.temperature comes twice"),
        ("loss.temperature=0.1,0.10", "loss.temperature has the value 0.1 twice"),
        ("loss.temperature=0.1,warm", "config.loss.temperature is 'warm'; it must be a number"),
        ("loss.temperature=0.1,,0.2", "config.loss.temperature is ''; it must be a number"),
        ("train.batch_size=8.5", "config.train.batch_size is '8.5'; it must be a whole number"),
        ("loss.equal_tags_are_negatives=1", "is '1'; it must be True or False"),
        ("optimizer.name=sgd,", "config.optimizer.name is ''; it must be a name"),
        ("optimizer.name=sgd,lion", "config.optimizer.name is 'lion'; it must be one of sgd, adam"),
        ("loss.temperature=0.1,0", "config.loss.temperature is 0.0; it must be greater than 0"),
        ("loss.temperature=nan", "config.loss.temperature is nan; it must be greater than 0"),
        ("precision=float32,float64", "float64, once switched on, stays on"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_written(
    grid, message, dataset, tmp_path, pretender
):
    with pytest.raises(ValueError) as error:
        sweep.run(config_for(dataset), grid, tmp_path / "w")
    assert message in str(error.value)
    assert not (tmp_path / "w").exists()
    assert pretender.trained == []


def test_a_wrong_config_or_dataset_is_refused_before_anything_is_written(tmp_path, pretender):
    for config, message in (
        (config_for(tmp_path), "this folder is no dataset"),
        (config_for(tmp_path, train__epochs=0), r"config\.train\.epochs is 0"),
        (config_for(""), r"config\.data\.path is ''"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep.run(config, GRID, tmp_path / "w")
    assert not (tmp_path / "w").exists()
    assert pretender.trained == []


# --- The command line -------------------------------------------------------------------------

# The program, with a `main.run` that tells its arguments, or is interrupted when it is told to.
PROGRAM = """
import os, sys
from absl import app
import coala_jax.main
from coala_jax import sweep
from coala_jax.reporting import style

def told(config, workdir, flags_given):
    assert "jax" in sys.modules  # or the last line below would show nothing
    print(*flags_given, config.loss.temperature, config.train.epochs)
    raise KeyboardInterrupt

coala_jax.main.run = told
try:
    app.run(sweep.main, flags_parser=sweep.parse_flags)
finally:
    print("loaded jax:", "jax" in sys.modules)
"""


def program(*flags):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "--config=configs/e_c.py", *flags],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_point_is_the_run_that_its_command_makes_and_an_interruption_says_so(dataset, tmp_path):
    process = program(
        *("--grid", "loss.temperature=0.5", f"--workdir={tmp_path / 'w'}"),
        *(f"--config.data.path={dataset}", "--config.train.epochs=3"),
    )
    assert process.returncode == 1
    point = tmp_path / "w" / "points" / "temperature=0.5"
    assert (
        f"--config=configs/e_c.py --config.data.path={dataset} --config.train.epochs=3 "
        f"--workdir={point} --config.loss.temperature=0.5 0.5 3\n"
    ) in process.stdout
    assert "coala_jax.sweep: interrupted; the same command goes on from the last" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--grid=loss.temprature=1"], "coala_jax.sweep: --grid: config.loss.temprature does not"),
        (["--grid=seed=1", "--config.sed=1"], "coala_jax.sweep: config.sed does not exist; the"),
        (["--grid=seed=1", "stray"], "coala_jax.sweep: it takes flags only, not stray"),
        ([], "--grid=None: Flag --grid must have a value other than None"),
        (["--grid=seed=1", "--config=none.py"], "coala_jax.sweep: the config cannot be read"),
    ],
)
def test_wrong_flags_get_a_sentence_before_jax_is_loaded(flags, message, dataset, tmp_path):
    process = program(f"--workdir={tmp_path / 'w'}", f"--config.data.path={dataset}", *flags)
    assert process.returncode == 1
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert "loaded jax: False" in process.stdout
    assert not (tmp_path / "w").exists()
