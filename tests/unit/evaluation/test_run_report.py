import copy
import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest

from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import run_report
from coala_jax.evaluation.evaluators import ModelEvaluator
from coala_jax.evaluation.run_report import ValidationSounds
from tests.synthetic import random_examples, write_random_dataset

TRAIN, VALIDATION, TAGS = 9, 14, 4
IDS = [example.id for example in random_examples(TRAIN + VALIDATION, TAGS)[TRAIN:]]
METRICS = [{"kind": kind, "epoch": 1, "step": 3, "loss": 2.0} for kind in ("train", "validation")]


@dataclass
class FakeEmbedder(Embedder):
    """Knows the right answer (`share` 1), or mixes it with noise; its vectors are tag vectors."""

    sounds: ValidationSounds
    share: float
    case: str = "ae_c"

    def project_audio(self, patches):
        noise = np.random.default_rng(0).standard_normal(self.sounds.tags.shape)
        return (self.share * self.sounds.tags + (1 - self.share) * noise).astype(np.float32)

    def project_tags(self, multi_hot):
        return multi_hot.astype(np.float32)

    def tag_logits(self, patches):
        return self.project_audio(patches)

    def embed_patches(self, patches):
        return patches[:, 0, :8]

    def reconstruct(self, patches):
        assert self.case == "ae_c"
        return np.clip(patches + 0.1, 0, 1).astype(np.float32)


def measured_of(sounds, *embedders):
    names = ("trained", "untrained")
    pairs = zip(names, embedders, strict=True)
    return run_report.measure([ModelEvaluator(*pair) for pair in pairs], sounds)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    dataset = tmp_path_factory.mktemp("report") / "dataset"
    write_random_dataset(dataset, TRAIN, VALIDATION, TAGS)
    return ValidationSounds(dataset)


def test_the_validation_sounds_are_those_of_the_dataset(sounds):
    wanted = random_examples(TRAIN + VALIDATION, TAGS)[TRAIN:]
    found = sounds.read(np.arange(VALIDATION))
    assert [example.id for example in found] == [example.id for example in wanted]
    for row, example in enumerate(wanted):
        np.testing.assert_array_equal(sounds.patches[row], example.patch)
        assert np.flatnonzero(sounds.tags[row]).tolist() == example.tags.tolist()
        assert sounds.tag_names()[row] == [f"tag{tag}" for tag in example.tags]


# What `samples` makes of a sound, and of a set of tags: scores that nothing else has.
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
    counts = [len(row["tags"]) for row in rows]
    assert len(set(counts)) > 1  # or the number of tags could be a constant
    for row, place, count in zip(rows, places, counts, strict=True):
        assert row["tags"] == sounds.tag_names()[place]
        heard = sounds.patches[place][1 if case == "cnn" else 0] @ AUDIO_SCORES
        scores = {"heard": heard}
        if case == "ae_c":
            scores["decoded"] = sounds.tags[place] @ TAG_SCORES
        assert row.keys() == {"id", "tags"} | scores.keys()
        for name, values in scores.items():
            order = sorted(range(TAGS), key=lambda tag, values=values: -values[tag])
            assert row[name] == [f"tag{tag}" for tag in order[:count]]
    assert (picture is not None) == (case == "ae_c")


def test_samples_show_patches_above_reconstructions_and_low_bands_at_the_bottom(sounds):
    bright = 1.2 * sounds.patches  # as the released scaling may have them
    brighter = copy.copy(sounds)
    brighter.read = lambda places: [
        dataclasses.replace(example, patch=bright[place])
        for place, example in zip(places, sounds.read(places), strict=True)
    ]
    _, picture = brighter.samples(ScoringEmbedder("ae_c"), 3)
    assert picture.shape == (2 * 96, 3 * 96)
    assert picture.dtype == np.float32
    for number, place in enumerate([0, 6, 13]):
        column = picture[:, 96 * number : 96 * (number + 1)]
        patch = bright[place]
        for band in range(96):
            np.testing.assert_array_equal(column[95 - band], np.clip(patch[band], 0, 1))
            np.testing.assert_array_equal(column[191 - band], np.clip(1.5 - patch[band], 0, 1))
    assert bright.max() > 1 == picture.max()  # 1.1 times 255 is no grey of 8 bits


@pytest.mark.parametrize(
    ("count", "places"), [(1, [0]), (2, [0, 13]), (14, range(14)), (99, range(14))]
)
def test_samples_are_spread_over_the_split(sounds, count, places):
    rows, picture = sounds.samples(ScoringEmbedder("ae_c"), count)
    assert [row["id"] for row in rows] == [IDS[place] for place in places]
    assert picture.shape == (192, 96 * len(places))


def test_samples_with_equal_scores_come_in_the_order_of_the_vocabulary(sounds, monkeypatch):
    monkeypatch.setattr(ScoringEmbedder, "reconstruct_tags", lambda _, tags: np.zeros((14, TAGS)))
    for row in sounds.samples(ScoringEmbedder("ae_c"), 14)[0]:
        assert row["decoded"] == [f"tag{tag}" for tag in range(len(row["tags"]))]


