"""Small whole runs: they learn what there is to learn, resume bit for bit and stop when due.

Compiling costs more than training: but for what is learned all runs have the same two programs.
"""

import itertools
import os
import shutil
import signal
import threading
import time

import jax
import numpy as np
import pytest
from coala_jax.data_prep.sample_corpus.synthetic import synthesize

from coala_jax.audio.decode import resample
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import write_dataset
from coala_jax.data.schema import Example, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.retrieval import chance
from coala_jax.evaluation.validation import ValidationSounds
from coala_jax.models import coala
from coala_jax.models.autoencoders import AudioEncoder
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import epoch, interruption, loop, metric_writer, parallel, steps
from coala_jax.training.workdir import lock
from tests.runs import Interrupted, config_for, leftovers
from tests.synthetic import ShallowEncoder, write_random_dataset

DEVICES, FIVE = tuple(jax.devices()[:2]), tuple(jax.devices()[:5])
TRAIN, VALIDATION = 19, 5
SOURCES = "a" * 10 + "b" * 6 + "c" * 3
WEIGHTS = "a=0.5,b=2"  # 20 draws: with batches of 8, a partial last one, as in validation


@pytest.fixture(scope="module", autouse=True)
def one_convolution():
    """In place of five: what the loop does is the same. What is learned is tested of all five."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coala, "AudioEncoder", ShallowEncoder)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop") / "dataset"
    write_random_dataset(folder, TRAIN, VALIDATION, sources=SOURCES)
    return folder


def config_of(dataset, **changes):
    """E-C, three epochs, every second one evaluated, the examples weighted and read from disk.

    An epoch's three steps are two calls.
    """
    shared = {"case": "e_c", "train__epochs": 3, "eval__every_epochs": 2, "data__placement": "host"}
    shared |= {"data__source_weights": WEIGHTS, "train__steps_per_call": 2}
    return config_for(dataset, **shared | changes)


SCORES = {2: 0.7, 3: 0.6}  # macro AUC by epoch: not the last is kept


def evaluator(workdir, seen=None, interrupted_at=None):
    """An `evaluate_fn` that has SCORES, keeps the weights it has seen, and may be interrupted."""

    def evaluate_fn(model):
        number = metric_writer.read(workdir)[-1]["epoch"]
        if number == interrupted_at:
            raise Interrupted
        if seen is not None:
            seen[number] = model.variables
        time.sleep(0.5)
        return loop.EvalResult({"macro_auc": SCORES[number]}, metric_writer.Samples([]))

    return evaluate_fn


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A run on two devices; `workdir` is a copy of it."""
    folder = tmp_path_factory.mktemp("finished") / "w"
    loop.train_and_evaluate(config_of(dataset), folder, evaluator(folder), DEVICES)
    return folder


@pytest.fixture
def workdir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "w")


def test_what_a_run_leaves(finished, dataset):
    """What is due every second epoch is due after the last too; its time is kept apart."""
    entries = metric_writer.read(finished)
    train, validation = (
        {entry["epoch"]: entry for entry in entries if entry["kind"] == kind}
        for kind in ("train", "validation")
    )
    for found in (train, validation):
        assert {epoch: entry["step"] for epoch, entry in found.items()} == {1: 3, 2: 6, 3: 9}
    for entry in (*train.values(), *validation.values()):
        assert {key for key in entry if "loss" in key} == {"loss", "signed_contrastive_loss"}
        assert entry["loss"] == pytest.approx(10 * entry["signed_contrastive_loss"], rel=1e-5)
    scores = {e["epoch"]: e["macro_auc"] for e in validation.values() if "macro_auc" in e}
    assert scores == SCORES
    timed = {e: v["evaluation_seconds"] for e, v in validation.items() if "evaluation_seconds" in v}
    assert timed.keys() == {2, 3} and min(timed.values()) >= 0.5
    assert [e["epoch"] for e in entries if e["kind"] == "samples"] == [2, 3]
    clock = {"seconds", "seconds_per_step", "patches_per_second", "input_seconds"}
    assert clock | {"learning_rate", "gradient_norm"} < train[1].keys()
    # What followed an epoch is timed with the next.
    assert not {"validation_seconds", "checkpoint_seconds"} & train[1].keys()
    assert {"validation_seconds", "checkpoint_seconds"} < train[2].keys()
    assert train[3]["validation_seconds"] < 0.5
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))
    saved, manifest = PretrainedModel.load(finished / "model"), Manifest.load(dataset)
    assert saved.vocabulary == [f"tag{number}" for number in range(6)]
    assert (saved.dataset_digest, saved.tag_counts) == (manifest.digest, manifest.tag_counts)
    assert (saved.level, saved.pooling) == ("recorded", "mean")
    assert saved.config["data"] == {"patch_dtype": "float32", "source_weights": WEIGHTS}  # no path


