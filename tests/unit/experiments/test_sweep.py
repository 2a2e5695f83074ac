"""Sweeps of runs that only pretend to train; tests/integration/test_sweep.py has a real one."""

import csv
import json
import shutil

import pytest
from matplotlib.image import imread

from coala_jax.training import loop, run_config
from experiments import sweep
from tests.synthetic import tiny_config, write_random_dataset

FIGURES = {"macro_auc": 0.5, "mrr": 0.1, "map": 0.2, "recall_at_10": 0.3}
GRID = "loss.temperature=0.1,0.20;loss.contrastive_weight=5"
NAMES = [f"contrastive_weight=5,temperature={temperature}" for temperature in (0.1, 0.2)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "dataset"
    write_random_dataset(folder, train=19, validation=8, tags=4)
    return folder


def config_for(dataset, **changes):
    return tiny_config(data__path=str(dataset), case="e_c", **changes)


class FakeTraining:
    """In place of `training_run.train`: leaves what a run leaves, keeps what it was asked."""

    def __init__(self):
        self.names, self.commands, self.raises, self.recorded = [], [], {}, {}

    def __call__(self, config, workdir, command):
        self.names.append(workdir.name)
        self.commands.append(list(command))
        digest = sweep.Manifest.load(config.data.path).digest
        run_config.check_or_write_config(workdir, config, digest)
        entries = []
        for epoch in range(1, config.train.epochs + 1):
            figures = FIGURES | {"loss": 3.0 / epoch, "mrr": config.loss.temperature / epoch}
            entries.append({"kind": "train", "epoch": epoch, "step": epoch, "seconds": 1.5})
            entries.append({"kind": "validation", "epoch": epoch, "step": epoch, **figures})
        lines = [json.dumps(entry) + "\n" for entry in entries]
        (workdir / "metrics.jsonl").write_text("".join(lines))
        if error := self.raises.get(workdir.name):
            raise error
        retrieval = dict.fromkeys(("trained", "untrained", "chance", "popularity"), FIGURES)
        retrieval["trained"] = FIGURES | {"mrr": config.loss.temperature / 4}
        record = {"epochs": config.train.epochs, "retrieval": retrieval} | self.recorded
        record |= {"kept": {"epoch": record["epochs"]}}
        (workdir / sweep.RECORD).write_text(json.dumps(record))

    def new_names(self):
        names, self.names = self.names, []
        return names


@pytest.fixture
def training(monkeypatch):
    """Nor is anything plotted, which takes most of the time."""
    monkeypatch.setattr(sweep, "plot", lambda *arguments: None)
    monkeypatch.setattr(sweep.style, "write", lambda figure, out: out.touch())
    fake = FakeTraining()
    monkeypatch.setattr(sweep.training_run, "train", fake)
    return fake


def rows(workdir):
    return json.loads((workdir / "results.json").read_text())["rows"]


def test_each_point_is_the_run_that_its_command_makes(dataset, tmp_path, training):
    sweep.run(config_for(dataset), GRID, tmp_path, ["--config=c.py", "--config.seed=0"])
    assert training.names == NAMES
    assert training.commands[1] == [
        *("python", "-m", "coala_jax.main", "--config=c.py", "--config.seed=0"),
        f"--workdir={tmp_path / 'points' / NAMES[1]}",
        *("--config.loss.contrastive_weight=5.0", "--config.loss.temperature=0.2"),
    ]


def test_all_tables_hold_the_figures_of_the_runs(dataset, tmp_path, training, capsys):
    training.raises = {NAMES[0]: loop.DivergedError("loss is inf", 7, 3)}
    sweep.run(config_for(dataset), GRID, tmp_path)
    diverged, finished, chance, popularity = rows(tmp_path)
    assert (diverged["status"], diverged["epoch"]) == ("diverged at step 7", 3)
    assert diverged["mrr"] is None and diverged["loss.temperature"] == 0.1
    expected = FIGURES | {"mrr": 0.05, "best_mrr": 0.2, "best_epoch": 1, "untrained_mrr": 0.1}
    expected |= {"status": "finished", "epoch": 2, "loss": 1.5, "audio_loss": None, "seconds": 3.0}
    assert finished | expected == finished
    for row, name in ((chance, "chance"), (popularity, "popularity")):
        assert row | FIGURES | {"point": name, "loss": None} == row
    with (tmp_path / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table == [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in rows(tmp_path)
    ]
    text = (tmp_path / "results.md").read_text()
    assert f"| {NAMES[1]} | finished | 2 | 1.5 | **0.5** | **0.05** | **0.2** |" in text
    assert f"| {NAMES[0]} | diverged at step 7 | 3 | - |" in text
    shown = capsys.readouterr().out
    assert text in shown and str(tmp_path / "results.png") in shown


def test_a_sweep_continues_with_what_is_not_done(dataset, tmp_path, training):
    config = config_for(dataset)
    training.raises = {
        NAMES[0]: loop.DivergedError("loss is inf", 7, 3),
        NAMES[1]: RuntimeError("out of memory"),
    }
    with pytest.raises(RuntimeError, match="out of memory"):
        sweep.run(config, GRID, tmp_path)
    assert [row["status"] for row in rows(tmp_path)] == ["diverged at step 7", "not trained"]
    training.raises = {}
    sweep.run(config, GRID, tmp_path)
    assert training.new_names() == [*NAMES, NAMES[1]]  # what diverged is not tried again
    # More values, in another order and way of writing; only the new points are trained.
    sweep.run(config, "config.loss.contrastive_weight=5.0,10; loss.temperature=.2,.1", tmp_path)
    assert training.new_names() == [f"contrastive_weight=10,temperature={t}" for t in (0.2, 0.1)]
    shutil.rmtree(tmp_path / "points" / NAMES[0])
    sweep.run(config, GRID, tmp_path)
    assert training.new_names() == NAMES[:1]


def test_more_epochs_train_on_and_an_old_record_does_not_pass_for_new(dataset, tmp_path, training):
    sweep.run(config_for(dataset), GRID, tmp_path)
    training.new_names()
    training.raises = {NAMES[0]: KeyboardInterrupt()}  # after its last epoch, before its record
    with pytest.raises(KeyboardInterrupt):
        sweep.run(config_for(dataset, train__epochs=3), GRID, tmp_path)
    assert not (tmp_path / "points" / NAMES[0] / sweep.RECORD).exists()
    training.raises = {}
    sweep.run(config_for(dataset, train__epochs=3), GRID, tmp_path)
    assert training.new_names() == [NAMES[0], *NAMES]
    assert [row["epoch"] for row in rows(tmp_path)[:2]] == [3, 3]
    with pytest.raises(ValueError, match=NAMES[0]):
        sweep.run(config_for(dataset), GRID, tmp_path)
    assert rows(tmp_path)[0]["epoch"] == 3


def test_a_point_that_has_ended_early_is_done_and_shows_its_kept_epoch(dataset, tmp_path, training):
    training.recorded = {"epochs": 1, "stopped_early": True}
    for _ in range(2):
        sweep.run(config_for(dataset, train__epochs=4), GRID, tmp_path)
    assert training.names == NAMES
    assert [(row["epoch"], row["loss"]) for row in rows(tmp_path)[:2]] == [(1, 3.0)] * 2


def test_another_config_or_dataset_in_the_folder_is_refused(dataset, tmp_path, training):
    workdir = tmp_path / "w"
    sweep.run(config_for(dataset), GRID, workdir)
    before = {path: path.read_bytes() for path in workdir.rglob("*.*") if path.is_file()}
    write_random_dataset(tmp_path / "other", train=19, validation=8, tags=3)
    for config, token in (
        (config_for(dataset, seed=3), "seed = 0"),
        (config_for(tmp_path / "other"), "another dataset"),
    ):
        with pytest.raises(ValueError, match=NAMES[0]) as error:
            sweep.run(config, GRID, workdir)
        assert token in str(error.value)
    assert {path: path.read_bytes() for path in before} == before
    # Where the data lie, what is reported and what the grid replaces may change.
    shutil.copytree(dataset, tmp_path / "moved")
    changes = {"report__samples": 1, "checkpoint__keep": 1, "loss__temperature": 0.7}
    sweep.run(config_for(tmp_path / "moved", **changes), GRID, workdir)
    assert training.names == NAMES


def test_values_have_the_type_of_the_setting(tmp_path):
    grid = "train.batch_size=8, 16;loss.audio_weight=5,0.5;optimizer.name=adam;seed=7"
    config = tiny_config(data__path="somewhere")
    points = sweep.make_points(config, grid + ";loss.equal_tags_are_negatives=true,False", tmp_path)
    assert len(points) == 8
    last = points[-1].changes
    assert [repr(value) for value in last.values()] == ["0.5", "False", "'adam'", "7", "16"]
    assert points[-1].config.train.batch_size == 16 and config.train.batch_size == 8


@pytest.mark.parametrize(
    ("grid", "token"),
    [
        ("", "''"),
        ("loss.temperature=", "'loss.temperature='"),
        ("=0.1", "'=0.1'"),
        ("loss.temperature=0.1;", "''"),
        ("loss.temprature=0.1", "config.loss.temperature"),
        ("loss=0.1", "config.loss"),
        ("data.path=a,b", "config.data.path"),
        ("report.samples=1,2", "config.report.samples"),
        ("loss.temperature=0.1;loss.temperature=0.2", "config.loss.temperature"),
        ("loss.temperature=0.1,0.10", "config.loss.temperature"),
        ("loss.temperature=0.1,warm", "'warm'"),
        ("loss.temperature=0.1,,0.2", ",,"),
        ("train.batch_size=8.5", "'8.5'"),
        ("loss.equal_tags_are_negatives=2", "'2'"),
        ("optimizer.name=sgd,lion", "'lion'"),
        ("loss.temperature=0.1,0", "config.loss.temperature is 0.0"),
        ("precision=float32,float64", "float64"),
    ],
)
def test_a_wrong_grid_is_refused_before_the_first_training(
    dataset, tmp_path, training, grid, token
):
    with pytest.raises(ValueError) as error:
        sweep.run(config_for(dataset), grid, tmp_path / "w")
    assert token in str(error.value)
    assert not (tmp_path / "w").exists() and training.names == []


def test_the_plot_has_a_curve_for_each_weight_with_gaps_and_baselines(tmp_path):
    keys = ["loss.contrastive_weight", "loss.temperature"]
    found = []
    for weight, temperature, mrr in ((5, 0.2, 0.3), (5, 0.1, None), (9, 0.1, 0.4), (5, 0.05, 0.1)):
        status = "diverged at step 3" if mrr is None else "finished"
        row = dict.fromkeys(sweep.RETRIEVAL, mrr) | {"point": "x", "status": status}
        found.append(row | dict(zip(keys, (weight, temperature), strict=True)))
    found.append(dict.fromkeys(found[0]) | FIGURES | {"point": "chance", "status": "baseline"})
    figure = sweep.plot(keys, found)
    axes = figure.axes[1]
    assert (axes.get_title(), axes.get_xlabel()) == ("MRR", "temperature")
    curves = {line.get_label(): [str(y) for y in line.get_ydata()] for line in axes.lines}
    assert curves == {
        "contrastive_weight 5": ["0.1", "nan", "0.3"],
        "contrastive_weight 9": ["nan", "0.4", "nan"],
        "chance": ["0.1", "0.1"],
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.05", "0.1", "0.2"]
    sweep.style.write(figure, tmp_path / "plot.png")
    assert imread(tmp_path / "plot.png").shape[:2] == (650, 1200)
