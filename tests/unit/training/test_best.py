"""Which epoch is kept and when a run ends early, killed or not; the training itself is faked."""

import dataclasses
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import best, loop, metric_writer, steps
from coala_jax.training.setup import Run
from tests.runs import Interrupted, config_for, leftovers
from tests.synthetic import tiny_model

STEPS = 3  # of an epoch


def fresh_state() -> steps.TrainState:
    def leaf() -> jax.Array:
        return jnp.zeros(2, jnp.float32)

    return steps.TrainState(jnp.int32(0), {"weight": leaf()}, {"mean": leaf()}, {}, leaf())


def model_of(state) -> PretrainedModel:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return dataclasses.replace(tiny_model("cnn"), variables=jax.tree.map(np.array, variables))


def train_epoch(session, state, *_):
    """In place of an epoch: the weights become the epoch's number."""
    number = int(state.step) // STEPS + 1
    trained = state.replace(
        step=state.step + STEPS,
        params={"weight": jnp.full(2, number, jnp.float32)},
        batch_stats={"mean": jnp.full(2, -number, jnp.float32)},
    )
    return trained, {}, {"loss": 1.0, "patches_per_second": 1.0}


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Runs `loop.train` in `tmp_path / name`, with the macro AUC of each epoch as given."""
    monkeypatch.setattr(loop, "start_run", lambda config, _: (run_of(config), fresh_state()))
    monkeypatch.setattr(loop, "log_start", lambda *_: None)
    monkeypatch.setattr(loop.epoch, "train", train_epoch)
    monkeypatch.setattr(loop.epoch, "validate", lambda *_: {"loss": 2.0})

    def run_of(config) -> Run:
        run = Mock(spec=Run)
        run.config, run.freeze, run.init_digest = config, model_of, ""
        run.manifest = SimpleNamespace(digest="digest")
        nothing = SimpleNamespace(steps_per_epoch=STEPS, blocks=lambda *_: Mock())
        run.training = run.validation = nothing
        return run

    def train(name, scores, killed_at=None, **changes):
        workdir = tmp_path / name
        changes = {"train__epochs": len(scores), **changes}

        def evaluate_fn(model):
            number = metric_writer.read(workdir)[-1]["epoch"]
            if number == killed_at:
                raise Interrupted
            score = scores[number - 1]
            return loop.EvalResult({} if score is None else {"macro_auc": score})

        return loop.train(config_for(tmp_path, **changes), workdir, evaluate_fn)

    return train


@pytest.mark.parametrize(
    ("scores", "changes", "epochs", "kept"),
    [
        ([0.5, 0.7, 0.6], {}, 3, 2),
        ([0.5, 0.7, 0.7], {}, 3, 2),  # of equal ones the first
        ([0.5, 0.6, 0.7], {}, 3, 3),
        ([0.0, 0.0, 0.0], {}, 3, 1),
        ([0.9, 0.7, 0.9, 0.8, 0.5], {"eval__every_epochs": 2}, 5, 4),  # 2, 4 and the last
        ([0.5, 0.9, 0.6], {"eval__every_epochs": 0}, 3, 3),
        ([0.5, 0.7, 0.6], {"train__keep_epoch": "last"}, 3, 3),
        ([None, None], {}, 2, 2),
        ([0.5, 0.7, 0.6, 0.6, 0.8], {"train__patience": 2}, 4, 2),
        ([0.5, 0.7, 0.6, 0.8, 0.6], {"train__patience": 2}, 5, 4),
        ([0.7, 0.6, 0.5], {"train__patience": 1}, 2, 1),
        ([None, None, None], {"train__patience": 1}, 3, 3),
        ([0.7, 0.9, 0.6, 0.5, 0.8], {"train__patience": 1, "eval__every_epochs": 2}, 4, 2),
    ],
)
def test_the_first_of_the_best_evaluated_epochs_is_kept_and_patience_ends_a_run(
    scores, changes, epochs, kept, train, tmp_path
):
    result = train("w", scores, checkpoint__every_epochs=9, **changes)
    assert (result.epochs, result.kept_epoch) == (epochs, kept)
    chosen = changes.get("train__keep_epoch") != "last" and scores[0] is not None
    assert result.macro_auc == (np.float32(scores[kept - 1]) if chosen else None)
    for tree, value in (("params", kept), ("batch_stats", -kept)):
        (leaf,) = result.model.variables[tree].values()
        np.testing.assert_array_equal(leaf, np.full(2, value))
    assert metric_writer.read(tmp_path / "w")[-1]["epoch"] == epochs


@pytest.mark.parametrize(
    ("killed_at", "every", "patience"),  # every: epochs between checkpoints
    [(2, 1, 0), (3, 2, 0), (5, 2, 0), (3, 1, 2), (4, 2, 2)],
)
def test_a_killed_run_ends_as_one_that_was_not(killed_at, every, patience, train, tmp_path):
    scores = [0.5, 0.7, 0.65, 0.6, 0.8] if patience else [0.5, 0.7, 0.6, 0.75, 0.7]
    changes = {"train__patience": patience, "checkpoint__every_epochs": every}
    whole = train("whole", scores, **changes)
    with pytest.raises(Interrupted):
        train("parts", scores, killed_at, **changes)
    parts = train("parts", scores, **changes)
    assert (parts.kept_epoch, parts.macro_auc) == (whole.kept_epoch, whole.macro_auc)
    assert leftovers(tmp_path / "parts") == leftovers(tmp_path / "whole")


def test_a_run_that_has_ended_early_is_finished_also_with_more_epochs(train, tmp_path):
    changes = {"train__patience": 1, "checkpoint__every_epochs": 9}
    train("w", [0.7, 0.6, 0.5], **changes)
    before = (tmp_path / "w" / "metrics.jsonl").read_text()
    again = train("w", [0.7, 0.6, 0.5, 0.9], **changes)
    assert (again.epochs, again.kept_epoch) == (2, 1)
    assert (tmp_path / "w" / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(("score", "kept"), [(0.6, 1), (0.8, 3)])
def test_a_longer_run_goes_on_from_the_best(score, kept, train):
    assert train("w", [0.7, 0.6]).kept_epoch == 1
    assert train("w", [0.7, 0.6, score]).kept_epoch == kept


def test_a_checkpoint_holds_the_best_only_where_it_is_kept(train, tmp_path):
    for name in ("best", "last"):
        train(name, [0.5], train__keep_epoch=name)
        (folder,) = (tmp_path / name / "checkpoints").glob("[0-9]")
        assert ("evaluations_since" in (folder / "default" / "_METADATA").read_text()) == (
            name == "best"
        )


def test_a_score_is_compared_as_a_checkpoint_holds_it():
    """So that a resumed run sees no difference where the other sees none."""
    model, start = tiny_model("cnn"), best.no_model(fresh_state())
    first = start.updated(model, 1, {"macro_auc": 0.7})
    again = first.updated(model, 2, {"macro_auc": np.nextafter(0.7, 1)})
    assert (int(again.step), int(again.evaluations_since)) == (1, 1)