def test_an_interrupted_run_ends_bit_for_bit_like_a_whole_one(finished, dataset, tmp_path):
    """Stopped after its best epoch, whose model the checkpoint has and the end is."""
    parts, seen = tmp_path / "parts", {}
    with pytest.raises(Interrupted):
        loop.train(
            config_of(dataset), parts, evaluator(parts, seen, interrupted_at=3), devices=DEVICES
        )
    assert not (parts / "model").exists()
    result = loop.train(config_of(dataset), parts, evaluator(parts, seen), devices=DEVICES)
    assert leftovers(parts) == leftovers(finished)
    assert (result.epochs, result.kept_epoch) == (3, 2)
    assert result.macro_auc == pytest.approx(0.7, abs=1e-7)
    jax.tree.map(np.testing.assert_array_equal, result.model.variables, seen[2])
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), seen[2], seen[3])
    assert max(jax.tree.leaves(difference)) > 0  # or the last would be as good


TRAINING, VALIDATING = 2, 1  # outputs of what computes a block


def signalled(monkeypatch, number, program, at_call):
    """Sends a signal while training or validation computes a block."""
    map_steps, calls = parallel.map_steps, itertools.count(1)

    def with_a_signal(steps, devices, shared_data, outputs=2):
        mapped = map_steps(steps, devices, shared_data, outputs)

        def call(*arguments):
            if outputs == program and next(calls) == at_call:
                os.kill(os.getpid(), number)
            return mapped(*arguments)

        return call

    monkeypatch.setattr(parallel, "map_steps", with_a_signal)


def test_a_run_that_signals_stop_again_and_again_ends_like_a_whole_one(
    finished, dataset, tmp_path, monkeypatch
):
    """Within the second epoch, in its validation, and in the last evaluation."""
    parts = tmp_path / "parts"

    def stopped(name, code, step, evaluate_fn):
        with pytest.raises(
            interruption.Interrupted, match=rf"{name} after step {step}, saved in \S+/{step}$"
        ) as e:
            loop.train(config_of(dataset), parts, evaluate_fn, devices=DEVICES)
        assert e.value.exit_code == code
        assert (parts / "checkpoints" / f"{step}.sha256").exists()

    with monkeypatch.context() as patch:
        signalled(patch, signal.SIGTERM, TRAINING, at_call=3)
        stopped("SIGTERM", 143, 5, evaluator(parts))
    with monkeypatch.context() as patch:
        signalled(patch, signal.SIGINT, VALIDATING, at_call=1)
        stopped("SIGINT", 130, 6, evaluator(parts))
    evaluate_fn = evaluator(parts)

    def signalled_in_the_last(model):
        if metric_writer.read(parts)[-1]["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate_fn(model)

    stopped("SIGTERM", 143, 9, signalled_in_the_last)
    assert not (parts / "model").exists()
    loop.train(config_of(dataset), parts, evaluate_fn, devices=DEVICES)
    assert leftovers(parts) == leftovers(finished)


def test_a_second_run_in_the_folder_is_refused(workdir, dataset):
    with lock(workdir), pytest.raises(ValueError, match=f"^{workdir}: a training is running"):
        loop.train_and_evaluate(config_of(dataset), workdir, devices=DEVICES)


def test_a_shard_that_is_cut_while_it_is_read_is_a_sentence(dataset, tmp_path):
    """Not the signal of a memory map."""
    copy = shutil.copytree(dataset, tmp_path / "dataset")
    (shard,) = copy.glob("*train*tfrecord*")

    def cut(model):
        os.truncate(shard, 1000)
        return loop.EvalResult({"macro_auc": 0.5})

    config = config_of(copy, eval__every_epochs=1)
    with pytest.raises(
        DatasetError, match=rf"^{shard}: record \d+ at byte \d+: the file has been cut"
    ):
        loop.train_and_evaluate(config, tmp_path / "w", cut, DEVICES)


def test_a_finished_run_is_not_trained_again(workdir, dataset):
    before = (workdir / "metrics.jsonl").read_text()
    again = loop.train_and_evaluate(config_of(dataset), workdir, devices=DEVICES)
    assert (workdir / "metrics.jsonl").read_text() == before
    saved = PretrainedModel.load(workdir / "model")
    jax.tree.map(np.testing.assert_array_equal, saved.variables, again.variables)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"train__epochs": 2}, ("3 epochs", "config.train.epochs = 2")),
        ({"loss__temperature": 0.2}, ("loss.temperature = 0.1", "0.2")),
        ({"data__source_weights": "a=0.5"}, ("data.source_weights = 'a=0.5,b=2'", "'a=0.5'")),
    ],
)
def test_fewer_epochs_and_other_settings_are_refused(workdir, dataset, changes, tokens):
    before = leftovers(workdir)
    with pytest.raises(ValueError, match=str(workdir)) as error:
        loop.train_and_evaluate(config_of(dataset, **changes), workdir, devices=DEVICES)
    assert all(token in str(error.value) for token in tokens)
    assert leftovers(workdir) == before


