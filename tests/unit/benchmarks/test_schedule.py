"""The whole schedule at toy sizes, and the arithmetic of its minutes and of its losses."""

import json
import sys

import pytest

from benchmarks import schedule
from benchmarks.loss_spread import compare
from benchmarks.schedule import limits, make_config, parse, split_time


def entry(kind, epoch, **figures):
    return {"kind": kind, "epoch": epoch, "step": 10 * epoch, **figures}


EPOCHS = [
    entry("train", 1, seconds=10.0, input_seconds=1.0, patches_per_second=5.0),
    entry("validation", 1, loss=2.0, evaluation_seconds=1.5),
    entry("train", 2, seconds=6.0, validation_seconds=2.0, patches_per_second=8.0),
    entry("train", 3, seconds=4.0, validation_seconds=2.0, checkpoint_seconds=0.5)
    | {"input_seconds": 0.25, "patches_per_second": 9.0},
    entry("validation", 3, loss=1.5, evaluation_seconds=0.5),
]


def test_what_epochs_leave_of_a_run_is_start_up_and_end():
    assert split_time(EPOCHS, [], wall_s=30.0) == {
        "total_s": 30.0,
        "steps_s": 20.0,
        "input_s": 1.25,
        "validation_s": 4.0,
        "evaluation_s": 2.0,
        "evaluations": 2,
        "median_evaluation_s": 1.0,
        "checkpoint_s": 0.5,
        "start_up_and_end_s": 3.5,
        "patches_per_second_of_median_epoch": 8.0,
        "went_on": False,
    }


def test_of_a_run_that_went_on_the_earlier_epochs_count_too():
    split = split_time(EPOCHS, EPOCHS[:2], wall_s=20.0)
    assert split["start_up_and_end_s"] == 20.0 - (6 + 2 + 4 + 2 + 0.5 + 0.5)
    assert split["total_s"] == 10.0 + 1.5 + 20.0
    assert split["steps_s"] == 20.0
    assert split["went_on"]


def test_the_limits_of_an_h100():
    found = limits("NVIDIA H100 80GB HBM3", 2.4e9, 170_906 * 200)
    # 82 PFLOP at 989 TFLOP/s, and 479 TB at 3.35 TB/s.
    assert found["minutes_at_peak_flop"] == pytest.approx(82.03e15 / 989e12 / 60, rel=1e-3)
    assert found["minutes_at_peak_memory"] == pytest.approx(478.5e12 / 3.35e12 / 60, rel=1e-3)
    assert limits("cpu", 2.4e9, 1000) == {}


def losses(train, validation):
    return [
        entry("train", 1, loss=9.0, seconds=1.0),
        entry("train", 2, loss=train, seconds=1.0),
        entry("validation", 2, loss=validation),
        entry("samples", 2, sounds=[]),
    ]


def test_losses_are_held_against_the_spread_of_float32_runs():
    seeds = [losses(1.0, 5.0), losses(2.0, 5.2), losses(3.0, 5.4)]
    compared = compare(losses(6.9, 4.0), seeds, epoch=2)
    assert compared.keys() == {"train/loss", "validation/loss"}
    # Mean 2, deviation 1; Student's t for two degrees of freedom is 4.3027, times sqrt(4/3).
    assert compared["train/loss"]["expected"] == pytest.approx([2 - 4.968275, 2 + 4.968275])
    assert compared["train/loss"]["within"]
    assert not compared["train/loss"]["between"]
    assert not compared["validation/loss"]["within"]  # 5.2 - 0.9937 and more
    assert compared["validation/loss"]["fast"] == 4.0


def flags_for(tmp_path, *more):
    return [f"--out={tmp_path}", "--patches=12", "--validation=5", "--epochs=1", *more]


def test_settings_reach_the_config(tmp_path):
    flags = parse(flags_for(tmp_path, "--set", "model.filters=4", "optimizer.name=adam"))
    config = make_config(flags, tmp_path)
    assert (config.model.filters, config.optimizer.name) == (4, "adam")
    assert (config.precision, config.data.patch_dtype) == ("bfloat16", "uint8")
    assert config.train.epochs == 1


@pytest.mark.parametrize("setting", ["model.filtres=4", "model.filters=four", "filters"])
def test_a_setting_that_cannot_be_is_one_sentence(tmp_path, setting):
    flags = parse(flags_for(tmp_path, "--set", setting))
    with pytest.raises(ValueError, match=f"--set {setting}: config"):
        make_config(flags, tmp_path)


def test_one_float32_run_has_no_spread(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(flags_for(tmp_path, "--seeds=1", "--seed_epochs=1"))
    assert "--seeds must be 0 or at least 2" in capsys.readouterr().err


def test_a_missing_package_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert schedule.main(flags_for(tmp_path)) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "schedule:" in line)
    assert "tensorflow_datasets" in line
    assert line.endswith("pip install -r requirements.txt")


def test_the_schedule_end_to_end_and_again(tmp_path, capsys):
    sizes = ["case=cnn", "model.filters=4", "train.batch_size=8", "eval.every_epochs=1"]
    flags = flags_for(tmp_path, "--precision=float32", "--set", *sizes)
    assert schedule.main(flags) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["counts"] == {"train": 12, "validation": 5}
    assert first["total_s"] == pytest.approx(
        first["steps_s"] + first["start_up_and_end_s"] + first["evaluation_s"]
    )
    assert first["evaluations"] == 1
    assert 0 < first["median_evaluation_s"] == first["evaluation_s"]
    assert first["minutes"] == first["total_s"] / 60
    assert first["patches_per_second"] == pytest.approx(12 / first["steps_s"])
    assert not first["went_on"]
    assert 0 < first["compile_s"] < first["total_s"]
    assert first["dataset_written_s"] > 0

    assert schedule.main([*flags, "--epochs=2"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["went_on"]
    assert again["dataset_written_s"] == 0
    assert again["steps_s"] > first["steps_s"]
    assert again["evaluations"] == 2
    written = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    trained = [json.loads(line)["epoch"] for line in written if '"train"' in line]
    assert trained == [1, 2]

    assert schedule.main([*flags, "--patches=13"]) == 1
    assert "give another --out" in capsys.readouterr().err
