"""What is said of the points of a sweep, on journals and reports written by hand."""

import pytest

from coala_jax.evaluation import sweep_outcomes
from coala_jax.evaluation.sweep_outcomes import Outcome

REFERENCES = {
    "untrained": {"macro_auc": 0.48, "mrr": 0.11, "map": 0.21, "recall_at_10": 0.31},
    "chance": {"macro_auc": 0.5, "mrr": 0.1, "map": 0.2, "recall_at_10": 0.3},
    "popularity": {"macro_auc": 0.5, "mrr": 0.13, "map": 0.35, "recall_at_10": 0.6},
}
DIVERGED = {"step": 12, "epoch": 2, "message": "loss is nan at step 12, epoch 2"}


def finished(name, changes, mrr=(0.3, 0.2), references=REFERENCES, **last):
    """A run of an epoch for each value of mrr; `last` replaces figures of the last epoch."""
    entries = []
    for epoch, value in enumerate(mrr, start=1):
        figures = {"loss": 9.0 / epoch, "audio_loss": 4.0 / epoch, "tag_loss": 0.6 / epoch}
        retrieval = {"macro_auc": 0.6, "mrr": value, "map": 0.4, "recall_at_10": 0.5}
        entries.append({"kind": "train", "epoch": epoch, "seconds": 1.25 * epoch, "loss": 50.0})
        entries.append({"kind": "validation", "epoch": epoch, **figures, **retrieval})
        entries.append({"kind": "samples", "epoch": epoch, "sounds": []})
    entries[-2] |= last
    return Outcome(name, changes, entries, {"retrieval": {"trained": {}, **references}})


def temperatures(*values):
    return [{"loss.temperature": value} for value in values]


def test_a_row_has_the_last_epoch_the_best_one_and_the_seconds_of_training():
    row = finished("a", {"loss.temperature": 0.1}, mrr=(0.25, 0.5, 0.5, 0.375)).row()
    assert row == {
        "point": "a",
        "status": "finished",
        "loss.temperature": 0.1,
        "epoch": 4,
        "loss": 2.25,
        "audio_loss": 1.0,
        "tag_loss": 0.15,
        "signed_contrastive_loss": None,
        "contrastive_loss": None,
        "macro_auc": 0.6,
        "mrr": 0.375,
        "map": 0.4,
        "recall_at_10": 0.5,
        "best_mrr": 0.5,
        "best_epoch": 2,
        "seconds": 12.5,
        "diverged_step": None,
    }


def test_a_point_that_was_not_finished_has_no_figures():
    for outcome, status, step in (
        (Outcome("a", {"seed": 1}), "not trained", None),
        (Outcome("a", {"seed": 1}, diverged=DIVERGED), "diverged", 12),
    ):
        row = outcome.row()
        assert outcome.is_done == (status == "diverged")
        assert (row.pop("status"), row.pop("diverged_step")) == (status, step)
        assert (row.pop("point"), row.pop("seed")) == ("a", 1)
        assert set(row.values()) == {None}
        assert row.keys() < finished("a", {"seed": 1}).row().keys()


def test_a_loss_that_is_no_number_is_none():
    row = finished("a", {"seed": 1}, audio_loss=float("nan"), tag_loss=float("inf")).row()
    assert (row["audio_loss"], row["tag_loss"]) == (None, None)


def test_a_loss_is_best_when_lowest_and_retrieval_when_highest():
    a, b, c, d = ({"optimizer.learning_rate": rate} for rate in (0.1, 0.2, 0.3, 0.4))
    outcomes = [
        finished("a", a, audio_loss=1.0, macro_auc=0.7, loss=3.0),
        finished("b", b, audio_loss=2.0, macro_auc=0.8, loss=2.0, tag_loss=None),
        Outcome("c", c, diverged=DIVERGED),
        Outcome("d", d),
    ]
    assert sweep_outcomes.best(outcomes) == {
        "loss": ["b"],
        "audio_loss": ["a"],
        "tag_loss": ["a"],
        "macro_auc": ["b"],
        "mrr": ["a", "b"],
        "map": ["a", "b"],
        "recall_at_10": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("key", "values", "odd"),
    [
        ("loss.audio_weight", (1.0, 2.0), {"loss"}),
        ("loss.contrastive_weight", (1.0, 2.0), {"loss"}),
        ("loss.temperature", (0.1, 0.2), {"loss", "signed_contrastive_loss"}),
        ("loss.temperature", (0.1, 0.1), set()),
        ("loss.kl_offset", (0.0, 1e-5), {"loss", "audio_loss"}),
        (
            "loss.reduction",
            ("mean", "sum"),
            {"loss", "audio_loss", "tag_loss", "signed_contrastive_loss"},
        ),
        ("loss.equal_tags_are_negatives", (True, False), {"loss", "signed_contrastive_loss"}),
        ("train.batch_size", (8, 16), {"loss", "signed_contrastive_loss"}),
        ("case", ("ae_c", "e_c"), {"loss"}),
        ("optimizer.learning_rate", (0.1, 0.2), set()),
        ("model.filters", (4, 8), set()),
        ("seed", (0, 1), set()),
    ],
)
def test_a_loss_of_another_meaning_is_not_ranked(key, values, odd):
    outcomes = [
        finished(str(place), {key: value}, signed_contrastive_loss=-1.0)
        for place, value in enumerate(values)
    ]
    assert sweep_outcomes.incomparable(outcomes) == {name: {key} for name in odd}
    assert (
        sweep_outcomes.best(outcomes).keys()
        == {
            *("loss", "audio_loss", "tag_loss", "signed_contrastive_loss"),
            *("macro_auc", "mrr", "map", "recall_at_10"),
        }
        - odd
    )


def test_every_setting_of_the_loss_makes_some_loss_incomparable():
    """So that a new key of config.loss is not forgotten; the total is the sum of all."""
    from coala_jax.default_config import get_config

    for key, value in get_config().loss.items():
        outcomes = [finished(str(v), {f"loss.{key}": v}) for v in (value, "another")]
        assert "loss" in sweep_outcomes.incomparable(outcomes), key


def test_equal_references_are_told_once():
    outcomes = [finished(str(c), c) for c in temperatures(0.1, 0.2)]
    outcomes.append(Outcome("c", {"loss.temperature": 0.3}))
    assert sweep_outcomes.reference_rows(outcomes) == [
        {"point": who, "status": "reference", **REFERENCES[who]}
        for who in ("untrained", "chance", "popularity")
    ]
    assert sweep_outcomes.reference_rows(outcomes[2:]) == []


def test_untrained_models_that_differ_have_a_row_each():
    other = REFERENCES | {"untrained": REFERENCES["untrained"] | {"mrr": 0.12}}
    outcomes = [
        finished("filters=4", {"model.filters": 4}),
        finished("filters=8", {"model.filters": 8}, references=other),
    ]
    rows = sweep_outcomes.reference_rows(outcomes)
    assert [(row["point"], row["mrr"]) for row in rows] == [
        ("untrained, filters=4", 0.11),
        ("untrained, filters=8", 0.12),
        ("chance", 0.1),
        ("popularity", 0.13),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(5.0, "5"), (0.05, "0.05"), (10, "10"), (100.0, "100"), (1e-5, "1e-05"), ("sum", "sum")],
)
def test_values_are_shown_short_and_apart(value, shown):
    assert sweep_outcomes.short(value) == shown