def test_a_damaged_checkpoint_costs_an_epoch(finished, workdir, dataset):
    newest = workdir / "checkpoints" / "9"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    loop.train_and_evaluate(config_of(dataset), workdir, evaluator(workdir), DEVICES)
    assert (workdir / "damaged-9").is_dir()
    assert leftovers(workdir) == leftovers(finished)


@pytest.mark.parametrize(
    ("every", "epochs", "due"),
    [(0, 3, [3]), (1, 3, [1, 2, 3]), (2, 3, [2, 3]), (3, 3, [3]), (4, 3, [3]), (2, 4, [2, 4])],
)
def test_what_is_due_at_a_cadence_is_due_after_the_last_epoch_too(every, epochs, due):
    assert [epoch + 1 for epoch in range(epochs) if loop._is_due(epoch, epochs, every)] == due


def test_a_longer_run_continues(finished, workdir, dataset):
    loop.train_and_evaluate(config_of(dataset, train__epochs=4), workdir, devices=DEVICES)
    before, entries = metric_writer.read(finished), metric_writer.read(workdir)
    assert entries[: len(before)] == before
    added = [(e["kind"], e["epoch"], e["step"]) for e in entries[len(before) :]]
    assert added == [("train", 4, 12), ("validation", 4, 12)]
    kept = [folder / "model" / "model.safetensors" for folder in (finished, workdir)]
    assert kept[0].read_bytes() == kept[1].read_bytes()  # still that of epoch 2


def test_a_step_that_diverges_within_a_call_is_named(dataset, tmp_path, monkeypatch):
    """Two steps are a call, the next call has begun, and the second step has no loss."""
    map_steps = parallel.map_steps

    def with_an_infinite_loss(steps, devices, shared_data, outputs=2):
        mapped = map_steps(steps, devices, shared_data, outputs)

        def second_diverges(*arguments):
            state, curves = mapped(*arguments)
            total, count = curves["loss"]
            return state, curves | {"loss": (total.at[1].set(np.inf), count)}

        return second_diverges if outputs == 2 else mapped

    monkeypatch.setattr(parallel, "map_steps", with_an_infinite_loss)
    with pytest.raises(loop.DivergedError, match=r"^loss is inf at step 2, epoch 1") as error:
        loop.train_and_evaluate(config_of(dataset), tmp_path / "w", devices=DEVICES)
    assert (error.value.step, error.value.epoch) == (2, 1)
    assert not any((tmp_path / "w" / "checkpoints").iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_training_stops_on_nan(dataset, tmp_path, monkeypatch):
    """From weights that are NaN."""
    initial_state = steps.initial_state

    def without_numbers(*settings, **seed):
        state = initial_state(*settings, **seed)
        return state.replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params))

    monkeypatch.setattr(steps, "initial_state", without_numbers)
    with pytest.raises(loop.DivergedError, match=r"\w+ is nan at step 1, epoch 1"):
        loop.train_and_evaluate(config_of(dataset), tmp_path / "w", devices=DEVICES)
    assert not (tmp_path / "w" / "model").exists()


def test_weights_that_are_not_finite_are_not_saved(dataset, tmp_path, monkeypatch):
    """The losses of all steps are."""
    map_steps = parallel.map_steps

    def with_an_infinite_weight(steps, devices, shared_data, outputs=2):
        mapped = map_steps(steps, devices, shared_data, outputs)

        def call(*arguments):
            state, curves = mapped(*arguments)
            last = jax.tree.map(lambda leaf: leaf * np.inf, state.params["tag_encoder"])
            return state.replace(params=state.params | {"tag_encoder": last}), curves

        return call if outputs == TRAINING else mapped

    monkeypatch.setattr(parallel, "map_steps", with_an_infinite_weight)
    config = config_of(dataset, train__steps_per_call=3)
    with pytest.raises(
        loop.DivergedError, match=r"^tag_encoder\.\S+ has values .* step 3, epoch 1"
    ):
        loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    assert not any((tmp_path / "w" / "checkpoints").iterdir())


