"""The validation sounds, what is measured on them, and the record of a run."""

from dataclasses import dataclass

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.data.schema import Example
from coala_jax.embedding import map_projection
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import run_record, validation
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.validation import ValidationSounds
from tests.synthetic import random_examples, tiny_config, write_random_dataset

TRAIN, VALIDATION, TAGS = 9, 14, 4
IDS = [example.id for example in random_examples(TRAIN + VALIDATION, TAGS)[TRAIN:]]


@dataclass
class FakeEmbedder(Embedder):
    """Knows the right answer, or hears noise; its vectors are tag vectors."""

    sounds: ValidationSounds
    is_right: bool
    case: str = "ae_c"

    def project_audio(self, patches):
        noise = np.random.default_rng(0).standard_normal(self.sounds.tags.shape)
        found = (self.sounds.tags if self.is_right else noise).astype(np.float32)
        return found[self.sounds.reported.places]

    def project_tags(self, multi_hot):
        return multi_hot.astype(np.float32)

    def embed_patches(self, patches):
        return patches[:, 0, :8]

    def reconstruct(self, patches):
        assert self.case == "ae_c"
        return np.clip(patches + 0.1, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    dataset = tmp_path_factory.mktemp("validation") / "dataset"
    write_random_dataset(dataset, TRAIN, VALIDATION, TAGS)
    return ValidationSounds(dataset)


def test_the_validation_sounds_are_those_of_the_dataset(sounds):
    assert [example.id for example in sounds.read(np.arange(VALIDATION))] == IDS
    for row, example in enumerate(random_examples(TRAIN + VALIDATION, TAGS)[TRAIN:]):
        np.testing.assert_array_equal(sounds.reported.patches[row], example.patch)
        assert np.flatnonzero(sounds.tags[row]).tolist() == example.tags.tolist()
        assert sounds.tag_names(np.array([row]))[0] == [f"tag{tag}" for tag in example.tags]


# Scores of a sound's tags, and of a tag set's, that nothing else has.
AUDIO_SCORES = np.random.default_rng(1).standard_normal((96, TAGS)).astype(np.float32)
TAG_SCORES = np.random.default_rng(2).standard_normal((TAGS, TAGS)).astype(np.float32)


@dataclass
class ScoringEmbedder(Embedder):
    """Gives a tag the score that a formula has for it; its space has one axis a tag."""

    case: str

    def project_audio(self, patches):
        assert self.case != "cnn"
        return patches[:, 0] @ AUDIO_SCORES

    def project_tags(self, multi_hot):
        return 7 * multi_hot.astype(np.float32)  # cosines see no lengths

    def tag_logits(self, patches):
        assert self.case == "cnn"
        return patches[:, 1] @ AUDIO_SCORES

    def reconstruct_tags(self, multi_hot):
        assert self.case == "ae_c"
        return multi_hot @ TAG_SCORES

    def reconstruct(self, patches):
        return 1.5 - patches


@pytest.mark.parametrize("case", ["ae_c", "e_c", "cnn"])
def test_samples_give_a_sound_as_many_tags_as_it_has_the_best_first(sounds, case):
    """Of the first, the last and two between them."""
    rows, picture = sounds.samples(ScoringEmbedder(case), 4)
    places = [0, 4, 8, 13]
    assert [row["id"] for row in rows] == [IDS[place] for place in places]
    assert len({len(row["tags"]) for row in rows}) > 1  # or the number could be a constant
    for row, place in zip(rows, places, strict=True):
        assert row["tags"] == sounds.tag_names(np.array([place]))[0]
        scores = {"heard": sounds.reported.patches[place][1 if case == "cnn" else 0] @ AUDIO_SCORES}
        if case == "ae_c":
            scores["decoded"] = sounds.tags[place] @ TAG_SCORES
        assert row.keys() == {"id", "tags"} | scores.keys()
        for name, values in scores.items():
            assert row[name] == [f"tag{tag}" for tag in np.argsort(-values)[: len(row["tags"])]]
    assert (picture is not None) == (case == "ae_c")


def test_samples_show_patches_above_reconstructions_and_low_bands_at_the_bottom(
    sounds, monkeypatch
):
    bright = 1.2 * sounds.reported.patches  # as the released scaling may have them
    monkeypatch.setattr(
        sounds, "read", lambda places: [Example(bright[i], np.array([0]), "id") for i in places]
    )
    _, picture = sounds.samples(ScoringEmbedder("ae_c"), 3)
    assert picture.shape == (2 * 96, 3 * 96) and picture.dtype == np.float32
    for number, place in enumerate([0, 6, 13]):
        column = picture[:, 96 * number : 96 * (number + 1)]
        np.testing.assert_array_equal(column[95::-1], np.clip(bright[place], 0, 1))
        np.testing.assert_array_equal(column[:95:-1], np.clip(1.5 - bright[place], 0, 1))
    assert bright.max() > 1 == picture.max()  # 1.1 times 255 is no grey of 8 bits


def test_samples_are_spread_over_the_split(sounds):
    for count, places in {1: [0], 2: [0, 13], 14: range(14), 99: range(14)}.items():
        np.testing.assert_array_equal(sounds.spread(count), places)


def test_samples_with_equal_scores_come_in_the_order_of_the_vocabulary(sounds, monkeypatch):
    monkeypatch.setattr(ScoringEmbedder, "reconstruct_tags", lambda _, tags: np.zeros((14, TAGS)))
    for row in sounds.samples(ScoringEmbedder("ae_c"), 14)[0]:
        assert row["decoded"] == [f"tag{tag}" for tag in range(len(row["tags"]))]


@pytest.fixture(scope="module")
def figures(sounds):
    models = {"trained": FakeEmbedder(sounds, True), "untrained": FakeEmbedder(sounds, False)}
    return validation.measure([ModelEvaluator(*pair) for pair in models.items()], sounds)


def test_the_trained_model_is_measured_beside_what_it_has_to_beat(sounds, figures):
    assert list(figures) == ["trained", "untrained", "chance", "popularity"]
    assert figures["trained"]["macro_auc"] == figures["trained"]["mrr"] == 1.0
    assert figures["untrained"]["mrr"] < 0.8
    assert figures["popularity"]["macro_auc"] == figures["chance"]["macro_auc"] == 0.5
    while_training = sounds.evaluate(ModelEvaluator("trained", FakeEmbedder(sounds, False)))
    names = ("macro_auc", "mrr", "map", "recall_at_10")
    assert while_training == {name: figures["untrained"][name] for name in names}


def test_popularity_ranks_by_the_training_tags(sounds, figures):
    """Average precision by hand, with the tags in the order of their counts in training."""
    training = random_examples(TRAIN + VALIDATION, TAGS)[:TRAIN]
    counts = np.bincount(np.concatenate([example.tags for example in training]))
    assert sounds.manifest.tag_counts == counts.tolist()
    assert len(set(counts)) == TAGS  # a tie would make the order a matter of chance
    precisions = []
    for row in sounds.tags[:, np.argsort(-counts)]:
        hits = np.flatnonzero(row)
        precisions.append(np.mean([(n + 1) / (place + 1) for n, place in enumerate(hits)]))
    assert figures["popularity"]["map"] == pytest.approx(np.mean(precisions))


LAST = run_record.KeptEpoch(epochs=2, epoch=2, macro_auc=None)


def write_record(
    workdir, sounds, figures, case="ae_c", reconstructions=3, kept=LAST, keep_epoch="last"
):
    workdir.mkdir(exist_ok=True)
    config = tiny_config(
        report__reconstructions=reconstructions, train__keep_epoch=keep_epoch, train__epochs=2
    )
    model = FakeEmbedder(sounds, True, case)
    embeddings = sounds.embed(ModelEvaluator("trained", model))
    return run_record.write_record(workdir, config, "cmd", model, kept, sounds, figures, embeddings)


def test_the_record_holds_figures_map_and_reconstructions(sounds, figures, tmp_path):
    record = write_record(tmp_path, sounds, figures)
    assert record == storage.read_json(tmp_path / "results.json")
    told = {"kind": "training", "corpus": "random", "case": "ae_c", "epochs": 2, "command": "cmd"}
    told |= {"sounds": {"train": TRAIN, "validation": VALIDATION}, "tags": TAGS}
    told["kept"] = {"rule": "last", "epoch": 2, "macro_auc": None, "patience": 0}
    told["kept"] |= {"selection_sounds": 0, "reported_sounds": VALIDATION}
    assert record | told | {"retrieval": figures, "stopped_early": False} == record
    points = map_projection.project(sounds.reported.patches[:, 0, :8], seed=0)
    np.testing.assert_allclose(record["map"]["points"], points, atol=6e-5)
    assert record["map"]["tags"] == sounds.tag_names(np.arange(VALIDATION))
    kept, patches = record["reconstructions"], sounds.reported.patches[[0, 6, 13]]
    assert kept["ids"] == [IDS[place] for place in (0, 6, 13)]
    assert kept["tags"] == sounds.tag_names(np.array([0, 6, 13]))
    assert kept["frame_seconds"] == 512 / 22_000
    arrays = storage.read_arrays(tmp_path / kept["arrays"])
    np.testing.assert_array_equal(arrays["patches"], patches)
    np.testing.assert_array_equal(arrays["reconstructed"], np.clip(patches + 0.1, 0, 1))


@dataclass
class KnowsSome(FakeEmbedder):
    """Knows the tags of some sounds, by their patches; of the others it hears noise."""

    known: tuple = ()

    def project_audio(self, patches):
        examples = random_examples(TRAIN + VALIDATION, TAGS)[TRAIN:]
        place_of = {example.patch.tobytes(): place for place, example in enumerate(examples)}
        places = [place_of[patch.tobytes()] for patch in patches]
        noise = np.random.default_rng(0).standard_normal((VALIDATION, TAGS))
        right = np.isin(np.arange(VALIDATION), self.known)[:, None]
        return np.where(right, self.sounds.tags, noise)[places].astype(np.float32)


@pytest.fixture(scope="module")
def halved(sounds, tmp_path_factory):
    dataset = tmp_path_factory.mktemp("halved") / "dataset"
    write_random_dataset(dataset, TRAIN, VALIDATION, TAGS)
    return ValidationSounds(dataset, in_halves=True)


def test_of_two_halves_one_chooses_and_the_other_is_reported(sounds, halved):
    """A model that knows one half alone is perfect there, and noise on the other."""
    chosen, shown = halved.selection.places, halved.reported.places
    assert sorted([*chosen, *shown]) == list(range(VALIDATION)) and len(chosen) == len(shown) == 7
    for part in (halved.selection, halved.reported):
        wanted = sounds.reported.patches[part.places]
        np.testing.assert_array_equal(part.patches, wanted)
    np.testing.assert_array_equal(halved.tags, sounds.tags)
    for known, is_chosen in ((chosen, True), (shown, False)):
        evaluator = ModelEvaluator("trained", KnowsSome(halved, True, known=tuple(known)))
        measured = validation.measure([evaluator], halved)
        assert (halved.evaluate(evaluator)["mrr"] == 1.0) == is_chosen
        assert (measured["trained"]["mrr"] == 1.0) != is_chosen
        assert {row["sounds"] for row in measured.values()} == {7}
    embedded = halved.embed(evaluator)
    np.testing.assert_array_equal(embedded, sounds.reported.patches[:, 0, :8])


def test_the_record_says_which_epoch_is_kept_and_by_which_sounds(halved, tmp_path):
    found = validation.measure([ModelEvaluator("trained", FakeEmbedder(halved, True))], halved)
    kept = run_record.KeptEpoch(epochs=1, epoch=1, macro_auc=0.75)
    record = write_record(tmp_path, halved, found, kept=kept, keep_epoch="best")
    assert record["sounds"] == {"train": TRAIN, "validation": VALIDATION}
    assert (record["epochs"], record["stopped_early"]) == (1, True)
    counts = {"selection_sounds": 7, "reported_sounds": 7, "patience": 0}
    assert record["kept"] == {"rule": "best", "epoch": 1, "macro_auc": 0.75} | counts
    assert len(record["map"]["points"]) == VALIDATION


@pytest.mark.parametrize(("case", "count"), [("e_c", 3), ("ae_c", 0)])
def test_without_a_decoder_or_on_request_there_are_no_reconstructions(
    sounds, figures, case, count, tmp_path
):
    assert write_record(tmp_path, sounds, figures, case, count)["reconstructions"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(("count", "is_mapped"), [(2, False), (3, True)])
def test_few_sounds_have_no_macro_auc_and_two_no_map(count, is_mapped, tmp_path):
    """Of three sounds, no tag can be on three and missing on one."""
    write_random_dataset(tmp_path / "dataset", train=5, validation=count, tags=9)
    few = ValidationSounds(tmp_path / "dataset")
    evaluator = ModelEvaluator("trained", FakeEmbedder(few, True))
    assert few.evaluate(evaluator).keys() == {"mrr", "map", "recall_at_10"}
    found = validation.measure([evaluator], few)
    assert found["trained"]["macro_auc"] is None
    record = write_record(tmp_path / "w", few, found)
    assert (record["map"] is not None) == is_mapped