def test_the_report_holds_the_model_and_what_it_has_to_beat(sounds, tmp_path):
    trained = FakeEmbedder(sounds, 1.0)
    measured = measured_of(sounds, trained, FakeEmbedder(sounds, 0.0))
    written = run_report.write_report(trained, measured, sounds, METRICS, tmp_path, 3, "cmd")
    assert written == json.loads((tmp_path / "report.json").read_text())
    assert (written["corpus"], written["case"], written["command"]) == ("random", "ae_c", "cmd")
    assert written["sounds"] == {"train": TRAIN, "validation": VALIDATION}
    found = written["retrieval"]
    assert found.keys() == {"trained", "untrained", "chance", "popularity"}
    assert found["trained"]["macro_auc"] > 0.99
    assert found["trained"]["mrr"] == 1.0
    assert found["untrained"]["mrr"] < 0.8
    assert found["popularity"]["macro_auc"] == found["chance"]["macro_auc"] == 0.5
    assert written["pictures"] == ["losses.png", "embedding_map.png", "reconstructions.png"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"report.json", *written["pictures"]}


def test_popularity_ranks_by_the_training_tags(sounds):
    """Average precision by hand, with the tags in the order of their counts in training."""
    counts = np.zeros(TAGS)
    for example in random_examples(TRAIN + VALIDATION, TAGS)[:TRAIN]:
        counts[example.tags] += 1
    assert sounds.manifest.tag_counts == counts.tolist()
    assert len(set(counts)) == TAGS  # a tie would make the order a matter of chance
    precisions = []
    for row in sounds.tags[:, np.argsort(-counts)]:
        hits = np.flatnonzero(row)
        precisions.append(np.mean([(n + 1) / (place + 1) for n, place in enumerate(hits)]))
    embedder = FakeEmbedder(sounds, 1.0)
    found = measured_of(sounds, embedder, embedder).retrieval["popularity"]
    assert found["map"] == pytest.approx(np.mean(precisions))


def test_a_case_without_a_decoder_has_no_reconstructions(sounds, tmp_path):
    for case in ("e_c", "cnn"):
        trained = FakeEmbedder(sounds, 1.0, case)
        measured = measured_of(sounds, trained, FakeEmbedder(sounds, 0.0, case))
        written = run_report.write_report(
            trained, measured, sounds, METRICS, tmp_path / case, 3, "cmd"
        )
        assert written["pictures"] == ["losses.png", "embedding_map.png"]
        assert written["retrieval"]["trained"]["macro_auc"] > 0.99


def test_the_table_has_a_row_for_each_and_the_figures_of_the_report(sounds):
    measured = measured_of(sounds, FakeEmbedder(sounds, 1.0), FakeEmbedder(sounds, 0.0))
    figures = measured.retrieval
    header, *rows = run_report.table({"retrieval": figures}).splitlines()
    assert header.split() == ["macro_auc", "mrr", "map", "recall_at_10"]
    assert [row.split()[0] for row in rows] == ["trained", "untrained", "chance", "popularity"]
    for row, who in zip(rows, figures, strict=True):
        shown = [float(cell) for cell in row.split()[1:]]
        measured = [figures[who][name] for name in header.split()]
        assert shown == pytest.approx(measured, abs=5e-4)


def test_what_is_reported_while_training_is_the_same(sounds):
    embedder = FakeEmbedder(sounds, 0.5)
    evaluated = sounds.evaluate(ModelEvaluator("trained", embedder))
    assert evaluated.keys() == {"macro_auc", "mrr", "map", "recall_at_10"}
    reported = measured_of(sounds, embedder, embedder).retrieval["trained"]
    assert evaluated == {name: reported[name] for name in evaluated}


def test_too_few_sounds_of_every_tag_are_no_reason_to_stop(tmp_path):
    """Of three sounds, no tag can be on three and missing on one."""
    write_random_dataset(tmp_path / "dataset", train=5, validation=3, tags=9)
    few = ValidationSounds(tmp_path / "dataset")
    embedder = FakeEmbedder(few, 1.0)
    assert few.evaluate(ModelEvaluator("trained", embedder)).keys() == {
        "mrr",
        "map",
        "recall_at_10",
    }
    figures = measured_of(few, embedder, embedder).retrieval
    shown = run_report.table({"retrieval": figures})
    assert figures["trained"]["macro_auc"] is None
    assert shown.splitlines()[1].split()[:3] == ["trained", "-", "1.000"]
    assert "macro_auc needs a tag on 3 or more validation sounds" in shown


def test_two_sounds_are_reported_without_a_map(tmp_path):
    write_random_dataset(tmp_path / "dataset", train=5, validation=2, tags=9)
    few = ValidationSounds(tmp_path / "dataset")
    embedder = FakeEmbedder(few, 1.0)
    measured = measured_of(few, embedder, embedder)
    written = run_report.write_report(embedder, measured, few, METRICS, tmp_path / "w", 1, "cmd")
    assert written["pictures"] == ["losses.png", "reconstructions.png"]
