"""Whole small runs: they learn what there is to learn, go on bit for bit, and know when to stop."""

import itertools
import json
import threading
import time
from contextlib import closing

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
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.training import loop, metric_writer, parallel
from coala_jax.training.checkpoint import Checkpoints
from coala_jax.training.setup import start_run
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
    """What a metric_writer says, less what the clock says."""
    return [{k: v for k, v in entry.items() if "second" not in k} for entry in entries]


class Interrupted(Exception):
    pass


def test_a_run_that_was_interrupted_ends_bit_for_bit_as_if_it_had_not_been(dataset, tmp_path):
    config = config_for(dataset, train__epochs=3)
    whole = loop.train_and_evaluate(config, tmp_path / "whole", devices=DEVICES)

    def interrupt_in_epoch_2(model):
        if len(metric_writer.read(tmp_path / "parts")) == 3:
            raise Interrupted
        return loop.EvalResult({})

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
    assert lasting(metric_writer.read(tmp_path / "parts")) == lasting(
        metric_writer.read(tmp_path / "whole")
    )


@pytest.fixture(scope="module")
def seven_steps(tmp_path_factory):
    """26 sounds, in batches of 4: a partial last one; trained on as float32, a step a call."""
    folder = tmp_path_factory.mktemp("seven")
    write_random_dataset(folder / "dataset", 26, 5)
    return folder, train_seven(folder, "one-by-one", "device", 1)


def config_of_seven(folder, placement, steps_per_call, **changes):
    return config_for(
        folder / "dataset",
        case="e_c",
        train__batch_size=4,
        data__placement=placement,
        train__steps_per_call=steps_per_call,
        **changes,
    )


def train_seven(folder, name, placement, steps_per_call, evaluate_fn=None, **changes):
    """What is left of a run of two epochs: its metric_writer and its weights."""
    config = config_of_seven(folder, placement, steps_per_call, **changes)
    loop.train_and_evaluate(config, folder / name, evaluate_fn, DEVICES[:1])
    saved = (folder / name / "model" / "model.safetensors").read_bytes()
    about = (folder / name / "model" / "model.json").read_text()
    return lasting(metric_writer.read(folder / name)), saved, about


def test_where_sounds_lie_and_steps_a_call_change_no_bit(seven_steps):
    """Calls of 3, 2 and 2 steps. On several devices XLA may round a loop otherwise: to 1e-12 in
    float64, and see tests/test_parallel.py.
    """
    folder, wanted = seven_steps
    entries, *_ = wanted
    assert [entry["step"] for entry in entries] == [7, 7, 14, 14]
    for placement, steps_per_call in [("device", 3), ("host", 1), ("host", 3)]:
        name = f"{placement}-{steps_per_call}"
        assert train_seven(folder, name, placement, steps_per_call) == wanted, name


def test_a_run_goes_on_bit_for_bit_from_elsewhere_and_in_other_calls(seven_steps):
    folder, wanted = seven_steps

    def interrupt_in_epoch_2(model):
        if len(metric_writer.read(folder / "parts")) == 3:
            raise Interrupted
        return loop.EvalResult({})

    with pytest.raises(Interrupted):
        train_seven(folder, "parts", "host", 3, interrupt_in_epoch_2)
    assert train_seven(folder, "parts", "device", 1) == wanted


def test_a_run_goes_on_from_the_middle_of_an_epoch(seven_steps):
    """From a checkpoint after the first call of the second epoch."""
    folder, (entries, *wanted) = seven_steps
    run, state = start_run(config_of_seven(folder, "host", 3), DEVICES[:1])
    with (
        closing(run.training.calls(0, epochs=2)) as calls,
        closing(Checkpoints(folder / "middle", keep=1)) as checkpoints,
    ):
        for call in itertools.islice(calls, 4):
            state, _ = run.train_steps(state, *call)
        assert int(state.step) == 10
        checkpoints.save(state)
    rest, *got = train_seven(folder, "middle", "device", 1)
    assert got == wanted
    # Of the training entry, four steps; of the validation after it, all.
    assert [entry["step"] for entry in rest] == [14, 14]
    assert rest[1] == entries[3]