def test_a_block_is_dispatched_before_the_metrics_of_the_one_before_are_fetched():
    """And each is fetched once, the last as well."""
    told = []

    def dispatch():
        for block in range(3):
            told.append(f"dispatched {block}")
            yield {"loss": (np.arange(2.0) + block, np.ones(2))}

    fetched = []
    for metrics in epoch.fetched(dispatch()):
        told.append(f"fetched {len(fetched)}")
        fetched.append(metrics)
    first, *rest = (f"dispatched {n}" for n in range(3))
    assert told == [first, rest[0], "fetched 0", rest[1], "fetched 1", "fetched 2"]
    assert fetched[1] == [{"loss": (1.0, 1.0)}, {"loss": (2.0, 1.0)}]


def test_unusable_data_and_batches_stop_before_anything_is_written(dataset, tmp_path):
    for train, validation in [(1, 5), (19, 1)]:
        few = tmp_path / f"few-{train}"
        write_random_dataset(few, train, validation)
        with pytest.raises(ValueError, match=f"{few}: .*{train} .*{validation} "):
            loop.train_and_evaluate(config_for(few), tmp_path / "w", devices=DEVICES)
    for weights, why in [("d=1", "'d', .*'a', 'b', 'c'"), ("a=0,b=0,c=0", "it leaves 0 of 19")]:
        config = config_of(dataset, data__source_weights=weights)
        with pytest.raises(ValueError, match=rf"config\.data\.source_weights .*{why}"):
            loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    with pytest.raises(ValueError, match="batch_size is 8, which 5 devices"):
        loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=FIVE)
    with pytest.raises(DatasetError, match=str(tmp_path)):
        loop.train_and_evaluate(config_for(tmp_path), tmp_path / "w", devices=DEVICES)
    assert not (tmp_path / "w").exists()


@pytest.fixture
def whole_network(monkeypatch):
    monkeypatch.setattr(coala, "AudioEncoder", AudioEncoder)


@pytest.fixture(scope="module")
def sounds() -> tuple[list, list]:
    """Patches of tones, chirps and noises, and the tags of each."""
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
    return patches, [sound.tags for sound in sounds]


def tagged_dataset(folder, patches, tags, shuffled: bool) -> None:
    """With the true tags, or with those of other training sounds."""
    vocabulary = sorted({tag for own in tags for tag in own})
    numbers = [np.array(sorted(map(vocabulary.index, own))) for own in tags]
    if shuffled:
        numbers[:160] = [numbers[place] for place in np.random.default_rng(0).permutation(160)]
    examples = [
        Example(patch, own, str(place))
        for place, (patch, own) in enumerate(zip(patches, numbers, strict=True))
    ]
    folder.mkdir()
    write_dataset(
        folder,
        name="synthetic",
        fingerprint="none",
        front_end=FrontEnd().to_dict(),
        scaling="global",
        vocabulary=vocabulary,
        splits={"train": examples[:160], "validation": examples[160:]},
    )


@jax.numpy_dtype_promotion("standard")  # Optax's Adam needs it
def retrieval_after_training(folder, sounds, shuffled: bool) -> tuple[dict, dict]:
    """E-C's measures on true validation pairs, and those of chance.

    Of seeds 0 to 3, true pairs gave 4.4 to 5.9 times the MRR of chance and .66 to .75 macro AUC,
    shuffled ones 1.1 to 1.7 times and .50 to .54.
    """
    tagged_dataset(folder / "dataset", *sounds, shuffled)
    config = config_for(
        folder / "dataset",
        case="e_c",
        model__filters=8,
        model__tag_hidden=64,
        train__batch_size=16,
        train__epochs=8,
        optimizer__name="adam",
        optimizer__learning_rate=0.005,
        checkpoint__every_epochs=100,
    )
    model = loop.train_and_evaluate(config, folder / "w", devices=DEVICES[:1])
    held_out = ValidationSounds(folder / "dataset")
    return held_out.evaluate(ModelEvaluator("trained", Embedder(model))), chance(held_out.tags)


@pytest.mark.usefixtures("whole_network")
def test_it_finds_the_tags_of_sounds_it_was_not_trained_on(sounds, tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, sounds, shuffled=False)
    assert found["mrr"] > 3 * by_chance["mrr"]
    assert found["macro_auc"] > 0.62


@pytest.mark.usefixtures("whole_network")
def test_trained_on_shuffled_pairs_it_does_not(sounds, tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, sounds, shuffled=True)
    assert found["mrr"] < 2 * by_chance["mrr"]
    assert found["macro_auc"] < 0.58
