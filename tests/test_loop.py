"""Whole small runs: they learn what there is to learn, go on bit for bit, and know when to stop."""

import shutil

import jax
import numpy as np
import pytest

from coala_jax.audio.decode import resample
from coala_jax.audio.frontend import FrontEnd
from coala_jax.audio.scaler import Scaler
from coala_jax.data.example import Example
from coala_jax.data.records import write_dataset
from coala_jax.data.tfrecord import DatasetError
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation.report import ValidationSounds
from coala_jax.evaluation.retrieval import chance
from coala_jax.models.frozen import FrozenModel
from coala_jax.preparation.synthetic import synthesize
from coala_jax.training import journal, loop
from tests.synthetic import tiny_config, write_random_dataset

DEVICES = tuple(jax.devices()[:2])
FIVE = tuple(jax.devices()[:5])
TRAIN, VALIDATION = 19, 5  # with batches of 8: a partial last batch in both


@pytest.fixture
def dataset(tmp_path):
    write_random_dataset(tmp_path / "dataset", TRAIN, VALIDATION)
    return tmp_path / "dataset"


def config_for(dataset, **changes):
    return tiny_config(data__path=str(dataset), **changes)


def lasting(entries):
    """What a journal says, less what the clock says."""
    return [{k: v for k, v in entry.items() if "second" not in k} for entry in entries]


class Interrupted(Exception):
    pass


def test_a_run_that_was_interrupted_ends_bit_for_bit_as_if_it_had_not_been(dataset, tmp_path):
    config = config_for(dataset, train__epochs=3)
    whole = loop.train_and_evaluate(config, tmp_path / "whole", devices=DEVICES)

    def interrupt_in_epoch_2(model):
        if len(journal.read(tmp_path / "parts")) == 3:
            raise Interrupted
        return loop.Judgement({})

    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path / "parts", interrupt_in_epoch_2, DEVICES)
    assert not (tmp_path / "parts" / "model").exists()
    parts = loop.train_and_evaluate(config, tmp_path / "parts", devices=DEVICES)

    for wanted, got in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(parts.variables), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    for name in ("model.safetensors", "model.json"):
        bytes_of = [(tmp_path / run / "model" / name).read_bytes() for run in ("whole", "parts")]
        assert bytes_of[0] == bytes_of[1]
    assert lasting(journal.read(tmp_path / "parts")) == lasting(journal.read(tmp_path / "whole"))


def test_what_a_run_leaves(dataset, tmp_path):
    config = config_for(dataset)
    model = loop.train_and_evaluate(
        config, tmp_path / "w", lambda m: loop.Judgement({"score": 0.5}), DEVICES
    )
    entries = journal.read(tmp_path / "w")
    assert [(e["kind"], e["epoch"], e["step"]) for e in entries] == [
        ("train", 1, 3),
        ("validation", 1, 3),
        ("train", 2, 6),
        ("validation", 2, 6),
    ]
    losses = {"loss", "audio_loss", "tag_loss", "signed_contrastive_loss"}
    for entry in entries:
        assert losses < entry.keys()
        weighted = sum(
            getattr(config.loss, f"{name.removeprefix('signed_')}_weight") * entry[f"{name}_loss"]
            for name in ("audio", "tag", "signed_contrastive")
        )
        assert entry["loss"] == pytest.approx(weighted, rel=1e-5)
    assert entries[1]["score"] == 0.5
    clock = {"seconds", "seconds_per_step", "patches_per_second", "input_seconds"}
    assert clock | {"learning_rate", "gradient_norm"} < entries[0].keys()
    # What came after the first epoch is told with the second.
    assert {"validation_seconds", "checkpoint_seconds"} < entries[2].keys()
    assert not {"validation_seconds", "checkpoint_seconds"} & entries[0].keys()
    assert list((tmp_path / "w" / "tensorboard").glob("events.out.tfevents.*"))
    saved = FrozenModel.load(tmp_path / "w" / "model")
    assert saved.vocabulary == model.vocabulary == [f"tag{number}" for number in range(6)]
    assert str(dataset) not in (tmp_path / "w" / "model" / "model.json").read_text()


def test_a_finished_run_is_not_trained_again(dataset, tmp_path):
    config = config_for(dataset)
    loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    before = (tmp_path / "w" / "metrics.jsonl").read_text()
    again = loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    assert (tmp_path / "w" / "metrics.jsonl").read_text() == before
    saved = FrozenModel.load(tmp_path / "w" / "model")
    jax.tree.map(np.testing.assert_array_equal, saved.variables, again.variables)


