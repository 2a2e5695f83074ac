"""The arithmetic of `benchmarks.schedule`, and its settings."""

import pytest

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
        "resumed": False,
    }


def test_the_epochs_of_earlier_starts_count():
    split = split_time(EPOCHS, EPOCHS[:2], wall_s=20.0)
    assert split["start_up_and_end_s"] == 20.0 - (6 + 2 + 4 + 2 + 0.5 + 0.5)
    assert split["total_s"] == 10.0 + 1.5 + 20.0
    assert split["steps_s"] == 20.0
    assert split["resumed"]


def test_the_limits_of_an_h100():
    found = limits("NVIDIA H100 80GB HBM3", 2.4e9, 170_906 * 200)
    # 82 PFLOP at 989 TFLOP/s, and 479 TB at 3.35 TB/s.
    assert found["minutes_at_peak_flop"] == pytest.approx(82.03e15 / 989e12 / 60, rel=1e-3)
    assert found["minutes_at_peak_memory"] == pytest.approx(478.5e12 / 3.35e12 / 60, rel=1e-3)
    assert limits("cpu", 2.4e9, 1000) == {}


def test_settings_reach_the_config(tmp_path):
    flags = parse([f"--out={tmp_path}", "--set=model.filters=4", "--set", "optimizer.name=adam"])
    config = make_config(flags, tmp_path)
    assert (config.model.filters, config.optimizer.name) == (4, "adam")
    assert (config.precision, config.data.patch_dtype) == ("bfloat16", "uint8")
    assert (config.train.epochs, config.data.path) == (200, str(tmp_path))


@pytest.mark.parametrize("setting", ["model.filtres=4", "model.filters=four", "filters"])
def test_an_invalid_setting_is_named(tmp_path, setting):
    flags = parse([f"--out={tmp_path}", "--set", setting])
    with pytest.raises(ValueError, match=f"--set {setting}:"):
        make_config(flags, tmp_path)
