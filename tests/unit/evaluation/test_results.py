"""The record of an evaluation: its figures by hand, and folders that hold another one's."""

import json
from pathlib import Path

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.embedding import map_projection
from coala_jax.evaluation import results
from coala_jax.evaluation.cca import CcaTable
from coala_jax.evaluation.comparison import EvaluationSettings, TaskResult
from coala_jax.evaluation.tasks import Clip, Fold, Task
from tests.evaluation_record import LABELS, probe_result
from tests.tiny_task import Deaf, Ears

TESTED = np.arange(2, 12)


def task(name="gtzan", root="/data/gtzan"):
    """Twelve clips in turn, two to train on: a dog and rain; ten to test."""
    clips = tuple(Clip(f"{i:02}.wav", LABELS[i % 3]) for i in range(12))
    fold = Fold("test", np.arange(2), TESTED)
    return Task(name, Path(root), LABELS, clips, (fold,), {"train": ["x.wav"]}, ("a remark",))


def request(evaluators=(Ears, Deaf), tasks=None, datasets=(), **settings):
    settings = EvaluationSettings(**{"seeds": (0, 1)} | settings)
    models = [evaluator() for evaluator in evaluators]
    return results.request(models, tasks or [task()], settings, datasets)


def complete(vectors, monkeypatch, **kwargs):
    monkeypatch.setattr(map_projection, "project", lambda vectors, seed: vectors.astype(np.float64))
    outcomes = [probe_result("gtzan", "ears", right=(8, 8)), probe_result("gtzan", "deaf")]
    result = TaskResult(task(), outcomes, {"ears": vectors, "deaf": vectors * 0}, "d" * 64)
    table = CcaTable({"mfcc": {"mean": 0.5}}, {"mfcc": {"mean": 0.2}}, 12, 18, None)
    return results.complete(request(**kwargs), [result], {"ears": table}, "the command")


def test_the_record_holds_what_tables_and_plots_show(monkeypatch):
    vectors = np.arange(24, dtype=np.float32).reshape(12, 2)
    record = json.loads(storage.json_text(complete(vectors, monkeypatch)))
    assert (record["kind"], record["command"]) == ("evaluation", "the command")
    assert record["settings"]["seeds"] == [0, 1]
    assert [one["name"] for one in record["models"]] == ["ears", "deaf"]
    assert record["models"][0]["digest"] == Ears.digest
    assert record["models"][0]["pooling"] == ""  # which is a model's alone
    assert record["versions"].keys() >= {"coala_jax", "jax", "numpy"}
    (found,) = record["tasks"]
    assert (found["title"], found["clips"], found["digest"]) == ("GTZAN", 12, "d" * 64)
    assert found["folds"] == [{"name": "test", "train": 2, "test": 10}]
    assert found["tested"] == [3, 3, 4]
    assert found["majority"] == 0.3  # of the ten clips the three dogs
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["left_out"] == {"train": ["x.wav"]}
    assert found["map"]["points"] == vectors[TESTED].tolist()
    assert found["map"]["labels"] == [LABELS[i % 3] for i in TESTED]
    assert record["outcomes"][0]["accuracies"] == [0.8, 0.8]
    (difference,) = record["differences"]
    assert (difference["first"], difference["second"]) == ("ears", "deaf")
    assert record["correlations"]["ears"]["baselines"] == {"mfcc": {"mean": 0.2}}
    published = record["published"]["tasks"]["gtzan"]
    assert published["paper_percent"]["cnn"] == 47.0
    # Ten runs of 171 to 182 of 289 right: mean 175.5, standard deviation 3.2404, and 2.2622
    # of 3.2404 / sqrt(10) to either side.
    expected = {"mean": 175.5 / 289, "low": 173.1819 / 289, "high": 177.8181 / 289}
    assert published["released"]["ae_c"] == pytest.approx(expected, abs=1e-6)


def test_a_map_has_at_most_so_many_clips_and_keeps_their_classes(monkeypatch):
    monkeypatch.setattr(map_projection, "MAXIMUM_SOUNDS", 5)
    vectors = np.arange(24, dtype=np.float32).reshape(12, 2)
    found = complete(vectors, monkeypatch)["tasks"][0]["map"]
    clips = [int(x / 2) for x, _ in found["points"]]
    assert len(clips) == 5 and sorted(clips) == clips and set(clips) <= set(TESTED)
    assert found["labels"] == [LABELS[i % 3] for i in clips]


def test_the_same_evaluation_may_go_on(tmp_path):
    results.check_out(tmp_path, request())
    storage.write_json(tmp_path / "results.json", request() | {"command": "spelt otherwise"})
    results.check_out(tmp_path, request())


class Retrained(Ears):
    digest = "3" * 64


@pytest.mark.parametrize(
    ("other", "named"),
    [
        pytest.param({"seeds": (0,)}, ["setting seeds", "[0]", "[0, 1]"], id="seeds"),
        pytest.param(
            {"datasets": [Path("/data/mine")]}, ["setting datasets", "/data/mine"], id="data"
        ),
        pytest.param({"evaluators": (Ears,)}, ["model deaf", "2222", "absent"], id="fewer models"),
        pytest.param({"evaluators": (Deaf, Ears)}, ["first model", "deaf"], id="other order"),
        pytest.param({"evaluators": (Retrained, Deaf)}, ["model ears", "3333"], id="retrained"),
        pytest.param({"tasks": [task(root="/b")]}, ["task gtzan", "/b"], id="other folder"),
    ],
)
def test_a_folder_of_another_evaluation_is_refused_by_what_differs(other, named, tmp_path):
    storage.write_json(tmp_path / "results.json", request(**other))
    with pytest.raises(ValueError, match="--overwrite") as error:
        results.check_out(tmp_path, request())
    for token in [str(tmp_path / "results.json"), *named]:
        assert token in str(error.value)


@pytest.mark.parametrize("record", [{"kind": "training"}, {"format": 0}, []])
def test_a_folder_of_another_kind_of_record_is_refused(record, tmp_path):
    storage.write_json(tmp_path / "results.json", record)
    with pytest.raises(ValueError) as error:
        results.check_out(tmp_path, request())
    assert str(tmp_path / "results.json") in str(error.value)