def test_more_epochs_go_on_and_another_setting_does_not(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    loop.train_and_evaluate(config_for(dataset, train__epochs=3), tmp_path / "w", devices=DEVICES)
    assert journal.read(tmp_path / "w")[-1]["epoch"] == 3
    with pytest.raises(ValueError, match=r"loss\.temperature = 0\.1, and this one 0\.2; choose"):
        loop.train_and_evaluate(
            config_for(dataset, loss__temperature=0.2), tmp_path / "w", devices=DEVICES
        )


def test_fewer_epochs_than_were_done_are_refused(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    with pytest.raises(ValueError, match=r"has done 2 epochs already, more than .*epochs = 1"):
        loop.train_and_evaluate(
            config_for(dataset, train__epochs=1), tmp_path / "w", devices=DEVICES
        )


def test_a_damaged_checkpoint_is_named_with_the_way_out(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    newest = tmp_path / "w" / "checkpoints" / "6"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"checkpoints/6: this checkpoint cannot be read .*delete"):
        loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    shutil.rmtree(newest)
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    assert journal.read(tmp_path / "w")[-1]["step"] == 6


@pytest.mark.parametrize(("train", "validation"), [(1, 5), (19, 1)])
def test_too_few_sounds_are_refused_before_training(train, validation, tmp_path):
    write_random_dataset(tmp_path / "few", train, validation)
    with pytest.raises(ValueError, match=f"few: {train} sounds to train on and {validation} to"):
        loop.train_and_evaluate(config_for(tmp_path / "few"), tmp_path / "w", devices=DEVICES)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("case", ["e_c", "cnn"])
def test_the_other_cases_report_only_the_losses_they_have(case, dataset, tmp_path):
    loop.train_and_evaluate(
        config_for(dataset, case=case, train__epochs=1), tmp_path / "w", devices=DEVICES
    )
    losses = {key for key in journal.read(tmp_path / "w")[0] if key.endswith("_loss")}
    assert losses == {"e_c": {"signed_contrastive_loss"}, "cnn": {"tag_loss"}}[case]


def test_a_run_that_diverges_stops_and_says_where(dataset, tmp_path):
    config = config_for(dataset, optimizer__learning_rate=1e30)
    with pytest.raises(
        loop.DivergedError, match=r"\w+ is (nan|inf|-inf) at step \d.*none was saved yet.*Lower"
    ):
        loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    assert not (tmp_path / "w" / "model").exists()


def test_a_damaged_dataset_and_an_uneven_batch_stop_before_training(dataset, tmp_path):
    with pytest.raises(ValueError, match="which 5 devices cannot share evenly; make it 5 or 10"):
        loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=FIVE)
    with pytest.raises(DatasetError, match="is no dataset"):
        loop.train_and_evaluate(config_for(tmp_path), tmp_path / "w", devices=DEVICES)
    assert not (tmp_path / "w").exists()


def synthetic_dataset(folder, shuffled: bool) -> None:
    """Tones, chirps and noises with true tags, or with the tags of other training sounds."""
    sounds = [synthesize(number, seed=0) for number in range(200)]
    front_end = FrontEnd()
    patches = [
        front_end.loudest_patch(
            front_end.log_mel(
                resample(sound.waveform, sound.sample_rate_hz, front_end.sample_rate_hz)
            )
        )
        for sound in sounds
    ]
    vocabulary = sorted({tag for sound in sounds for tag in sound.tags})
    numbers = [np.array(sorted(map(vocabulary.index, sound.tags))) for sound in sounds]
    if shuffled:
        numbers[:160] = [numbers[place] for place in np.random.default_rng(0).permutation(160)]
    scaler = Scaler(float(np.min(patches)), float(np.max(patches)))
    examples = [
        Example(scaler.scale(patch), tags, str(place))
        for place, (patch, tags) in enumerate(zip(patches, numbers, strict=True))
    ]
    folder.mkdir()
    write_dataset(
        folder,
        name="synthetic",
        source="none",
        front_end=front_end.to_dict(),
        scaler=vars(scaler),
        vocabulary=vocabulary,
        splits={"train": examples[:160], "validation": examples[160:]},
    )


@jax.numpy_dtype_promotion("standard")  # Optax's Adam needs it
def retrieval_after_training(folder, shuffled: bool) -> tuple[dict, dict]:
    """The measures on true validation pairs, and what chance gives."""
    synthetic_dataset(folder / "dataset", shuffled)
    config = config_for(
        folder / "dataset",
        model__filters=8,
        model__tag_hidden=64,
        train__batch_size=16,
        train__epochs=15,
        optimizer__name="adam",
        optimizer__learning_rate=0.003,
        checkpoint__every_epochs=100,
    )
    model = loop.train_and_evaluate(config, folder / "w", devices=DEVICES[:1])
    sounds = ValidationSounds(folder / "dataset")
    return sounds.judge(Embedder(model)), chance(sounds.tags)


def test_it_finds_the_tags_of_sounds_it_was_not_trained_on(tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, shuffled=False)
    assert found["mrr"] > 3 * by_chance["mrr"]
    assert found["macro_auc"] > 0.62


def test_trained_on_shuffled_pairs_it_does_not(tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, shuffled=True)
    assert found["mrr"] < 1.6 * by_chance["mrr"]
    assert found["macro_auc"] < 0.58
