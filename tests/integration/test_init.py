"""A run that goes on from a pretrained model, whose audio encoder is held for its first epoch."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from coala_jax import training_run
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import Manifest
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import loop, metric_writer, setup
from tests.runs import config_for
from tests.synthetic import random_examples, tiny_model

ONE = tuple(jax.devices()[:1])
TRAIN = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of log-mel patches with a range of its own, and a model of six tags."""
    folder = tmp_path_factory.mktemp("init")
    (folder / "dataset").mkdir()
    examples = random_examples(TRAIN + 6, tags=5)
    examples[:3] = [dataclasses.replace(example, source="own") for example in examples[:3]]
    write_dataset(
        folder / "dataset",
        name="random",
        fingerprint="none",
        front_end=FrontEnd().to_dict(),
        vocabulary=["tag3", "new", "tag0", "tag1", "tag5"],
        splits={"train": examples[:TRAIN], "validation": examples[TRAIN:]},
        scaling="global",
    )
    tiny_model("ae_c").save_pretrained(folder / "model")
    return folder


def config_of(folder, **changes):
    """E-C, learning so slowly that what was taken over is still to be seen."""
    widths = {"model__filters": 2, "model__tag_hidden": 8, "optimizer__learning_rate": 1e-4}
    init = {"init__model": str(folder / "model"), "init__freeze_audio_epochs": 1, **widths}
    init |= {"optimizer__schedule": "cosine", "data__source_weights": "own=2"}
    return config_for(folder / "dataset", case="e_c", **init | changes)


@jax.numpy_dtype_promotion("standard")  # a schedule divides a count
def test_it_learns_on_from_the_model_with_its_scaler_and_another_is_refused(folder, monkeypatch):
    seen, init = [], tiny_model("ae_c")
    told = []
    told_to = SimpleNamespace(info=lambda text, *values: told.append(text % values))
    monkeypatch.setattr(setup, "logging", told_to)

    def evaluate_fn(model):
        seen.append(model.variables)
        return loop.EvalResult({})

    model = loop.train_and_evaluate(config_of(folder), folder / "w", evaluate_fn, ONE)
    assert f"initialised from {folder / 'model'}: 4 of 5 tags known, 1 new" in told
    assert any(": 14 sounds an epoch (8 of 8 of no source, 6 of 3 of own)" in t for t in told)
    for kind in ("params", "batch_stats"):
        given, held, moved = (v[kind]["audio_encoder"] for v in (init.variables, *seen))
        jax.tree.map(np.testing.assert_array_equal, held, given)
        pairs = zip(*map(jax.tree.leaves, (held, moved)), strict=True)
        assert not all(np.array_equal(*pair) for pair in pairs)
    before, after = (
        variables["params"]["tag_encoder"]["dense_0"]["kernel"]
        for variables in (init.variables, seen[0])
    )
    assert np.abs(after[[0, 2, 3, 4]] - before[[3, 0, 1, 5]]).max() < 0.05 < np.abs(before).max()
    # Two epochs of two steps: the rates before the second and before the fourth.
    rates = [e["learning_rate"] for e in metric_writer.read(folder / "w") if e["kind"] == "train"]
    wanted = [1e-4 * (2 + 2**0.5) / 4, 1e-4 * (2 - 2**0.5) / 4]
    assert rates == pytest.approx(wanted, rel=1e-5)
    # Patches are scaled by the model's range, in training and in evaluation, and so in use.
    manifest = Manifest.load(folder / "dataset")
    assert model.scaler == init.scaler != manifest.scaler
    assert model.dataset_digest == manifest.digest
    raw = random_examples(TRAIN + 6, tags=5)[TRAIN].patch
    sounds = training_run.validation_sounds(config_of(folder, train__keep_epoch="last"))
    wanted = Scaler.from_dict(init.scaler).scale(raw)
    np.testing.assert_array_equal(sounds.reported.patches[0], wanted)
    run, _ = setup.start_run(config_of(folder), ONE)
    np.testing.assert_array_equal(run.validation.split[0].patch, wanted)
    # The model that it began with is known by its digest, and may lie elsewhere.
    assert model.config["init"] == {"freeze_audio_epochs": 1, "digest": init.digest}
    assert json.loads((folder / "w" / "config.json").read_text())["init_digest"] == init.digest
    init.save_pretrained(folder / "copy")
    loop.train(config_of(folder, init__model=str(folder / "copy")), folder / "w", devices=ONE)
    dataclasses.replace(init, level="recorded", tag_counts=[2] * 6).save_pretrained(folder / "new")
    for other in ({"init__model": str(folder / "new")}, {"init__model": ""}):
        config = config_of(folder, **other)
        with pytest.raises(ValueError, match="another model"):
            loop.train(config, folder / "w", devices=ONE)
    assert PretrainedModel.load(folder / "w" / "model").digest == model.digest
