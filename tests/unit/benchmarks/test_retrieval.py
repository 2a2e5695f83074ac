"""The benchmark of retrieval: its problem, its arithmetic, and that it refuses other figures."""

import json

import numpy as np
import pytest

from benchmarks import retrieval as benchmark
from benchmarks.measure import BenchmarkError


def test_the_problem_is_as_validation_sounds_are():
    problem = benchmark.make_problem(sounds=2000, dimensions=8)
    of_sounds, of_tags = problem.targets.sum(axis=1), problem.targets.sum(axis=0)
    assert problem.targets.shape == (2000, 1000)
    assert of_sounds.min() >= 1
    assert 5 < of_sounds.mean() < 7.5
    assert len(problem.sets) > 0.9 * 2000  # most sets are of one sound alone
    assert of_tags[:10].sum() > of_tags[10:100].sum() > of_tags[900:].sum() > 0
    # 2000 sounds by sets and, twice, by 1000 tags; two operations for each of 8 values.
    assert problem.gigaflop == pytest.approx(2 * 2000 * (len(problem.sets) + 2000) * 8 / 1e9)


def test_a_loop_finds_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "_SIDE", 64)
    flags = ["--sounds=300", "--subset=200", "--rounds=1", f"--out={tmp_path}"]
    assert benchmark.main(flags) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "retrieval"
    assert result["metrics"]["sounds"] == 300
    assert result["subset"]["sounds"] == 200
    assert result["subset"]["largest_difference"] < 1e-12
    assert result["gflop_per_s"] == pytest.approx(result["gigaflop"] / result["seconds"])
    assert 0 < result["grown_by_mb"] < result["peak_resident_mb"]
    assert 0.5 < result["metrics"]["macro_auc"] < 1
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == result


def test_figures_that_differ_are_refused():
    problem = benchmark.make_problem(sounds=100, dimensions=8)
    ours = problem.measure()
    loop = benchmark.by_a_loop(problem)
    assert benchmark.agree(ours, loop) < 1e-12
    with pytest.raises(BenchmarkError, match="the loop gives"):
        benchmark.agree(ours, loop | {"map": np.nextafter(loop["map"], 1) + 2e-12})