def test_another_rounding_of_the_patches_is_another_run(seven_steps):
    folder, (exact, *_) = seven_steps
    rounded, _, about = train_seven(folder, "uint8", "device", 1, data__patch_dtype="uint8")
    assert rounded[0]["loss"] != exact[0]["loss"]
    assert json.loads(about)["config"]["data"] == {"patch_dtype": "uint8"}
    with pytest.raises(
        ValueError, match=r"has data\.patch_dtype = 'uint8', and this one 'float32'"
    ):
        train_seven(folder, "uint8", "device", 1)


def test_a_step_that_diverges_within_a_call_is_named(seven_steps, monkeypatch):
    """All seven steps are one call, the next call has begun, and the fifth has no loss."""
    folder, _ = seven_steps
    map_steps = parallel.map_steps

    def with_an_infinite_loss(steps, devices, shared_data, outputs=2):
        mapped = map_steps(steps, devices, shared_data, outputs)

        def fifth_diverges(*arguments):
            state, curves = mapped(*arguments)
            total, count = curves["signed_contrastive_loss"]
            return state, curves | {"signed_contrastive_loss": (total.at[4].set(np.inf), count)}

        return fifth_diverges if outputs == 2 else mapped

    monkeypatch.setattr(parallel, "map_steps", with_an_infinite_loss)
    message = r"signed_contrastive_loss is inf at step 5, epoch 1; .*none was saved yet"
    with pytest.raises(loop.DivergedError, match=message) as error:
        train_seven(folder, "diverging", "host", 7)
    assert (error.value.step, error.value.epoch) == (5, 1)
    assert not any((folder / "diverging" / "checkpoints").iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_a_call_begins_before_the_metrics_of_the_one_before_are_fetched():
    """And each is fetched once, the last as well."""
    told = []

    def begin():
        for call in range(3):
            told.append(f"begun {call}")
            yield {"loss": (np.arange(2.0) + call, np.ones(2))}

    fetched = []
    for pairs in loop._fetched(begin()):
        told.append(f"fetched {len(fetched)}")
        fetched.append(pairs)
    assert told == ["begun 0", "begun 1", "fetched 0", "begun 2", "fetched 1", "fetched 2"]
    assert fetched[1] == [{"loss": (1.0, 1.0)}, {"loss": (2.0, 1.0)}]


@pytest.mark.parametrize(
    ("every", "epochs", "evaluated"),
    [(0, 3, [3]), (1, 3, [1, 2, 3]), (2, 3, [2, 3]), (3, 3, [3]), (4, 3, [3]), (2, 4, [2, 4])],
)
def test_it_is_evaluated_at_its_cadence_and_after_the_last_epoch(
    every, epochs, evaluated, dataset, tmp_path
):
    called = []

    def evaluate_fn(model):
        called.append(model)
        return loop.EvalResult({"score": float(len(called))}, metric_writer.Samples([]))

    config = config_for(dataset, case="e_c", train__epochs=epochs, eval__every_epochs=every)
    loop.train_and_evaluate(config, tmp_path / "w", evaluate_fn, DEVICES[:1])
    entries = metric_writer.read(tmp_path / "w")
    checked = {entry["epoch"]: entry for entry in entries if entry["kind"] == "validation"}
    assert list(checked) == list(range(1, epochs + 1))
    assert all("loss" in entry for entry in checked.values())
    scores = {epoch: e["score"] for epoch, e in checked.items() if "score" in e}
    assert scores == {epoch: n for n, epoch in enumerate(evaluated, start=1)}
    timed = [epoch for epoch, entry in checked.items() if "evaluation_seconds" in entry]
    assert timed == evaluated
    assert [e["epoch"] for e in entries if e["kind"] == "samples"] == evaluated


def test_the_time_of_an_evaluation_is_not_that_of_validation(dataset, tmp_path):
    def evaluate_fn(model):
        time.sleep(0.5)
        return loop.EvalResult({})

    config = config_for(dataset, case="e_c", eval__every_epochs=1)
    loop.train_and_evaluate(config, tmp_path / "w", evaluate_fn, DEVICES[:1])
    _, first, second, last = metric_writer.read(tmp_path / "w")
    assert min(first["evaluation_seconds"], last["evaluation_seconds"]) >= 0.5
    assert second["validation_seconds"] < 0.5


def test_a_run_goes_on_at_another_cadence(dataset, tmp_path):
    """It changes no weight, and no name in the model that is left."""
    whole = config_for(dataset, case="e_c", eval__every_epochs=1)
    loop.train_and_evaluate(whole, tmp_path / "whole", devices=DEVICES[:1])
    for epochs, every in [(1, 1), (2, 0)]:
        config = config_for(dataset, case="e_c", train__epochs=epochs, eval__every_epochs=every)
        loop.train_and_evaluate(config, tmp_path / "parts", devices=DEVICES[:1])
    for name in ("model.safetensors", "model.json"):
        bytes_of = [(tmp_path / run / "model" / name).read_bytes() for run in ("whole", "parts")]
        assert bytes_of[0] == bytes_of[1]


def test_what_a_run_leaves(dataset, tmp_path):
    config = config_for(dataset)
    model = loop.train_and_evaluate(
        config, tmp_path / "w", lambda m: loop.EvalResult({"score": 0.5}), DEVICES
    )
    entries = metric_writer.read(tmp_path / "w")
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
    saved = PretrainedModel.load(tmp_path / "w" / "model")
    assert saved.vocabulary == model.vocabulary == [f"tag{number}" for number in range(6)]
    manifest = Manifest.load(dataset)
    assert (saved.dataset_digest, saved.tag_counts) == (manifest.digest, manifest.tag_counts)
    assert (saved.level, saved.pooling) == ("recorded", "mean")
    assert str(dataset) not in (tmp_path / "w" / "model" / "model.json").read_text()


def test_a_finished_run_is_not_trained_again(dataset, tmp_path):
    config = config_for(dataset)
    loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    before = (tmp_path / "w" / "metrics.jsonl").read_text()
    again = loop.train_and_evaluate(config, tmp_path / "w", devices=DEVICES)
    assert (tmp_path / "w" / "metrics.jsonl").read_text() == before
    saved = PretrainedModel.load(tmp_path / "w" / "model")
    jax.tree.map(np.testing.assert_array_equal, saved.variables, again.variables)


def test_more_epochs_go_on_and_another_setting_does_not(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    loop.train_and_evaluate(config_for(dataset, train__epochs=3), tmp_path / "w", devices=DEVICES)
    assert metric_writer.read(tmp_path / "w")[-1]["epoch"] == 3
    with pytest.raises(
        ValueError, match=r"loss\.temperature = 0\.1, and this one 0\.2\. Fix: choose"
    ):
        loop.train_and_evaluate(
            config_for(dataset, loss__temperature=0.2), tmp_path / "w", devices=DEVICES
        )


def test_fewer_epochs_than_were_done_are_refused(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    with pytest.raises(ValueError, match=r"has done 2 epochs already, more than .*epochs = 1"):
        loop.train_and_evaluate(
            config_for(dataset, train__epochs=1), tmp_path / "w", devices=DEVICES
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_a_damaged_checkpoint_is_named_with_the_way_out(dataset, tmp_path):
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    newest = tmp_path / "w" / "checkpoints" / "6"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"checkpoints/6: this checkpoint is damaged .*Fix: move"):
        loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    newest.rename(tmp_path / "w" / "damaged-6")
    loop.train_and_evaluate(config_for(dataset), tmp_path / "w", devices=DEVICES)
    assert metric_writer.read(tmp_path / "w")[-1]["step"] == 6


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
    losses = {key for key in metric_writer.read(tmp_path / "w")[0] if key.endswith("_loss")}
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
    examples = [
        Example(patch, tags, str(place))
        for place, (patch, tags) in enumerate(zip(patches, numbers, strict=True))
    ]
    folder.mkdir()
    write_dataset(
        folder,
        name="synthetic",
        fingerprint="none",
        front_end=front_end.to_dict(),
        scaling="global",
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
    return sounds.evaluate(ModelEvaluator("trained", Embedder(model))), chance(sounds.tags)


def test_it_finds_the_tags_of_sounds_it_was_not_trained_on(tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, shuffled=False)
    assert found["mrr"] > 3 * by_chance["mrr"]
    assert found["macro_auc"] > 0.62


def test_trained_on_shuffled_pairs_it_does_not(tmp_path):
    found, by_chance = retrieval_after_training(tmp_path, shuffled=True)
    assert found["mrr"] < 1.6 * by_chance["mrr"]
    assert found["macro_auc"] < 0.58
