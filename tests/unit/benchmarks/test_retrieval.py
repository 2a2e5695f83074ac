"""The benchmark of retrieval: its problem, and that it refuses measures that differ."""

import json

import numpy as np
import pytest

from benchmarks import retrieval as benchmark
from benchmarks.measure import BenchmarkError

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures


def test_the_problem_is_as_validation_sounds_are():
    problem = benchmark.make_problem(sounds=2000, dimensions=8)
    of_sounds, of_tags = problem.targets.sum(axis=1), problem.targets.sum(axis=0)
    assert problem.targets.shape == (2000, 1000)
    assert of_sounds.min() >= 1
    assert 5 < of_sounds.mean() < 7.5
    assert len(problem.sets) > 0.9 * 2000  # most sets belong to one sound
    assert of_tags[:10].sum() > of_tags[10:100].sum() > of_tags[900:].sum() > 0


def test_scikit_learn_finds_the_same(tmp_path, capsys):
    flags = ["--sounds=300", "--subset=200", "--rounds=1", f"--out={tmp_path}"]
    assert benchmark.main(flags) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["metrics"]["sounds"], result["subset"]["sounds"]) == (300, 200)
    assert result["subset"]["largest_difference"] < 1e-12
    assert 0.5 < result["metrics"]["macro_auc"] < 1
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == result


def test_measures_that_differ_are_refused():
    problem = benchmark.make_problem(sounds=100, dimensions=8)
    ours, theirs = problem.measure(), benchmark.by_scikit_learn(problem)
    assert benchmark.largest_difference(ours, theirs) < 1e-12
    with pytest.raises(BenchmarkError, match="scikit-learn gives"):
        benchmark.largest_difference(ours, theirs | {"map": np.nextafter(theirs["map"], 1) + 2e-12})
