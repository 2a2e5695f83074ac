"""The benchmark of the probe: its arithmetic, and that it refuses probes that do not agree."""

import jax
import numpy as np
import pytest

from benchmarks import probe as benchmark
from benchmarks.measure import BenchmarkError
from coala_jax.evaluation import probe, probe_epoch


@pytest.fixture(scope="module")
def problem():
    return benchmark.make_problem(clips=250, dimensions=20, test_clips=300)


def test_figures_are_medians_of_what_rounds_measured_side_by_side():
    rounds = [
        benchmark.Round(scikit_learn_s=6.0, ours_s=2.0, product_rate=100.0),
        benchmark.Round(scikit_learn_s=8.0, ours_s=1.0, product_rate=200.0),
        benchmark.Round(scikit_learn_s=8.0, ours_s=2.0, product_rate=400.0),
    ]
    figures = benchmark.summary(rounds, gigaflop=100.0)
    assert figures["ratio_of_rounds"] == [3.0, 8.0, 4.0]
    assert figures["ratio_to_scikit_learn"] == 4.0
    assert figures["share_of_rounds"] == [0.5, 0.5, 0.125]
    assert figures["share_of_product_rate"] == 0.5


def test_operations_are_those_that_xla_counts(problem):
    clips = problem.train[:200]
    targets = np.eye(benchmark.CLASSES, dtype=np.float32)[problem.classes[:200]]
    network = jax.tree.map(
        np.asarray, probe._first_weights(np.random.RandomState(0), 20, benchmark.CLASSES)
    )
    step = jax.jit(probe_epoch.loss_and_gradient).lower(network, clips, targets)
    counted = step.cost_analysis()["flops"] / 1e9
    small = benchmark.Problem(clips, problem.classes[:200], problem.test, problem.test_classes)
    assert benchmark.gigaflop(small) == pytest.approx(counted, rel=0.1)  # it counts ReLU and such


def test_both_take_the_epochs_that_are_timed(problem, monkeypatch):
    taken = []
    fit = probe.fit

    def kept(*args, **settings):
        taken.extend(fit(*args, **settings))
        return taken

    monkeypatch.setattr(probe, "fit", kept)
    monkeypatch.setattr(probe, "TOLERANCE", 1e9)  # no loss is good enough
    assert benchmark.our_seconds(problem, [0, 1], 14) > 0
    assert [len(one.losses) for one in taken] == [14, 14]
    assert benchmark.scikit_learn(problem, 0, 14, patience=14).n_iter_ == 14


def test_accuracies_agree_on_a_problem_that_neither_solves(problem):
    found = benchmark.agreement(problem, [0, 1, 2], epochs=30)
    assert 0.2 < found["accuracy"]["ours"]["mean"] < 0.8
    assert found["same_predictions"] > 0.99


def test_a_probe_that_learns_nothing_is_refused(problem, monkeypatch):
    monkeypatch.setattr(probe, "mlp", lambda *_, **__: np.zeros((3, 300), np.int32))
    with pytest.raises(BenchmarkError, match="do not agree"):
        benchmark.agreement(problem, [0, 1, 2], epochs=30)
