"""The benchmark of the probe: what it times, and that it refuses probes that do not agree."""

import json

import numpy as np
import pytest

from benchmarks import probe as benchmark
from benchmarks.measure import BenchmarkError
from coala_jax.evaluation import probe

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures


@pytest.fixture(scope="module")
def problem():
    return benchmark.make_problem(clips=250, dimensions=20, test_clips=300)


def test_both_take_the_epochs_that_are_timed(problem, monkeypatch):
    taken = []
    fit = probe.fit

    def kept(*args, **settings):
        taken.extend(fit(*args, **settings))
        return taken

    monkeypatch.setattr(probe, "fit", kept)
    monkeypatch.setattr(probe, "TOLERANCE", 1e9)  # no loss is good enough
    benchmark.ours(problem, [0, 1], 14)
    assert [len(one.losses) for one in taken] == [14, 14]
    assert benchmark.scikit_learn(problem, 0, 14, patience=14).n_iter_ == 14


def test_figures_are_medians_of_what_rounds_measured_side_by_side(problem, monkeypatch):
    seconds = iter([9.0, 6.0, 2.0, 8.0, 1.0, 8.0, 2.0])
    monkeypatch.setattr(benchmark, "seconds_per_epoch", lambda *_: next(seconds))
    figures = benchmark.speed(problem, range(2), 1, 1, rounds=3)
    assert figures["ratio_of_rounds"] == [3.0, 8.0, 4.0]
    assert figures["ratio_to_scikit_learn"] == 4.0
    assert (figures["scikit_learn_s_per_epoch"], figures["ours_s_per_epoch"]) == (8.0, 2.0)


def test_the_whole_at_a_small_size(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark.probe, "MAX_EPOCHS", 3)
    flags = ["--seeds=2", "--epochs=1", "--our_epochs=1", "--rounds=1", "--clips=200"]
    assert benchmark.main([*flags, f"--out={tmp_path}"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ratio_to_scikit_learn"] > 0
    assert result["same_predictions"] > 0.99
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == result


def test_a_probe_that_learns_nothing_is_refused(problem, monkeypatch):
    monkeypatch.setattr(probe, "mlp", lambda *_, **__: np.zeros((3, 300), np.int32))
    with pytest.raises(BenchmarkError, match="do not agree"):
        benchmark.agreement(problem, [0, 1, 2], epochs=30)
